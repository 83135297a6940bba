"""The loss of trained tokens, with logits only for these and only a chunk at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    Head = Callable[[torch.Tensor], torch.Tensor]


def token_losses(
    hidden: torch.Tensor, head: Head, targets: torch.Tensor, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each token, in fp32 (fp64 where the model is), and the best guesses.

    Args:
        hidden: Last hidden states, ``(N, width)``; N may be 0, the gradient is then 0.
        head: From hidden states to logits.
        targets: ``(N,)``
        chunk: Tokens whose logits are in memory at a time; backward computes them once more.
    """
    parts = [
        # A single chunk is kept: it is no larger than the memory that a chunk may take.
        checkpoint(_chunk, *part, head, use_reentrant=False)
        if len(targets) > chunk
        else _chunk(*part, head)
        for part in zip(hidden.split(chunk), targets.split(chunk), strict=True)
    ]
    losses, guesses = zip(*parts, strict=True)
    return torch.cat(losses), torch.cat(guesses)


def _chunk(
    hidden: torch.Tensor, targets: torch.Tensor, head: Head
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = head(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits, targets, reduction="none"), logits.detach().argmax(-1)

"""Attention that stays inside documents, as one hook for transformers models.

transformers hands every attention layer the borders of the documents (``cu_seq_lens_q``). On CUDA
with 16-bit floats ``torch.nn.attention.varlen`` takes them as they are; elsewhere each document is
attended on its own. No mask is ever built.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn

from sftprep.errors import TrainError

NAME = "sftprep_packed"


def register() -> str:
    """Makes the hook known to transformers; returns its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    return NAME


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each document.

    Args:
        module: The attention layer.
        query: ``(1, heads, T, width)``; keys and values may have fewer heads.
        key: As ``query``.
        value: As ``query``.
        attention_mask: Must be ``None``.
        scaling: Factor of the scores.
        dropout: Must be 0.
        sliding_window: Tokens that a token sees, itself included.
        cu_seq_lens_q: Ends of the documents after a 0, int32.
        max_length_q: No document is longer.
        **others: ``softcap`` and ``s_aux`` are refused, the rest has no meaning here.

    Returns:
        ``(1, T, heads, width)``, and no weights.

    Raises:
        TrainError: if the layer wants something that this cannot do.
    """
    asked = {
        "an attention mask": attention_mask is not None,
        "no document borders": cu_seq_lens_q is None,
        "attention dropout": dropout > 0,
        "a softcap of scores": others.get("softcap") is not None,
        "attention sinks": others.get("s_aux") is not None,
        "attention in both directions": not getattr(module, "is_causal", True),
    }
    for what, present in asked.items():
        if present:
            raise TrainError(
                f"{type(module).__name__} passes {what}, which packed attention cannot do",
                field=what,
                hint="set attention_dropout to 0 in its config, or train another model",
            )
    assert cu_seq_lens_q is not None
    if uses_varlen(query):
        # (T, heads, width)
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        out = varlen_attn(
            q, k, v, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q,
            scale=scaling, window_size=(sliding_window - 1 if sliding_window else -1, 0),
            enable_gqa=True,
        )  # fmt: skip
        return out[None], None
    return _per_document(query, key, value, cu_seq_lens_q, scaling, sliding_window), None


def uses_varlen(query: torch.Tensor) -> bool:
    """Whether the variable-length kernel takes such a tensor."""
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


@torch.compiler.disable
def _per_document(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    borders: torch.Tensor,
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    lengths = borders.diff().tolist()
    gqa = query.shape[1] != key.shape[1]
    out = []
    # One split instead of a slice per document: its gradient is one concatenation.
    for q, k, v in zip(*(x.split(lengths, 2) for x in (query, key, value)), strict=True):
        length = q.shape[2]
        if length == 0:
            continue
        if window is None or length <= window:
            out.append(
                F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=gqa)
            )
            continue
        for start in range(0, length, window):
            end, first = min(start + window, length), max(0, start - window + 1)
            distance = torch.arange(start, end)[:, None] - torch.arange(first, end)
            seen = ((distance >= 0) & (distance < window)).to(q.device)
            block = F.scaled_dot_product_attention(
                q[:, :, start:end], k[:, :, first:end], v[:, :, first:end],
                attn_mask=seen, scale=scale, enable_gqa=gqa,
            )  # fmt: skip
            out.append(block)
    return torch.cat(out, 2).transpose(1, 2)

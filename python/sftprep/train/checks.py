"""What is proved before the first step: documents do not see each other, and the loss is right."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from sftprep.errors import TrainError
from sftprep.train.attention import NAME
from sftprep.train.model import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from sftprep.train.data import Micro
    from sftprep.train.model import Trainee


@contextmanager
def _plainly(trainee: Trainee) -> Iterator[None]:
    """No gradient, no dropout, no compiled blocks (their hooks would be traced)."""
    blocks, mode = list(blocks_of(trainee.model)), trainee.training
    compiled = [block._compiled_call_impl for block in blocks]
    for block in blocks:
        block._compiled_call_impl = None
    trainee.eval()
    with torch.no_grad():
        yield
    trainee.train(mode)
    for block, call in zip(blocks, compiled, strict=True):
        block._compiled_call_impl = call


def check_isolation(trainee: Trainee, micro: Micro, vocab_size: int) -> float:
    """Changes all tokens of one document, twice, and looks at every other document's states.

    Returns:
        The largest movement seen, relative to the size of the states: rounding at most.

    Raises:
        TrainError: naming the first layer in which a document saw another.
    """
    micro = _with_two_documents(micro)
    borders, blocks = micro.cu_seqlens.unique().tolist(), set(blocks_of(trainee.model))
    # Parts come before their block in the order of calls, so the innermost is named.
    watched = {
        f"{name}.{part}".rstrip("."): module
        for name, block in trainee.named_modules() if block in blocks
        for part, module in (*block.named_children(), ("", block))
    }  # fmt: skip
    worst = 0.0
    with _plainly(trainee):
        for start, end in ((borders[0], borders[1]), (borders[-2], borders[-1])):
            other = micro.input_ids.clone()
            shift = 1 + torch.arange(end - start, device=other.device) % max(vocab_size - 1, 1)
            other[0, start:end] = (other[0, start:end] + shift) % vocab_size
            pair = (micro, replace(micro, input_ids=other))
            moved, by = _first_moved(trainee, pair, watched, start, end)
            worst = max(worst, by)
            if moved is not None:
                raise TrainError(
                    f"documents see each other in layer {moved.removeprefix('model.')} "
                    f"({type(watched[moved]).__name__}): with the tokens {start} to {end - 1} of "
                    f"the row changed, another document moved by {by:.1e}",
                    code="train.isolation",
                    field=moved.removeprefix("model."),
                    hint="pack with --strategy none, or train a model with attention in all layers",
                )
    return worst


def _first_moved(
    trainee: Trainee, pair: tuple[Micro, Micro], modules: dict[str, nn.Module], start: int, end: int
) -> tuple[str | None, float]:
    """The first module, in the order of calls, whose output moved outside of [start, end)."""
    seen: list[tuple[str, torch.Tensor]] = []

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if (
                isinstance(first, torch.Tensor)
                and first.is_floating_point()
                and first.ndim > 1
                and first.shape[1] == pair[0].input_ids.shape[1]
            ):
                seen.append((name, torch.cat([first[:, :start], first[:, end:]], 1)))

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        trainee(pair[0], "hidden")
        before, seen = seen, []
        trainee(pair[1], "hidden")
    except (ValueError, NotImplementedError) as error:  # transformers knows of some layers itself
        raise TrainError(
            f"the model does not run on packed rows: {error}",
            code="train.isolation",
            hint="pack with --strategy none, or train a model with attention in all layers",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    worst = 0.0
    for (name, old), (_, new) in zip(before, seen, strict=True):
        by = float((old - new).abs().max() / old.abs().max().clamp_min(1e-30))
        worst = max(worst, by)
        if not by <= 64 * torch.finfo(old.dtype).eps:  # NaN is a movement too
            return name, by
    return None, worst


def _with_two_documents(micro: Micro) -> Micro:
    """The micro-batch; a single document becomes two."""
    borders = micro.cu_seqlens.unique()
    if len(borders) > 2:
        return micro
    length = int(borders[-1])
    if length < 2:
        raise TrainError(
            "the first row has a single token, which shows nothing", code="train.isolation"
        )
    half = length // 2
    positions = torch.cat([torch.arange(half), torch.arange(length - half)])[None]
    split = borders.new_tensor([0, half, length])
    return replace(micro, cu_seqlens=split, position_ids=positions.to(micro.position_ids.device))


def check_loss(trainee: Trainee, micro: Micro) -> float:
    """Compares the packed loss with that of each document on its own by transformers' own code.

    Returns:
        The relative difference.

    Raises:
        TrainError: if it is more than rounding.
    """
    model: Any = trainee.model
    borders = micro.cu_seqlens.unique().tolist()
    total = torch.zeros((), dtype=torch.float64, device=micro.input_ids.device)
    with _plainly(trainee):
        ours = trainee(micro)[0].double().sum()
        model.set_attn_implementation("sdpa")
        try:
            for start, end in pairwise(borders):
                inside = (micro.index >= start) & (micro.index < end)
                if not bool(inside.any()):
                    continue
                one = replace(
                    micro,
                    input_ids=micro.input_ids[:, start:end],
                    index=micro.index[inside] - start,
                    targets=micro.targets[inside],
                )
                total += trainee(one, "plain").double() * inside.sum()
        finally:
            model.set_attn_implementation(NAME)
    off = float((ours - total).abs() / total.abs().clamp_min(1e-30)) if len(micro.index) else 0.0
    # 16-bit kernels round differently; a wrong mask or scale is off by far more.
    short = trainee.autocast is not None or next(iter(trainee.parameters())).dtype == torch.bfloat16
    if not off <= (2e-2 if short or micro.input_ids.is_cuda else 1e-5):
        raise TrainError(
            f"the loss of a row is {float(ours):.6f}, but {float(total):.6f} document by document",
            code="train.loss",
            hint="the model scales its logits or masks its attention in a way of its own",
        )
    return off

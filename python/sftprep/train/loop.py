"""A training run from its options to its model: read :func:`train`, then :class:`Run`."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from sftprep.dataset import ShardDataset
from sftprep.errors import ConfigError, TrainError
from sftprep.models.generate import samples
from sftprep.permutation import mix
from sftprep.runlog import Console, Metrics, curve, read
from sftprep.source_check import check_source
from sftprep.train import checks
from sftprep.train.checkpoint import Checkpoints, export
from sftprep.train.data import Loader, Order, Stager
from sftprep.train.evaluate import evaluate
from sftprep.train.model import Flops, Ranks, load, prepare, replicated, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sftprep.train.config import TrainConfig

_SPIKE_WINDOW, _SPIKE_SIGMA = 32, 6.0


def train(config: TrainConfig) -> dict[str, Any]:
    """Trains a model on packed shards.

    Args:
        config: The options.

    Returns:
        What came out: steps, seconds, losses, paths.

    Raises:
        SftprepError: with what to change, if an option, the shards or the model are not as they
            must be, or training fails.
    """
    shards = ShardDataset(config.check().shards)
    if shards.manifest["totals"]["trained"] == 0:
        raise TrainError(
            "no token of the shards is trained",
            code="train.labels",
            path=config.shards,
            hint="look at a row with `sftprep inspect`, and pack again",
        )
    ranks = Ranks.join(config.device)
    if config.rows_per_step % (ranks.size * config.micro_rows):
        raise ConfigError(
            f"{config.rows_per_step} rows per step do not share out to {ranks.size} ranks x "
            f"{config.micro_rows} rows",
            field="--rows-per-step",
            hint="make it a multiple of ranks times --micro-rows",
        )
    out = Path(config.out)
    if not config.resume and (out / "metrics.jsonl").exists():
        raise ConfigError(
            "there is a run already",
            code="output.exists",
            path=config.out,
            hint="go on with it by --resume, or choose another --out",
        )
    out.mkdir(parents=True, exist_ok=True)
    try:
        return Run(config, shards, ranks).run()
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or "CPUAllocator" in str(error)):
            raise
        raise TrainError(
            f"out of memory with micro-batches of {config.micro_rows} x {shards.max_len} tokens: "
            + str(error).splitlines()[0],
            code="train.memory",
            hint="lower --micro-rows, --loss-chunk or pack's --max-len, or add "
            "--activation-checkpointing full",
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


class Run:
    """A run: model, optimiser, data and what is written about them."""

    def __init__(self, config: TrainConfig, shards: ShardDataset, ranks: Ranks) -> None:
        self.config, self.shards, self.ranks = config, shards, ranks
        total = config.steps * config.rows_per_step or round(config.epochs * len(shards))
        self.order = Order(shards, config.seed, config.rows_per_step, total)
        if self.order.steps == 0:
            raise ConfigError(f"{config.epochs} epochs are no whole row", field="--epochs")
        dtype = stored(config, ranks.device)
        model = load(config, shards.manifest, dtype, str(ranks.device))
        self.vocab_size = model.get_input_embeddings().num_embeddings
        self.flops = Flops.of(model, config, ranks.device)
        self.trainee = prepare(model, config, ranks)
        pad = self.trainee.constant_shapes
        self.stager = Stager(shards, self.vocab_size, config.micro_rows, ranks.device, pad=pad)
        self.params = [p for p in self.trainee.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in self.params if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in self.params if p.ndim <= 1], "weight_decay": 0.0},
        ]
        betas = (0.9, config.beta2)
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True)
        self.checkpoints = Checkpoints(config, shards.manifest, ranks)
        self.stop = False
        self.pending: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self.recent: deque[float] = deque(maxlen=_SPIKE_WINDOW)

    def run(self) -> dict[str, Any]:
        """Checks, trains, evaluates, exports."""
        config, out = self.config, Path(self.config.out)
        first = self.checkpoints.restore(self.trainee, self.optimizer) if config.resume else 0
        main = self.ranks.rank == 0
        self.metrics = Metrics(out, first, tensorboard=config.tensorboard) if main else None
        self.console = Console(self.order.steps, first, quiet=config.quiet or not main)
        if main:
            config.write(out / "config.json")
        self.loader = Loader(self.stager, self._batches(first))
        previous = self._catch_signals()
        started = time.perf_counter()
        try:
            self._describe(self._check(), first)
            done = self._steps(first)
            result: dict[str, Any] = {"steps": done, "seconds": time.perf_counter() - started}
            if done < self.order.steps:
                self.console.note(f"stopped by a signal; saved at step {done}: go on with --resume")
                return result | {"stopped": True}
            return result | self._evaluate(done) | self._finish(out)
        finally:
            for number, handler in previous:
                signal.signal(number, handler)
            self.loader.close()
            self.console.close()
            if self.metrics is not None:
                self.metrics.close()

    def _batches(self, first: int) -> Iterator[list[int]]:
        rank, ranks, micro_rows = self.ranks.rank, self.ranks.size, self.config.micro_rows
        for step in range(first, self.order.steps):
            yield from self.order.deal(step, rank=rank, ranks=ranks, micro_rows=micro_rows)

    def _check(self) -> str:
        """Isolation and loss on the first row of the run, and its source rows if they are given."""
        row = self.order.rows(0)[0]
        micro = Stager(self.shards, self.vocab_size, 1, self.ranks.device, pad=False).stage([row])
        if micro.ready is not None:
            micro.ready.synchronize()
        moved = checks.check_isolation(self.trainee, micro, self.vocab_size)
        off = checks.check_loss(self.trainee, micro)
        said = f"documents are isolated (moved by {moved:.0e}), loss is right (off by {off:.0e})"
        if self.config.source:
            compared = check_source(self.shards, row, self.config.source)
            said += f", {compared} documents of row {row} are their source rows"
        return said

    def _describe(self, checked: str, first: int) -> None:
        trained = sum(p.numel() for p in self.params)
        note = self.console.note
        note(
            f"{len(self.shards):,} rows of at most {self.shards.max_len:,} tokens, "
            f"{self.order.steps:,} steps of {self.config.rows_per_step} rows"
            + (f", from step {first:,}" if first else "")
        )
        note(f"{trained:,} trained parameters on {self.ranks.size} x {self.ranks.device.type}")
        note(checked)

    def _steps(self, first: int) -> int:
        def due(every: int) -> bool:
            return every > 0 and done % every == 0

        config, self.since = self.config, time.perf_counter()
        for done in range(first + 1, self.order.steps + 1):
            self._step(done - 1)
            last = done == self.order.steps
            save = last or due(config.save_every)
            report = save or due(config.log_every) or (self.stop and self.ranks.size == 1)
            if report:
                self._report(done)
            stopped = report and self._stopped()
            if save or stopped:
                self.checkpoints.save(done, self.trainee, self.optimizer)
            if stopped:
                return done
            if due(config.eval_every) and not last:
                self._evaluate(done)
        return self.order.steps

    def _step(self, step: int) -> None:
        config, ranks = self.config, self.ranks
        # For dropout, if there is any.
        torch.manual_seed(mix(config.seed, step * ranks.size + ranks.rank))
        rate = config.lr * schedule(config, step, self.order.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        trained = sum(self.shards.sums(row).trained_tokens for row in self.order.rows(step))
        total = torch.zeros((), dtype=torch.float64, device=ranks.device)
        for _ in range(config.rows_per_step // (ranks.size * config.micro_rows)):
            micro = next(self.loader)
            losses, _ = self.trainee(micro)
            loss = (losses if micro.weights is None else losses * micro.weights).sum()
            # Gradients are averaged over ranks, hence times their number.
            (loss * (ranks.size / max(trained, 1))).backward()
            total += loss.detach()
        if ranks.size > 1:
            for p in replicated(self.trainee):
                if p.grad is not None:
                    ranks.sum(p.grad).div_(ranks.size)
        norm: Any = torch.nn.utils.clip_grad_norm_(self.params, config.clip or math.inf)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.pending.append((step, total / max(trained, 1), norm.detach().clone()))

    def _report(self, done: int) -> None:
        """Writes the steps since the last report; the only place that waits for the device."""
        losses = self.ranks.sum(torch.stack([loss for _, loss, _ in self.pending])).tolist()
        norms = torch.stack([norm for _, _, norm in self.pending]).tolist()
        now = time.perf_counter()
        seconds, self.since = (now - self.since) / len(losses), now
        stall = self.loader.stalled() / len(losses) / seconds
        for (step, _, _), loss, norm in zip(self.pending, losses, norms, strict=True):
            sums = [self.shards.sums(row) for row in self.order.rows(step)]
            tokens, trained, documents, pairs = (sum(column) for column in zip(*sums, strict=True))
            flops = self.flops.count(tokens, pairs, trained) / self.ranks.size
            read_so_far = min((step + 1) * self.config.rows_per_step, self.order.total)
            values = {
                "epoch": read_so_far / len(self.shards),
                "loss": loss,
                "grad_norm": norm,
                "lr": self.config.lr * schedule(self.config, step, self.order.steps),
                "tokens": tokens,
                "trained_tokens": trained,
                "documents": documents,
                "seconds": seconds,
                "tokens_per_s": tokens / seconds,
                "mfu": self.flops.peak and flops / seconds / self.flops.peak,
                "stall": stall,
                "memory_bytes": memory(self.ranks.device),
            }
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._diverged(step, values)
            self._look_for_spike(step, loss)
            if self.metrics is not None:
                self.metrics.write(step, **values)
        self.pending.clear()
        self.console.step(done, values)

    def _look_for_spike(self, step: int, loss: float) -> None:
        if len(self.recent) == _SPIKE_WINDOW:
            mean = sum(self.recent) / len(self.recent)
            spread = math.sqrt(sum((x - mean) ** 2 for x in self.recent) / len(self.recent))
            if loss > mean + max(_SPIKE_SIGMA * spread, 0.1 * mean) and self.metrics is not None:
                sources = self._sources(step)
                self.metrics.write(step, event="spike", value=loss, mean=mean, sources=sources)
                self.console.note(
                    f"step {step + 1}: loss {loss:.4f} after a mean of {mean:.4f}; its rows are "
                    f"made of {', '.join(sources[:5])}" + (" ..." if sources[5:] else "")
                )
        self.recent.append(loss)

    def _diverged(self, step: int, values: dict[str, Any]) -> None:
        sources = self._sources(step)
        if self.metrics is not None:
            shown = {"value": str(values["loss"]), "norm": str(values["grad_norm"])}
            self.metrics.write(step, event="diverged", sources=sources, **shown)
        raise TrainError(
            f"at step {step + 1} the loss is {values['loss']}, the norm of its gradient "
            f"{values['grad_norm']}; its rows were made of {', '.join(sources[:5])}",
            code="train.diverged",
            path=self.config.out,
            hint="look at these rows; begin again with a lower --lr or a longer --warmup",
        )

    def _sources(self, step: int) -> list[str]:
        rows = (self.shards.documents(row) for row in self.order.rows(step))
        return [f"{document.source}:{document.line}" for row in rows for document in row]

    def _stopped(self) -> bool:
        """Whether any rank was asked to stop."""
        return bool(self.ranks.sum(torch.tensor(int(self.stop), device=self.ranks.device)).item())

    def _catch_signals(self) -> list[tuple[int, Any]]:
        if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
            return []

        def handler(_number: int, _frame: object) -> None:
            self.stop = True

        return [(x, signal.signal(x, handler)) for x in (signal.SIGTERM, signal.SIGUSR1)]

    def _evaluate(self, done: int) -> dict[str, Any]:
        if not self.config.eval_shards:
            return {}
        rows, held_out = self.config.micro_rows, ShardDataset(self.config.eval_shards)
        found = evaluate(self.trainee, held_out, self.vocab_size, rows, self.ranks)
        self.console.note(
            f"step {done}: held-out loss {found['eval_loss']:.4f}, "
            f"{found['eval_accuracy']:.1%} of tokens right"
        )
        if self.metrics is not None:
            self.metrics.write(done - 1, **found)
        self.since = time.perf_counter()
        return found

    def _finish(self, out: Path) -> dict[str, Any]:
        model = export(self.trainee, self.config, self.shards)
        if self.ranks.rank != 0:
            return {}
        lines = read(out / "metrics.jsonl")
        losses = [line["loss"] for line in lines if "loss" in line]
        (out / "loss.svg").write_text(curve(lines, f"loss of {out.name}"), encoding="utf-8")
        source = ShardDataset(self.config.eval_shards or self.config.shards)
        for answer in samples(model, source, self.config.samples, out / "samples.jsonl"):
            self.console.note(
                f"{answer['prompt'][-160:]!r}\n  -> {answer['answer']!r}\n"
                f"  wanted {answer['wanted']!r}"
            )
        return {
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "model": str(model),
            "config": asdict(self.config),
        }


def schedule(config: TrainConfig, step: int, steps: int) -> float:
    """Share of the highest learning rate at a step: a rise, then a fall to ``min_lr``."""
    rise = round(config.warmup * steps)
    if step < rise:
        return (step + 1) / rise
    if config.schedule == "constant":
        return 1.0
    done = (step - rise) / max(steps - rise, 1)
    left = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1 - done
    return config.min_lr + (1 - config.min_lr) * left


def memory(device: torch.device) -> int:
    """Largest memory so far in bytes: the device's, or the process's on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10

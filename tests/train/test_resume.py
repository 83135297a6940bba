"""A run that is killed anywhere goes on as if nothing had happened, on any number of ranks."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")
if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

from sftprep.errors import ConfigError, ShardCorrupt, TrainError  # noqa: E402
from sftprep.train import checkpoint, loop  # noqa: E402
from train.helpers import ended, in_child, run, steps_of, weights_of  # noqa: E402

EQUAL = ("step", "epoch", "loss", "grad_norm", "lr", "tokens", "trained_tokens", "documents")


def same(one: str | Path, two: str | Path) -> None:
    """Bit-equal: losses, norms, rates and weights."""
    lines = [[{key: line[key] for key in EQUAL} for line in steps_of(path)] for path in (one, two)]
    assert lines[0] == lines[1]
    first, second = weights_of(one), weights_of(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.fixture(scope="module")
def whole(configs: dict[str, Path], shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Options of a run, and the uninterrupted run itself, in fp32 with dropout."""
    folder = tmp_path_factory.mktemp("whole")
    options = {
        "random_init": str(configs["llama"]),
        "shards": str(shards),
        "dtype": "fp32",
        "device": "cpu",
        "rows_per_step": 4,
        "steps": 7,
        "lr": 1e-2,
        "samples": 0,
        "quiet": True,
        "save_every": 2,
        "weight_decay": 0.1,
        "log_every": 3,
        "clip": 0.5,
    }
    run(options, out=str(folder))
    return options, folder


def killed(options: dict[str, Any], out: Path, where: str, times: int) -> None:
    """Trains in a child that kills itself the n-th time it comes to a place."""
    owner, name = {
        "step": (torch.optim.AdamW, "step"),
        "save": (checkpoint.dcp, "save"),
        "sync": (checkpoint.os, "fsync"),
        "rename": (Path, "rename"),
        "renamed": (checkpoint, "_sync"),
        "remove": (checkpoint.shutil, "rmtree"),
        "export": (checkpoint.shutil, "copyfile"),
    }[where]
    real, count = getattr(owner, name), 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == times:
            if where == "save":  # in the middle: files are there, and are not whole
                real(*args, **kwargs)
                victim = next(Path(kwargs["checkpoint_id"]).glob("*.distcp"))
                victim.write_bytes(victim.read_bytes()[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    def job() -> None:
        setattr(owner, name, deadly)
        run(options, out=str(out))

    assert ended(in_child(job)) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("where", "times"),
    [
        ("step", 1),
        ("step", 4),
        ("save", 1),
        ("save", 2),
        ("sync", 1),
        ("sync", 4),
        ("rename", 2),
        ("renamed", 3),
        ("remove", 1),
        ("export", 1),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(
    whole: Any, tmp_path: Path, where: str, times: int
) -> None:
    options, uninterrupted = whole
    killed(options, tmp_path, where, times)
    run(options, out=str(tmp_path), resume=True)
    same(tmp_path, uninterrupted)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["step-6", "step-7"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_ends_well(whole: Any, tmp_path: Path, number: int) -> None:
    options, uninterrupted = whole
    before = signal.getsignal(signal.SIGTERM)
    real = loop.Run._step

    def step(self: Any, at: int) -> None:
        real(self, at)
        if at == 4:
            os.kill(os.getpid(), number)

    loop.Run._step = step
    try:
        result = run(options, out=str(tmp_path))
    finally:
        loop.Run._step = real
    assert (result["stopped"], result["steps"]) == (True, 5)
    assert signal.getsignal(signal.SIGTERM) is before
    run(options, out=str(tmp_path), resume=True)
    same(tmp_path, uninterrupted)


def ranks(options: dict[str, Any], out: Path, size: int) -> None:
    """Trains in as many processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [
        in_child(lambda: run(options, out=str(out)), RANK=str(r), LOCAL_RANK=str(r), **shared)
        for r in range(size)
    ]
    assert [ended(child) for child in children] == [0] * size


@pytest.mark.parametrize("lora", [0, 2])
def test_ranks_do_not_matter(whole: Any, shards: Path, tmp_path: Path, lora: int) -> None:
    if lora:
        pytest.importorskip("peft", reason="LoRA needs peft")
    options = whole[0] | {"dtype": "fp64", "lora": lora, "steps": 5, "eval_shards": str(shards)}
    ranks(options, tmp_path / "one", 1)
    ranks(options, tmp_path / "two", 2)
    # From one rank to two in the middle of a run.
    shutil.copytree(tmp_path / "one", tmp_path / "three")
    for path in (tmp_path / "three" / "checkpoints").glob("step-5"):
        shutil.rmtree(path)
    ranks(options | {"resume": True}, tmp_path / "three", 2)
    one = steps_of(tmp_path / "one")
    assert len(one) == 5
    for other in ("two", "three"):
        for a, b in zip(one, steps_of(tmp_path / other), strict=True):
            assert abs(a["loss"] - b["loss"]) < 1e-12
            assert abs(a["grad_norm"] - b["grad_norm"]) < 1e-12
        assert weights_of(tmp_path / "one").keys() == weights_of(tmp_path / other).keys()
        for name, value in weights_of(tmp_path / "one").items():
            assert float((value - weights_of(tmp_path / other)[name]).abs().max()) < 1e-12, name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 2e-2}, "--lr was 0.01 at the checkpoint, now it is 0.02"),
        ({"rows_per_step": 8}, "--rows-per-step was 4"),
        ({"count": 30}, "shards.content_id was"),
        ({"chat_template": "plain"}, "template.blake3 was"),
        ({"tokenizer": "builtin"}, "tokenizer.files was"),
    ],
)
def test_a_change_is_refused_by_name(
    whole: Any, pack: Any, change: dict[str, Any], said: str
) -> None:
    options, folder = whole
    if not change.keys() <= options.keys():
        change = {"shards": str(pack(**change))}
    more = {"resize_embeddings": True} if "tokenizer" in said else {}
    with pytest.raises(TrainError, match=said) as caught:
        run(options | change | more, out=str(folder), resume=True)
    assert caught.value.code == "train.changed"


def test_a_run_is_not_overwritten(whole: Any) -> None:
    options, folder = whole
    with pytest.raises(ConfigError, match="there is a run already"):
        run(options, out=str(folder))


def test_a_damaged_checkpoint_is_named(whole: Any, tmp_path: Path) -> None:
    options, folder = whole
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in copy.glob("checkpoints/step-7/*.distcp"):
        path.write_bytes(b"")
    with pytest.raises(ShardCorrupt, match="the checkpoint cannot be read") as caught:
        run(options, out=str(copy), resume=True)
    assert "step-7" in str(caught.value.path)

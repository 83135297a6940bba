"""Compares `sftprep.Tokenizer` with other tokenizer packages on the same texts.

    compare_tokenizers.py [--rounds 3] [--tokenizers qwen3,gemma3] [--engines sftprep,tiktoken,...]

Every cell (tokenizer, corpus, engine) runs in a process of its own, pinned to one core, with the
engine's cheapest bulk call; engines take turns within a round. Speeds are bytes of UTF-8 per CPU
second of the process. A corpus is shuffled once and halved:

- cold: the first half right after loading; first_2mb: the first two megabytes of it
- steady: the second half, with what caches learned from the first: the honest figure
- hot: the first half again: what an engine does when it has seen everything
- two_threads (sftprep): wall time of one thread over that of two, best of five, on free cores

Corpora (distinct texts, nothing repeated to make them longer): English and Chinese strings of the
shared conversations, Python files of the installed packages, conversations rendered as ChatML,
and texts that are hard on merging (two documents of about a megabyte of one kind).

Ids of every document are compared with those of `tokenizers`. Engines that cannot be imported or
do not load a file are named in the result. sftprep runs in the environment that runs this script,
the others in `--peers` (made by `setup_peers.sh`). Data: `SFTPREP_TEST_DATA`.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import hashlib
import importlib.metadata
import itertools
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "benches" / "results"
ENGINES = ("tokenizers", "sftprep", "fastokens", "gigatoken", "snaptokens", "tiktoken")
CORPORA = (
    "english",
    "code",
    "chinese",
    "chat",
    "letter",
    "ideograph",
    "spaces",
    "digits",
    "joined",
)
ADVERSARIAL = CORPORA[4:]
LIMIT = 16_000_000
Encode = Callable[[list[str]], Any]
Rows = Callable[[Any], Iterable[Any]]


def data_folder() -> Path:
    """Where the shared data is."""
    given = os.environ.get("SFTPREP_TEST_DATA")
    return Path(given) if given else ROOT.parent / "shared" / "data"


def conversations() -> Iterator[Any]:
    """Rows of the shared corpus and of the shared Chinese sets."""
    folder = data_folder()
    files = [
        folder / "bench" / "bench57k.messages.jsonl.gz",
        *sorted((folder / "sft").glob("*zh*")),
    ]
    for file in files:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        yield from map(json.loads, content.splitlines())


def strings(value: Any) -> Iterator[str]:  # noqa: ANN401
    """All strings of a JSON value that are longer than a label."""
    if isinstance(value, str):
        if len(value) > 20:
            yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def chatml(row: Any) -> str | None:  # noqa: ANN401
    """A conversation as text with control tokens."""
    messages = row.get("messages") if isinstance(row, dict) else None
    if not messages or not all(isinstance(m.get("content"), str) for m in messages):
        return None
    turns = (f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return "".join(turns)


def corpus(name: str, limit: float = LIMIT) -> list[str]:
    """The documents of a corpus, shuffled; `limit` is their size in bytes."""
    docs: Iterable[str]
    if name == "code":
        files = {
            Path(m.locate_file(f))
            for m in importlib.metadata.distributions()
            for f in m.files or ()
            if f.suffix == ".py"
        }
        docs = sorted({f.read_text("utf-8", "ignore") for f in files if f.is_file()})
    elif name == "chat":
        docs = sorted({t for t in map(chatml, conversations()) if t})
    elif name in ADVERSARIAL:
        kinds = {
            "letter": ("a", "e"),
            "ideograph": ("中", "的"),
            "spaces": (" ", " "),
            "digits": ("7", "1"),
        }
        if name in kinds:
            return [kinds[name][0] * 1_000_000, kinds[name][1] * 999_000]
        prose = "".join(itertools.islice(corpus("english"), 20_000))
        letters = re.sub(r"\s+", "", prose)
        return [letters[:1_000_000], letters[1_000_000:2_000_000]]
    else:
        low, high = ("\0", "\x7f") if name == "english" else ("一", "鿿")
        share = 0.97 if name == "english" else 0.3
        every = sorted({t for row in conversations() for t in strings(row)})
        docs = [t for t in every if sum(low <= c <= high for c in t) > share * len(t)]
    docs = [d for d in docs if d]
    random.Random(11).shuffle(docs)
    sizes = itertools.accumulate(len(d.encode()) for d in docs)
    return [d for d, size in zip(docs, sizes, strict=True) if size <= limit]


def byte_alphabet() -> dict[str, int]:
    """The characters with which byte-level vocabularies write bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def load_tiktoken(path: str) -> tuple[Encode, Rows]:
    import tiktoken

    file = json.loads(Path(path).read_text("utf-8"))
    alphabet = byte_alphabet()
    added = {t["content"]: t["id"] for t in file["added_tokens"]}
    vocab = {t: i for t, i in file["model"]["vocab"].items() if t not in added}
    ranks = {bytes(alphabet[c] for c in t): i for t, i in vocab.items()}
    parts = file["pre_tokenizer"]["pretokenizers"]
    (pattern,) = [p["pattern"]["Regex"] for p in parts if p["type"] == "Split"]
    engine = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens=added)
    return lambda docs: [engine.encode(d, allowed_special="all") for d in docs], lambda raw: raw


def load_native(module: str, path: str) -> tuple[Encode, Rows]:
    import numpy as np

    native = __import__(f"{module}._native", fromlist=["Tokenizer"])
    engine = native.Tokenizer.from_file(path)

    def rows(raw: Any) -> Iterator[Any]:  # noqa: ANN401
        ids, ends = (np.frombuffer(x, np.uint32) if isinstance(x, bytes) else x for x in raw)
        ids = np.asarray(ids)
        if int(np.asarray(ends)[-1]) != len(ids):
            ends = np.frombuffer(raw[1], np.uint64)
        for start, end in itertools.pairwise(np.asarray(ends).tolist()):
            yield ids[start:end]

    return engine.encode_batch_flat, rows


def load(engine: str, path: str) -> tuple[Encode, Rows]:
    """The cheapest bulk call of an engine, and what makes rows of ids of its result."""
    if engine == "sftprep":
        import sftprep

        ours = sftprep.Tokenizer.from_file(path)

        def cut(batch: Any) -> Iterator[Any]:  # noqa: ANN401
            for start, end in itertools.pairwise(batch.row_starts.tolist()):
                yield batch.ids[start:end]

        return lambda docs: ours.encode_batch(docs, threads=1), cut
    if engine == "tokenizers":
        import tokenizers

        hf = tokenizers.Tokenizer.from_file(path)
        return (
            lambda docs: hf.encode_batch_fast(docs, add_special_tokens=False),
            lambda raw: (e.ids for e in raw),
        )
    if engine == "tiktoken":
        return load_tiktoken(path)
    if engine == "gigatoken":
        import gigatoken

        giga = gigatoken.Tokenizer(path)
        return lambda docs: giga.encode_batch(docs, parallel=False), lambda raw: raw.to_list()
    return load_native(engine, path)


def digests(rows: Iterable[Any]) -> list[str]:
    """A short hash of each document's ids."""
    import numpy as np

    packed = (np.asarray(row, np.uint32).tobytes() for row in rows)
    return [hashlib.blake2b(row, digest_size=8).hexdigest() for row in packed]


def work(engine: str, path: str, texts: str, out: str) -> None:
    """One cell: measures and writes its result."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    docs: list[str] = json.loads(Path(texts).read_text("utf-8"))
    first, second = docs[: len(docs) // 2], docs[len(docs) // 2 :]

    def timed(run: Callable[[], Any]) -> tuple[Any, float]:
        start = time.process_time()
        done = run()
        return done, max(time.process_time() - start, 1e-6)

    def size(part: list[str]) -> float:
        return sum(len(d.encode()) for d in part) / 1e6

    # Results are arrays: whichever engine would be the first to import this, it is not its doing.
    __import__("numpy")
    (encode, rows), load_s = timed(lambda: load(engine, path))
    sizes = itertools.accumulate(len(d.encode()) for d in first)
    head = max(1, sum(1 for s in sizes if s <= 2_000_000))
    raw_head, head_s = timed(lambda: encode(first[:head]))
    raw_rest, rest_s = timed(lambda: encode(first[head:])) if first[head:] else (None, 0.0)
    raw_second, steady_s = timed(lambda: encode(second))
    found = digests(rows(raw_head))
    found += digests(rows(raw_rest)) if raw_rest is not None else []
    found += digests(rows(raw_second))
    # (The reference keeps next to nothing from text to text: what is hot is as cold is.)
    repeats = 0 if engine == "tokenizers" else 3
    hot_s = min((timed(lambda: encode(first))[1] for _ in range(repeats)), default=head_s + rest_s)
    result = {
        "load_s": load_s,
        "first_2mb": size(first[:head]) / head_s,
        "cold": size(first) / (head_s + rest_s),
        "steady": size(second) / steady_s,
        "hot": size(first) / hot_s,
        "rss_mb": peak_mb(),
        "digests": found,
    }
    if engine == "sftprep":
        result["two_threads"] = two_threads(path, docs)
    Path(out).write_text(json.dumps(result), "utf-8")


def peak_mb() -> float:
    """The most memory that this process had, or, where that is all one is told, its parent."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return (found or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] / 1024


def two_threads(path: str, docs: list[str]) -> float:
    """How much less wall time two threads of sftprep take than one, on two cores; all in cache."""
    import sftprep

    ours = sftprep.Tokenizer.from_file(path)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    best = {1: 1e9, 2: 1e9}
    for _ in range(5):
        for threads, least in best.items():
            start = time.perf_counter()
            ours.encode_batch(docs, threads=threads)
            best[threads] = min(least, time.perf_counter() - start)
    return best[1] / best[2]


def run_cell(python: str, engine: str, path: str, texts: Path, scratch: Path) -> dict[str, Any]:
    """Runs one cell; `error` in its result says that there is none, and why."""
    out = scratch / "cell.json"
    out.unlink(missing_ok=True)
    environment = os.environ | {
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",  # its idle threads count as time of the process
        "HF_HUB_OFFLINE": "1",
    }
    command = [python, str(Path(__file__).resolve()), "--cell", engine, path, str(texts), str(out)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": "took longer than 900 s"}
    if not out.is_file():
        return {"error": (done.stderr.strip().splitlines() or ["no result"])[-1][:200]}
    result: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return result


def versions(python: str, engines: Iterable[str]) -> dict[str, str]:
    """Versions of what is installed."""
    code = (
        "import importlib.metadata as m, json, sys; out = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: out[name] = m.version(name)\n"
        "    except m.PackageNotFoundError:\n"
        "        try: out[name] = __import__(name).__version__\n"
        "        except (ImportError, AttributeError): out[name] = 'not installed'\n"
        "print(json.dumps(out))"
    )
    done = subprocess.run(
        [python, "-c", code, *engines], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds of one engine on one corpus."""
    good = [r for r in rounds if "error" not in r]
    if not good:
        return {"error": rounds[0]["error"]}
    keys = ["load_s", "first_2mb", "cold", "steady", "hot", "rss_mb"]
    if "two_threads" in good[0]:
        keys.append("two_threads")
    found = {key: statistics.median(r[key] for r in good) for key in keys}
    return found | {"differing": max(r.get("differing", -1) for r in good)}


def main() -> None:
    """Runs the comparison and writes its JSON."""
    if sys.argv[1:2] == ["--cell"]:
        work(*sys.argv[2:6])
        return
    from compare_prepare import machine

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=LIMIT / 1e6, help="size of a corpus")
    parser.add_argument("--tokenizers", default="qwen3,llama3_1,gemma3,mistral_v3_spm")
    parser.add_argument("--corpora", default=",".join(CORPORA))
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--peers", default=str(ROOT / "benches" / ".peers" / "bin" / "python"))
    parser.add_argument("--out", default=str(RESULTS / "compare_tokenizers.json"))
    options = parser.parse_args()
    engines = options.engines.split(",")
    if not Path(options.peers).is_file():
        sys.stderr.write(f"no peers at {options.peers} (benches/python/setup_peers.sh): skipped\n")
        engines = [e for e in engines if e == "sftprep"]
    if not data_folder().is_dir():
        sys.stderr.write(f"no data at {data_folder()} (SFTPREP_TEST_DATA): skipped\n")
        return
    peers = [e for e in engines if e != "sftprep"]
    result: dict[str, Any] = {
        "what": "compare_tokenizers",
        "settings": {
            k: getattr(options, k) for k in ("tokenizers", "corpora", "engines", "megabytes")
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "rounds": options.rounds,
        "versions": (versions(options.peers, peers) if peers else {})
        | versions(sys.executable, ["sftprep"]),
        "corpora": {},
        "cells": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name in options.corpora.split(","):
            docs = corpus(name, options.megabytes * 1e6)
            size = sum(len(d.encode()) for d in docs)
            result["corpora"][name] = {"documents": len(docs), "bytes": size}
            texts = scratch / f"{name}.json"
            texts.write_text(json.dumps(docs), "utf-8")
            for tokenizer in options.tokenizers.split(","):
                path = str(data_folder() / "tokenizers" / tokenizer / "tokenizer.json")
                found: dict[str, list[dict[str, Any]]] = {e: [] for e in engines}
                reference: list[str] | None = None
                for number in range(options.rounds):
                    order = engines if number % 2 == 0 else engines[::-1]
                    for engine in order:
                        if engine == "tokenizers" and number > 0:
                            continue  # the reference; two orders slower
                        python = sys.executable if engine == "sftprep" else options.peers
                        cell = run_cell(python, engine, path, texts, scratch)
                        if engine == "tokenizers":
                            reference = cell.get("digests")
                        ids = cell.pop("digests", None)
                        if ids is not None and reference is not None:
                            cell["differing"] = sum(
                                a != b for a, b in zip(ids, reference, strict=True)
                            )
                        found[engine].append(cell)
                cells = {engine: summary(rounds) for engine, rounds in found.items() if rounds}
                result["cells"][f"{tokenizer}/{name}"] = cells
                shown = {e: round(c.get("steady", 0), 1) for e, c in cells.items()}
                sys.stderr.write(f"{tokenizer} {name}: steady MB per CPU s {shown}\n")
                Path(options.out).write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

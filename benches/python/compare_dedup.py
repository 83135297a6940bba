"""Near-duplicates from raw text: documents per CPU second of sftprep's peers, on one corpus.

Make the corpus and sftprep's own figures first::

    CORPUS=corpus.jsonl cargo run --release -p sftprep-quality --example dedup_speed -- alpaca.jsonl
    PEERS/bin/python benches/python/compare_dedup.py corpus.jsonl

``PEERS`` is an environment with rensa, datasketch and text-dedup. All get the same word 3-grams of
lower-case text, 128 hashes and a threshold of 0.7. None of them verifies its candidates, so what
is timed here ends before the step with which sftprep's figures end.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

HASHES = 128
THRESHOLD = 0.7


def shingles(text: str) -> list[str]:
    """Word 3-grams, as a careful person would write it."""
    words = text.lower().split()
    return list({" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))})


def rensa(texts: list[str]) -> str:
    """The fastest path of rensa: all signatures at once, flags of duplicates."""
    from rensa import RMinHash, RMinHashLSH

    digests = RMinHash.digest_matrix_from_token_sets(map(shingles, texts), HASHES, 1)
    index = RMinHashLSH(THRESHOLD, HASHES, 32)
    flags = index.query_duplicate_flags_matrix_one_shot(digests)
    return f"{sum(map(bool, flags))} rows flagged"


def datasketch(texts: list[str]) -> str:
    """Signatures in bulk, then one query per document."""
    from datasketch import MinHash, MinHashLSH

    sets = ([token.encode() for token in shingles(text)] for text in texts)
    index = MinHashLSH(threshold=THRESHOLD, num_perm=HASHES)
    found = 0
    for name, each in enumerate(MinHash.generator(sets, num_perm=HASHES)):
        found += bool(index.query(each))
        index.insert(name, each)
    return f"{found} rows flagged"


def text_dedup(texts: list[str]) -> str:
    """Signatures only; the rest of text-dedup is a program around data sets."""
    import re

    import numpy as np
    from text_dedup.minhash import embed_func

    random = np.random.RandomState(42)
    prime = np.uint64((1 << 61) - 1)
    permutations = (
        random.randint(1, prime, HASHES, dtype=np.uint64),
        random.randint(0, prime, HASHES, dtype=np.uint64),
    )
    from text_dedup.utils.hashfunc import xxh3_64hash

    for name, text in enumerate(texts):
        embed_func(
            content=text,
            idx=name,
            num_perm=HASHES,
            ngram_size=3,
            min_length=0,
            hashranges=[(at * 5, at * 5 + 5) for at in range(25)],
            permutations=permutations,
            hash_func=xxh3_64hash,
            dtype=np.uint64,
            max_hash=np.uint64((1 << 32) - 1),
            modulo_prime=prime,
            ngram_pattern=re.compile(r"\W"),
        )
    return "signatures only"


def measure(run: Callable[[list[str]], str], texts: list[str]) -> dict[str, Any]:
    """CPU seconds of one run on one thread, or why there are none."""
    name = run.__name__.replace("_", "-")
    started = time.process_time()
    try:
        result = run(texts)
    except Exception as error:
        return {"peer": name, "failed": f"{type(error).__name__}: {error}"}
    seconds = time.process_time() - started
    return {
        "peer": f"{name} {version(name)}",
        "cpu_seconds": round(seconds, 3),
        "documents_per_cpu_second": round(len(texts) / seconds),
        "result": result,
    }


def main() -> None:
    """Prints one JSON object per peer."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").split("\n")
    texts = [json.loads(line) for line in lines if line]
    for run in (rensa, datasketch, text_dedup):
        print(json.dumps(measure(run, texts)), flush=True)


if __name__ == "__main__":
    main()

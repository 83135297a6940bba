"""Single flipped bits: `verify` finds every one, and reading without it never ends the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import conversation

import sftprep

FULL = os.environ.get("SFTPREP_REQUIRE_DATA") == "1"
FLIPS = 2000 if FULL else 200

# In a process of its own, so that a crash is seen as one; it prints how far it came.
PROGRAM = """
import json, random, sys
from pathlib import Path
import sftprep
from sftprep import _core
from sftprep.errors import SftprepError

folder, flips = Path(sys.argv[1]), int(sys.argv[2])
manifest = json.loads(_core.read_manifest(folder))
names = [file["name"] for file in manifest["files"] if file["bytes"]]
names.append("sftprep.manifest.json")
chance = random.Random(5)
found = refused = 0
for number in range(flips):
    path = folder / names[number % len(names)]
    whole = path.read_bytes()
    bit = chance.randrange(8 * len(whole))
    with path.open("r+b") as file:
        file.seek(bit // 8)
        file.write(bytes([whole[bit // 8] ^ 1 << bit % 8]))
    try:
        found += not json.loads(_core.verify(folder))["ok"]
    except SftprepError:
        found += 1
    try:
        rows = sftprep.ShardDataset(folder)
        for row in range(len(rows)):
            sum(int(values.sum()) for values in rows[row].values())
            rows.documents(row)
    except SftprepError:
        refused += 1
    path.write_bytes(whole)
print(json.dumps([found, refused]))
"""


def test_every_flipped_bit_is_found_and_none_ends_the_process(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    rows = [conversation(index, 1 + index % 3) for index in range(60)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows) + "{bad\n"
    (tmp_path / "chat.jsonl").write_text(lines)
    out = tmp_path / "out"
    sftprep.pack(
        tmp_path / "chat.jsonl", out=out, tokenizer=tokenizer_dir, max_len=512, shard_bytes=16 << 10
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), str(FLIPS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    found, _ = json.loads(done.stdout)
    assert found == FLIPS


@pytest.mark.parametrize("name", ["data-00000", "spans-00000", "ledger", "tokenizer.json"])
@pytest.mark.parametrize("how", ["cut", "batch", "empty", "longer", "swapped", "gone"])
def test_whole_files_that_are_wrong_are_found_quickly(
    tmp_path: Path, packed: Path, name: str, how: str
) -> None:
    import shutil

    from sftprep import _core

    copy = shutil.copytree(packed, tmp_path / "copy")
    manifest = json.loads(_core.read_manifest(copy))
    listed = [file for file in manifest["files"] if file["name"].startswith(name)]
    path = copy / listed[0]["name"]
    data = path.read_bytes()
    same_kind = sorted(copy.glob(f"{name.partition('-')[0]}*"))
    other = same_kind[-1]
    batches = listed[0].get("batches", [])
    after_first = batches[1]["buffers"][0][0] if len(batches) > 1 else len(data) // 2
    wrong = {
        "cut": data[:-1],
        "batch": data[:after_first],
        "empty": b"",
        "longer": data + b"\0" * 64,
        "swapped": other.read_bytes() if other != path else data[::-1],
    }
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(wrong[how])
    report = json.loads(_core.verify(copy, full=how == "swapped" and len(wrong[how]) == len(data)))
    assert not report["ok"]
    assert any(finding["file"] == path.name for finding in report["findings"])

"""Object stores: whatever dies or meets, there is one whole dataset or none.

The store is moto's, an S3-compatible server on loopback.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, conversation

import sftprep
from sftprep import cloud
from sftprep.config import MANIFEST_NAME
from sftprep.errors import ConfigError, OutputError, ShardError, SourceError

Write = Callable[..., Path]

for name in ("moto", "obstore", "flask"):
    if find_spec(name) is None:
        pytest.skip(f"needs {name}", allow_module_level=True)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that keeps objects in memory."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: Any) -> str:  # noqa: ANN401
    """The URL of an empty bucket."""
    settings = {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
    }  # fmt: skip
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    name = f"bucket-{abs(hash(request.node.name)) % 10**9}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}"


def put(url: str, data: bytes) -> None:
    place = cloud.parse(url)
    cloud.open_store(place).put(place.key, data)


def keys(url: str) -> set[str]:
    """Names of the objects at a place."""
    place = cloud.parse(url)
    listed = cloud.open_store(place).list(place.key or None)
    return {entry["path"].removeprefix(f"{place.key}/") for chunk in listed for entry in chunk}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the report, which tells the time."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name != "sftprep.report.json"
    }


@pytest.fixture
def other(tmp_path: Path, tokenizer_dir: Path, write_rows: Write) -> Path:
    """Another dataset, whose files have the same names."""
    rows = write_rows([conversation(index) for index in range(900, 1500)], "other.jsonl")
    given: Any = {"tokenizer": tokenizer_dir, "max_len": 512, "shard_bytes": 64 << 10}
    sftprep.pack(rows, out=tmp_path / "other", **given)
    return tmp_path / "other"


def test_a_dataset_goes_up_and_comes_down(bucket: str, packed: Path, tmp_path: Path) -> None:
    names = cloud.upload(packed, f"{bucket}/a/packs")
    assert names[-1] == f"{bucket}/a/packs/{MANIFEST_NAME}"
    assert keys(f"{bucket}/a/packs") == {name.rpartition("/")[2] for name in names}
    assert cloud.upload(packed, f"{bucket}/a/packs/") == names  # again: nothing to do
    cloud.download(f"{bucket}/a/packs", tmp_path / "down")
    assert contents(tmp_path / "down") == contents(packed)
    assert len(sftprep.ShardDataset(tmp_path / "down")) == len(sftprep.ShardDataset(packed))
    with pytest.raises(OutputError) as caught:
        cloud.download(f"{bucket}/a/packs", tmp_path / "down")
    assert caught.value.code == "output.exists"


class Broken(Exception):
    """The network is gone."""


def test_an_upload_that_breaks_anywhere_is_no_dataset_and_is_gone_on_with(
    bucket: str, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    real, want = obstore.put, contents(packed)
    steps = len(want) + 2  # the claim, all files, the report, and the manifest
    for stop in range(steps):
        url, calls = f"{bucket}/break-{stop}", 0

        def breaking(*args: Any, _stop: int = stop, **kwargs: Any) -> Any:  # noqa: ANN401
            nonlocal calls
            calls += 1
            if calls > _stop:
                raise Broken
            return real(*args, **kwargs)

        monkeypatch.setattr(obstore, "put", breaking)
        with pytest.raises(Broken):
            cloud.upload(packed, url)
        monkeypatch.setattr(obstore, "put", real)
        assert MANIFEST_NAME not in keys(url)
        with pytest.raises(ShardError) as caught:
            cloud.download(url, tmp_path / f"none-{stop}")
        assert caught.value.code == "shard.missing"
        assert not list(tmp_path.glob("*none*"))
        cloud.upload(packed, url)
        assert cloud.CLAIM_NAME not in keys(url)
        assert contents(cloud.download(url, tmp_path / f"whole-{stop}")) == want
    assert calls == steps


def test_an_upload_that_is_killed(
    bucket: str, packed: Path, other: Path, tmp_path: Path, endpoint: str
) -> None:
    program = """
import os, signal, sys
import obstore
from sftprep import cloud
real, left = obstore.put, [int(sys.argv[3])]
def put(*args, **kwargs):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return real(*args, **kwargs)
obstore.put = put
cloud.upload(sys.argv[1], sys.argv[2])
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "python")}
    for stop in (1, 4, len(contents(packed)) + 1):
        url = f"{bucket}/kill-{stop}"
        command = [sys.executable, "-c", program, str(packed), url, str(stop)]
        assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == -9
        assert MANIFEST_NAME not in keys(url)
        # what is left belongs to that dataset: another one does not mix with it
        with pytest.raises(OutputError) as caught:
            cloud.upload(other, url)
        assert caught.value.code == "output.locked"
        cloud.upload(packed, url)
        down = cloud.download(url, tmp_path / f"killed-{stop}")
        assert contents(down) == contents(packed)
        cloud.upload(other, url, overwrite=True)
        down = cloud.download(url, tmp_path / f"other-{stop}")
        assert contents(down) == contents(other)
        assert keys(url) == {path.name for path in other.iterdir()}


def test_two_uploads_at_once_leave_one_whole_dataset(
    bucket: str, packed: Path, other: Path, tmp_path: Path
) -> None:
    for number in range(4):
        url, errors = f"{bucket}/race-{number}", []

        def up(folder: Path, url: str = url, errors: list[Any] = errors) -> None:
            try:
                cloud.upload(folder, url)
            except OutputError as error:
                errors.append(error.code)

        folders = [packed, packed] if number == 0 else [packed, other, packed]
        threads = [threading.Thread(target=up, args=(folder,)) for folder in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = contents(cloud.download(url, tmp_path / f"race-{number}"))
        assert found in (contents(packed), contents(other))
        if number == 0:
            assert errors == []
        assert set(errors) <= {"output.exists", "output.locked"}
        assert 0 <= len(errors) < len(folders)


def test_the_manifest_is_put_once(bucket: str, packed: Path, other: Path) -> None:
    """Both have passed every check before: the store itself decides."""
    place = cloud.parse(f"{bucket}/commit")
    store = cloud.open_store(place)
    first, second = ((folder / MANIFEST_NAME).read_bytes() for folder in (packed, other))
    cloud._commit(store, place, first)
    cloud._commit(store, place, first)
    with pytest.raises(OutputError) as caught:
        cloud._commit(store, place, second)
    assert caught.value.code == "output.exists"
    assert cloud._get(store, place.child(MANIFEST_NAME)) == first


def test_another_dataset_is_replaced_only_on_request(
    bucket: str, packed: Path, other: Path, tmp_path: Path
) -> None:
    url = f"{bucket}/packs"
    cloud.upload(packed, url)
    with pytest.raises(OutputError) as caught:
        cloud.upload(other, url)
    assert caught.value.code == "output.exists"
    assert contents(cloud.download(url, tmp_path / "still")) == contents(packed)
    cloud.upload(other, url, overwrite=True)
    assert contents(cloud.download(url, tmp_path / "now")) == contents(other)
    put(f"{bucket}/foreign/notes.txt", b"mine")
    with pytest.raises(OutputError, match="other objects"):
        cloud.upload(packed, f"{bucket}/foreign")
    assert keys(f"{bucket}/foreign") == {"notes.txt"}


def test_what_is_damaged_or_hostile_does_not_come_down(
    bucket: str, packed: Path, tmp_path: Path
) -> None:
    url = f"{bucket}/packs"
    cloud.upload(packed, url)
    shard = next(path for path in packed.glob("data-*")).name
    data = bytearray((packed / shard).read_bytes())
    data[len(data) // 2] ^= 1
    put(f"{url}/{shard}", bytes(data))
    with pytest.raises(ShardError) as caught:
        cloud.download(url, tmp_path / "down")
    assert caught.value.code == "shard.corrupt"
    manifest = (packed / MANIFEST_NAME).read_bytes()
    put(f"{url}/{MANIFEST_NAME}", manifest.replace(shard.encode(), b"../" + shard.encode()[3:]))
    with pytest.raises(ShardError):
        cloud.download(url, tmp_path / "down")
    assert list(tmp_path.iterdir()) == []


def test_pack_from_and_to_a_store_gives_the_bytes_of_local_files(
    bucket: str, tmp_path: Path, tokenizer_dir: Path, write_rows: Write
) -> None:
    given: Any = {"tokenizer": tokenizer_dir, "max_len": 300, "date": "2025-01-01"}
    folder = tmp_path / "data"
    folder.mkdir()
    for name, first in (("a", 0), ("b", 50)):
        rows = [conversation(index) for index in range(first, first + 40)]
        write_rows(rows, f"data/{name}.jsonl")
        put(f"{bucket}/data/{name}.jsonl", (folder / f"{name}.jsonl").read_bytes())
    put(f"{bucket}/data/readme.md", b"no rows")
    put(f"{bucket}/database/c.jsonl", b"not json\n")
    sftprep.pack([folder], out=tmp_path / "local", **given)
    want = contents(tmp_path / "local")
    for number, inputs in enumerate(
        ([f"{bucket}/data"], [f"{bucket}/data/*.jsonl"],
         [f"{bucket}/data/a.jsonl", f"{bucket}/data/b.jsonl"])
    ):  # fmt: skip
        out = f"{bucket}/packs-{number}"
        report = sftprep.pack(inputs, out=out, **given)
        assert report.out == out
        found = contents(cloud.download(out, tmp_path / f"down-{number}"))
        assert found == want
    sftprep.pack(f"{bucket}/data", out=tmp_path / "from-store", **given)
    assert contents(tmp_path / "from-store") == want
    sftprep.pack(folder, out=f"{bucket}/to-store", **given)
    assert contents(cloud.download(f"{bucket}/to-store", tmp_path / "to-store")) == want
    with pytest.raises(OutputError) as caught:
        sftprep.pack(folder, out=f"{bucket}/to-store", **given)
    assert caught.value.code == "output.exists"
    sftprep.pack(folder, out=f"{bucket}/to-store", overwrite=True, **(given | {"max_len": 400}))
    assert keys(f"{bucket}/to-store") >= {MANIFEST_NAME}
    report = sftprep.pack(f"{bucket}/data", out=f"{bucket}/dry", dry_run=True, **given)
    assert report.totals.packed == 80
    assert keys(f"{bucket}/dry") == set()


def test_a_run_whose_upload_failed_goes_on(
    bucket: str, tmp_path: Path, tokenizer_dir: Path, chat_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    put(f"{bucket}/chat.jsonl", chat_file.read_bytes())
    given: Any = {"tokenizer": tokenizer_dir, "max_len": 300, "stage": tmp_path / "stage"}
    real, inputs, out = cloud._put_file, f"{bucket}/chat.jsonl", f"{bucket}/packs"

    def broken(*_: Any) -> None:  # noqa: ANN401
        raise Broken

    monkeypatch.setattr(cloud, "_put_file", broken)
    with pytest.raises(Broken):
        sftprep.pack(inputs, out=out, **given)
    monkeypatch.setattr(cloud, "_put_file", real)
    kept = next((tmp_path / "stage" / "in").rglob("chat.jsonl"))
    before = kept.stat().st_ino
    sftprep.pack(inputs, out=out, resume=True, **given)
    assert kept.stat().st_ino == before  # not fetched again
    sftprep.pack(chat_file, out=tmp_path / "local", tokenizer=tokenizer_dir, max_len=300)
    down = cloud.download(out, tmp_path / "down")
    assert (
        sftprep.ShardDataset(down).content_id == sftprep.ShardDataset(tmp_path / "local").content_id
    )
    put(inputs, chat_file.read_bytes() + (json.dumps(conversation(7)) + "\n").encode())
    sftprep.pack(inputs, out=tmp_path / "again", **given)
    assert kept.stat().st_ino != before  # the object has changed
    with pytest.raises(ConfigError, match="--stage"):
        sftprep.pack(inputs, out=out, tokenizer=tokenizer_dir, resume=True)


def test_what_is_wrong_is_said(bucket: str, tmp_path: Path, tokenizer_dir: Path) -> None:
    given: Any = {"out": tmp_path / "out", "tokenizer": tokenizer_dir}
    for url, kind, said in (
        ("ftp://host/file.jsonl", ConfigError, "not a place in an object store"),
        (f"{bucket}/nowhere.jsonl", SourceError, "no object of a known kind"),
        (f"{bucket}/nowhere/*.jsonl", SourceError, "no object of a known kind"),
        ("s3://no-such-bucket/a.jsonl", SourceError, "no object|refused"),
    ):
        with pytest.raises(kind, match=said):
            sftprep.pack(url, **given)
    with pytest.raises(ConfigError, match="meet in a local folder"):
        sftprep.pack(f"{bucket}/a.jsonl", task=(1, 2), **given)
    with pytest.raises(ShardError):
        cloud.upload(tmp_path, f"{bucket}/packs")
    assert keys(f"{bucket}/packs") == set()


def test_a_key_does_not_lead_out_of_the_folder() -> None:
    from sftprep import cloud_stage

    for key in ("../a.jsonl", "a/../../b.jsonl", "/a.jsonl", "a//b.jsonl", "a\\b.jsonl", "a/./b"):
        with pytest.raises(SourceError, match="cannot be a file's path"):
            cloud_stage._parts(key)


def test_too_much_for_the_disk_is_refused_first(
    bucket: str, tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{bucket}/a.jsonl", b"{}\n" * 100)
    usage = shutil.disk_usage(tmp_path)._replace(free=200)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError) as caught:
        sftprep.pack(f"{bucket}/a.jsonl", out=tmp_path / "out", tokenizer=tokenizer_dir)
    assert caught.value.code == "output.disk_full"


def test_the_commands(bucket: str, packed: Path, tmp_path: Path, sftprep: Any) -> None:  # noqa: ANN401
    put(f"{bucket}/chat.jsonl", (json.dumps(conversation(1)) + "\n").encode())
    arguments = ["--tokenizer", packed, "--max-len", "256", "--out", f"{bucket}/small", "--quiet"]
    done = sftprep("pack", f"{bucket}/chat.jsonl", *arguments)
    assert done.returncode == 0, done.stderr
    assert f"wrote {bucket}/small" in done.stdout
    done = sftprep("upload", packed, f"{bucket}/packs")
    assert done.returncode == 0, done.stderr
    done = sftprep("upload", packed, f"{bucket}/small")
    assert (done.returncode, "output.exists" in done.stderr) == (2, True)
    done = sftprep("download", f"{bucket}/packs", "down")
    assert (done.returncode, done.stdout) == (0, "down: checked\n"), done.stderr
    assert contents(tmp_path / "down") == contents(packed)
    done = sftprep("download", f"{bucket}/nowhere", "nowhere")
    assert (done.returncode, "shard.missing" in done.stderr) == (5, True)

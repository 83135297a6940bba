"""``sftprep inspect --html``: the page's structure, and in a browser its keyboard and search."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import sftprep
from sftprep import cli
from sftprep.page import KINDS

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# Played by the page itself: keys are sent as a keyboard sends them, and what shows is written down.
SCRIPT = """<script>
const said = [], $ = one => document.querySelector(one);
const note = name => said.push([name, $("i.at")?.dataset.p ?? null, $(".doc.here")?.id ?? null,
  $("#count").textContent, document.querySelectorAll("i.hit").length, $("#token").textContent]);
const press = (key, more = {}) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true, ...more}));
note("start");
for (const key of ["n", "n", "p", "p", "n", "t", "t", "T", "ArrowRight", "ArrowLeft"]) {
  press(key); note(key);
}
press("/"); note(document.activeElement.id);
$("#search").value = "WANTED"; $("#search").dispatchEvent(new Event("input")); note("found");
press("Enter"); note("Enter"); press("Enter", {shiftKey: true}); note("Shift+Enter");
$("#search").value = "no such text"; $("#search").dispatchEvent(new Event("input")); note("none");
press("n"); note("typed");
press("Escape"); note("Escape");
$("main i:last-of-type").click(); note("click");
const dark = document.documentElement.classList.contains("dark");
press("d"); said.push(["theme", dark !== document.documentElement.classList.contains("dark")]);
const out = document.createElement("script");
out.type = "application/json"; out.id = "said"; out.textContent = JSON.stringify(said);
document.body.append(out);
</script></body>"""


class Page(html.parser.HTMLParser):
    """What a page says about its tokens."""

    VOID = frozenset({"meta", "input", "br"})

    def __init__(self, text: str) -> None:
        """Reads the page."""
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.tokens: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.outside: list[str] = []
        self.feed(text)
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        own = dict(attrs)
        self.outside += [str(own[name]) for name in ("src", "href", "action") if name in own]
        if tag not in self.VOID:
            self.open.append((tag, own))
        if "id" in own:
            self.ids.append(str(own["id"]))
        if tag == "i":
            span = self.open[-2][1]
            article = next(a for t, a in reversed(self.open) if t == "article")
            self.tokens.append(
                {
                    "text": "",
                    "id": int(str(own["data-i"])),
                    "position": int(str(own["data-p"])),
                    "on": own.get("class") == "on",
                    "kind": span["data-k"],
                    "doc": article["id"],
                }
            )

    def handle_endtag(self, tag: str) -> None:
        """Closes an element."""
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        """Text of a token."""
        if self.open and self.open[-1][0] == "i":
            self.tokens[-1]["text"] += data


def write(folder: Path, packs: Path, *more: str) -> Path:
    """The page of a dataset."""
    path = folder / "page.html"
    assert cli.main(["inspect", str(packs), "--html", str(path), *more]) == 0
    return path


def test_the_page_holds_every_token_with_kind_and_label(packed: Path, tmp_path: Path) -> None:
    rows = sftprep.ShardDataset(packed)
    tokenizer = sftprep.Tokenizer.from_file(packed)
    page = Page(write(tmp_path, packed, "--count", "3").read_text("utf-8"))
    shown = page.tokens
    assert len(page.ids) == len(set(page.ids))
    for index in range(3):
        row = rows[index]
        own = [it for it in shown if it["doc"].startswith(f"row-{index}-")]
        assert [it["id"] for it in own] == row["input_ids"].tolist()
        assert [it["position"] for it in own] == list(range(len(own)))
        assert [it["on"] for it in own] == (row["labels"] >= 0).tolist()
        text = "".join(it["text"] for it in own).replace("↵", "")
        assert text == tokenizer.decode(row["input_ids"])
        for number, document in enumerate(rows.documents(index)):
            part = [it for it in own if it["doc"] == f"row-{index}-doc-{number}"]
            assert len(part) == document.end - document.start
            kinds = [span.kind for span in document.spans for _ in range(span.start, span.end)]
            assert [it["kind"] for it in part] == kinds
            assert set(kinds) <= set(KINDS)


def test_the_page_needs_no_network_and_cannot_be_broken_out_of(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    hostile = "</pre><script>alert(1)</script><!--rows--> & \u202e \x1b[31m"
    row = {
        "messages": [
            {"role": "user", "content": hostile},
            {"role": "assistant", "content": hostile},
        ]
    }
    path = tmp_path / "a'b <i>.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    packs = tmp_path / 'packs "<b>'
    sftprep.pack(path, out=packs, tokenizer=tokenizer_dir, max_len=512)
    text = write(tmp_path, packs).read_text("utf-8")
    page = Page(text)
    assert page.outside == []
    assert not re.search(r"https?://|url\(|@import", text)
    assert text.count("<script") == 1
    assert "\u202e" not in text
    assert "\x1b" not in text
    shown = "".join(token["text"] for token in page.tokens)
    assert shown.count("</pre><script>alert(1)</script><!--rows--> & \\u202e \\x1b[31m") == 2


def test_what_cannot_be_written_is_said(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(packed), "--html", str(tmp_path / "no" / "page.html")]) == 4
    assert "cannot be written" in capsys.readouterr().err
    page = str(tmp_path / "page.html")
    assert cli.main(["inspect", str(packed), "--row", "9999", "--html", page]) == 2
    assert cli.main(["inspect", str(packed), "--document", "1", "--html", page]) == 2
    assert not Path(page).exists()


def played(page: Path, script: str) -> list[Any]:
    """What the script noted when a browser showed the page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    copy = page.with_name("played.html")
    copy.write_text(page.read_text("utf-8").replace("</body>", script), encoding="utf-8")
    profile = page.with_name("profile")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={profile}", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'id="said">(.*?)</script>', done.stdout, re.DOTALL)
    assert found, done.stderr
    said: list[Any] = json.loads(found[1])
    return said


def test_keyboard_and_search_work_in_a_browser(tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    sftprep.pack(
        ROOT / "examples/demo", out=packs, tokenizer="builtin", max_len=1024, date="2025-01-01"
    )
    rows = sftprep.ShardDataset(packs)
    documents, labels = rows.documents(0), rows[0]["labels"]
    runs = [at for at in range(len(labels)) if labels[at] >= 0 and (at == 0 or labels[at - 1] < 0)]
    wanted = "im_end"
    said = played(write(tmp_path, packs), SCRIPT.replace("WANTED", wanted.upper()))
    steps = {}
    for step in said:
        steps.setdefault(step[0], []).append(step[1:])
    start = lambda number: str(documents[number].start)  # noqa: E731
    assert steps["start"][0][:2] == [None, None]
    assert [it[:2] for it in steps["n"]] == [
        [start(0), "row-0-doc-0"],
        [start(1), "row-0-doc-1"],
        [start(0), "row-0-doc-0"],
    ], "the last document comes before the first"
    assert steps["p"][0][:2] == [start(0), "row-0-doc-0"]
    assert steps["p"][1][:2] == [start(len(documents) - 1), f"row-0-doc-{len(documents) - 1}"]
    assert [it[0] for it in steps["t"]] == [str(runs[0]), str(runs[1])]
    assert steps["T"][0][0] == str(runs[0])
    assert f"sftprep explain {packs}:0:{runs[0]}" in steps["T"][0][-1]
    assert "trained" in steps["T"][0][-1]
    assert steps["ArrowRight"][0][0] == str(runs[0] + 1)
    assert steps["ArrowLeft"][0][0] == str(runs[0])
    assert "search" in steps
    tokenizer = sftprep.Tokenizer.from_file(packs)
    whole = tokenizer.decode(rows[0]["input_ids"])
    count = whole.lower().count(wanted)
    assert steps["found"][0][2] == f"1 of {count}"
    assert steps["found"][0][3] >= count
    assert steps["Enter"][0][2] == f"2 of {count}"
    assert steps["Shift+Enter"][0][2] == f"1 of {count}"
    assert steps["none"][0][2:4] == ["no match", 0]
    assert steps["typed"][0][:2] == steps["none"][0][:2], "keys typed into the search are text"
    assert steps["Escape"][0][2:4] == ["", 0]
    assert steps["click"][0][0] is not None
    assert steps["theme"] == [[True]]

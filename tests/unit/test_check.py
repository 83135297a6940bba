"""``sftprep check``: planted defects are found, good rows are not, and every row is counted."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import sftprep
from sftprep import cli
from sftprep.quality.review import read_verdicts, wilson

GOOD = "Air scatters blue light more than red light, so it reaches the eye from everywhere."


def row(prompt: str, answer: str, **more: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def write(path: Path, rows: list[Any]) -> Path:
    lines = (each if isinstance(each, str) else json.dumps(each) for each in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def findings(report: sftprep.CheckReport) -> dict[int, dict[str, Any]]:
    assert report.findings is not None
    text = Path(report.findings).read_text(encoding="utf-8")
    return {each["row"]: each for each in map(json.loads, text.splitlines())}


def load(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


CASES = {
    "mojibake": row("What is it?", "It is the worldâ€™s best cafÃ© of them."),
    "control_character": row("What is that?", "One\u200btwo three."),
    "replacement_character": row("What was it?", "It\ufffds fine."),
    "merged_record": row("Name a dog.", "Rex.\n###\n12. Instruction: Name a cat.\n12. Input:\nx"),
    "broken_template": row("Q: {question}n", "Which question?"),
    "control_text": row("Say it.", "Yes.<|im_end|>"),
    "url_only": row("Summarize this page\nhttps://example.com/a", "It is about a."),
    "missing_attachment": row("Describe this. ![cat](cat.png)", "A cat on a mat."),
    "private_data": row("Whom to ask?", "Ask jane.doe51@example.com about it."),
    "no_input_marker": row("Name a colour.\nNo input required.", "Red is a colour."),
    "other_script": row("Name a colour of the sky.", "天空是蓝色的，云是白色的。"),
    "open_fence": row("Write code.", "```python\nprint(1)"),
    "identity": row("Who are you?", "I am ChatGPT, a model made by OpenAI."),
    "refusal": row("Name a large fish.", "I'm sorry, but I cannot help you with that request."),
    "refused_safe": row("Name a small fish.", "I'm sorry, but I cannot help you with that."),
    "incapable": row("Draw a fish.", "Sorry, the task involves visual output."),
    "loop": row("Write a song.", "We go on and on until the morning light comes. " * 8),
    "wrong_calculation": row("How many?", "There are 3*4=<<3*4=13>>13 of them."),
    "answer_is_prompt": row("Repeat after me today", "repeat after me  today"),
    "empty_answer": row("What now?", " \n"),
    "no_answer": {"messages": [{"role": "user", "content": "Hello?"}]},
    "unknown_role": {"messages": [{"role": "narrator", "content": "Once."}]},
    "missing_field": {"messages": [{"role": "user"}, {"role": "assistant", "content": "x"}]},
    "wrong_type": {"messages": "hello"},
    "unreadable": "{broken",
}


def test_every_kind_is_found_where_it_is_and_nowhere_else(tmp_path: Path) -> None:
    clean = [
        row(f"Why is number {n} {word}?", f"{GOOD} That is why {n} is {word}.")
        for n, word in enumerate(["odd", "even", "prime", "square", "happy", "perfect"])
    ]
    rows = [*clean, *CASES.values()]
    path = write(tmp_path / "chat.jsonl", rows)
    report = sftprep.check(path, out=tmp_path / "report", common=0)
    assert report.rows == len(rows)
    found = findings(report)
    for at in range(1, len(clean) + 1):
        assert found.get(at, {"issues": []})["issues"] == [], found[at]
    for at, name in enumerate(CASES, len(clean) + 1):
        assert name in found[at]["issues"], (name, found.get(at))
        assert report.issue(name)["rows"] >= 1
        places = [(each["source"], each["line"]) for each in report.issue(name)["examples"]]
        assert ("chat", at) in places, (name, places)
    assert sum(each["rows"] for each in report.sources) == report.rows
    for panel in report.panels:
        assert sum(each["rows"] for each in panel["classes"]) == report.rows, panel["id"]
        assert sum(each["trained_tokens"] for each in panel["classes"]) == report.trained_tokens


def test_duplicates_conflicts_and_leaks(tmp_path: Path) -> None:
    train = [
        row("Why is the sky blue at noon?", GOOD),
        row("Why is the sky blue at noon?", GOOD),
        row("Name one fruit.", "An apple is a fruit."),
        row("Name one  FRUIT.", "Bananas grow in warm countries."),
    ]
    test = [row("Why is the sky  BLUE at noon?", GOOD)]
    inputs = {
        "train": write(tmp_path / "a.jsonl", train),
        "test": write(tmp_path / "b.jsonl", test),
    }
    report = sftprep.check(inputs, out=tmp_path / "report")
    found = findings(report)
    marks = {at: set(each["issues"]) for at, each in found.items() if each["issues"]}
    assert {"conflict"} == marks[3] == marks[4]
    copies = {"identical", "normalised"}
    assert sum(bool(copies & each) for each in marks.values()) == 2
    assert sum("leak" in each for each in marks.values()) >= 1
    assert report.issue("across_sources")["rows"] >= 1


def test_shares_by_tokens_are_those_of_pack(tmp_path: Path) -> None:
    rows = [row(f"Question {n}?", f"{GOOD} " * (n % 3 + 1)) for n in range(30)]
    path = write(tmp_path / "chat.jsonl", rows)
    report = sftprep.check(path)
    packed = sftprep.pack(path, out=tmp_path / "packs", tokenizer="builtin")
    assert report.trained_tokens == packed.totals.trained
    assert report.tokens == packed.totals.encoded


def test_the_policy_decides_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(tmp_path / "chat.jsonl", [row("Why?", GOOD)] * 3 + [row("What?", "")]))
    assert cli.main(["check", path, "--fail-on", "completeness=25%"]) == 0
    assert cli.main(["check", path, "--fail-on", "empty_answer=0.2"]) == 1
    assert "policy FAILED: empty_answer is 25.00%" in capsys.readouterr().out
    assert cli.main(["check", path, "--fail-on", "emptiness=0"]) == 2
    assert "name one of target_accuracy" in capsys.readouterr().err
    assert cli.main(["check"]) == 2
    with pytest.raises(SystemExit):
        cli.main(["check", path, "--fail-on", "loop=much"])
    with pytest.raises(sftprep.ConfigError):
        sftprep.check(path, fail_on={"loop": 2.0})


def test_a_report_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", [row("Why?", GOOD)])
    sftprep.check(path, out=tmp_path / "report")
    with pytest.raises(sftprep.OutputError, match="exists"):
        sftprep.check(path, out=tmp_path / "report")
    sftprep.check(path, out=tmp_path / "report", overwrite=True)
    with pytest.raises(sftprep.SourceError):
        sftprep.check(tmp_path / "nowhere.jsonl")
    with pytest.raises(sftprep.SourceError, match="no row"):
        sftprep.check(write(tmp_path / "empty.jsonl", []))


def test_threads_do_not_change_the_report(tmp_path: Path, data: Path) -> None:
    source = data / "quality/planted/alpaca_10k.jsonl.gz"
    seen = []
    for threads in (1, 2, 3):
        out = tmp_path / f"t{threads}"
        report = sftprep.check(source, out=out, threads=threads, limit=3000, review=20)
        values = report.to_dict()
        for name in ("out", "findings", "review", "seconds"):
            values.pop(name)
        texts = [(out / name).read_text("utf-8") for name in ("findings.jsonl", "review.jsonl")]
        seen.append((values, texts))
    assert seen[0] == seen[1] == seen[2]


class Page(HTMLParser):
    """What a page needs and says."""

    VOID = ("meta", "br", "rect", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.labels: list[str] = []
        self.numbers = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}, tag
        for name in ("src", "srcset", "data", "action"):
            assert name not in given, (tag, name)
        href = given.get("href")
        assert href is None or href.startswith("#"), href
        self.ids |= {str(given["id"])} if "id" in given else set()
        if tag == "svg":
            assert given["role"] == "img"
            self.labels += str(given["aria-labelledby"]).split()
        if tag == "th":
            assert given.get("scope") in {"row", "col"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.numbers += data


def test_the_page_is_whole_accessible_and_asks_nobody(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> <img src=x onerror=alert(1)> worldâ€™s \x00"
    path = write(tmp_path / "a & b.jsonl", [*CASES.values(), row("Show me a page.", hostile)])
    report = sftprep.check(path, out=tmp_path / "report")
    text = (tmp_path / "report/report.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert set(page.labels) <= page.ids and len(page.labels) >= 2 * 7
    assert "default-src 'none'" in text and '<html lang="en">' in text
    assert not re.search(r"(https?:)?//(?!example\.com)\w", re.sub(r"<!.*?>", "", text)), "no links"
    values = json.loads((tmp_path / "report/report.json").read_text("utf-8"))
    assert values == report.to_dict()
    for dimension in values["dimensions"]:
        assert f"{dimension['number']:.2%}" in page.numbers
        for issue in dimension["issues"]:
            assert f"{issue['rows']:,}" in page.numbers and issue["fix"] in page.numbers


def test_drawn_rows_and_their_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [row(f"Train question {n}?", "" if n % 10 == 0 else f"{GOOD} {n}") for n in range(200)]
    exam = [row(f"Exam question {n}?", f"{GOOD} for {n}") for n in range(50)]
    inputs = [
        f"train={write(tmp_path / 'a.jsonl', train)}",
        f"test={write(tmp_path / 'b.jsonl', exam)}",
    ]
    out = tmp_path / "report"
    options = ["--out", str(out), "--threshold", "1", "--review", "30", "--seed", "3"]
    assert cli.main(["check", *inputs, *options]) == 0
    drawn = [json.loads(line) for line in (out / "review.jsonl").read_text().splitlines()]
    assert len(drawn) == 30
    assert [each["source"] for each in drawn[:20]] == ["test"] * 20
    sources = {"train": train, "test": exam}
    for each in drawn:
        assert each["data"] == sources[each["source"]][each["line"] - 1]
        each["verdict"] = "bad" if each["issues"] else "ok"
    filled = write(tmp_path / "filled.jsonl", drawn)
    review = read_verdicts(filled)
    assert review.judged == review.rows == 30
    assert review.good is not None and review.low is not None
    truth = sum(len(each["messages"][1]["content"]) > 0 for each in train + exam) / 250
    assert abs(review.good - truth) < 1e-9, "strata are weighted by their rows"
    assert review.low < review.good
    capsys.readouterr()
    assert cli.main(["check", "--verdicts", str(filled)]) == 0
    assert "30 of 30 drawn rows are judged" in capsys.readouterr().out
    drawn[3]["verdict"] = "fine"
    with pytest.raises(sftprep.FormatError, match="must be ok, bad"):
        read_verdicts(write(filled, drawn))
    with pytest.raises(sftprep.FormatError, match="no row that"):
        read_verdicts(write(filled, [row("a", "b")]))
    with pytest.raises(sftprep.SourceError):
        read_verdicts(tmp_path / "nowhere.jsonl")
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4) and high == pytest.approx(0.9433, abs=1e-4)


# Real data with planted defects -----------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(data / "quality/planted", tmp_path_factory.mktemp("check"))


@pytest.fixture(scope="module")
def data(request: pytest.FixtureRequest) -> Path:
    from tests.conftest import data as shared  # the same folder, for the whole module

    return shared.__wrapped__()  # type: ignore[attr-defined]


# Rows in whose answer another record begins though nobody planted that: five of Alpaca, and two
# (000040, 000296) that were planted as a copy and as a cut of such a row.
NATURAL = ("000040", "000296", "001241", "004141", "007078", "008815", "010328")


class Planted:
    """The planted rows and what was found in them."""

    def __init__(self, folder: Path, room: Path) -> None:
        source = folder / "alpaca_10k.jsonl.gz"
        self.rows = load(source)
        self.truth: dict[str, set[str]] = defaultdict(set)
        self.pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for each in load(folder / "alpaca_10k.truth.jsonl.gz"):
            self.truth[each["defect"]].add(each["id"])
            if "partner" in each:
                self.pairs[each["defect"]].append((each["id"], each["partner"]))
        self.truth["natural"] = set(NATURAL)
        self.report = sftprep.check(source, out=room / "report", threshold=0.7)
        ids = [each["id"] for each in self.rows]
        self.found = {ids[at - 1]: each for at, each in findings(self.report).items()}
        self.ids = ids

    def having(self, *issues: str) -> set[str]:
        return {name for name, each in self.found.items() if set(issues) & set(each["issues"])}

    def measure(self, truth: set[str], found: set[str]) -> tuple[float, float]:
        both = len(truth & found)
        return both / max(len(found), 1), both / len(truth)

    def auc(self, defect: str, score: str) -> float:
        """How often a planted row ranks before one in which nothing was planted."""
        listed = set().union(*self.truth.values())
        scores = {name: self.found.get(name, {}).get(score, 0.0) for name in self.ids}
        bad = [scores[name] for name in self.truth[defect]]
        good = sorted(scores[name] for name in self.ids if name not in listed)
        from bisect import bisect_left, bisect_right

        wins = sum((bisect_left(good, it) + bisect_right(good, it)) / 2 for it in bad)
        return wins / (len(bad) * len(good))


# precision and recall that have to be reached; natural defects of the rows count against precision
TARGETS = {
    "mojibake": (("mojibake",), ("mojibake",), 0.99, 0.97),
    "control": (
        ("control_char",),
        ("control_character", "replacement_character"),
        0.98,
        1.0,
    ),
    "empty": (
        (
            "empty_output",
            "missing_output",
            "null_output",
            "whitespace_output",
            "empty_instruction",
        ),
        ("empty_answer", "empty_prompt", "missing_field", "empty_turn"),
        1.0,
        1.0,
    ),
    "loop": (("loop",), ("loop",), 0.9, 0.98),
    # the natural ones count as true, see below
    "merged": (("merged_record", "natural"), ("merged_record",), 0.98, 0.95),
    "refusal": (("refusal",), ("refusal",), 0.9, 0.9),
    "identity": (("identity_leak",), ("identity",), 0.95, 0.95),
    "wrong_language": (("wrong_language",), ("other_script",), 0.98, 0.95),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_planted_defects(planted: Planted, kind: str) -> None:
    defects, issues, least_precision, least_recall = TARGETS[kind]
    truth = set().union(*(planted.truth[defect] for defect in defects))
    precision, recall = planted.measure(truth, planted.having(*issues))
    print(f"{kind}: precision {precision:.3f}, recall {recall:.3f}")
    assert precision >= least_precision and recall >= least_recall


def test_merged_records_that_nobody_planted(planted: Planted) -> None:
    """What was found beside the planted ones is a numbered instruction within an answer."""
    rows = {each["id"]: each for each in planted.rows}
    extra = planted.having("merged_record") - planted.truth["merged_record"]
    assert extra == set(NATURAL)
    for name in NATURAL:
        assert re.search(r"\n\s*\d+\. Instruction: \w", rows[name]["output"]), name


def test_planted_duplicates_and_conflicts(planted: Planted) -> None:
    pairs = planted.pairs["conflicting_answer"]
    truth = {name for pair in pairs for name in pair}
    precision, recall = planted.measure(truth, planted.having("conflict"))
    assert precision >= 0.95 and recall >= 0.98, (precision, recall)

    def kept(name: str) -> str:
        partners = planted.found.get(name, {}).get("partners", [])
        copies = {"identical", "normalised", "near"}
        found = [each["row"] for each in partners if each["issue"] in copies]
        return planted.ids[found[0] - 1] if found else name

    for defect in ("exact_dup", "format_dup", "near_dup"):
        same = [kept(a) == kept(b) for a, b in planted.pairs[defect]]
        assert all(same), (defect, sum(same), len(same))


def test_planted_rankings(planted: Planted) -> None:
    truncated = planted.auc("truncated", "truncated")
    swapped = planted.auc("answer_swapped", "swapped")
    print(f"AUC: truncated {truncated:.3f}, swapped {swapped:.3f}")
    assert truncated >= 0.9
    assert swapped >= 0.95


def test_roles_are_told_apart_by_kind(data: Path, tmp_path: Path) -> None:
    folder = data / "quality/planted"
    report = sftprep.check(folder / "sharegpt_roles.jsonl.gz", out=tmp_path / "report")
    rows = load(folder / "sharegpt_roles.jsonl.gz")
    truth = {each["id"]: each["defect"] for each in load(folder / "sharegpt_roles.truth.jsonl.gz")}
    found = {rows[at - 1]["id"]: set(each["issues"]) for at, each in findings(report).items()}
    kinds = {
        "only_one_turn": {"no_answer"},
        "ends_human": {"ends_with_user"},
        "extra_system_mid": {"late_system"},
        "missing_value": {"missing_field"},
        "empty_turn": {"empty_answer", "empty_prompt", "empty_turn"},
        "value_not_string": {"wrong_type"},
        "duplicate_turn": {"repeated_turn"},
        "role_swap": {"roles_swapped"},
        "unknown_role": {"unknown_role"},
        "two_human": {"repeated_role"},
        "starts_gpt": {"starts_with_assistant"},
    }
    assert set(truth.values()) == set(kinds)
    # a conversation of one message of the user is both: nobody can tell which was planted
    both = {"only_one_turn", "ends_human"}
    for kind, issues in kinds.items():
        planted = {name for name, defect in truth.items() if defect == kind}
        seen = {name for name, marks in found.items() if marks & issues}
        assert planted <= seen, kind
        extra = {truth.get(name) for name in seen - planted}
        assert extra <= (both if kind in both else set()), (kind, extra)


def test_refusals_on_human_labels(data: Path, tmp_path: Path) -> None:
    hits = marked = wanted = 0
    for model in ("llama2new", "mistralguard", "mistralinstruct"):
        rows = load(data / f"quality/refusal/xstest_{model}.jsonl.gz")
        path = write(tmp_path / "x.jsonl", [row(it["prompt"], it["completion"]) for it in rows])
        report = sftprep.check(path, out=tmp_path / model)
        found = findings(report)
        for at, each in enumerate(rows, 1):
            refused = each["final_label"] != "1_full_compliance"
            seen = "refusal" in found.get(at, {"issues": []})["issues"]
            hits += refused and seen
            marked += seen
            wanted += refused
    precision, recall = hits / marked, hits / wanted
    print(f"refusals: precision {precision:.3f}, recall {recall:.3f}")
    assert precision >= 0.95 and recall >= 0.85


def test_all_of_alpaca_in_seconds(data: Path, tmp_path: Path) -> None:
    before = time.process_time()
    report = sftprep.check(
        data / "quality/alpaca/alpaca_data.jsonl.gz", out=tmp_path / "report", threads=2
    )
    seconds = time.process_time() - before  # of both threads; other processes do not count
    assert report.rows == 52002
    assert report.issue("empty_answer")["rows"] == 28
    assert 37 <= report.issue("merged_record")["rows"] <= 38
    assert 569 <= report.issue("no_input_marker")["rows"] <= 750
    assert report.issue("mojibake")["rows"] == 0
    assert seconds < 20, seconds

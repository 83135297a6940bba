"""The report of ``check`` as one page: plots as inline SVG, tables beside them, no script.

The page holds everything that it needs and asks no network; its security policy forbids it to.
Every plot has a text that says the same, and every number stands in a table too.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sftprep.quality.check import CheckReport

_BAR = 14
_GAP = 4
_ROW = 2 * _BAR + _GAP + 10
_LABEL = 230
_PLOT = 420
_WIDTH = _LABEL + _PLOT + 90
_LONGEST_LABEL = 34


def page(report: CheckReport) -> str:
    """The page of a report."""
    frame = Path(__file__).with_name("report.html").read_text("utf-8")
    names = ", ".join(each["name"] for each in report.sources)
    body = "\n".join(_body(report))
    return frame.replace("<!--title-->", _text(names)).replace("<!--body-->", body)


def _body(report: CheckReport) -> Iterator[str]:
    yield from _head(report)
    yield from _overview(report)
    for each in report.dimensions:
        yield from _dimension(each, report)


def _head(report: CheckReport) -> Iterator[str]:
    yield '<p class="facts">'
    yield f"{report.rows:,} rows, {report.tokens:,} tokens, {report.trained_tokens:,} of them "
    yield f"trained (tokenizer <code>{_text(report.tokenizer)}</code>, at most {report.max_len:,} "
    yield "tokens a row).</p>"
    yield "<table><caption>Inputs</caption><thead><tr>"
    yield '<th scope="col">input</th><th scope="col">format</th><th scope="col">why</th>'
    yield '<th scope="col">rows</th></tr></thead><tbody>'
    for each in report.sources:
        yield f'<tr><th scope="row">{_text(each["name"])}</th><td>{_text(each["format"])}</td>'
        yield f'<td>{_text(each["evidence"])}</td><td class="n">{each["rows"]:,}</td></tr>'
    yield "</tbody></table>"
    if report.policy:
        yield "<table><caption>Policy</caption><thead><tr>"
        yield '<th scope="col">what</th><th scope="col">allowed</th><th scope="col">seen</th>'
        yield '<th scope="col">result</th></tr></thead><tbody>'
        for rule in report.policy:
            state = "ok" if rule["ok"] else "failed"
            yield f'<tr class="{state}"><th scope="row">{_text(rule["name"])}</th>'
            yield f'<td class="n">{rule["allowed"]:.2%}</td><td class="n">{rule["seen"]:.2%}</td>'
            yield f"<td>{state}</td></tr>"
        yield "</tbody></table>"


def _overview(report: CheckReport) -> Iterator[str]:
    bars = [
        (each["id"].replace("_", " "), each["number"], each["token_number"])
        for each in report.dimensions
    ]
    yield '<section id="overview"><h2>Six dimensions</h2>'
    yield _plot("overview", "Six dimensions, by rows and by trained tokens", bars)
    yield "<table><caption>Six dimensions</caption><thead><tr>"
    yield '<th scope="col">dimension</th><th scope="col">number</th>'
    yield '<th scope="col">by rows</th><th scope="col">by trained tokens</th></tr></thead><tbody>'
    for each in report.dimensions:
        yield f'<tr><th scope="row"><a href="#{each["id"]}">{each["id"].replace("_", " ")}</a></th>'
        yield f"<td>{_text(each['measure'])}</td>"
        yield f'<td class="n">{each["number"]:.2%}</td>'
        yield f'<td class="n">{each["token_number"]:.2%}</td></tr>'
    yield "</tbody></table></section>"


def _dimension(dimension: dict[str, Any], report: CheckReport) -> Iterator[str]:
    name = dimension["id"].replace("_", " ")
    yield f'<section id="{dimension["id"]}"><h2>{name}: {_text(dimension["question"])}</h2>'
    yield f'<p class="facts">{_text(dimension["measure"])}: <b>{dimension["number"]:.2%}</b> by '
    yield f"rows, <b>{dimension['token_number']:.2%}</b> by trained tokens.</p>"
    found = [issue for issue in dimension["issues"] if issue["rows"]]
    if found:
        bars = [
            (issue["id"].replace("_", " "), issue["row_share"], issue["token_share"])
            for issue in found
        ]
        yield _plot(dimension["id"], f"Issues of {name}, by rows and by trained tokens", bars)
    yield from _issues(dimension["issues"])
    for issue in found:
        yield from _examples(issue)
    if dimension["id"] == "class_balance":
        for panel in report.panels:
            yield from _panel(panel, report)
    yield "</section>"


def _issues(issues: list[dict[str, Any]]) -> Iterator[str]:
    yield "<table><caption>Issues</caption><thead><tr>"
    for head in ("issue", "what it means", "rows", "share", "trained tokens", "share", "fix"):
        yield f'<th scope="col">{head}</th>'
    yield "</tr></thead><tbody>"
    for issue in issues:
        kind = "" if issue["counted"] else ' <small class="note">shown, not counted</small>'
        state = "" if issue["rows"] else ' class="none"'
        yield f'<tr{state}><th scope="row">{issue["id"].replace("_", " ")}{kind}</th>'
        yield f'<td>{_text(issue["title"])}</td><td class="n">{issue["rows"]:,}</td>'
        yield f'<td class="n">{issue["row_share"]:.2%}</td>'
        yield f'<td class="n">{issue["trained_tokens"]:,}</td>'
        yield f'<td class="n">{issue["token_share"]:.2%}</td><td>{_text(issue["fix"])}</td></tr>'
    yield "</tbody></table>"


def _examples(issue: dict[str, Any]) -> Iterator[str]:
    if not issue["examples"]:
        return
    name = issue["id"].replace("_", " ")
    shown = f"{name}: {len(issue['examples'])} of {issue['rows']:,} rows, the worst first"
    yield f"<details><summary>{shown}. Fix: {_text(issue['fix'])}</summary><ol>"
    for each in issue["examples"]:
        yield f'<li><p class="place">{_text(each["source"])}:{each["line"]}'
        if each["partner_line"]:
            yield f" and {_text(each['partner_source'])}:{each['partner_line']}"
        yield f" — {_text(each['detail'])}</p>"
        yield f"<blockquote>{_shown(each['excerpt'])}</blockquote>"
        if each["partner_excerpt"]:
            yield f"<blockquote>{_shown(each['partner_excerpt'])}</blockquote>"
        yield "</li>"
    yield "</ol></details>"


def _panel(panel: dict[str, Any], report: CheckReport) -> Iterator[str]:
    rows, tokens = max(report.rows, 1), max(report.trained_tokens, 1)
    bars = [
        (each["name"], each["rows"] / rows, each["trained_tokens"] / tokens)
        for each in panel["classes"]
    ]
    title = f"Rows and trained tokens by {panel['title']}"
    yield f"<h3>By {_text(panel['title'])}</h3>"
    yield f'<p class="facts">{panel["distinct"]:,} kinds, evenness {panel["evenness"]:.2f} by rows,'
    yield f" {panel['token_evenness']:.2f} by trained tokens.</p>"
    yield _plot(f"panel-{panel['id']}", title, bars)
    yield f"<details><summary>The numbers by {_text(panel['title'])}</summary><table>"
    yield f"<caption>{_text(title)}</caption><thead><tr>"
    for head in (panel["title"], "rows", "share", "trained tokens", "share"):
        yield f'<th scope="col">{_text(head)}</th>'
    yield "</tr></thead><tbody>"
    for each, (_, by_rows, by_tokens) in zip(panel["classes"], bars, strict=True):
        yield f'<tr><th scope="row">{_text(each["name"])}</th><td class="n">{each["rows"]:,}</td>'
        yield f'<td class="n">{by_rows:.2%}</td><td class="n">{each["trained_tokens"]:,}</td>'
        yield f'<td class="n">{by_tokens:.2%}</td></tr>'
    yield "</tbody></table></details>"


def _plot(name: str, title: str, bars: list[tuple[str, float, float]]) -> str:
    """Bars in pairs: the share of rows above the share of trained tokens."""
    largest = max((max(rows, tokens) for _, rows, tokens in bars), default=0.0)
    scale = _PLOT / largest if largest > 0 else 0.0
    height = len(bars) * _ROW + 4
    told = "; ".join(f"{label} {rows:.2%} and {tokens:.2%}" for label, rows, tokens in bars)
    out = [
        f'<figure><svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 {_WIDTH} '
        f'{height}" width="{_WIDTH}" height="{height}"><title id="{name}-t">{_text(title)}</title>'
        f'<desc id="{name}-d">{_text(told)}</desc>'
    ]
    for at, (label, rows, tokens) in enumerate(bars):
        top = at * _ROW + 4
        short = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
        out.append(
            f'<text class="label" x="{_LABEL - 8}" y="{top + _BAR + 4}">{_text(short)}</text>'
        )
        for offset, share, kind in ((0, rows, "rows"), (_BAR + _GAP, tokens, "tokens")):
            width = share * scale
            out.append(
                f'<rect class="{kind}" x="{_LABEL}" y="{top + offset}" width="{width:.1f}" '
                f'height="{_BAR}"/><text class="value" x="{_LABEL + width + 5:.1f}" '
                f'y="{top + offset + _BAR - 3}">{share:.2%}</text>'
            )
    out.append(
        '</svg><figcaption><span class="key rows">rows</span> '
        '<span class="key tokens">trained tokens</span></figcaption></figure>'
    )
    return "".join(out)


def _text(text: object) -> str:
    return html.escape(str(text), quote=True)


def _shown(text: str) -> str:
    """Text of a row: characters that nobody sees are spelled out."""
    out = []
    for char in text:
        if char in "\n\t" or char.isprintable():
            out.append(html.escape(char))
        else:
            out.append(f"<mark>U+{ord(char):04X}</mark>")
    return "".join(out)

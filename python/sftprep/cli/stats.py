"""``sftprep stats``: what a dataset was made of, from its manifest."""

from __future__ import annotations

import argparse
import json
from typing import Any

SUMMARY = "print what a dataset was made of: rows, tokens, rejects, packing"

EXAMPLES = """\
examples:
  sftprep stats packs/
  sftprep stats packs/ --json | jq .totals.rejected
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("dataset", metavar="DIR", help="output folder of `sftprep pack`")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the statistics."""
    from sftprep import _core

    stats = collect(json.loads(_core.read_manifest(options.dataset)))
    if options.json:
        print(json.dumps(stats, ensure_ascii=False, indent=2))
    else:
        print("\n".join(lines(stats)))
    return 0


def collect(manifest: dict[str, Any]) -> dict[str, Any]:
    """The statistics inside a manifest."""
    names = [entry["name"] for entry in manifest["inputs"]]
    shards = [file for file in manifest["files"] if file["kind"] == "data"]
    return {
        "content_id": manifest["content_id"],
        "tokenizer": manifest["tokenizer"]["name"],
        "template": manifest["template"]["name"],
        "date": manifest["template"]["date"],
        "shards": len(shards),
        "bytes": sum(file["bytes"] for file in shards),
        "packing": manifest["packing"],
        "totals": manifest["totals"],
        "sources": [
            {"name": name, **totals}
            for name, totals in zip(names, manifest["totals_by_source"], strict=True)
        ],
    }


def lines(stats: dict[str, Any]) -> list[str]:
    """The statistics for people."""
    from sftprep.totals import Totals, by_source, counted, packing_line, table

    sources = [(entry["name"], Totals.from_dict(entry)) for entry in stats["sources"]]
    template = stats["template"] or "no template"
    return [
        f"{stats['tokenizer']}, {template}, {counted(stats['shards'], 'shard')}, "
        f"{counted(stats['bytes'], 'byte')}",
        packing_line(stats["packing"]),
        *_balance(stats["packing"].get("balance")),
        "",
        *table(Totals.from_dict(stats["totals"])),
        "",
        *by_source(sources),
    ]


def _balance(info: dict[str, Any] | None) -> list[str]:
    from sftprep.totals import balance_line

    if info is None:
        return []
    now, before = float(info["imbalance"]), float(info["imbalance_before"])
    return [balance_line(info["ranks"], now, before)]

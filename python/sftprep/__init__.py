"""Chat data in, packed and provably labelled training shards out.

```python
import sftprep

report = sftprep.pack("chat.jsonl", out="packs/", tokenizer="Qwen/Qwen3-8B", max_len=4096)
rows = sftprep.ShardDataset("packs/")
rows[0]["input_ids"], rows[0]["labels"], rows[0]["seq_lengths"]
```

Names are imported when first used, so that ``import sftprep`` costs a few milliseconds and loads
neither numpy nor torch nor pyarrow.
"""

from __future__ import annotations

TYPE_CHECKING = False  # without `typing`: see sftprep/record.py
if TYPE_CHECKING:
    from typing import Any

    from sftprep._core import (
        ChatTemplate,
        EncodedRow,
        Encoder,
        Encoding,
        EncodingBatch,
        PackPlan,
        Segment,
        Tokenizer,
        TracedText,
        __version__,
        plan_packs,
    )
    from sftprep.api import PackReport, go_on, pack
    from sftprep.config import PackConfig
    from sftprep.dataset import ShardDataset
    from sftprep.differences import DiffReport, diff
    from sftprep.errors import (
        ConfigError,
        FormatError,
        InternalError,
        LabelError,
        OutputError,
        PackError,
        RejectBudgetExceeded,
        RunError,
        ScoreError,
        SftprepError,
        ShardCorrupt,
        ShardError,
        ShardVersionError,
        SourceError,
        TemplateError,
        TokenizerError,
        TrainError,
    )
    from sftprep.prepare import PrepReport, prep
    from sftprep.progress import Progress
    from sftprep.quality import StageReport, decontaminate, dedup, trees
    from sftprep.quality.check import CheckReport, check
    from sftprep.quality.clean import clean
    from sftprep.quality.instruct import flan
    from sftprep.quality.mix import mix
    from sftprep.quality.pollute import pollute
    from sftprep.quality.selection import select
    from sftprep.quality.split import split
    from sftprep.quality.why import why
    from sftprep.scores.judge import Judge
    from sftprep.scores.report import ScoreReport
    from sftprep.scores.run import score

__all__ = [
    "IGNORE_INDEX",
    "ChatTemplate",
    "CheckReport",
    "ConfigError",
    "DiffReport",
    "EncodedRow",
    "Encoder",
    "Encoding",
    "EncodingBatch",
    "FormatError",
    "InternalError",
    "Judge",
    "LabelError",
    "OutputError",
    "PackConfig",
    "PackError",
    "PackPlan",
    "PackReport",
    "PrepReport",
    "Progress",
    "RejectBudgetExceeded",
    "RunError",
    "ScoreError",
    "ScoreReport",
    "Segment",
    "SftprepError",
    "ShardCorrupt",
    "ShardDataset",
    "ShardError",
    "ShardVersionError",
    "SourceError",
    "StageReport",
    "TemplateError",
    "Tokenizer",
    "TokenizerError",
    "TracedText",
    "TrainError",
    "__version__",
    "check",
    "clean",
    "decontaminate",
    "dedup",
    "diff",
    "flan",
    "go_on",
    "mix",
    "mix_shards",
    "pack",
    "plan_packs",
    "pollute",
    "prep",
    "remask",
    "repack",
    "score",
    "select",
    "split",
    "trees",
    "why",
]

IGNORE_INDEX = -100
"""Label of a token that is not trained."""

_CORE = (
    "ChatTemplate",
    "EncodedRow",
    "Encoder",
    "Encoding",
    "EncodingBatch",
    "PackPlan",
    "Segment",
    "Tokenizer",
    "TracedText",
    "__version__",
    "plan_packs",
)
_HOME = {
    **dict.fromkeys(_CORE, "sftprep._core"),
    "PackReport": "sftprep.api",
    "go_on": "sftprep.api",
    "pack": "sftprep.api",
    "mix_shards": "sftprep.again",
    "remask": "sftprep.again",
    "repack": "sftprep.again",
    "PackConfig": "sftprep.config",
    "Progress": "sftprep.progress",
    "CheckReport": "sftprep.quality.check",
    "StageReport": "sftprep.quality",
    "check": "sftprep.quality.check",
    "clean": "sftprep.quality.clean",
    "mix": "sftprep.quality.mix",
    "pollute": "sftprep.quality.pollute",
    "select": "sftprep.quality.selection",
    "split": "sftprep.quality.split",
    "why": "sftprep.quality.why",
    "Judge": "sftprep.scores.judge",
    "ScoreReport": "sftprep.scores.report",
    "score": "sftprep.scores.run",
    "decontaminate": "sftprep.quality",
    "dedup": "sftprep.quality",
    "flan": "sftprep.quality.instruct",
    "trees": "sftprep.quality",
    "ShardDataset": "sftprep.dataset",
    "DiffReport": "sftprep.differences",
    "diff": "sftprep.differences",
    "PrepReport": "sftprep.prepare",
    "prep": "sftprep.prepare",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'sftprep' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME.get(name, "sftprep.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

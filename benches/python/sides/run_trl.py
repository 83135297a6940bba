"""TRL's own preparation: what `SFTTrainer(...)` does to the rows before the first step.

    run_trl.py ROWS.jsonl TOKENIZER_FOLDER MAX_LEN

Counted: loading the tokenizer and the rows, and `SFTTrainer._prepare_dataset` (chat template,
tokens, assistant mask, packing). Set apart: the imports, the one-layer model that the trainer
must be given, and the rest of the trainer's start. The template is TRL's own for training Qwen3,
because assistant-only loss needs one with `{% generation %}` marks. `num_proc` stays at its
default (one process). `HF_HOME` must name an empty folder, so that no cache helps.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl
from side import apart, emit, imports_done, not_apart

datasets.disable_progress_bars()
imports_done()

Json = Any


def main() -> None:
    """Builds a trainer and reports what its preparation cost."""
    rows, folder, max_len = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    dataset = datasets.load_dataset("json", data_files=rows, split="train")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    own = Path(trl.__file__).parent / "chat_templates" / "qwen3_training.jinja"
    tokenizer.chat_template = own.read_text("utf-8")
    prepare = trl.SFTTrainer._prepare_dataset

    def counted(*args: Json, **kwargs: Json) -> Json:
        with not_apart():
            return prepare(*args, **kwargs)

    trl.SFTTrainer._prepare_dataset = counted
    with apart():
        shape = transformers.Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        trainer = trl.SFTTrainer(
            model=transformers.Qwen2ForCausalLM(shape),
            processing_class=tokenizer,
            train_dataset=dataset,
            args=trl.SFTConfig(
                output_dir=os.environ["HF_HOME"],
                max_length=max_len,
                packing=True,
                packing_strategy="bfd",
                assistant_only_loss=True,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                report_to=[],
            ),
        )
        packed = trainer.train_dataset
        tokens = labelled = 0
        for batch in packed.with_format("numpy").iter(512):
            for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
                tokens += len(ids)
                labelled += int((labels != -100).sum())
    emit(
        side="trl",
        versions={"trl": trl.__version__, "transformers": transformers.__version__},
        rows=len(dataset),
        tokens=tokens,
        trained_tokens=labelled,
        sequences=len(packed),
    )


main()

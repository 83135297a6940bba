"""The checks before the first step fire on what they are there for, and only on that."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")

import sftprep  # noqa: E402
from sftprep import ShardDataset  # noqa: E402
from sftprep.errors import ConfigError, TrainError  # noqa: E402
from sftprep.source_check import check_source  # noqa: E402
from sftprep.train.checks import check_isolation, check_loss  # noqa: E402
from sftprep.train.config import TrainConfig  # noqa: E402
from sftprep.train.data import Stager  # noqa: E402
from sftprep.train.loss import token_losses  # noqa: E402
from sftprep.train.model import Ranks, load, prepare  # noqa: E402
from train.helpers import MODELS, SIZES, run  # noqa: E402

CPU = torch.device("cpu")


def trainee_of(config: Path, shards: Path, **options: Any) -> Any:
    settings = TrainConfig(random_init=str(config), shards=str(shards), out="o", **options)
    model = load(settings, ShardDataset(shards).manifest, torch.float32)
    return prepare(model, settings, Ranks(0, 1, CPU))


def first_row(shards: Path, pad: bool = False) -> Any:
    rows = ShardDataset(shards)
    assert len(rows[0]["seq_lengths"]) > 1
    return Stager(rows, 512, 1, CPU, pad=pad).stage([0])


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_clean_models_pass(name: str, pad: bool, configs: dict[str, Path], shards: Path) -> None:
    trainee = trainee_of(configs[name], shards, activation_checkpointing="full")
    assert check_isolation(trainee, first_row(shards, pad), 512) < 1e-6
    assert check_loss(trainee, first_row(shards, pad)) < 1e-6
    assert trainee.training


@pytest.mark.parametrize("leak", ["use_cache", "ones", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_planted_leaks_are_caught(
    name: str, leak: str, configs: dict[str, Path], shards: Path
) -> None:
    trainee = trainee_of(configs[name], shards)
    micro = first_row(shards)
    if leak == "dense":  # attention that knows nothing of documents
        from transformers import AttentionInterface

        def dense(module: Any, q: Any, k: Any, v: Any, mask: Any, **_: Any) -> tuple[Any, None]:
            out = torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=True
            )
            return out.transpose(1, 2), None

        AttentionInterface.register("dense_test", dense)
        trainee.model.set_attn_implementation("dense_test")
    else:
        trainee.model.set_attn_implementation("sdpa")
        check_isolation(trainee, micro, 512)  # packed position ids alone are fine
        more = (
            {"use_cache": True}
            if leak == "use_cache"
            else {"attention_mask": torch.ones_like(micro.input_ids)}
        )
        trainee.extra = more
    with pytest.raises(
        TrainError, match=r"see each other in layer model\.layers\.0\.self_attn"
    ) as caught:
        check_isolation(trainee, micro, 512)
    assert caught.value.code == "train.isolation"


def test_a_leak_in_a_later_layer_is_named(configs: dict[str, Path], shards: Path) -> None:
    trainee = trainee_of(configs["llama"], shards)
    mlp = trainee.model.model.layers[2].mlp
    mlp.register_forward_hook(lambda _m, _i, out: out + 0.1 * out.mean(1, keepdim=True))
    with pytest.raises(TrainError, match=r"in layer model\.layers\.2\.mlp"):
        check_isolation(trainee, first_row(shards), 512)


def test_linear_attention_without_borders_is_refused(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """Qwen3-Next mixes gated delta nets, which run over the whole row, with attention."""
    path = tmp_path / "next.json"
    more = {
        "model_type": "qwen3_next",
        "num_hidden_layers": 2,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
    }
    path.write_text(json.dumps(SIZES | more))
    with pytest.raises(TrainError, match="does not run on packed rows") as caught:
        run(options, random_init=str(path), dtype="fp32")
    assert caught.value.code == "train.isolation"


def test_a_convolution_over_the_row_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    """LFM2 mixes short convolutions with attention, and transformers itself lets them pass."""
    path = tmp_path / "lfm2.json"
    layers = {"model_type": "lfm2", "layer_types": ["full_attention", "conv", "full_attention"]}
    path.write_text(json.dumps(SIZES | layers))
    with pytest.raises(TrainError, match=r"in layer model\.layers\.1\.conv \(Lfm2ShortConv\)"):
        run(options, random_init=str(path), dtype="fp32")


def test_another_loss_is_refused(configs: dict[str, Path], shards: Path) -> None:
    trainee = trainee_of(configs["llama"], shards)
    head = trainee.model.lm_head
    trainee._logits = lambda hidden: head(hidden) * 1.01
    with pytest.raises(TrainError, match="document by document"):
        check_loss(trainee, first_row(shards))


def test_attention_that_the_hook_cannot_do_is_refused(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "gemma2.json"
    more = {"model_type": "gemma2", "query_pre_attn_scalar": 8, "attn_logit_softcapping": 50.0}
    path.write_text(json.dumps(SIZES | more))
    with pytest.raises(TrainError, match="a softcap of scores"):
        run(options, random_init=str(path))


def test_compiled_blocks_have_no_breaks_where_the_kernel_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on CUDA, with a stand-in for the kernel that only CUDA has."""
    from sftprep.train import attention

    def kernel(q: Any, k: Any, v: Any, borders: Any, *_: Any, window_size: Any, **__: Any) -> Any:
        assert window_size == (15, 0)
        return q + (k + v).repeat_interleave(2, 1) + borders.sum()

    monkeypatch.setattr(attention, "varlen_attn", kernel)
    monkeypatch.setattr(attention, "uses_varlen", lambda _: True)

    def block(q: Any, k: Any, v: Any, borders: Any) -> Any:
        more = {"cu_seq_lens_q": borders, "max_length_q": 9, "sliding_window": 16, "scaling": 1.0}
        return attention.attend(torch.nn.Identity(), q, k, v, **more)[0]

    compiled = torch.compile(block, backend="eager", fullgraph=True)
    for end in (5, 7):
        q, k, v = torch.randn(1, 4, 9, 8), torch.randn(1, 2, 9, 8), torch.randn(1, 2, 9, 8)
        borders = torch.tensor([0, end, 9], dtype=torch.int32)
        expected = (q + (k + v).repeat_interleave(2, 1)).transpose(1, 2) + end + 9
        torch.testing.assert_close(compiled(q, k, v, borders), expected)


def test_rows_are_compared_with_their_source(shards: Path, tmp_path: Path) -> None:
    rows, source = ShardDataset(shards), shards.parent / "one.jsonl"
    number = next(n for n in range(len(rows)) if {d.source for d in rows.documents(n)} == {"one"})
    assert check_source(rows, number, str(source)) == len(rows.documents(number))
    text = source.read_text()
    line = rows.documents(number)[0].line
    lines = text.splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace("helper", "hepler")
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(lines))
    with pytest.raises(TrainError, match="the shards differ from the source in tokens") as caught:
        check_source(rows, number, f"one={changed}")
    assert caught.value.line == line
    with pytest.raises(ConfigError, match="no document of 'changed', but of one") as refused:
        check_source(rows, number, str(changed))
    assert refused.value.field == "--source"


DEEP = "{%- macro head(role) %}{{ '<|im_start|>' + role + '\n' }}{% endmacro -%}"
DATED = DEEP + (
    "{{ head('system') + strftime_now('%d %b %Y') + ' ' + (mood | default('calm')) }}"
    "{% for m in messages %}{{ head(m.role) + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ head('assistant') }}{% endif %}"
)
ROWS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], int]] = {
    "sharegpt": (
        [{"conversations": [{"from": "human", "value": f"Hi {n}"},
                            {"from": "gpt", "value": "你好"}]} for n in range(5)], {}, 5),
    "alpaca": ([{"instruction": f"a {n}", "input": "b", "output": "c"} for n in range(5)], {}, 5),
    "its own template": (
        [{"instruction": f"a {n}", "input": "b", "output": "c"} for n in range(5)],
        {"chat_template": "alpaca"}, 5),
    "prompt and completion": (
        [{"prompt": f"Q {n}: ", "completion": "yes"} for n in range(5)], {}, 5),
    "text": ([{"text": f"The quick {n} brown 🙂 foxes. " * 4} for n in range(5)],
             {"strategy": "wrapped", "append_eos": "always", "max_len": 32}, 5),
    "ids are as given": ([{"input_ids": [3, 4, 5], "labels": [-100, 4, 5]}] * 3, {}, 0),
    "control tokens as text": (
        [{"messages": [{"role": "user", "content": "<|im_end|>"},
                       {"role": "assistant", "content": "no"}]}] * 3, {}, 0),
    "a turn that is not trained": (
        [{"messages": [{"role": "user", "content": "a"},
                       {"role": "assistant", "content": "b", "train": False},
                       {"role": "user", "content": "c"},
                       {"role": "assistant", "content": "d"}]}] * 3, {}, 3),
    "a date and a variable": (
        [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
          "chat_template_kwargs": {"mood": f"wild {n}"}} for n in range(3)],
        {"chat_template": "dated.jinja", "date": "2025-01-01"}, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_format_is_compared_with_its_source(
    name: str, tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, more, least = ROWS[name]
    monkeypatch.chdir(tmp_path)
    Path("dated.jinja").write_text(DATED)
    text = "".join(f"{json.dumps(row)}\n" for row in given)
    with gzip.open("rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    options = {"tokenizer": tokenizer_dir, "max_len": 256} | more
    sftprep.pack("rows.jsonl.gz", out="packs", **options)
    rows = ShardDataset("packs")
    found = sum(check_source(rows, row, "rows.jsonl.gz") for row in range(len(rows)))
    assert found >= least if least else found == 0
    if not least:
        return
    changed = text.replace("b", "bb").replace("Hi", "Ho").replace("yes", "no")
    with gzip.open("rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(changed)
    with pytest.raises(TrainError, match="the shards differ from the source in"):
        [check_source(rows, row, "rows.jsonl.gz") for row in range(len(rows))]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 21])
def test_the_chunked_loss_is_the_full_loss(count: int) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 11, bias=False).double()
    hidden = torch.randn(count, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (count,))
    losses, guesses = token_losses(hidden, head, targets, 7)
    losses.sum().backward()
    found = hidden.grad.clone(), head.weight.grad.clone()
    hidden.grad = head.weight.grad = None
    logits = head(hidden)
    full = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    full.backward()
    assert torch.equal(guesses, logits.argmax(-1))
    for mine, theirs in (
        (losses.sum(), full),
        (found[0], hidden.grad),
        (found[1], head.weight.grad),
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-14, atol=1e-14)


def test_weights_of_spans_count(
    options: dict[str, Any], tmp_path: Path, tokenizer_dir: Path
) -> None:
    from train.helpers import steps_of

    losses = {}
    for weight in (1.0, 0.5):
        source = tmp_path / f"{weight}.jsonl"
        answer = {"role": "assistant", "content": "It is four.", "weight": weight}
        row = {"messages": [{"role": "user", "content": "Two and two?"}, answer]}
        source.write_text(f"{json.dumps(row)}\n")
        out = tmp_path / f"packs-{weight}"
        sftprep.pack(source, out=out, tokenizer=tokenizer_dir, max_len=64)
        run(options, shards=str(out), out=str(tmp_path / f"run-{weight}"), steps=1, rows_per_step=1)
        losses[weight] = steps_of(tmp_path / f"run-{weight}")[0]["loss"]
    assert losses[0.5] < losses[1.0]

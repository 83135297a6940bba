"""The model: loading, added tokens, LoRA, sharding, and body and loss as one module."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from sftprep.errors import ConfigError, TrainError
from sftprep.train.attention import register
from sftprep.train.loss import token_losses

if TYPE_CHECKING:
    from sftprep.train.config import TrainConfig
    from sftprep.train.data import Micro

_BF16_PEAK = {"H100": 989.0, "H200": 989.0}


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Ranks:
        """Joins the processes that ``torchrun`` started; alone without it."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        wanted = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        if wanted == "cuda" and not torch.cuda.is_available():
            raise ConfigError("there is no CUDA device", field="--device", hint="use --device cpu")
        place = torch.device(
            wanted, int(os.environ.get("LOCAL_RANK", "0")) if wanted == "cuda" else None
        )
        if place.type == "cuda":
            torch.cuda.set_device(place)
        if size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        return cls(dist.get_rank() if size > 1 else 0, size, place)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values


class Trainee(nn.Module):
    """A causal language model whose forward ends in the losses of the trained tokens.

    Body and head are used inside one forward, so that FSDP gathers the head like everything else.
    """

    def __init__(self, model: nn.Module, chunk: int, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.chunk, self.autocast = chunk, autocast
        self.constant_shapes = False
        """Whether its micro-batches are to be padded to one shape."""
        self.extra: dict[str, Any] = {}
        """More arguments for the model's body."""

    def forward(self, micro: Micro, job: str = "loss") -> Any:
        """``loss``: losses and guesses of the trained tokens; ``hidden``: last hidden states;
        ``plain``: loss of ``micro`` as one document, by transformers' own code.
        """  # noqa: D205
        ids = micro.input_ids
        with torch.autocast(ids.device.type, self.autocast, enabled=self.autocast is not None):
            if job == "plain":
                labels = torch.full_like(ids, -100)
                labels[0, micro.index + 1] = micro.targets
                return self.model(input_ids=ids, labels=labels, use_cache=False).loss
            borders, longest = micro.cu_seqlens, micro.max_length
            packed = {
                "cu_seq_lens_q": borders, "cu_seq_lens_k": borders,
                "max_length_q": longest, "max_length_k": longest, "use_cache": False,
            } | self.extra  # fmt: skip
            body = body_of(self.model)
            hidden = body(input_ids=ids, position_ids=micro.position_ids, **packed)[0][0]
            if job == "hidden":
                return hidden
            return token_losses(hidden[micro.index], self._logits, micro.targets, self.chunk)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = self.model.get_output_embeddings()(hidden)
        config = self.model.config.get_text_config()
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
        if scale := getattr(config, "logit_scale", None):
            logits = logits * scale
        if scaling := getattr(config, "logits_scaling", None):
            logits = logits / scaling
        return logits


def body_of(model: Any) -> Any:
    """The model without its head."""
    return model.get_decoder()


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks: the longest list of modules."""
    lists = [m for m in body_of(model).modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not lists:
        raise TrainError("the model has no list of decoder blocks")
    return max(lists, key=lambda m: (sum(p.numel() for p in m.parameters()), len(m)))


def load(
    config: TrainConfig, manifest: dict[str, Any], dtype: torch.dtype, device: str = "cpu"
) -> Any:
    """The model, with an embedding for every token of the shards' tokenizer.

    It is on the CPU, unless random weights are made on ``device``, which is much faster on CUDA.

    Raises:
        TrainError: if it cannot be loaded, or its vocabulary does not fit.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    path = Path(config.model or config.random_init)
    if not path.exists():
        raise TrainError("there is no such model", path=str(path), hint="give a local folder")
    torch.manual_seed(config.seed)
    try:
        if config.model:
            model = auto.from_pretrained(path, dtype=dtype)
        else:
            file = path / "config.json" if path.is_dir() else path
            wanted = AutoConfig.for_model(**json.loads(file.read_text("utf-8")))
            with torch.device(device):
                model = auto.from_config(wanted, dtype=torch.float32).to(dtype)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"the model does not load: {error}", path=str(path)) from error
    present = model.get_input_embeddings().num_embeddings
    tokens = manifest["tokenizer"]["vocab_size"]
    if config.resize_embeddings and tokens > present:
        resize(model, tokens)
    elif tokens > present:
        raise TrainError(
            f"the shards' tokenizer has {tokens} tokens, the model {present} embeddings",
            path=str(path),
            field="--resize-embeddings",
            hint="train the model that the tokenizer belongs to, or add --resize-embeddings",
        )
    model.config.use_cache = False
    model.set_attn_implementation(register())
    return model


def resize(model: Any, size: int) -> None:
    """Adds rows to the embeddings, each the mean of those that were there; tied heads stay tied."""
    present = model.get_input_embeddings().num_embeddings
    model.resize_token_embeddings(size, mean_resizing=False)
    tables = {
        id(x.weight): x for x in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    with torch.no_grad():
        for table in tables.values():
            for values in filter(
                lambda x: x is not None, (table.weight, getattr(table, "bias", None))
            ):
                values[present:] = values[:present].double().mean(0).to(values.dtype)


def prepare(model: Any, config: TrainConfig, ranks: Ranks) -> Trainee:
    """LoRA, activation checkpointing, compiled blocks and sharding, in the order that works."""
    mixed = precision(config, ranks.device) == torch.bfloat16
    if config.lora:
        model = add_lora(model, config)
    blocks = blocks_of(model)
    if config.activation_checkpointing != "none":  # it has another name from transformers 5.2x on
        new = hasattr(model, "activation_checkpointing_enable")
        name = f"{'activation' if new else 'gradient'}_checkpointing_enable"
        getattr(model, name)({"use_reentrant": False})
    if config.activation_checkpointing == "half":
        for block in blocks[1::2]:
            block.gradient_checkpointing = False
    compiled = compiles(config, ranks.device)
    for block in blocks if compiled else ():
        block.compile(dynamic=False)
    trainee = Trainee(model, config.loss_chunk, torch.bfloat16 if mixed and config.lora else None)
    trainee.constant_shapes = compiled or ranks.device.type == "cuda"
    trainee.train()
    if ranks.size > 1 or (mixed and not config.lora):
        _shard(trainee, blocks, ranks, torch.bfloat16 if mixed and not config.lora else None)
    return trainee.to(ranks.device)


def compiles(config: TrainConfig, device: torch.device) -> bool:
    """Whether blocks are compiled: where it is asked for, or on CUDA where Triton is at hand."""
    if config.compile != "auto":
        return config.compile == "yes"
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


def _shard(
    trainee: Trainee, blocks: nn.ModuleList, ranks: Ranks, compute: torch.dtype | None
) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if not dist.is_initialized():  # sharding over one process is how bf16 with fp32 weights is done
        dist.init_process_group(
            "nccl" if ranks.device.type == "cuda" else "gloo",
            store=dist.HashStore(),
            rank=0,
            world_size=1,
        )
    options = {
        "mesh": init_device_mesh(ranks.device.type, (ranks.size,)),
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=compute, reduce_dtype=compute and torch.float32
        ),
        # Adapters are small and of another type than the weights beside them: see `Run._backward`.
        "ignored_params": set(replicated(trainee)),
    }
    for block in blocks:
        fully_shard(block, reshard_after_forward=ranks.size > 1, **options)
    fully_shard(trainee, reshard_after_forward=False, **options)


def replicated(trainee: Trainee) -> list[nn.Parameter]:
    """Adapters: every rank has them whole, and their gradients are summed by hand."""
    return [p for name, p in trainee.named_parameters() if ".lora_" in name]


def add_lora(model: Any, config: TrainConfig) -> Any:
    """The model with LoRA adapters in all its linear layers but the head; the rest is frozen."""
    try:
        import peft
    except ImportError:
        raise ConfigError("--lora needs peft", field="--lora", hint="pip install peft") from None
    settings = peft.LoraConfig(
        r=config.lora,
        lora_alpha=config.lora_alpha or 2.0 * config.lora,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's own use of transformers
        return peft.get_peft_model(model, settings).get_base_model()


def precision(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The type that the model computes in."""
    if config.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}[config.dtype]


def stored(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The type of the weights: fp32 where they are trained in bf16, bf16 under adapters."""
    compute = precision(config, device)
    return torch.float32 if compute == torch.bfloat16 and not config.lora else compute


@dataclass(frozen=True)
class Flops:
    """Useful floating-point operations: no padding, no logits of tokens that are not trained."""

    per_token: float
    per_pair: float
    per_trained: float
    peak: float | None
    """Of one device, per second."""

    @classmethod
    def of(cls, model: Any, config: TrainConfig, device: torch.device) -> Flops:
        """Forward 2 per weight and token, backward twice that, once where weights are frozen."""
        text = model.config.get_text_config()
        factor = 4 if config.lora else 6
        body = sum(p.numel() for p in body_of(model).parameters() if p.ndim > 1)
        body -= model.get_input_embeddings().weight.numel()
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        # Half of the pairs of a causal document, two products forward and four backward.
        pair = 6 * text.num_hidden_layers * text.num_attention_heads * width
        head = model.get_output_embeddings().weight.numel()
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        known = next((peak for key, peak in _BF16_PEAK.items() if key in name), 0.0)
        peak = (config.peak_tflops or known) * 1e12
        return cls(factor * body, pair, factor * head, peak or None)

    def count(self, tokens: int, pairs: int, trained: int) -> float:
        """Of so many tokens, squared document lengths and trained tokens."""
        return tokens * self.per_token + pairs * self.per_pair + trained * self.per_trained

"""What the policy allocates in an update, counted by torch's trackers, and what the doctor reckons.

Model, masks, adapters, checkpointing and FSDP2 are the project's own. Tensors are fake ones (FakeTensorMode), which
have a shape and no bytes, and the ranks are those of torch's "fake" process group. What it cannot count: attention on
CUDA (here it is the CPU's, with the dense mask), the optimiser's step (fused, it allocates nothing), engine, NCCL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed._tools.mem_tracker import MemTracker
from torch.fx.experimental.proxy_tensor import unset_fake_temporarily
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoConfig, AutoModelForImageTextToText

from rl.config import ComputeConfig, Config, GrpoConfig, LoraConfig, ModelConfig
from rl.doctor.architecture import Architecture, measure, published
from rl.doctor.memory import policy_parts
from rl.policy import sharding
from rl.policy.batching import MicroBatch, Row, make_micro_batches
from rl.policy.parts import Parts
from rl.policy.token_model import DTYPES, TokenModel
from rollouts.prompt.families import FAMILIES
from rollouts.prompt.processing import EncodedPrompt

# A tree of the paper's recipe: one image and a question, eight completions of full length.
PROMPT_TOKENS, COMPLETION_TOKENS, COMPLETIONS = 350, 1024, 8
MODEL = "OpenGVLab/InternVL3-8B-hf"


class Case(NamedTuple):
    """One row of the table."""

    name: str
    config: Config
    num_batches: int
    # What it must not exceed, in GiB; None = measured only.
    most_gib: float | None = None


class Measured(NamedTuple):
    """Bytes of one rank at the worst moment of an update."""

    tracked: float
    doctor: float


def cases() -> list[Case]:
    """Full training on eight ranks, and adapters on one."""
    return [
        Case("8 ranks, one micro-batch", _config(ranks=8), 1, 70.0),
        Case("8 ranks, two micro-batches, sharded gradients", _config(ranks=8, gradient_sync="micro_batch"), 2, 70.0),
        Case("8 ranks, two micro-batches, gradients added up once", _config(ranks=8), 2, 70.0),
        Case("1 rank, LoRA r=64", _config(ranks=1, train="lora"), 2, 60.0),
    ]


def _config(ranks: int, train: Any = "all", **compute: Any) -> Config:
    length = PROMPT_TOKENS + COMPLETION_TOKENS
    return Config(
        model=ModelConfig(path=MODEL, dtype="bfloat16", max_model_len=length, train=train, lora=LoraConfig(r=64)),
        grpo=GrpoConfig(max_completion_length=COMPLETION_TOKENS, micro_batch_tokens=16384),
        compute=ComputeConfig(
            device="cuda", num_policy_workers=ranks, num_rollout_workers=ranks, attention="dense", **compute
        ),
    )


def micro_batch() -> MicroBatch:
    """One tree of 350 + 8 x 1,024 tokens, less the last of each completion, which predicts nothing."""
    prompt = EncodedPrompt("tree", "", tuple(range(PROMPT_TOKENS)), {}, fingerprint="tree")
    [batch] = make_micro_batches([Row(prompt, (7 + own,) * COMPLETION_TOKENS) for own in range(COMPLETIONS)], 16384)
    return batch


def track(case: Case, num_layers: int | None = None) -> Measured:
    """The peak of an update as the tracker counts it, and as the doctor reckons it, of a model with so many decoder
    layers (None = all)."""
    settings = dict(published()[MODEL]["config"])
    if num_layers is not None:
        settings["text_config"] = {**settings["text_config"], "num_hidden_layers": num_layers}
    batch = micro_batch()
    with _ranks(case.config.compute.num_policy_workers), FakeTensorMode(allow_non_fake_inputs=True):
        tokens, sizes = _token_model(case.config, settings)
        tracked = _peak(tokens, batch, case)
    parts = policy_parts(case.config, sizes, batch.input_ids.shape[1], case.num_batches, PROMPT_TOKENS)
    return Measured(tracked, sum(part.training for part in parts))


@contextmanager
def _ranks(count: int) -> Iterator[None]:
    """A process group of so many ranks of which this is the first; the others do not exist."""
    if count == 1:
        yield
        return
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    made = sharding.init_device_mesh

    def make_mesh(*args: Any, **others: Any) -> Any:
        with unset_fake_temporarily():  # a mesh reads the numbers of its ranks
            return made(*args, **others)

    sharding.init_device_mesh = make_mesh
    try:
        yield
    finally:
        sharding.init_device_mesh = made
        dist.destroy_process_group()


def _token_model(config: Config, settings: dict[str, Any]) -> tuple[TokenModel, Architecture]:
    family = FAMILIES[settings["model_type"]]
    hf_config = AutoConfig.for_model(**settings)
    dtype = DTYPES[config.model.dtype]
    with unset_fake_temporarily(), torch.device("meta"):  # PEFT cannot move fake tensors
        model = AutoModelForImageTextToText.from_config(hf_config, attn_implementation="sdpa", dtype=torch.float32)
        sizes = measure(MODEL, family, model, hf_config)
        Parts(model, family, config.model.train, config.model.lora, dtype=dtype)
    _take_fakes(model)
    tokens = TokenModel(model.eval(), family, 0.9, (hf_config.image_token_id,), dtype, "dense")
    layout = sharding.layout_of(config.compute)
    if layout.activation_checkpointing:
        sharding.recompute_layers(tokens)
    sharding.shard(tokens, layout.fsdp_size)
    return tokens, sizes


class _Tracker(MemTracker):
    """The tracker of torch without its hooks on parameters: they only name gradients, and frozen weights take none."""

    def _track_module_params_and_buffers(self, module: nn.Module, install_grad_hooks: bool = True) -> tuple[int, int]:
        return super()._track_module_params_and_buffers(module, install_grad_hooks=False)


def _take_fakes(model: nn.Module) -> None:
    """Put a tensor of the mode in the place of each meta tensor; tied ones stay tied."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                    learns = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if learns else fake
                store[name] = made[id(tensor)]  # type: ignore[assignment]


def _peak(tokens: TokenModel, batch: MicroBatch, case: Case) -> float:
    learns = [parameter for parameter in tokens.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learns)
    for parameter in learns:
        optimizer.state[parameter] = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    ranks = case.config.compute.num_policy_workers
    tracker = FSDPMemTracker(tokens, optimizer) if ranks > 1 else _Tracker()
    if ranks == 1:
        tracker.track_external(tokens, optimizer)
    every = case.config.compute.gradient_sync == "micro_batch"
    with tracker:
        for number in range(1, case.num_batches + 1):
            tracker.reset_mod_stats()  # peaks of modules, not of the whole; a second pass is refused without
            sharding.sync_gradients(tokens, every or number == case.num_batches)
            logprobs, _ = tokens(batch)
            logprobs.sum().backward()
            del logprobs
    return float(sum(device["Total"] for device in tracker.get_tracker_snapshot("peak").values()))

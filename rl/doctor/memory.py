"""What a run needs of each GPU, by part: arithmetic on the configuration and the sizes of its model.

Two moments count. While the policy trains, an engine on the same GPU sleeps; while an engine draws, the policy holds
its weights and moments and no activation. Everything is in bytes per GPU. What the policy allocates agrees with torch's
memory trackers within a tenth (`python -m tests.bench.memory`); the rest (engine, CUDA, NCCL) are estimates that no GPU
has confirmed.

Legend: h width of the decoder, q of its queries, k of its keys, i of its MLP.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rl.algo.logprobs import CHUNK_LOGITS
from rl.config import Config
from rl.doctor.architecture import Architecture, Size, Stack
from rl.policy.attention import BLOCK, FLEX_TOKENS
from rl.policy.sharding import layout_of
from rl.workers.placement import reference_apart

GIB = 2**30
# CUDA context, NCCL's buffers, cuBLAS workspaces and what the allocator cannot use: an estimate.
CUDA_BYTES = 2.5 * GIB
# What an engine of vLLM keeps beside weights and KV cache: context, activations of its largest batch, CUDA graphs; and
# what is left of it while it sleeps. Estimates.
ENGINE_BYTES, ASLEEP_BYTES = 3.0 * GIB, 1.0 * GIB
# Both moments of AdamW on the GPU, bytes a parameter; and what the step of one parameter needs besides, where they lie
# in another form between updates: both in float32, and for the rounding a random number and two copies.
MOMENT_BYTES = {"float32": 8, "bfloat16": 4, "cpu": 0}
STEP_BYTES = {"float32": 0, "bfloat16": 8 + 3 * 4, "cpu": 8}
# Checkpoint: fp32 weights and two fp32 moments.
CHECKPOINT_BYTES_PER_PARAMETER = 12


@dataclass(frozen=True)
class Part:
    """A line of the table."""

    name: str
    training: float
    drawing: float
    # Whether torch's tracker sees it: what the policy itself allocates.
    tracked: bool = False


@dataclass(frozen=True)
class Need:
    """What one kind of GPU must hold."""

    # "policy", "policy, reference and engine", "engine".
    role: str
    num_gpus: int
    parts: tuple[Part, ...]
    # Tokens of the largest micro-batch of a rank.
    num_tokens: int = 0

    @property
    def training(self) -> float:
        """Bytes while the policy trains."""
        return sum(part.training for part in self.parts)

    @property
    def drawing(self) -> float:
        """Bytes while the engine draws."""
        return sum(part.drawing for part in self.parts)

    @property
    def peak(self) -> float:
        """The worse of the two."""
        return max(self.training, self.drawing)

    @property
    def largest(self) -> Part:
        """The part that takes most at the worse moment."""
        worse = self.training >= self.drawing
        return max(self.parts, key=lambda part: part.training if worse else part.drawing)


@dataclass(frozen=True)
class Trained:
    """Parameters by what happens to them."""

    learn: Size
    frozen: Size


def trained_of(config: Config, sizes: Architecture) -> Trained:
    """How many parameters learn (`model.train`), and how many are frozen."""
    everything = sizes.total
    match config.model.train:
        case "all":
            return Trained(everything, Size())
        case "language":
            return Trained(sizes.language_model, sizes.vision_tower + sizes.projector)
        case "vision_projector":
            return Trained(sizes.vision_tower + sizes.projector, sizes.language_model)
        case _:
            adapters = lora_parameters(config.model.lora.r, sizes.decoder)
            return Trained(Size(adapters, adapters), everything)


def lora_parameters(rank: int, decoder: Stack) -> int:
    """Of adapters beside every linear layer of the decoder: rank x (inputs + outputs) each."""
    h, q, k, i = decoder.hidden_size, decoder.query_size, decoder.key_size, decoder.intermediate_size
    return decoder.num_layers * rank * ((h + q) + 2 * (h + k) + (q + h) + 2 * (h + i) + (i + h))


def tokens_of(config: Config) -> tuple[int, int]:
    """Tokens of a rank's largest micro-batch, and the number of its micro-batches in an update, at full length."""
    grpo, model = config.grpo, config.model
    prompt = model.max_model_len - grpo.max_completion_length
    prompts = max(1, grpo.prompts_per_step // grpo.num_minibatches)
    ranks = config.compute.num_policy_workers
    # Fewer prompts than ranks are cut between completions (rl/policy/batching.py).
    completions = math.ceil(grpo.num_generations / max(1, ranks // prompts))
    trees = math.ceil(prompts / ranks)
    tree = prompt + completions * grpo.max_completion_length
    budget = max(grpo.micro_batch_tokens, model.max_model_len)
    largest = min(budget, trees * tree)
    return largest, max(1, math.ceil(trees * tree / budget))


def image_tokens_of(config: Config, num_tokens: int) -> int:
    """Tokens of a rank's micro-batch of `num_tokens` that may stand for images: the whole prompts of all its trees,
    which stand together in one where completions are short."""
    prompts = max(1, config.grpo.prompts_per_step // config.grpo.num_minibatches)
    trees = math.ceil(prompts / config.compute.num_policy_workers)
    return min(num_tokens, trees * (config.model.max_model_len - config.grpo.max_completion_length))


def needs(config: Config, sizes: Architecture) -> list[Need]:
    """What each kind of GPU must hold. Engines share the policy's GPUs where they may (as many engines of one GPU as
    ranks), which is the tighter case; where the cluster has GPUs for both, they do not."""
    compute = config.compute
    num_tokens, num_batches = tokens_of(config)
    parts = list(policy_parts(config, sizes, num_tokens, num_batches, image_tokens_of(config, num_tokens)))
    if reference_apart(config):
        parts.append(_reference(config, sizes))
    parts.append(Part("CUDA, NCCL, what the allocator cannot use (estimate)", CUDA_BYTES, CUDA_BYTES))
    roles = "policy and reference" if reference_apart(config) else "policy"
    shared = compute.num_policy_workers == compute.num_rollout_workers and compute.tensor_parallel_size == 1
    if shared:
        parts += _shared_engine(config, sizes)
        return [Need(f"{roles}, an engine beside them", compute.num_policy_workers, tuple(parts), num_tokens)]
    engines = compute.num_rollout_workers * compute.tensor_parallel_size
    return [
        Need(roles, compute.num_policy_workers, tuple(parts), num_tokens),
        Need("engine", engines, tuple(_own_engine(config, sizes))),
    ]


def sft_need(config: Config, sizes: Architecture) -> Need | None:
    """What SFT beforehand takes of each GPU: the same ranks, full micro-batches, several an update, and neither
    reference nor engine. Short answers leave all tokens of a micro-batch to images. None where no SFT is trained."""
    if not config.sft.enabled or config.sft.checkpoint is not None:
        return None
    if config.sft.train is not None:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, train=config.sft.train))
    num_tokens = max(config.sft.micro_batch_tokens, config.model.max_model_len)
    cuda = Part("CUDA, NCCL, what the allocator cannot use (estimate)", CUDA_BYTES, 0)
    parts = (*policy_parts(config, sizes, num_tokens, 2, num_tokens), cuda)
    return Need("SFT beforehand", config.compute.num_policy_workers, parts, num_tokens)


def policy_parts(
    config: Config, sizes: Architecture, num_tokens: int, num_batches: int, image_tokens: int
) -> Iterator[Part]:
    """What one rank of the policy holds at rest and at the moment when its memory peaks, part by part. `num_tokens` and
    `image_tokens`: of its largest micro-batch, all of them and those that stand for images."""
    layout, shards = layout_of(config.compute), _shards(config)
    both = trained_of(config, sizes)
    learn = both.learn.parameters
    weights = 4 * learn / shards
    yield Part("policy: weights that learn, float32", weights, weights, True)
    if both.frozen.parameters:
        frozen = _frozen_bytes(config, sizes) / shards
        yield Part("policy: frozen weights", frozen, frozen, True)
    moments = MOMENT_BYTES[layout.optimizer_state] * learn / shards
    yield Part(f"policy: two moments of AdamW, {layout.optimizer_state}", moments, moments, True)
    peak = max(_phases(config, sizes, (num_tokens, image_tokens), num_batches), key=lambda phase: phase.total)
    how = "the inputs of layers" if layout.activation_checkpointing else "of every layer"
    yield Part(f"policy: gradients that are there when memory peaks, at {peak.name}", peak.gradients, 0, True)
    yield Part("policy: weights gathered or in bfloat16 for that moment", peak.copies, 0, True)
    yield Part(f"policy: activations of {num_tokens:,} tokens, {how}", peak.kept, 0, True)
    yield Part("policy: numbers of that moment alone", peak.work, 0, True)


@dataclass(frozen=True)
class Phase:
    """A moment of an update at which memory may peak."""

    name: str
    gradients: float
    # Weights in another form than that in which they rest, gathered or in the dtype of the arithmetic; and gradients
    # on their way to their shards.
    copies: float
    kept: float
    work: float

    @property
    def total(self) -> float:
        """Bytes beside what rests."""
        return self.gradients + self.copies + self.kept + self.work


def _phases(config: Config, sizes: Architecture, tokens: tuple[int, int], num_batches: int) -> list[Phase]:
    """The moments of the last micro-batch at which memory may peak: behind the forward pass, in the first layer that
    goes backward, in the last one, and at the embedding. Gradients of micro-batches before it are there throughout."""
    half, ranks = _arithmetic_bytes(config), config.compute.num_policy_workers
    layout = layout_of(config.compute)
    whole = ranks == 1 or (layout.gradient_sync == "update" and num_batches > 1)
    all_gradients = 4 * trained_of(config, sizes).learn.parameters / (1 if whole else _shards(config))
    before = all_gradients if num_batches > 1 else 0.0
    late = sizes.embedding + sizes.decoder.layer_parameters + sizes.vision_tower.parameters
    nearly = max(before, all_gradients - 4 * late / _shards(config))
    act = _activations(config, sizes, *tokens)
    mask, logits = _mask(config, tokens[0]), _logits(sizes)
    layer, embedding, head = sizes.decoder.layer_parameters, sizes.embedding, sizes.head or sizes.embedding
    decoder_learns = config.model.train in ("all", "language")
    # A gradient in the dtype of the arithmetic, and in float32 where it is added up over the ranks.
    gradient = (half + 4) if decoder_learns else 0
    if ranks > 1:
        copies = [half * (head + layer) + gradient * head, (2 * half + gradient) * layer, (half + gradient) * embedding]
    else:
        cached = half * _copied(config, sizes) if half < 4 else 0
        kept = half * layer if layout.activation_checkpointing else cached
        copies = [cached, kept if decoder_learns else 0, 0]
        if ranks == 1 and decoder_learns:
            copies[2] = 4 * embedding  # the new gradient, before it is added to that of earlier micro-batches
    return [
        Phase("a chunk of logits", before, copies[0], act.kept + mask, logits),
        Phase("one layer", before, copies[1], act.kept + mask, act.work),
        Phase("the last layer", nearly, copies[1], mask, act.work),
        Phase("the embedding", all_gradients, copies[2], 0, act.stream),
        Phase("the optimiser's step", all_gradients, 0, 0, _step_bytes(config, sizes)),
    ]


def _step_bytes(config: Config, sizes: Architecture) -> float:
    """Of the largest parameter, the embedding where it learns; elsewhere a matrix of a layer."""
    layer = sizes.decoder.hidden_size * sizes.decoder.intermediate_size
    largest = sizes.embedding if config.model.train in ("all", "language") else layer
    return STEP_BYTES[config.compute.optimizer_state] * largest / _shards(config)


def _shards(config: Config) -> int:
    ranks = config.compute.num_policy_workers
    return min(config.compute.fsdp_size or ranks, ranks)


def _arithmetic_bytes(config: Config) -> int:
    return 2 if config.model.dtype == "bfloat16" else 4


def _frozen_bytes(config: Config, sizes: Architecture) -> float:
    """Frozen matrices of linear layers are held in the dtype of the arithmetic, the rest in float32
    (rl/policy/parts.py)."""
    frozen = trained_of(config, sizes).frozen
    embedding = sizes.embedding if config.model.train in ("vision_projector", "lora") else 0
    linear = frozen.matrices - embedding
    return _arithmetic_bytes(config) * linear + 4.0 * (frozen.parameters - linear)


def _copied(config: Config, sizes: Architecture) -> int:
    """Weights of which autocast makes a copy: matrices of linear layers that learn, so not the embedding."""
    learn = trained_of(config, sizes).learn.matrices
    return learn - (sizes.embedding if sizes.head and config.model.train in ("all", "language") else 0)


def layer_bytes(stack: Stack, half: int, residual: int, gated: bool, expanded: bool) -> int:
    """What one layer keeps of a token for its backward pass.

    Args:
        stack: the layers.
        half: bytes of a number in the arithmetic.
        residual: bytes of a number of the stream between layers.
        gated: whether its MLP has a gate (decoders), or one matrix less (towers).
        expanded: whether keys and values are repeated for every head of the queries, as the dense mask demands.
    """
    h, q, k, i = stack.hidden_size, stack.query_size, stack.key_size, stack.intermediate_size
    # Two norms: the float32 number, the normalised one, the product with the weight.
    norms = 2 * h * (4 + residual + half)
    # Queries and keys before, in and behind the rotation; values; the output, and its copy with the heads side by side.
    attention = half * (3 * q + 3 * k + (2 * q if expanded else k) + 2 * q)
    mlp = half * (4 if gated else 2) * i
    return norms + attention + mlp


class Activations(NamedTuple):
    """Bytes of a micro-batch's activations."""

    # Kept from forward to backward pass.
    kept: float
    # What one layer needs while it is differentiated.
    work: float
    # One copy of the numbers between layers, in float32.
    stream: float


def _activations(config: Config, sizes: Architecture, num_tokens: int, image_tokens: int) -> Activations:
    half, recompute = _arithmetic_bytes(config), layout_of(config.compute).activation_checkpointing
    # Under autocast, on one rank, the stream between layers stays float32.
    residual = half if config.compute.num_policy_workers > 1 else 4
    one = layer_bytes(sizes.decoder, half, residual, True, not _flex(config, num_tokens)) * num_tokens
    inputs = residual * sizes.decoder.hidden_size * num_tokens
    kept = float(sizes.decoder.num_layers * (inputs if recompute else one))
    if sizes.vision is not None:
        places = image_tokens * sizes.places_per_token
        seen = layer_bytes(sizes.vision, half, residual, False, False) * places
        kept += sizes.vision.num_layers * (residual * sizes.vision.hidden_size * places if recompute else seen)
    stream = 4.0 * sizes.decoder.hidden_size * num_tokens
    # Gradients of the widest numbers of the layer, and of the stream.
    gradients = half * 3 * sizes.decoder.intermediate_size * num_tokens + stream
    return Activations(kept + stream, (one if recompute else 0.0) + gradients, stream)


def _flex(config: Config, num_tokens: int) -> bool:
    kind = config.compute.attention
    return kind == "flex" or (kind == "auto" and num_tokens >= FLEX_TOKENS)


def _logits(sizes: Architecture) -> float:
    """Five copies of a chunk of logits in float32: as they are, divided, masked, their softmax and its gradient."""
    return 5.0 * 4 * max(CHUNK_LOGITS, sizes.vocab_size)


def _mask(config: Config, num_tokens: int) -> float:
    """Dense: the numbers and the truth values they are made from. Blocks: truth values while they are made."""
    length = math.ceil(num_tokens / BLOCK) * BLOCK
    return float(length**2 * (3 if _flex(config, num_tokens) else 2 + _arithmetic_bytes(config)))


def _reference(config: Config, sizes: Architecture) -> Part:
    """The frozen start, matrices of linear layers in the dtype of the arithmetic. In shards, here or in the host's
    memory, it needs room for what is gathered meanwhile: the head, or two layers, one of which is on its way."""
    half, linear = _arithmetic_bytes(config), sizes.total.matrices - sizes.embedding
    whole = half * linear + 4.0 * (sizes.total.parameters - linear)
    name = f"reference, {config.model.dtype}"
    if config.compute.reference == "whole":
        return Part(f"{name}, whole", whole, whole)
    gathered = half * max(sizes.head or sizes.embedding, 2 * sizes.decoder.layer_parameters)
    if config.compute.reference == "cpu":
        return Part(f"{name}, in the host's memory: what a pass brings in", gathered, gathered)
    resting = whole / _shards(config)
    return Part(f"{name}, its shard and what a pass gathers", resting + gathered, resting + gathered)


def _engine_weights(config: Config, sizes: Architecture) -> float:
    return _arithmetic_bytes(config) * sizes.total.parameters / config.compute.tensor_parallel_size


def _shared_engine(config: Config, sizes: Architecture) -> Iterator[Part]:
    """An engine that sleeps while the policy trains."""
    yield Part("engine: weights", 0, _engine_weights(config, sizes))
    cache = config.compute.gpu_kv_cache_gib * GIB
    lent = _arithmetic_bytes(config) * sizes.total.parameters if config.compute.weight_transport != "store" else 0
    if lent <= cache:
        yield Part("engine: KV cache", 0, cache)
    else:  # new weights come before the cache is there again
        yield Part("engine: the policy's copy of new weights, and then its KV cache", 0, lent)
    yield Part("engine: the rest (estimate)", ASLEEP_BYTES, ENGINE_BYTES)


def _own_engine(config: Config, sizes: Architecture) -> Iterator[Part]:
    """An engine on GPUs of its own: its KV cache takes what its share of the memory leaves, and must hold one sequence
    at least."""
    weights = _engine_weights(config, sizes)
    least = kv_bytes(config, sizes) * config.model.max_model_len
    yield Part("engine: weights", weights, weights)
    yield Part("engine: KV cache of one sequence at least", least, least)
    yield Part("engine: the rest (estimate)", ENGINE_BYTES, ENGINE_BYTES)


def kv_bytes(config: Config, sizes: Architecture) -> float:
    """Of one token in the KV cache of one GPU."""
    heads = 2 * sizes.decoder.key_size / config.compute.tensor_parallel_size
    return _arithmetic_bytes(config) * sizes.decoder.num_layers * heads


def checkpoint_bytes(config: Config, sizes: Architecture) -> float:
    """Of one checkpoint on disk: float32 weights and both moments of what learns; what is frozen is not in it."""
    return CHECKPOINT_BYTES_PER_PARAMETER * trained_of(config, sizes).learn.parameters

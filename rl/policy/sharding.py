"""How a model lies in memory and over the ranks: what is computed again instead of kept, and FSDP2.

Groups of FSDP2 (`fully_shard`): each layer of decoder and vision tower, embedding and head (one group where they are
tied), the rest with the root. A group's weights are gathered for its own forward and backward pass and never kept
longer, so that outside of a pass each rank holds its shard and nothing else. Weights are laid over the ranks before
they are read, so that no rank ever holds the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from rl.config import ComputeConfig
from rl.policy.ranks import world_size
from rl.policy.token_model import TokenModel


@dataclass(frozen=True)
class Layout:
    """What a policy may choose; its numbers depend on it by rounding only."""

    # Activations of a layer are computed again in the backward pass; only the layers' inputs are kept.
    activation_checkpointing: bool = False
    # Ranks that share one copy of weights and moments; None = all. Copies are kept equal by an all-reduce (HSDP).
    fsdp_size: int | None = None
    # When gradients of the ranks are added up: once an update, or after each micro-batch, which holds no whole
    # gradient.
    gradient_sync: Literal["update", "micro_batch"] = "update"
    # How the optimiser keeps its two moments (rl/policy/optimizer.py).
    optimizer_state: Literal["float32", "bfloat16", "cpu"] = "float32"
    # Where a reference lies: whole on each rank, in shards, or in shards in the host's memory.
    reference: Literal["whole", "sharded", "cpu"] = "whole"


# As simple as can be: what a process gets that says nothing.
PLAIN = Layout()


def layout_of(compute: ComputeConfig) -> Layout:
    """What the settings say; checkpointing that they leave open is on where the device is a GPU."""
    chosen = compute.activation_checkpointing
    return Layout(
        activation_checkpointing=compute.device == "cuda" if chosen is None else chosen,
        fsdp_size=compute.fsdp_size,
        gradient_sync=compute.gradient_sync,
        optimizer_state=compute.optimizer_state,
        reference=compute.reference,
    )


def layers_of(tokens: TokenModel) -> list[nn.Module]:
    """The layers of vision tower and decoder, in the order in which a forward pass meets them."""
    places = [tokens.family.vision_layers] if tokens.family.reads_images else []
    return [layer for place in (*places, f"{tokens.family.decoder}.layers") for layer in tokens.layers_at(place)]


def recompute_layers(tokens: TokenModel) -> None:
    """Activation checkpointing of each layer, in whatever mode the model is (transformers' own works in training mode
    only, and this model is in evaluation mode for good). Names of parameters stay as they are. Must come before
    `shard`: a layer is then gathered once for its backward pass, computed again and differentiated.
    """
    for layer in layers_of(tokens):
        # No dropout, so there is no random state to bring back.
        again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        layer.forward = again  # of this object


def shard(tokens: TokenModel, fsdp_size: int | None = None, *, in_host_memory: bool = False) -> None:
    """FSDP2 over all ranks; nothing to do for one. With bfloat16, weights are gathered and multiplied in it, the shards
    and the sums of gradients stay float32.

    Args:
        in_host_memory: shards lie in the host's memory, and a group's are brought to the device for its own pass; that
            is something to do for one rank, too, whose process group must stand then.

    Raises:
        ValueError: the ranks do not divide into groups of `fsdp_size`.
    """
    if world_size() == 1 and not in_host_memory:
        return
    mesh = make_mesh(tokens.device.type, world_size(), fsdp_size)
    half = tokens.dtype != torch.float32
    policy = MixedPrecisionPolicy(param_dtype=tokens.dtype, reduce_dtype=torch.float32) if half else None
    offload = CPUOffloadPolicy(pin_memory=tokens.device.type == "cuda") if in_host_memory else OffloadPolicy()
    wrap = partial(
        fully_shard,
        mesh=mesh,
        reshard_after_forward=True,
        mp_policy=policy or MixedPrecisionPolicy(),
        offload_policy=offload,
    )
    for layer in layers_of(tokens):
        wrap(layer)
    embedding, head = tokens.model.get_input_embeddings(), tokens.head
    tied = head.linear.weight is embedding.weight
    for modules in [[embedding, head]] if tied else [embedding, head]:
        wrap(modules)
    # The linear layer is met again on its way through the model.
    wrap(tokens, ignored_params=set(head.parameters()))
    tokens.is_sharded, tokens.rests_on_host = True, in_host_memory


def make_mesh(device: str, num_ranks: int, fsdp_size: int | None) -> DeviceMesh:
    """The ranks in one row, or copies x shards where fewer than all share a copy.

    Raises:
        ValueError: the ranks do not divide into groups of `fsdp_size`.
    """
    if fsdp_size is None or fsdp_size == num_ranks:
        return init_device_mesh(device, (num_ranks,))
    if num_ranks % fsdp_size:
        raise ValueError(
            f"compute.fsdp_size={fsdp_size} does not divide the {num_ranks} ranks of the policy; take a divisor, such"
            " as the GPUs of one machine"
        )
    return init_device_mesh(device, (num_ranks // fsdp_size, fsdp_size), mesh_dim_names=("copy", "shard"))


def sync_gradients(tokens: TokenModel, now: bool) -> None:
    """Whether the next backward pass adds up the gradients of the ranks, or keeps its own for a later one that does."""
    if isinstance(tokens, FSDPModule):
        tokens.set_requires_gradient_sync(now)

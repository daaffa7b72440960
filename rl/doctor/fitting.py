"""Settings that would make a run fit, found by trying them with the same arithmetic."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

from rl.config import Config
from rl.doctor.architecture import Architecture, architecture_of
from rl.doctor.data import Finding
from rl.doctor.memory import GIB, Need, Part, checkpoint_bytes, needs, sft_need, trained_of
from rl.stages.settings import as_staged, document_stages
from rl.workers.placement import in_background, reference_apart
from rollouts.prompt.hub import HubOutOfReach
from rollouts.terminal import one_line

# Settings changed together at most, and answers given at most: an error fits on one screen.
MOST_CHANGES, MOST_ANSWERS = 3, 4


class Change(NamedTuple):
    """One setting and another value for it."""

    path: str
    value: Any

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else json.dumps(self.value)
        return f"{self.path}={value}"


class Way(NamedTuple):
    """Changes that make the run fit, and what the fullest GPU then holds in GiB."""

    changes: tuple[Change, ...]
    peak_gib: float

    def __str__(self) -> str:
        return f"{' '.join(map(str, self.changes))} ({self.peak_gib:.1f} GiB)"


def all_needs(config: Config, sizes: Architecture) -> list[Need]:
    """Of the run and of the supervised stages before it."""
    return [*needs(config, sizes), *needs_before(config, sizes)]


def needs_before(config: Config, sizes: Architecture) -> list[Need]:
    """Of the supervised stages, each of which has the GPUs for itself."""
    stages = []
    for name in document_stages(config):
        need = sft_need(as_staged(config, name, sizes.family), sizes)
        stages += [dataclasses.replace(need, role=f"stage {name}")] if need else []
    tuned = sft_need(config, sizes)
    return [*stages, *([tuned] if tuned else [])]


def fullest(config: Config, sizes: Architecture) -> Need:
    """The kind of GPU that must hold most."""
    return max(all_needs(config, sizes), key=lambda need: need.peak)


def fits(config: Config, sizes: Architecture) -> bool:
    """Whether every GPU can hold its part; True where compute.gpu_memory_gib is not said."""
    room = config.compute.gpu_memory_gib
    return room is None or all(need.peak <= room * GIB for need in all_needs(config, sizes))


def ways_to_fit(config: Config, sizes: Architecture) -> list[Way]:
    """The ways to make a run fit that change fewest settings, mildest first; empty where none of ours does."""
    changes = list(_candidates(config))
    for count in range(1, MOST_CHANGES + 1):
        ways = []
        for chosen in combinations(changes, count):
            if len({change.path for change in chosen}) < count:
                continue
            changed = apply(config, chosen)
            if fits(changed, sizes):
                ways.append(Way(chosen, fullest(changed, sizes).peak / GIB))
        if ways:
            return ways[:MOST_ANSWERS]
    return []


def apply(config: Config, changes: tuple[Change, ...]) -> Config:
    """The configuration with other values."""
    for path, value in changes:
        section, name = path.split(".")
        part = dataclasses.replace(getattr(config, section), **{name: value})
        config = dataclasses.replace(config, **{section: part})
    return config


def _candidates(config: Config) -> Iterator[Change]:
    """What could be changed, from what costs least to what costs most: time, then precision, then what is learnt, then
    machines."""
    compute, grpo = config.compute, config.grpo
    if compute.activation_checkpointing is False:
        yield Change("compute.activation_checkpointing", True)
    if compute.num_policy_workers > 1 and compute.gradient_sync == "update":
        yield Change("compute.gradient_sync", "micro_batch")
    if compute.num_policy_workers > 1 and compute.fsdp_size not in (None, compute.num_policy_workers):
        yield Change("compute.fsdp_size", None)
    if grpo.micro_batch_tokens > config.model.max_model_len:
        yield Change("grpo.micro_batch_tokens", config.model.max_model_len)
    for state in ("bfloat16", "cpu"):
        if compute.optimizer_state not in (state, "cpu"):
            yield Change("compute.optimizer_state", state)
    yield from _about_the_reference(config)
    if config.model.train != "lora":
        yield Change("model.train", "lora")
    yield Change("compute.tensor_parallel_size", 2 * compute.tensor_parallel_size)
    for factor in (2, 4, 8):
        yield Change("compute.num_policy_workers", factor * compute.num_policy_workers)


def _about_the_reference(config: Config) -> Iterator[Change]:
    """Where else it could lie, and to do without it."""
    if not reference_apart(config):
        return
    now = config.compute.reference
    if now == "whole" and config.compute.num_policy_workers > 1:
        yield Change("compute.reference", "sharded")
    if now != "cpu":
        yield Change("compute.reference", "cpu")
    yield Change("grpo.beta", 0.0)


def check_memory(config: Config) -> list[Finding]:
    """What each kind of GPU must hold, part by part; a cross where one cannot, with settings that would mend it."""
    try:
        sizes = architecture_of(config.sft.checkpoint or config.model.path)
    except OSError as error:
        text = f"memory: the sizes of {config.model.path} cannot be had: {one_line(str(error), 200)}"
        return [Finding(True, text, checked=not isinstance(error, HubOutOfReach))]
    findings = [Finding(True, _in_words(config, sizes))]
    if fault := _heads(config, sizes):
        findings.append(fault)
    room = config.compute.gpu_memory_gib
    for need in needs(config, sizes):
        good = room is None or need.peak <= room * GIB
        fix = "" if good else _advice(ways_to_fit(config, sizes))
        findings.append(Finding(good, _headline(need, room), fix))
        findings += [Finding(True, _line(part)) for part in need.parts]
    for before in needs_before(config, sizes):
        good = room is None or before.peak <= room * GIB
        text = f"{before.role}: {before.peak / GIB:.1f} GiB on each; largest: {before.largest.name}"
        has_advice = any(finding.fix for finding in findings)
        findings.append(
            Finding(good, text, "" if good else "as above" if has_advice else _advice(ways_to_fit(config, sizes)))
        )
    if idle := _idle_ranks(config):
        findings.append(Finding(True, idle))
    if room is None:
        findings.append(Finding(True, "compute.gpu_memory_gib is not said, so nothing is compared with it"))
    return findings


def _in_words(config: Config, sizes: Architecture) -> str:
    both = trained_of(config, sizes)
    parts = {
        "language model": sizes.language_model,
        "vision tower": sizes.vision_tower,
        "projector": sizes.projector,
    }
    named = ", ".join(f"{name} {size.parameters / 1e6:,.0f} M" for name, size in parts.items() if size.parameters)
    disk = checkpoint_bytes(config, sizes) / GIB
    copied = ", and as much of the machines' memory while it is written" if in_background(config.compute) else ""
    return (
        f"{sizes.name}: {sizes.total.parameters / 1e9:.2f} B parameters ({named}); model.train={config.model.train}"
        f" trains {both.learn.parameters / 1e6:,.0f} M; a checkpoint takes {disk:.1f} GiB{copied}"
    )


def _heads(config: Config, sizes: Architecture) -> Finding | None:
    tensor_parallel, heads = config.compute.tensor_parallel_size, sizes.decoder.num_heads
    if heads % tensor_parallel == 0:
        return None
    divisors = [str(number) for number in range(1, heads + 1) if heads % number == 0 and number <= 16]
    return Finding(
        False,
        f"an engine of compute.tensor_parallel_size={tensor_parallel} GPUs cannot deal out {heads} attention heads",
        f"compute.tensor_parallel_size={' or '.join(divisors)}",
    )


def _idle_ranks(config: Config) -> str:
    """Ranks without a completion in a mini-batch; they wait for the others."""
    grpo, ranks = config.grpo, config.compute.num_policy_workers
    completions = grpo.prompts_per_step * grpo.num_generations // grpo.num_minibatches
    if completions >= ranks:
        return ""
    prompts = -(-ranks * grpo.num_minibatches // grpo.num_generations)
    return (
        f"a mini-batch has {completions} completions for {ranks} ranks, so {ranks - completions} are idle:"
        f" grpo.prompts_per_step={prompts} gives each one, {ranks * grpo.num_minibatches} a prompt of its own"
    )


def _headline(need: Need, room: float | None) -> str:
    of = "" if room is None else f" of {room:g}"
    gpus = f"each of {need.num_gpus} GPUs" if need.num_gpus > 1 else "the GPU"
    training, drawing = need.training / GIB, need.drawing / GIB
    return (
        f"{gpus} ({need.role}): {training:.1f} GiB while training, {drawing:.1f} while drawing{of};"
        f" largest: {need.largest.name}"
    )


def _line(part: Part) -> str:
    return f"  {part.training / GIB:7.1f} {part.drawing / GIB:7.1f}  {part.name}"


def _advice(ways: list[Way]) -> str:
    if not ways:
        return f"no {MOST_CHANGES} of the settings that we know make it fit: take a smaller model, or more GPUs"
    return "; or ".join(map(str, ways))

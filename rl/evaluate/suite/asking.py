"""Every item of a benchmark and every item its probes make goes through the prompt, engine, parser and rubric of
training, and its completions into the store as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from rewards.rubric import Scored
from rl.algo.order import sampling_seed
from rl.config import Config
from rl.drawing import TooManyFailures
from rl.evaluate.asking import EVALUATION_STEP, HeldOut
from rl.probes.probe import PROBE
from rl.protocols import Engines, Scoring, Store
from rollouts.engine.requests import Refusal, Request, SamplingSettings
from rollouts.prompt.prefill import prefill_of
from rollouts.prompt.processing import Processor, encode, media_token_ids
from rollouts.records import Completion, Rollout, Sample

# Completions after which those that are judged are stored.
SWEEP = 256
# Called as each completion arrives.
Advance = Callable[[], None]


class Where(NamedTuple):
    """Under which keys completions are stored."""

    run: str
    # The place of the benchmark among those of the folder, from 1: a step of the store each.
    step: int
    policy_version: int


@dataclass
class _Group:
    """What came back of one prompt so far."""

    sample: Sample
    # The prompt; neither its images nor its tensors, which nobody needs any more.
    text: str
    size: int
    came: dict[int, tuple[Completion, Future[Scored]]] = field(default_factory=dict)


def held_out(samples: Sequence[Sample], processor: Processor) -> HeldOut:
    """Items that are encoded when their turn comes; probes have made their images already."""
    return HeldOut(tuple(samples), lambda sample, _: encode(processor, sample), False, media_token_ids(processor))


def num_completions(sample: Sample, num_samples: int) -> int:
    """One greedy completion, and the sampled ones where the item was made by no probe."""
    return 1 + (0 if PROBE in sample.tags else num_samples)


def ask(
    engines: Engines,
    scorer: Scoring,
    items: HeldOut,
    config: Config,
    where: Where,
    store: Store,
    *,
    num_samples: int,
    advance: Advance = lambda: None,
) -> list[Refusal]:
    """Ask all items and store each with its completions: the greedy one has sample_index 0, sampled ones follow.

    Returns the items that the processor or the engine did not take; they are not stored and have no value.

    Raises:
        TooManyFailures: more of them than grpo.max_failure_rate allows.
        whatever the engine or the store raise.
    """
    refused: dict[str, Refusal] = {}
    groups: dict[str, _Group] = {}
    greedy = SamplingSettings(
        temperature=0.0, max_completion_length=config.grpo.max_completion_length,
        policy_version=where.policy_version, banned_token_ids=items.banned_token_ids,
    )  # fmt: skip
    batches = _batches(items, groups, refused, greedy, config, num_samples)
    for number, (key, completion) in enumerate(engines.sample_stream(batches, greedy), start=1):
        advance()
        name = key[0]
        if isinstance(completion, Refusal):
            refused[name] = completion
            groups.pop(name, None)
            continue
        if name not in groups:  # another of its completions was refused
            continue
        _take(groups[name], name, key[1], completion, scorer, where)
        if number % SWEEP == 0:
            _store_finished(groups, where, store, wait=False)
    _store_finished(groups, where, store, wait=True)
    if lost := [name for name, group in groups.items() if len(group.came) < group.size]:
        raise RuntimeError(f"{where.run}: completions of {len(lost)} items never came back, such as {lost[0]!r}")
    _refuse_too_many(refused, len(items.samples), config.grpo.max_failure_rate)
    return list(refused.values())


def _batches(
    items: HeldOut, groups: dict[str, _Group], refused: dict[str, Refusal], greedy: SamplingSettings, config: Config,
    num_samples: int,
) -> Iterator[list[Request]]:  # fmt: skip
    sampled = dataclasses.replace(greedy, temperature=config.grpo.temperature)
    for chunk in items.chunks(refused):
        requests: list[Request] = []
        for sample, prompt in chunk:
            size = num_completions(sample, num_samples)
            groups[sample.id] = _Group(sample, prompt.text, size)
            requests += [
                Request(
                    prompt_id=sample.id,
                    sample_index=index,
                    text=prompt.text,
                    media=prompt.engine_media,
                    seed=sampling_seed(config.seed, EVALUATION_STEP, sample.pair_id or sample.id, max(0, index - 1)),
                    token_ids=prompt.token_ids,
                    settings=sampled if index else greedy,
                )
                for index in range(size)
            ]
        chunk.clear()
        yield requests
        del requests


def _take(group: _Group, name: str, index: int, completion: Completion, scorer: Scoring, where: Where) -> None:
    future = scorer.submit(
        group.sample, completion.text, f"{where.run}/{where.step}/{name}", completion.finish_reason,
        num_tokens=len(completion.token_ids), group_size=group.size, prefill=prefill_of(group.text),
    )  # fmt: skip
    group.came[index] = completion, future


def _store_finished(groups: dict[str, _Group], where: Where, store: Store, *, wait: bool) -> None:
    """Store the groups that are whole and judged; `wait` for the judges of all."""
    whole = [name for name, group in groups.items() if len(group.came) == group.size]
    for name in whole:
        group = groups[name]
        if wait or all(future.done() for _, future in group.came.values()):
            store.append_group([_rollout(group, index, name, where) for index in sorted(group.came)])
            del groups[name]


def _rollout(group: _Group, index: int, name: str, where: Where) -> Rollout:
    completion, future = group.came[index]
    scored = future.result()
    return Rollout(
        run=where.run,
        step=where.step,
        prompt_id=name,
        sample_index=index,
        sample=group.sample,
        prompt_text=group.text,
        completion=completion,
        parsed=scored.parsed,
        outcomes=scored.outcomes,
        weights=scored.weights,
        total=scored.total,
        valid=scored.valid and completion.finish_reason != "abort",
    )


def _refuse_too_many(refused: dict[str, Refusal], num_items: int, limit: float) -> None:
    if len(refused) > limit * num_items:
        shown = "\n".join(f"  {one.prompt_id}: {one.reason}" for one in list(refused.values())[:5])
        raise TooManyFailures(
            f"{len(refused)} of {num_items} items were refused by the processor or the engine, at most {limit:.0%} may"
            f" be (grpo.max_failure_rate):\n{shown}"
        )

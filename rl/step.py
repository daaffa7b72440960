"""The verbs of one GRPO step (README, One step of GRPO). The loop that says them is `rl/grpo.py`; the maths is in
advantages, losses, logprobs.

Legend: P prompts of the step, N completions of each; rows are the P x N completions in the order of training
(rl/algo/step_order.py).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rewards.scorer import Scored
from rl.algo.advantages import advantages_of
from rl.algo.losses import denominators
from rl.algo.order import sampling_seed
from rl.algo.step_order import asking_order, training_order
from rl.config import GrpoConfig
from rl.policy.batching import Row
from rollouts.engine.requests import Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import EncodedPrompt, encode
from rollouts.records import Completion, Rollout, Sample


class TooManyFailures(RuntimeError):
    """More rewards of a step failed than `grpo.max_failure_rate` allows; training on the rest would be training on
    luck."""


class LostCompletions(RuntimeError):
    """The rollout workers returned fewer completions than were asked for."""


@dataclass
class Clock:
    """Wall seconds of the parts of a step, by verl's names (`timing_s/*`)."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


@dataclass(frozen=True)
class Group:
    """One prompt with its completions, on the way through the step."""

    sample: Sample
    prompt: EncodedPrompt
    completions: tuple[Completion, ...]
    # Scores in the order of the completions; judges may still be thinking.
    scores: tuple[Future[Scored], ...]
    # Seconds from the start of sampling until each completion was there.
    seconds: tuple[float, ...]
    # Log-probs of the tokens of each completion under the policy that drew it and under the reference; empty until they
    # are computed.
    old_logprobs: tuple[tuple[float, ...], ...] = ()
    ref_logprobs: tuple[tuple[float, ...], ...] = ()


def requests_for(prompts: Sequence[EncodedPrompt], num_generations: int, seed: int, step: int) -> list[Request]:
    """P x N requests in prompt order, each with a seed of its own that depends on nothing but its place."""
    return [
        Request(
            prompt.prompt_id,
            index,
            prompt.text,
            prompt.engine_media,
            sampling_seed(seed, step, prompt.prompt_id, index),
            prompt.token_ids,
        )
        for prompt in prompts
        for index in range(num_generations)
    ]


def sampling_settings(grpo: GrpoConfig, version: int, banned_token_ids: tuple[int, ...]) -> SamplingSettings:
    """How a training step draws, with the weights of `version`."""
    return SamplingSettings(grpo.temperature, grpo.top_p, grpo.max_completion_length, version, banned_token_ids)


def encode_prompts(run: Any, samples: Sequence[Sample]) -> list[EncodedPrompt]:
    """The prompts of a step, in its order. Raises BadSample where an image does not open."""
    return [encode(run.processor, sample) for sample in samples]


def sample_and_score(run: Any, step: int, samples: Sequence[Sample], prompts: Sequence[EncodedPrompt]) -> list[Group]:
    """Draw N completions of each sample; each is handed to the scorer the moment it arrives, so that judges think while
    engines draw.

    What has to be waited for is asked first; the groups come back in the order of training.

    Raises:
        LostCompletions: some never came back.
    """
    grpo = run.config.grpo
    by_id = {sample.id: sample for sample in samples}
    prefills = {prompt.prompt_id: prompt.prefill for prompt in prompts}
    waits = [any(bound.waits for bound in run.scorer.rubric.rewards_for(sample).values()) for sample in samples]
    requests = requests_for(
        [prompts[place] for place in asking_order(waits)], grpo.num_generations, run.config.seed, step
    )
    arrived: dict[RequestKey, tuple[Completion, Future[Scored], float]] = {}
    started = time.monotonic()
    for key, completion in run.cluster.rollout.sample(
        requests, sampling_settings(grpo, step - 1, run.banned_token_ids)
    ):
        score = run.scorer.submit(
            by_id[key.prompt_id],
            completion.text,
            f"{run.name}/{step}/{key.prompt_id}",
            completion.finish_reason,
            num_tokens=len(completion.token_ids),
            group_size=grpo.num_generations,
            prefill=prefills[key.prompt_id],
        )
        arrived[key] = completion, score, time.monotonic() - started
    if len(arrived) != len(requests):
        raise LostCompletions(
            f"step {step}: {len(arrived)} of {len(requests)} completions came back from the rollout workers"
        )
    groups = []
    for place in training_order(waits, grpo):
        prompt = prompts[place]
        members = [arrived[RequestKey(prompt.prompt_id, index)] for index in range(grpo.num_generations)]
        completions, scores, seconds = zip(*members, strict=True)
        groups.append(Group(samples[place], prompt.for_trainer(), completions, scores, seconds))
    return groups


def rows_of(groups: Sequence[Group]) -> list[Row]:
    """P x N rows for the log-prob passes, in the order of the groups."""
    return [Row(group.prompt, completion.token_ids) for group in groups for completion in group.completions]


def with_logprobs(
    groups: Sequence[Group], old: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]
) -> list[Group]:
    """The same groups with the log-probs of policy and reference, given as one list a row in the order of the
    groups."""
    pairs = iter(zip(old, reference, strict=True))
    filled = []
    for group in groups:
        own, frozen = zip(
            *((tuple(ours), tuple(theirs)) for ours, theirs in islice(pairs, len(group.completions))), strict=True
        )
        filled.append(dataclasses.replace(group, old_logprobs=own, ref_logprobs=frozen))
    return filled


def collect_scores(run: Any, groups: Sequence[Group], before: Sequence[Sequence[Scored]] = ()) -> list[list[Scored]]:
    """Wait for the scores of these groups. One with fewer valid members than `grpo.min_valid` has its failed ones
    scored once more (JUDGING.md).

    Where a reward compares the members of a group, all of them are scored once more, and only the failed ones take the
    new score. `before`: what earlier parts of the step gave. A step that fails here ends the run before these groups
    are trained on; earlier parts of it may have been, on scores that were there, in weights that no checkpoint ever
    holds.

    Raises:
        TooManyFailures: so far more completions have no score than the share `grpo.max_failure_rate` of the whole step.
    """
    grpo = run.config.grpo
    scored = [[score.result() for score in group.scores] for group in groups]
    again = {
        place: _score_again(run, group, members)
        for place, (group, members) in enumerate(zip(groups, scored, strict=True))
        if sum(member.valid for member in members) < grpo.min_valid
    }
    for place, futures in again.items():
        for index, future in futures.items():
            scored[place][index] = future.result()
    failed = [member for members in (*before, *scored) for member in members if not member.valid]
    total = grpo.prompts_per_step * grpo.num_generations
    if len(failed) > grpo.max_failure_rate * total:
        raise TooManyFailures(_failure_text(failed, total, grpo.max_failure_rate))
    return scored


def _score_again(run: Any, group: Group, members: Sequence[Scored]) -> dict[int, Future[Scored]]:
    """Place of each failed member -> its new score."""
    failed = [index for index, member in enumerate(members) if not member.valid]
    places = range(len(members)) if run.scorer.rubric.has_group_rewards else failed
    futures = {
        index: run.scorer.submit(
            group.sample,
            group.completions[index].text,
            f"{run.name}/again/{group.completions[0].policy_version}/{group.prompt.prompt_id}",
            group.completions[index].finish_reason,
            num_tokens=len(group.completions[index].token_ids),
            group_size=len(places),
            prefill=group.prompt.prefill,
        )
        for index in places
    }
    return {index: futures[index] for index in failed}


def _failure_text(failed: Sequence[Scored], total: int, limit: float) -> str:
    reasons: dict[str, int] = {}
    traces: dict[str, str] = {}
    for member in failed:
        for name, outcome in member.outcomes.items():
            if outcome.status != "ok":
                line = f"{name}: {outcome.status}: {outcome.reason}"
                reasons[line] = reasons.get(line, 0) + 1
                evidence = outcome.evidence or {}
                traces[line] = str(evidence.get("traceback") or evidence.get("output") or "")
    commonest = sorted(reasons, key=lambda line: -reasons[line])[:5]
    lines = [f"  {reasons[line]} x {line}" for line in commonest]
    trace = [f"    {line}" for line in traces[commonest[0]].splitlines()[-12:]] if commonest else []
    head = (
        f"{len(failed)} of {total} completions could not be scored, at most {limit:.0%} may fail"
        " (grpo.max_failure_rate):"
    )
    return "\n".join(
        [head, *lines, *trace, "Mend the reward or the judge, then run the same command with resume=true."]
    )


def with_advantages(
    run: Any, step: int, groups: Sequence[Group], scored: Sequence[Sequence[Scored]]
) -> list[list[Rollout]]:
    """Scores become group-relative advantages, and everything known of these groups becomes the records of the step."""
    grpo = run.config.grpo
    usable = [
        [
            member.valid and completion.finish_reason != "abort"
            for member, completion in zip(members, group.completions, strict=True)
        ]
        for group, members in zip(groups, scored, strict=True)
    ]
    result = advantages_of(scored, usable, grpo)
    return [
        [
            Rollout(
                run=run.name,
                step=step,
                prompt_id=group.prompt.prompt_id,
                sample_index=index,
                sample=group.sample,
                prompt_text=group.prompt.text,
                completion=completion,
                parsed=member.parsed,
                outcomes=member.outcomes,
                weights=member.weights,
                total=member.total,
                valid=bool(result.trained[place, index]),
                advantage=float(result.advantages[place, index]),
                old_logprobs=group.old_logprobs[index],
                ref_logprobs=group.ref_logprobs[index],
                timings={"gen": group.seconds[index], "reward": sum(o.seconds for o in member.outcomes.values())},
            )
            for index, (completion, member) in enumerate(zip(group.completions, members, strict=True))
        ]
        for place, (group, members) in enumerate(zip(groups, scored, strict=True))
    ]


def record(run: Any, groups: Sequence[Sequence[Rollout]]) -> None:
    """Every completion is on disk before it is trained on."""
    for group in groups:
        run.writer.append_group(group)


def start_updates(
    run: Any, minibatches: Sequence[int], groups: Sequence[Group], rollouts: Sequence[Sequence[Rollout]]
) -> list[Callable[[], dict[str, float]]]:
    """Hand these mini-batches of the step to the policy, which trains on them one after the other; what is returned
    waits for the metrics of each.

    A mini-batch is an equal share of all rows of the step; `rollouts` are those of the first groups, as far as they are
    recorded.
    """
    grpo = run.config.grpo
    rows = [
        Row(group.prompt, one.completion.token_ids, one.advantage or 0.0, one.valid, one.old_logprobs, one.ref_logprobs)
        for group, recorded in zip(groups, rollouts, strict=False)
        for one in recorded
    ]
    size = grpo.prompts_per_step * grpo.num_generations // grpo.num_minibatches
    chosen = [rows[minibatch * size : (minibatch + 1) * size] for minibatch in minibatches]
    # Only DAPO's denominator looks beyond its own mini-batch, and with DAPO all of them come here at once
    # (rl/algo/step_order.py).
    lengths = [[len(row.completion_ids) for row in minibatch if row.valid] for minibatch in chosen]
    totals = denominators(lengths, grpo.max_completion_length)
    return [run.cluster.policy.start_update(minibatch, total) for minibatch, total in zip(chosen, totals, strict=True)]

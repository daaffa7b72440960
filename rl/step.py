"""The verbs of one GRPO step (README, One step of GRPO). The loop that says them is `rl/grpo.py`; the maths is in
`rl/algo/`.

Legend: P prompts of the step, N completions of each; rows are the P x N completions in the order of training
(rl/algo/step_order.py).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from rewards.rubric import Scored
from rl.algo.denominators import denominators
from rl.algo.estimators import estimator_of
from rl.algo.order import sampling_seed
from rl.algo.step_order import asking_order, training_order
from rl.config import GrpoConfig
from rl.policy.batching import Row
from rl.protocols import ScoringRun, StepRun
from rl.refusals import encode_or_refuse, no_completion, no_prompt, no_score
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import EncodedPrompt
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
    # A run without a reference (grpo.beta=0) leaves the second one empty.
    ref_logprobs: tuple[tuple[float, ...], ...] = ()
    # The processor or the engine did not take the row: there are no tokens, and nothing to record (rl/refusals.py).
    refused: bool = False


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
    return SamplingSettings(grpo.temperature, grpo.max_completion_length, version, banned_token_ids)


def encode_prompts(run: StepRun, samples: Sequence[Sample]) -> list[EncodedPrompt | Refusal]:
    """The prompts of a step, in its order; a row that cannot be encoded any more is refused, and costs itself."""
    return [encode_or_refuse(run.processor, sample) for sample in samples]


def sample_and_score(
    run: StepRun, step: int, samples: Sequence[Sample], prompts: Sequence[EncodedPrompt | Refusal]
) -> list[Group]:
    """Draw N completions of each sample with the weights of version step - 1. Each goes to the scorer the moment it
    arrives, so that judges think while engines draw.

    `prompts` are those of `samples`, in the same order. Engines draw first what has to be waited for; the groups come
    back in the order of training. A refused row is a group without tokens, neither recorded nor trained on.

    Raises:
        LostCompletions: some never came back.
        TooManyFailures: every row of the step was refused.
    """
    grpo = run.config.grpo
    by_id = {sample.id: sample for sample in samples}
    waits = [any(bound.waits for bound in run.scorer.rubric.rewards_for(sample).values()) for sample in samples]
    in_order = [prompts[place] for place in asking_order(waits)]
    refused = {one.prompt_id: one for one in in_order if isinstance(one, Refusal)}
    encoded = {one.prompt_id: one for one in in_order if not isinstance(one, Refusal)}
    requests = requests_for(list(encoded.values()), grpo.num_generations, run.config.seed, step)
    # Completion, score and seconds since the first request, by their request.
    members: dict[RequestKey, tuple[Completion, Future[Scored], float]] = {}
    num_refused = 0
    started = time.monotonic()
    settings = sampling_settings(grpo, step - 1, run.banned_token_ids)
    for key, completion in run.cluster.rollout.sample(requests, settings):
        if isinstance(completion, Refusal):
            refused[key.prompt_id] = completion
            num_refused += 1
            continue
        score = run.scorer.submit(
            by_id[key.prompt_id],
            completion.text,
            f"{run.name}/{step}/{key.prompt_id}",
            completion.finish_reason,
            num_tokens=len(completion.token_ids),
            group_size=grpo.num_generations,
            prefill=encoded[key.prompt_id].prefill,
        )
        members[key] = completion, score, time.monotonic() - started
    if len(members) + num_refused != len(requests):
        raise LostCompletions(
            f"step {step}: {len(members)} of {len(requests)} completions came back from the rollout workers"
        )
    tell_refused(run, step, [refused[sample.id] for sample in samples if sample.id in refused], len(samples))
    complete = (prompt for prompt in encoded.values() if prompt.prompt_id not in refused)
    ready = {prompt.prompt_id: _group(by_id[prompt.prompt_id], prompt, members, grpo) for prompt in complete}
    ready |= {name: refused_group(run, step, by_id[name], refusal) for name, refusal in refused.items()}
    whole_step = estimator_of(grpo.loss_type).needs_whole_step(grpo)
    return [ready[samples[place].id] for place in training_order(waits, whole_step)]


def _group(
    sample: Sample,
    prompt: EncodedPrompt,
    members: Mapping[RequestKey, tuple[Completion, Future[Scored], float]],
    grpo: GrpoConfig,
) -> Group:
    keys = [RequestKey(prompt.prompt_id, index) for index in range(grpo.num_generations)]
    completions, scores, seconds = zip(*(members[key] for key in keys), strict=True)
    return Group(sample, prompt.for_trainer(), completions, scores, seconds)


def refused_group(run: StepRun, step: int, sample: Sample, refusal: Refusal) -> Group:
    """A group without tokens in the place of a refused row, so that the mini-batches of the step stay what they are."""
    size = run.config.grpo.num_generations
    seeds = [sampling_seed(run.config.seed, step, sample.id, index) for index in range(size)]
    return Group(
        sample,
        no_prompt(refusal),
        tuple(no_completion(seed, step - 1) for seed in seeds),
        tuple(no_score(refusal, run.scorer.rubric.weights) for _ in seeds),
        (0.0,) * size,
        refused=True,
    )


def tell_refused(run: StepRun, step: int, refusals: Sequence[Refusal], num_rows: int) -> None:
    """Name the refused rows of a step. Raises TooManyFailures where none is left; a share of them is `collect_scores`'
    to judge."""
    for refusal in refusals:
        run.refuse(f"step {step}", refusal)
    if len(refusals) == num_rows:
        shown = "\n".join(f"  {one.prompt_id}: {one.reason}" for one in refusals[:5])
        raise TooManyFailures(f"step {step}: all {num_rows} rows were refused:\n{shown}")


def rows_of(groups: Sequence[Group]) -> list[Row]:
    """P x N rows for the log-prob passes, in the order of the groups."""
    return [Row(group.prompt, completion.token_ids) for group in groups for completion in group.completions]


def start_reference(run: StepRun, rows: Sequence[Row]) -> Callable[[], list[list[float]] | None]:
    """Begin to compute the log-probs of the rows under the reference. The function that is returned waits for them, and
    gives None where the run has no reference (grpo.beta=0)."""
    return (lambda: None) if run.cluster.reference is None else run.cluster.reference.start_log_probs(rows)


def with_logprobs(
    groups: Sequence[Group], old: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None
) -> list[Group]:
    """The same groups with the log-probs of policy and reference, given as one list a row in the order of the
    groups; None = there is no reference."""
    num_rows = sum(len(group.completions) for group in groups)
    if len(old) != num_rows or (reference is not None and len(reference) != num_rows):
        came = f"{len(old)} and {'no' if reference is None else len(reference)}"
        raise ValueError(f"log-probs of {came} rows came back for {num_rows} completions")
    old_rows, reference_rows = map(tuple, old), map(tuple, reference or ())
    return [
        dataclasses.replace(
            group,
            old_logprobs=tuple(islice(old_rows, len(group.completions))),
            ref_logprobs=tuple(islice(reference_rows, len(group.completions))),
        )
        for group in groups
    ]


def collect_scores(
    run: ScoringRun, groups: Sequence[Group], before: Sequence[Sequence[Scored]] = ()
) -> list[list[Scored]]:
    """Wait for the scores of these groups: one list a group. A group with fewer valid members than `grpo.min_valid` has
    its failed ones scored once more (JUDGING.md).

    Where a reward compares the members of a group, all of them are scored once more, and only the failed ones take the
    new score. `before`: the scores of earlier parts of the step. A failure here ends the run before these groups are
    trained on. Earlier parts of the step may have been trained on by then; no checkpoint holds those weights.

    Raises:
        TooManyFailures: so far more completions have no score than the share `grpo.max_failure_rate` of the whole step.
    """
    grpo = run.config.grpo
    scored = [[score.result() for score in group.scores] for group in groups]
    again = {
        place: _score_again(run, group, members)
        for place, (group, members) in enumerate(zip(groups, scored, strict=True))
        if sum(member.valid for member in members) < grpo.min_valid and not group.refused
    }
    for place, futures in again.items():
        for index, future in futures.items():
            scored[place][index] = future.result()
    failures = [member for members in (*before, *scored) for member in members if not member.valid]
    total = grpo.prompts_per_step * grpo.num_generations
    if len(failures) > grpo.max_failure_rate * total:
        raise TooManyFailures(_failure_text(failures, total, grpo.max_failure_rate))
    return scored


def _score_again(run: ScoringRun, group: Group, members: Sequence[Scored]) -> dict[int, Future[Scored]]:
    """Place of each failed member -> its new score."""
    failures = [index for index, member in enumerate(members) if not member.valid]
    places = range(len(members)) if run.scorer.rubric.has_group_rewards else failures
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
    return {index: futures[index] for index in failures}


def _failure_text(failures: Sequence[Scored], total: int, limit: float) -> str:
    reasons: dict[str, int] = {}
    traces: dict[str, str] = {}
    for member in failures:
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
        f"{len(failures)} of {total} completions could not be scored, at most {limit:.0%} may fail"
        " (grpo.max_failure_rate):"
    )
    return "\n".join(
        [head, *lines, *trace, "Mend the reward or the judge, then run the same command with resume=true."]
    )


def with_advantages(
    run: ScoringRun, step: int, groups: Sequence[Group], scored: Sequence[Sequence[Scored]]
) -> list[list[Rollout]]:
    """Turn the scores of these groups into advantages, and everything known of them into the records of the step: one
    list a group. An aborted completion is recorded and not trained on."""
    grpo = run.config.grpo
    usable = [
        [
            member.valid and completion.finish_reason != "abort"
            for member, completion in zip(members, group.completions, strict=True)
        ]
        for group, members in zip(groups, scored, strict=True)
    ]
    result = estimator_of(grpo.loss_type).advantages(scored, usable, grpo)
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
                ref_logprobs=group.ref_logprobs[index] if group.ref_logprobs else None,
                timings={"gen": group.seconds[index], "reward": sum(o.seconds for o in member.outcomes.values())},
            )
            for index, (completion, member) in enumerate(zip(group.completions, members, strict=True))
        ]
        for place, (group, members) in enumerate(zip(groups, scored, strict=True))
    ]


def record(run: StepRun, groups: Sequence[Group], rollouts: Sequence[Sequence[Rollout]]) -> None:
    """Every completion is on disk before it is trained on."""
    for members in members_of(groups, rollouts):
        run.writer.append_group(members)


def members_of(groups: Sequence[Group], rollouts: Sequence[Sequence[Rollout]]) -> list[Sequence[Rollout]]:
    """The rollouts of the groups that were drawn: a refused row has none."""
    return [members for group, members in zip(groups, rollouts, strict=True) if not group.refused]


def start_updates(
    run: StepRun, minibatches: Sequence[int], groups: Sequence[Group], rollouts: Sequence[Sequence[Rollout]]
) -> list[Callable[[], dict[str, float]]]:
    """Hand these mini-batches of the step to the policy, which trains on them one after the other. Each function that
    is returned waits for the metrics of one.

    Args:
        minibatches: their numbers in the step, from 0. A mini-batch is an equal share of all rows of the step.
        groups: of the whole step.
        rollouts: the records of the first groups, as many as there are so far.
    """
    grpo = run.config.grpo
    rows = [
        Row(
            prompt=group.prompt,
            completion_ids=rollout.completion.token_ids,
            advantage=rollout.advantage or 0.0,
            valid=rollout.valid,
            old_logprobs=rollout.old_logprobs,
            ref_logprobs=rollout.ref_logprobs,
        )
        for group, records in zip(groups, rollouts, strict=False)
        for rollout in records
    ]
    size = grpo.prompts_per_step * grpo.num_generations // grpo.num_minibatches
    batches = [rows[minibatch * size : (minibatch + 1) * size] for minibatch in minibatches]
    lengths = [[len(row.completion_ids) for row in batch if row.valid] for batch in batches]
    totals = denominators(lengths, grpo.max_completion_length, grpo.num_minibatches)
    return [run.cluster.policy.start_update(batch, total) for batch, total in zip(batches, totals, strict=True)]

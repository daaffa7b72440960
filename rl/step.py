"""The verbs of one GRPO step (README, One step of GRPO) from a score to an update; how it is drawn stands in
`rl/drawing.py`. The loop that says them is `rl/grpo.py`; the maths is in `rl/algo/`.

Legend: P prompts of the step, N completions of each; rows are the P x N completions in the order of training
(rl/algo/step_order.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from rewards.rubric import Scored
from rl.algo.denominators import denominators
from rl.algo.estimators import estimator_of
from rl.algo.step_order import Piece
from rl.drawing import Group, TooManyFailures, streams
from rl.policy.batching import Row
from rl.protocols import ScoringRun, StepRun
from rollouts.records import Rollout


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
        if sum(member.valid for member in members) < grpo.min_valid and not (group.refused or group.settled)
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
                old_logprobs=group.old_logprobs[index] if group.old_logprobs else None,
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
    run: StepRun, pieces: Sequence[Piece], groups: Sequence[Group], rollouts: Sequence[Sequence[Rollout]]
) -> list[Callable[[], dict[str, float]]]:
    """Hand these pieces of the step to the policy, which trains on them one after the other. Each function that is
    returned waits for the metrics of a mini-batch that ends with one of them. Of a step that streams, engines have
    drawn the last groups by the time that its second half is trained on, so the policy is alone with the machine then;
    that is a rule and not a look at what is free, because bits depend on the number of threads.

    Args:
        groups: the first of the step, as many as there are so far.
        rollouts: their records.
    """
    grpo = run.config.grpo
    members = [(group, one) for group, records in zip(groups, rollouts, strict=True) for one in records]
    size = grpo.prompts_per_step * grpo.num_generations // grpo.num_minibatches
    lengths = [
        [len(one.completion.token_ids) for _, one in members[start : start + size] if one.valid]
        for start in range(0, len(members) - size + 1, size)
    ]
    totals = denominators(lengths, grpo.max_completion_length, grpo.num_minibatches)
    updates = []
    for piece in pieces:
        rows = [_row(group, one, grpo.old_logprobs) for group, one in members[piece.rows]]
        alone = streams(run) and 2 * piece.minibatch >= grpo.num_minibatches
        if piece.ends:
            updates.append(run.cluster.policy.start_update(rows, totals[piece.minibatch], alone))
        else:
            run.cluster.policy.start_piece(rows, alone)
    return updates


def _row(group: Group, rollout: Rollout, old_logprobs: Literal["policy", "engine"]) -> Row:
    return Row(
        prompt=group.prompt,
        completion_ids=rollout.completion.token_ids,
        advantage=rollout.advantage or 0.0,
        valid=rollout.valid,
        old_logprobs=rollout.completion.logprobs if old_logprobs == "engine" else rollout.old_logprobs,
        ref_logprobs=rollout.ref_logprobs,
        engine_logprobs=rollout.completion.logprobs,
    )

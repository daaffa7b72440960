"""GRPO (DeepSeekMath, arXiv:2402.03300) as a page of verbs: ask, sync, sample and score, log-probs, advantage, record,
update, evaluate, log, save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rewards.rubric import Scored
from rl import step as verbs
from rl.config.schedule import stale
from rl.drawing import Drawing, Group, streams
from rl.prompts import Prompts
from rl.protocols import TrainingRun
from rl.refill import refill
from rl.run.metrics import step_metrics
from rollouts.records import Rollout


class Learned(NamedTuple):
    """What a step leaves behind."""

    # Every completion, group by group in the order of training; refused rows have none.
    rollouts: list[Rollout]
    num_refused: int
    # Each waits for the metrics of an optimiser update, in order.
    updates: list[Callable[[], dict[str, float]]]
    # The next step, asked already with the weights that the last update will leave; None = it is not.
    next_step: Drawing | None


def train(run: TrainingRun) -> None:
    """Every step that is left to do, from `run.start_step`; afterwards the policy holds the weights of version
    `run.num_steps`.

    The weights' version is the number of steps that made them, so step s draws with version s - 1, or with s - 2 where
    it is drawn ahead (grpo.max_staleness=1). Nothing is kept across a checkpoint: the order of prompts and all seeds
    follow from the step's number. `timing_s/*` are the seconds that the loop waits, so `reward` is what the judges cost
    beyond the rest; `eval` comes on top of `step`.

    Raises:
        TooManyFailures, LostCompletions, NonFiniteUpdate, StaleWeights, WorkerFailed: the run stops, everything
        recorded so far stays.
    """
    grpo, ahead = run.config.grpo, None
    with Prompts(run) as prompts:
        for step in range(run.start_step, run.num_steps + 1):
            clock = verbs.Clock()
            with clock("step"):
                drawing = draw(run, step, prompts, ahead, clock)
                ahead = drawing.ahead = draw_ahead(run, step + 1, prompts, clock)
                learned = learn(run, step, drawing, prompts, clock)
                with clock("update_actor"):
                    updates = [metrics() for metrics in learned.updates]
                ahead = ahead or learned.next_step
            evaluation = run.evaluate(step)
            metrics = step_metrics(
                learned.rollouts, updates, clock.seconds, min_valid=grpo.min_valid, num_refused=learned.num_refused
            )
            run.report(step, {**metrics, **drawing.metrics, **evaluation})
            if step % grpo.save_steps == 0 or step == run.num_steps:
                run.save(step)


def draw(run: TrainingRun, step: int, prompts: Prompts, ahead: Drawing | None, clock: verbs.Clock) -> Drawing:
    """The groups of a step on their way from engines that hold the weights of version step - 1, or the step that is
    asked or drawn already. Where the step does not stream, all groups are there when this returns; judges may still
    think."""
    if ahead is None or streams(run):
        with clock("sync"):
            run.cluster.start_sync(version=step - 1)()
    drawing = ahead
    if drawing is None:
        drawing = Drawing(run, prompts.take(step), step - 1)
        prompts.begin(step + 1)
    if not streams(run):
        with clock("gen"):
            drawing.finish()
    if run.config.grpo.refill == "next":
        with clock("refill"):
            drawing.metrics = refill(run, step, drawing)
    return drawing


def draw_ahead(run: TrainingRun, step: int, prompts: Prompts, clock: verbs.Clock) -> Drawing | None:
    """With grpo.max_staleness=1: the next step, which engines begin to draw before the updates of this one, with the
    weights that it begins with."""
    if step > run.num_steps or not stale(step, run.config.grpo):
        return None
    with clock("sync"):
        run.cluster.start_sync(version=step - 2)()
    drawing = Drawing(run, prompts.take(step), step - 2)
    prompts.begin(step + 1)
    return drawing


def ask_next(run: TrainingRun, step: int, prompts: Prompts) -> Drawing | None:
    """A step that streams, asked as soon as the last update before it was begun: engines begin with it the moment that
    they hold those weights. None = there is no such step, or the engines must not be asked yet."""
    if step > run.num_steps or not streams(run):
        return None
    drawing = Drawing(run, prompts.take(step), step - 1)
    prompts.begin(step + 1)
    return drawing


def learn(run: TrainingRun, step: int, drawing: Drawing, prompts: Prompts, clock: verbs.Clock) -> Learned:
    """The updates of a step, piece by piece as its groups are drawn and scored; the last of them may still be made when
    this returns. Engines draw and judges think meanwhile. During the last update engines render the next prompts, and
    Parquet is written; after it the engines take over the weights and draw the next step."""
    if run.config.grpo.old_logprobs == "policy":
        with clock("old_log_prob"):
            drawing.with_policy()
    groups: list[Group] = []
    scored: list[list[Scored]] = []
    rollouts: list[list[Rollout]] = []
    updates: list[Callable[[], dict[str, float]]] = []
    for part in drawing.parts:
        with clock("gen"):
            drawing.wait_for_groups(part)
        with clock("ref"):
            groups += drawing.with_reference(part)
        with clock("reward"):
            drawing.wait_for_scores(part)
            scored += verbs.collect_scores(run, groups[part.groups], before=scored)
        with clock("record"):
            rollouts += verbs.with_advantages(run, step, groups[part.groups], scored[part.groups])
            verbs.record(run, groups[part.groups], rollouts[part.groups])
        with clock("update_actor"):
            updates += verbs.start_updates(run, part.pieces, groups, rollouts)
    with clock("ask"):
        prompts.hand_over()
    next_step = None
    if run.cluster.side_by_side and drawing.ahead is None:
        run.cluster.start_sync(version=step)
        with clock("ask"):
            next_step = ask_next(run, step + 1, prompts)
    with clock("record"):
        run.writer.finish_step(step)
    kept: Sequence[Sequence[Rollout]] = verbs.members_of(groups, rollouts)
    return Learned([one for members in kept for one in members], drawing.num_refused, updates, next_step)

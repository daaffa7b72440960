"""GRPO (DeepSeekMath, arXiv:2402.03300) as a page of verbs: plan, sync, sample and score, log-probs, advantage, record,
update, evaluate, log, save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rewards.rubric import Scored
from rl import step as verbs
from rl.algo.estimators import estimator_of
from rl.algo.order import plan
from rl.algo.step_order import parts
from rl.protocols import StepRun, TrainingRun
from rl.run.metrics import step_metrics
from rollouts.records import Rollout


class Learned(NamedTuple):
    """What a step leaves behind."""

    # Every completion, group by group in the order of training; refused rows have none.
    groups: list[Sequence[Rollout]]
    # The metrics of each optimiser update, in order.
    updates: list[dict[str, float]]


def train(run: TrainingRun) -> None:
    """Every step that is left to do, from `run.start_step`; afterwards the policy holds the weights of version
    `run.num_steps`.

    The weights' version is the number of steps that made them, so step s draws with version s - 1. The loop keeps no
    state of its own: the order of prompts and all seeds follow from the step's number. `timing_s/*` are the seconds
    that the loop waits, so `reward` is what the judges cost beyond the rest; `step` holds `draw` and `learn`, `eval`
    comes on top.

    Raises:
        TooManyFailures, LostCompletions, NonFiniteUpdate, StaleWeights, WorkerFailed: the run stops, everything
        recorded so far stays.
    """
    grpo = run.config.grpo
    for step in range(run.start_step, run.num_steps + 1):
        clock = verbs.Clock()
        with clock("step"):
            groups = draw(run, step, clock)
            learned = learn(run, step, groups, clock)
        evaluation = run.evaluate(step)
        rollouts = [rollout for group in learned.groups for rollout in group]
        num_refused = sum(group.refused for group in groups)
        metrics = step_metrics(
            rollouts, learned.updates, clock.seconds, min_valid=grpo.min_valid, num_refused=num_refused
        )
        run.report(step, {**metrics, **evaluation})
        if step % grpo.save_steps == 0 or step == run.num_steps:
            run.save(step)


def draw(run: StepRun, step: int, clock: verbs.Clock) -> list[verbs.Group]:
    """The groups of a step, drawn with the weights of version step - 1, in the order of training. Engines take over the
    weights while prompts are encoded; judges may still think when this returns."""
    config = run.config
    indices = plan(step, seed=config.seed, num_samples=len(run.samples), prompts_per_step=config.grpo.prompts_per_step)
    samples = [run.samples[index] for index in indices]
    with clock("sync"):
        confirm = run.cluster.start_sync(version=step - 1)
        prompts = verbs.encode_prompts(run, samples)
        confirm()
    with clock("gen"):
        return verbs.sample_and_score(run, step, samples, prompts)


def learn(run: StepRun, step: int, groups: list[verbs.Group], clock: verbs.Clock) -> Learned:
    """The updates of a step on its groups. Judges think while log-probs are computed and while mini-batches that need
    no judge are trained on; Parquet is written during the last update."""
    grpo = run.config.grpo
    rows = verbs.rows_of(groups)
    with clock("old_log_prob"):
        reference = verbs.start_reference(run, rows)
        old = run.cluster.policy.log_probs(rows)
    with clock("ref"):
        groups = verbs.with_logprobs(groups, old, reference())
    scored: list[list[Scored]] = []
    rollouts: list[list[Rollout]] = []
    updates: list[Callable[[], dict[str, float]]] = []
    whole_step = estimator_of(grpo.loss_type).needs_whole_step(grpo)
    for part in parts(len(groups), grpo.num_generations, grpo.num_minibatches, whole_step):
        with clock("reward"):
            scored += verbs.collect_scores(run, groups[part.groups], before=scored)
        with clock("record"):
            rollouts += verbs.with_advantages(run, step, groups[part.groups], scored[part.groups])
            verbs.record(run, groups[part.groups], rollouts[part.groups])
        with clock("update_actor"):
            updates += verbs.start_updates(run, part.minibatches, groups, rollouts)
    with clock("record"):
        run.writer.finish_step(step)
    with clock("update_actor"):
        return Learned(verbs.members_of(groups, rollouts), [metrics() for metrics in updates])

"""GRPO (DeepSeekMath, arXiv:2402.03300) as a page of verbs: sync, sample and score, log-probs, advantage, record,
update, log, save."""

from __future__ import annotations

from collections.abc import Callable

from rewards.rubric import Scored
from rl import step as verbs
from rl.algo.estimators import estimator_of
from rl.algo.order import step_indices
from rl.algo.step_order import parts
from rl.run.metrics import step_metrics
from rl.run.run import Run
from rollouts.records import Rollout


def train(run: Run) -> None:
    """Every step that is left to do, from `run.start_step`; afterwards the policy holds the weights of version
    `run.num_steps`.

    The weights' version is the number of steps that made them, so step s draws with version s - 1. Nothing here keeps a
    state of its own: the order of prompts and all seeds follow from the step's number. What can go on meanwhile is not
    waited for: engines take over the weights while prompts are encoded, judges think while log-probs are computed and
    mini-batches that need no judge are trained on, Parquet is written during the last update. `timing_s/*` are the
    seconds that this loop waited, so `reward` is what the judges cost beyond the rest.

    Raises:
        TooManyFailures, LostCompletions, NonFiniteUpdate, StaleWeights, WorkerFailed: the run stops, everything
        recorded so far stays.
    """
    grpo = run.config.grpo
    for step in range(run.start_step, run.num_steps + 1):
        clock = verbs.Clock()
        with clock("step"):
            chosen = [
                run.samples[i] for i in step_indices(step, run.config.seed, len(run.samples), grpo.prompts_per_step)
            ]
            with clock("sync"):
                synced = run.cluster.start_sync(version=step - 1)
                encoded = verbs.encode_prompts(run, chosen)
                synced()
            with clock("gen"):
                groups = verbs.sample_and_score(run, step, chosen, encoded)
            rows = verbs.rows_of(groups)
            with clock("old_log_prob"):
                reference = run.cluster.reference.start_log_probs(rows)
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
                    verbs.record(run, rollouts[part.groups])
                with clock("update_actor"):
                    updates += verbs.start_updates(run, part.minibatches, groups, rollouts)
            with clock("record"):
                run.writer.finish_step(step)
            with clock("update_actor"):
                made = [metrics() for metrics in updates]
        flat = [rollout for group in rollouts for rollout in group]
        run.tell(step, step_metrics(flat, made, clock.seconds, min_valid=grpo.min_valid))
        if step % grpo.save_steps == 0 or step == run.num_steps:
            run.save(step)

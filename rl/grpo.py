"""GRPO (DeepSeekMath, arXiv:2402.03300) as a page of verbs: sync, sample and score, log-probs, advantage, record, update, log, save."""

from __future__ import annotations

from rl import step as verbs
from rl.metrics import step_metrics
from rl.order import step_indices
from rl.run import Run


def train(run: Run) -> None:
    """Every step that is left to do, from `run.start_step`; afterwards the policy holds the weights of version `run.num_steps`.

    The weights' version is the number of steps that made them, so step s draws with version s - 1. Nothing here keeps a state of its own: the
    order of prompts and all seeds follow from the step's number.

    Raises:
        TooManyFailures, LostCompletions, NonFiniteUpdate, StaleWeights, WorkerFailed: the run stops, everything recorded so far stays.
    """
    grpo = run.config.grpo
    for step in range(run.start_step, run.num_steps + 1):
        clock = verbs.Clock()
        with clock("step"):
            chosen = step_indices(step, run.config.seed, len(run.samples), grpo.prompts_per_step)
            with clock("sync"):
                run.cluster.sync(version=step - 1)
            with clock("gen"):
                groups = verbs.sample_and_score(run, step, [run.samples[index] for index in chosen])
            rows = verbs.rows_of(groups)
            with clock("old_log_prob"):
                old = run.cluster.policy.log_probs(rows)
            with clock("ref"):
                reference = run.cluster.reference.log_probs(rows)
            with clock("reward"):
                scored = verbs.collect_scores(run, groups)
            rollouts = verbs.with_logprobs(verbs.with_advantages(run, step, groups, scored), old, reference)
            with clock("record"):
                verbs.record(run, step, rollouts)
            with clock("update_actor"):
                updates = verbs.update_policy(run, [group.prompt for group in groups], rollouts)
        flat = [rollout for group in rollouts for rollout in group]
        run.tell(step, step_metrics(flat, updates, clock.seconds, min_valid=grpo.min_valid))
        if step % grpo.save_steps == 0 or step == run.num_steps:
            run.save(step)

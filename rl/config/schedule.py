"""How a step is laid over the machine: whether it streams, how many completions are drawn at once, who works beside
whom. It is arithmetic on the configuration, never a look at what is free or fast, because bits depend on it."""

from __future__ import annotations

from rl.algo.estimators import estimator_of
from rl.config import Config, GrpoConfig

# Completions that an engine on a CPU draws at once at least. Fewer cost nearly as much a token: an engine spends as
# long on calls, and reads as many weights, for 8 rows as for 32 (LOG.md).
FEWEST_IN_FLIGHT = 32


def stale(step: int, grpo: GrpoConfig) -> bool:
    """Whether a step is drawn while the one before is trained on, with the weights of version step - 2. What follows a
    checkpoint is not, so that a checkpoint holds all that a resumed run needs."""
    return grpo.max_staleness > 0 and step > 1 and (step - 1) % grpo.save_steps != 0


def why_whole(config: Config) -> str:
    """Why a step of this configuration is drawn as a whole before its first update; "" = it streams."""
    grpo = config.grpo
    if grpo.max_staleness:
        return f"grpo.max_staleness={grpo.max_staleness} draws it while the step before is trained on"
    if grpo.old_logprobs == "policy":
        return "grpo.old_logprobs=policy needs the weights as they were at the step's start"
    if estimator_of(grpo.loss_type).needs_whole_step(grpo):
        return f"loss_type={grpo.loss_type} with these advantages needs all scores of a step"
    if grpo.refill != "none":
        return f"grpo.refill={grpo.refill} looks at all scores of a step"
    if (rows := grpo.prompts_per_step * grpo.num_generations) <= _held_on_a_cpu(config):
        return f"its {rows} completions are all drawn at once, so that hardly one is ready before the last"
    return ""


def _held_on_a_cpu(config: Config) -> int:
    """Completions that all engines of a CPU draw at once at least; 0 on GPUs, where engines do not take the policy's
    time."""
    compute = config.compute
    each = compute.max_num_seqs or FEWEST_IN_FLIGHT
    return compute.num_rollout_workers * each if compute.device == "cpu" else 0


def work_at_once(config: Config) -> bool:
    """Whether engines draw while policy and reference work: the step streams, or the next one is drawn ahead."""
    return config.grpo.max_staleness > 0 or not why_whole(config)


def passes_together(config: Config) -> bool:
    """Whether policy and reference compute the log-probs of a step at the same time."""
    return config.grpo.old_logprobs == "policy"


def in_flight(config: Config) -> int | None:
    """How many completions each engine draws at once for a step that streams and whose first groups are asked first:
    on a CPU those of a mini-batch, because with twice as many the first mini-batch is there when nearly all of the step
    is (LOG.md), and the policy would wait for it; FEWEST_IN_FLIGHT at least. None = as many as an engine holds: where
    compute.max_num_seqs says it, and on GPUs, which draw many as fast as few."""
    grpo, compute = config.grpo, config.compute
    if compute.device != "cpu" or compute.max_num_seqs is not None:
        return None
    minibatch = grpo.prompts_per_step * grpo.num_generations // grpo.num_minibatches
    return max(FEWEST_IN_FLIGHT, -(-minibatch // compute.num_rollout_workers))


def pieces_may_be_cut(config: Config) -> bool:
    """Whether the policy may begin with a mini-batch before all of it is drawn. Not where the step does not stream,
    because nothing is gained; not on several ranks, which add up their gradients in the last backward pass of a
    mini-batch; and not on a GPU, which wants many rows at once."""
    compute = config.compute
    return compute.device == "cpu" and compute.num_policy_workers == 1 and not why_whole(config)

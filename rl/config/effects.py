"""Settings that do nothing in the chosen combination: setting one on the command line is an error that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rewards import registry
from rewards.rubric import ACCURACY  # its import registers the shipped rewards
from rl.algo.estimators import estimator_of
from rl.config import Config
from rl.config.build import leaves, value_at
from rl.config.controls import PAID
from rl.config.stage_rules import DOCUMENT_STAGES, stage_of


class Effect(NamedTuple):
    """Settings that do nothing while a condition holds."""

    paths: tuple[str, ...]
    idle: Callable[[Config], bool]
    why: str


def _under(section: str, *kept: str) -> tuple[str, ...]:
    return tuple(path for path in leaves() if path.startswith(section + ".") and path not in kept)


def _of_stage(name: str) -> tuple[Effect, Effect]:
    """What does nothing in a stage that is left out, and in one that reads no file."""

    def left_out(config: Config) -> bool:
        return name in config.stages.skip

    def reads_no_file(config: Config) -> bool:
        return stage_of(config, name).data == "phantoms"

    return (
        Effect(
            _under(f"stages.{name}"),
            left_out,
            f"stages.skip leaves the stage {name} out; +experiment=fleming_vl has all four",
        ),
        Effect(
            (f"stages.{name}.root",),
            reads_no_file,
            f"stages.{name}.data=phantoms reads no files; choose interleaved or captions",
        ),
    )


_SEAT = ("base_url", "model", "api_key_env", "prompt")


def _all_members_state(name: str) -> Callable[[Config], bool]:
    """Whether `judge.NAME` is unused, because each member of the panel and the second opinion has its own."""

    def idle(config: Config) -> bool:
        judge = config.judge
        second = judge.second_opinion == "off" or getattr(judge, f"second_{name}") is not None
        return (
            second and bool(judge.panel) and all(getattr(member, name) is not None for member in judge.panel.values())
        )

    return idle


JUDGE_EFFECTS = (
    Effect(
        _under("model.lora"),
        lambda c: "lora" not in (c.model.train, c.sft.train, c.stages.interleaved.train, c.stages.captions.train),
        "only model.train=lora has adapters",
    ),
    Effect(
        _under("judge", "judge.kind"), lambda c: c.judge.kind == "rules",
        "judge.kind=rules asks no endpoint; use judge=openai"
    ),
    Effect(
        ("judge.api_key_env", "judge.price_input", "judge.price_output"),
        lambda c: c.judge.kind == "local" and c.judge.second_opinion == "off",
        "judge=local asks a server of its own, under a key of its own and for nothing",
    ),
    *(Effect((f"judge.{name}",), _all_members_state(name),
    f"every member of judge.panel states its own {name}") for name in _SEAT),
    Effect(
        tuple(f"judge.second_{name}" for name in _SEAT),
        lambda c: c.judge.second_opinion == "off",
        "judge.second_opinion is off",
    ),
    Effect(("judge.panel_rule", "judge.panel_quorum"), lambda c: not c.judge.panel, "judge.panel has no members"),
    Effect(("judge.canaries", "judge.on_canary"), lambda c: c.judge.canary_fraction == 0, "judge.canary_fraction is 0"),
    Effect(
        ("judge.min_kappa", "judge.min_sensitivity", "judge.min_specificity"),
        lambda c: c.judge.calibration is None,
        "judge.calibration names no file",
    ),
    Effect(
        tuple(f"judge.{name}" for name in """timeout_seconds deadline_seconds max_attempts max_reasks max_concurrency
        breaker_failures
        breaker_pause_seconds max_calls max_tokens price_input price_output canary_fraction""".split()),
        lambda c: c.judge.offline,
        "judge.offline=true asks nobody",
    ),
)  # fmt: skip
EFFECTS = (
    Effect(
        ("data.root",),
        lambda c: c.data.name == "phantoms",
        "data=phantoms reads no files; choose data=vqa_rad or data=jsonl",
    ),
    Effect(
        _under("data.media"),
        lambda c: c.data.name != "jsonl" and not c.eval.benchmarks,
        "only data=jsonl reads volumes and videos of one's own",
    ),
    Effect(
        ("data.min_difficulty", "data.max_difficulty"),
        lambda c: c.data.name != "jsonl",
        "only rows of data=jsonl carry a difficulty",
    ),
    Effect(
        ("data.shortcut_fraction",),
        lambda c: c.data.name != "phantoms",
        "only data=phantoms writes rationales of its own",
    ),
    Effect(
        ("data.eval_fraction",),
        lambda c: c.data.name == "phantoms",
        "data=phantoms has a split of its own, see data.num_eval",
    ),
    Effect(
        (
            *_under("sft", "sft.enabled", "sft.min_format_rate", "sft.cache_dir"),
            "data.num_sft",
            "data.shortcut_fraction",
        ),
        lambda c: not c.sft.enabled,
        "sft.enabled=false starts RL from the base model",
    ),
    Effect(
        ("sft.cache_dir",),
        # Where the models of earlier stages lie as well.
        lambda c: not c.sft.enabled and {*DOCUMENT_STAGES} <= {*c.stages.skip},
        "sft.enabled=false starts RL from the base model, and no stage before it is trained",
    ),
    Effect(
        (
            *_under("sft", "sft.enabled", "sft.min_format_rate", "sft.checkpoint"),
            "data.num_sft",
            "data.shortcut_fraction",
        ),
        lambda c: c.sft.enabled and c.sft.checkpoint is not None,
        "sft.checkpoint names a finished SFT model, so none is trained",
    ),
    *(effect for name in DOCUMENT_STAGES for effect in _of_stage(name)),
    Effect(
        ("stages.evaluate",),
        lambda c: {*DOCUMENT_STAGES} <= {*c.stages.skip},
        "no stage stands before instruction tuning, and that one's model is evaluated anyway",
    ),
    Effect(
        ("grpo.num_epochs",), lambda c: c.grpo.num_steps is not None, "grpo.num_steps is set and decides; make it null"
    ),
    Effect(("grpo.tis_cap",), lambda c: c.grpo.max_staleness == 0, "grpo.max_staleness is 0"),
    Effect(("grpo.refill_rounds",), lambda c: c.grpo.refill == "none", "grpo.refill is none"),
    *JUDGE_EFFECTS,
    Effect(
        ("compute.tensor_parallel_size", "compute.gpu_memory_utilization", "compute.gpu_kv_cache_gib"),
        lambda c: c.compute.device == "cpu",
        "compute.device is cpu",
    ),
    Effect(("compute.gpu_memory_gib",), lambda c: c.compute.device == "cpu", "compute.device is cpu"),
    Effect(
        ("compute.attention",),
        lambda c: c.compute.device == "cpu" and c.compute.attention != "flex",  # flex is refused by name
        "compute.device is cpu, where attention is dense",
    ),
    Effect(
        ("compute.optimizer_state",),
        lambda c: c.compute.device == "cpu" and c.compute.optimizer_state == "cpu",
        "compute.device is cpu, so the moments are in the host's memory anyway",
    ),
    Effect(
        ("compute.reference",),
        lambda c: c.compute.device == "cpu",
        "compute.device is cpu, where one process holds the reference in the host's memory",
    ),
    Effect(
        ("compute.reference",),
        lambda c: c.grpo.beta == 0,
        "grpo.beta is 0, and nothing holds the policy back",
    ),
    Effect(
        ("compute.reference",),
        lambda c: c.model.train == "lora",
        "under an adapter (model.train=lora) lies the reference itself",
    ),
    Effect(
        ("compute.reference",),
        lambda c: c.compute.reference == "sharded" and c.compute.num_policy_workers == 1,
        "compute.num_policy_workers is 1, and one rank shares nothing; compute.reference=cpu leaves its GPU",
    ),
    Effect(
        ("compute.fsdp_size", "compute.gradient_sync"),
        lambda c: c.compute.num_policy_workers == 1,
        "compute.num_policy_workers is 1, and one rank shares nothing",
    ),
    Effect(
        ("compute.cpu_kv_cache_gib", "compute.num_threads"),
        lambda c: c.compute.device == "cuda",
        "compute.device is cuda",
    ),
    Effect(
        ("reward.routes",),
        lambda c: ACCURACY not in (*c.reward.weights, *c.reward.gates),
        "neither reward.weights nor reward.gates names accuracy",
    ),
    Effect(
        _under("reward", "reward.weights", "reward.routes", "reward.arguments", "reward.gates"),
        lambda c: not _has_plugins(c),
        "every reward of this run is shipped, and those run in no child process",
    ),
    Effect(
        ("reward.weights", "reward.gates"),
        lambda c: c.control in PAID,
        "the control pays something else; give them to the recipe",
    ),
    Effect(
        tuple(
            f"eval.{name}" for name in "benchmark_root benchmark_every_steps benchmark_items probes on_mismatch".split()
        ),
        lambda c: not c.eval.benchmarks,
        "eval.benchmarks names none",
    ),
    Effect(
        ("metric.python", "metric.model_dir"),
        lambda c: not c.eval.benchmarks,
        "eval.benchmarks names none, and metrics of a model are computed on reports of benchmarks",
    ),
    Effect(("metric.model_dir",), lambda c: c.metric.python is None, "metric.python names no Python to read them"),
    Effect(("eval.quick_items",), lambda c: c.eval.every_steps == 0, "eval.every_steps is 0"),
    Effect(("allow_changes",), lambda c: not c.resume, "resume is not set, and a new run has nothing to compare"),
    Effect(("wandb_project",), lambda c: c.wandb == "off", "wandb=off writes no W&B files"),
)


def _rewards_of(config: Config) -> list[registry.Reward | registry.Source | None]:
    """The rewards that a configuration names; None = one that cannot be found."""

    def find(name: str) -> registry.Reward | registry.Source | None:
        try:
            return registry.find(name)
        except registry.RewardError:
            return None

    reward = config.reward
    return [find(name) for name in sorted({*reward.weights, *reward.gates, *reward.routes.values()} - {ACCURACY})]


def _has_plugins(config: Config) -> bool:
    return any(not isinstance(one, registry.Reward) for one in _rewards_of(config))


def asks_judge(config: Config) -> bool:
    """Whether any reward of the configuration asks a judge. A reward that is not found or not shipped counts as one
    that does."""
    return any(not isinstance(one, registry.Reward) or "judge" in one.supplied for one in _rewards_of(config))


def idle_settings(config: Config) -> dict[str, str]:
    """Settings that nothing reads in this combination, by their dotted paths, and why."""
    estimator = estimator_of(config.grpo.loss_type).without_effect(config.grpo)
    idle = {path: effect.why for effect in EFFECTS if effect.idle(config) for path in effect.paths}
    return idle | {f"grpo.{name}": why for name, why in estimator.items()}


def without_effect(config: Config, explicit: set[str]) -> list[str]:
    """Sentences on the settings that the user changed on the command line although nothing reads them in this
    combination."""
    default = {path: leaf.default for path, leaf in leaves().items()}
    sentences = {
        path: f"{path}: setting it has no effect, because {why}"
        for path, why in idle_settings(config).items()
        if path in explicit and value_at(config, path) != default[path]
    }
    if config.judge.kind != "rules" and "judge.kind" in explicit and not asks_judge(config):
        sentences["judge.kind"] = (
            "judge.kind: setting it has no effect, because no reward of reward.weights and reward.routes asks the judge"
        )
    return list(sentences.values())

"""What a configuration must satisfy beyond the types of its leaves: ranges, arithmetic between settings, files that
exist, settings without effect.

Each rule is a pure function from the configuration to sentences that say got, expected and fix; none stops at the first
fault.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import judges.settings
from rewards import registry
from rewards.rubric import ACCURACY  # its import registers the shipped rewards
from rl.algo.estimators import estimator_of
from rl.config import Config
from rl.config.build import value_at
from rl.config.controls import PAID, control_of
from rl.config.effects import asks_judge, without_effect
from rl.config.files import how_to_make
from rl.config.media import window_of
from rl.config.stage_rules import RANGES as STAGE_RANGES
from rl.config.stage_rules import stage_faults
from rollouts.imaging.ask import Ask
from rollouts.nearest import did_you_mean
from rollouts.prompt.families import FAMILIES, Family
from rollouts.records import AnswerType, BadSample

# A clip range below this is of the size of the gap between engine and trainer in bfloat16.
NARROW_CLIP = 0.01
GGUF_FIX = "examples/real_model shows how a folder is made of one, with the tokenizer that it holds"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Bound(NamedTuple):
    """A limit on one number."""

    symbol: str
    holds: Callable[[float, float], bool]
    limit: float


def _bounds(text: str) -> list[Bound]:
    """`"> 0, <= 1"` as bounds."""
    symbols = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
    return [
        Bound(symbol, symbols[symbol], float(limit)) for symbol, limit in (part.split() for part in text.split(","))
    ]


# Settings by the range they share. An optional setting that is null passes.
RANGES: dict[str, str] = {
    "model.max_model_len model.max_images model.max_tiles model.max_pixels model.lora.r model.lora.lora_alpha "
    "grpo.min_valid grpo.num_steps "
    "grpo.num_epochs grpo.prompts_per_step grpo.num_minibatches grpo.refill_rounds": (">= 1"),
    "grpo.micro_batch_tokens grpo.max_completion_length grpo.save_steps sft.batch_size "
    "sft.micro_batch_tokens sft.num_epochs sft.save_steps": (">= 1"),
    "data.num_sft data.num_rl data.num_eval data.media.max_frames data.media.max_tokens data.media.longest_side "
    "data.media.workers": ">= 1",
    "compute.num_policy_workers compute.num_rollout_workers compute.tensor_parallel_size compute.fsdp_size "
    "compute.max_num_seqs": ">= 1",
    "compute.num_threads judge.max_attempts judge.max_concurrency judge.breaker_failures": ">= 1",
    "judge.max_calls judge.max_tokens judge.panel_quorum": ">= 1",
    "judge.max_reasks judge.price_input judge.price_output": ">= 0",
    "judge.canary_fraction judge.min_sensitivity judge.min_specificity": ">= 0, <= 1",
    "judge.min_kappa": ">= -1, <= 1",
    "seed data.seed eval.num_samples eval.every_steps eval.benchmark_every_steps sft.weight_decay "
    "grpo.weight_decay grpo.beta": ">= 0",
    "grpo.temperature grpo.tis_cap grpo.epsilon_high sft.learning_rate grpo.learning_rate "
    "sft.max_grad_norm grpo.max_grad_norm grpo.adam_epsilon": ("> 0"),
    "judge.timeout_seconds judge.deadline_seconds judge.breaker_pause_seconds "
    "compute.cpu_kv_cache_gib compute.gpu_kv_cache_gib compute.worker_timeout_seconds": ("> 0"),
    "reward.plugin_timeout_seconds reward.plugin_memory_gib": "> 0",
    "reward.plugin_workers eval.quick_items eval.benchmark_items": ">= 1",
    "compute.gpu_memory_gib": "> 0",
    "grpo.max_failure_rate compute.gpu_memory_utilization": "> 0, <= 1",
    "grpo.epsilon data.eval_fraction": "> 0, < 1",
    "grpo.adam_beta1 grpo.adam_beta2 sft.warmup_ratio grpo.warmup_ratio data.max_yes_no_fraction "
    "model.lora.lora_dropout": (">= 0, < 1"),
    "data.shortcut_fraction data.open_fraction sft.min_format_rate data.min_difficulty data.max_difficulty": (
        ">= 0, <= 1"
    ),
    **STAGE_RANGES,
}


def problems(config: Config, explicit: set[str]) -> list[str]:
    """Every fault of a well-typed configuration, in words.

    Args:
        config: the whole tree.
        explicit: dotted paths the user set on the command line; only these can be "without effect".
    """
    rules = (
        _ranges,
        _batches,
        _old_logprobs,
        _staleness,
        _refill,
        _parts,
        _stages,
        _media,
        _judge,
        _local_judge,
        _rewards,
        _device,
        _ranks,
        _files,
        _controls,
    )
    faults = [fault for rule in rules for fault in rule(config)]
    return [*faults, *_lengths(config, explicit), *without_effect(config, explicit)]


def _controls(config: Config) -> Iterable[str]:
    names = config.controls
    if config.control != "none" and names:
        yield (
            f"controls: got {list(names)} in a run that is itself control={config.control}; controls belong to the"
            " recipe, so leave one of the two out"
        )
    if names and "grpo" in config.stages.skip:
        yield f"controls: got {list(names)}, but stages.skip leaves out grpo, and a control is GRPO with one thing less"
    if "none" in names:
        yield "controls: got none, which takes nothing away and would be the recipe again; leave it out"
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield f"controls: got {', '.join(twice)} twice; a control is a function of the run's seed, so name it once"
    for name in (*names, config.control):
        if name in PAID and control_of(config, name, config.out_dir).reward == config.reward and name in names:
            yield f"controls: {name} would be the recipe again, which pays nothing else"


def _ranges(config: Config) -> Iterable[str]:
    for paths, text in RANGES.items():
        for path in paths.split():
            value = value_at(config, path)
            if value is not None and not all(bound.holds(value, bound.limit) for bound in _bounds(text)):
                yield f"{path}: got {value}, expected {text.replace(',', ' and')}"
    low, high = config.data.min_difficulty, config.data.max_difficulty
    if low is not None and high is not None and low > high:
        yield f"data.min_difficulty: got {low}, expected at most data.max_difficulty={high}"
    for path in ("out_dir", "wandb_project", "model.path", "sft.cache_dir", "judge.api_key_env"):
        if not value_at(config, path).strip():
            yield f"{path}: got an empty text"


def _batches(config: Config) -> Iterable[str]:
    grpo = config.grpo
    if grpo.num_generations < 2:
        yield (
            f"grpo.num_generations: got {grpo.num_generations}. GRPO needs at least two completions a prompt, because"
            " an advantage is a reward minus its group's mean; the paper uses 8"
        )
    elif grpo.min_valid > grpo.num_generations:
        yield (
            f"grpo.min_valid: got {grpo.min_valid}, but a group has only grpo.num_generations={grpo.num_generations}"
            " completions"
        )
    rows = grpo.prompts_per_step * grpo.num_generations
    if grpo.num_minibatches >= 1 and rows >= 1 and rows % grpo.num_minibatches:
        yield (
            f"grpo.num_minibatches: {grpo.prompts_per_step} prompts x {grpo.num_generations} = {rows} completions do"
            f" not divide into {grpo.num_minibatches} mini-batches; {_divisors_near(rows, grpo.num_minibatches)} would"
        )
    if config.data.num_rl is not None and grpo.prompts_per_step > config.data.num_rl:
        yield (
            f"grpo.prompts_per_step: got {grpo.prompts_per_step}, but data.num_rl={config.data.num_rl} leaves fewer"
            " questions than that"
        )


def _divisors_near(total: int, wanted: int) -> str:
    """The divisors of `total` on both sides of `wanted`, as "3 or 6"."""
    divisors = [number for number in range(1, total + 1) if total % number == 0]
    below = [number for number in divisors if number < wanted][-1:]
    above = [number for number in divisors if number > wanted][:1]
    return " or ".join(str(number) for number in below + above)


def _lengths(config: Config, explicit: set[str]) -> Iterable[str]:
    grpo, model = config.grpo, config.model
    if grpo.max_completion_length >= model.max_model_len:
        yield (
            f"grpo.max_completion_length: got {grpo.max_completion_length}, expected less than"
            f" model.max_model_len={model.max_model_len}, which holds prompt and completion together"
        )
    media = config.data.media
    if config.data.name == "jsonl" and "data.media.max_frames" in explicit and media.max_frames > model.max_images:
        yield (
            f"data.media.max_frames: got {media.max_frames}, but a prompt may hold model.max_images={model.max_images}"
            " images; raise that, too"
        )
    most = max(media.max_frames_by_modality.values(), default=0)
    if most > model.max_images:
        yield (
            f"data.media.max_frames_by_modality: got {most}, but a prompt may hold model.max_images={model.max_images}"
            " images; raise that, too"
        )


def _media(config: Config) -> Iterable[str]:
    """Windows that exist, frames that can be counted."""
    media = config.data.media
    windows = {"data.media.window": media.window}
    windows |= {f"data.media.window_by_modality: {name}": window for name, window in media.window_by_modality.items()}
    for path, window in windows.items():
        try:
            Ask("volume", window=window_of(window))
        except BadSample as error:
            yield f"{path}: {error}"
    for name, count in media.max_frames_by_modality.items():
        if count < 1:
            yield f"data.media.max_frames_by_modality: got {count} for {name}, expected at least 1"


def _parts(config: Config) -> Iterable[str]:
    """What learns must be there. Names of layers are looked up when the model is (rl/policy/lora.py)."""
    model = config.model
    if 0 < model.lora.lora_dropout < 1:
        yield (
            f"model.lora.lora_dropout: got {model.lora.lora_dropout:g}, expected 0, because with dropout the trainer's"
            " distribution would not be the one that the engine draws from"
        )
    targets = model.lora.target_modules
    if targets != "all-linear" and (isinstance(targets, str) or not targets):
        yield (
            f"model.lora.target_modules: got {targets!r}, expected all-linear or a list of names such as"
            " [q_proj,v_proj]"
        )
    family = _known_family(Path(config.sft.checkpoint or model.path))
    if model.train == "vision_projector" and family is not None and not family.reads_images:
        yield (
            f"model.train: got vision_projector, but a model of the family {family.model_type} reads text only and has"
            " neither vision tower nor projector; use all or lora"
        )


def _stages(config: Config) -> Iterable[str]:
    yield from stage_faults(config, _known_family(Path(config.sft.checkpoint or config.model.path)))


def _known_family(folder: Path) -> Family | None:
    """The family of a model on this disk, as far as it can be told without loading anything."""
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return FAMILIES.get(settings.get("model_type", "")) if isinstance(settings, dict) else None


def _refill(config: Config) -> Iterable[str]:
    grpo = config.grpo
    if grpo.refill == "next" and estimator_of(grpo.loss_type).advantages_span_step(grpo):
        yield (
            "grpo.refill: next replaces groups before advantages are computed, but these"
            f" (grpo.scale_rewards={grpo.scale_rewards},"
            f" grpo.multi_objective_aggregation={grpo.multi_objective_aggregation}) are scaled over all groups that are"
            " stored, replaced ones too; use grpo.scale_rewards=group or none, or grpo.refill=none"
        )


def _staleness(config: Config) -> Iterable[str]:
    grpo = config.grpo
    if not grpo.max_staleness:
        return
    if grpo.old_logprobs != "policy":
        yield (
            "grpo.max_staleness: got 1, which weighs tokens by the policy at the step's start over the engine's; use it"
            " with grpo.old_logprobs=policy"
        )
    if estimator_of(grpo.loss_type).needs_whole_step(grpo):
        yield (
            f"grpo.max_staleness: got 1, but grpo.loss_type={grpo.loss_type} with these advantages needs the whole step"
            " as one policy drew it; use grpo.loss_type=grpo or grpo.max_staleness=0"
        )
    if grpo.refill != "none":
        yield (
            f"grpo.max_staleness: got 1, but grpo.refill={grpo.refill} asks again once a step is scored, when engines"
            " draw the next one already; use one of the two"
        )


def _old_logprobs(config: Config) -> Iterable[str]:
    grpo = config.grpo
    narrowest = min(grpo.epsilon, grpo.epsilon_high or grpo.epsilon)
    if grpo.old_logprobs == "engine" and config.model.dtype == "bfloat16" and narrowest < NARROW_CLIP:
        yield (
            "grpo.old_logprobs: in bfloat16 the engine's log-probs differ from the trainer's by about a hundredth, so a"
            f" ratio clipped at {narrowest:g} (grpo.epsilon) would mostly be clipped for that; use"
            " grpo.old_logprobs=policy"
        )


def _judge(config: Config) -> Iterable[str]:
    yield from judges.settings.faults(config.judge)
    for path, file in (("judge.canaries", config.judge.canaries), ("judge.calibration", config.judge.calibration)):
        if file is not None and not judges.settings.locate(file).is_file():
            yield (
                f"{path}: there is no file {file}; expected JSON lines with question, reference, completion and"
                " expected"
            )


def _local_judge(config: Config) -> Iterable[str]:
    """The shipped judge model knows the answers of data=phantoms, and compares short answers only."""
    if config.judge.kind != "local" or not asks_judge(config):
        return
    shipped = judges.settings.locate(judges.settings.SHIPPED_MODEL)
    if judges.settings.locate(config.judge.model or "") in (shipped, Path()) and config.data.name != "phantoms":
        yield (
            f"judge.kind: judge=local knows the answers of data=phantoms only, got data={config.data.name}; use"
            " judge=openai judge.base_url=URL judge.model=NAME, judge=rules, or a model of your own with"
            " judge.model=FOLDER"
        )
    names = {*config.reward.weights, *config.reward.gates, *config.reward.routes.values()}
    for name in sorted(names & {"rubric_judge", "keypoints", "perception"}):
        yield (
            f"judge.kind: judge=local compares short answers with a reference, but the reward {name} asks about"
            " criteria; use judge=openai"
        )


def _rewards(config: Config) -> Iterable[str]:
    reward = config.reward
    if abs(sum(reward.weights.values())) < 1e-12:
        yield (
            f"reward.weights: got {reward.weights}, which sum to 0, so that every completion would be paid the same;"
            " give at least one a weight"
        )
    for answer_type in reward.routes:
        if answer_type not in get_args(AnswerType):
            yield (
                f"reward.routes.{answer_type}: there is no such answer type{_hint(answer_type, get_args(AnswerType))}"
            )
    if ACCURACY in (*reward.weights, *reward.gates) and not reward.routes:
        yield (
            "reward.routes: there is none, but reward.weights names accuracy, which routes measure; add one such as"
            " reward.routes.mcq=option_match"
        )
    named = {f"reward.weights.{name}": name for name in reward.weights if name != ACCURACY}
    named |= {f"reward.gates.{name}": name for name in reward.gates if name not in (ACCURACY, *reward.weights)}
    named |= {f"reward.routes.{answer_type}": name for answer_type, name in reward.routes.items()}
    for path, name in named.items():
        try:
            registry.find(name)  # its code is looked into when the run starts, in a child process
        except registry.RewardError as error:
            spec = name.rpartition(":")[0].endswith(".py") or name in registry.names()
            yield f"{path}: {error if spec else f'there is no reward named {name!r}{_hint(name, registry.names())}'}"
    for name in reward.arguments:
        if name not in named.values():
            yield (
                f"reward.arguments.{name}: no weight, gate or route names this reward{_hint(name, [*named.values()])}"
            )


def _hint(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, f"; there are {', '.join(known)}")


def _device(config: Config) -> Iterable[str]:
    here = config.compute.device == "cuda" and config.compute.ray_address is None
    if here and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        yield (
            "compute.device: got cuda, but this machine shows no NVIDIA GPU; use compute.device=cpu, or join a cluster"
            " (compute=cluster)"
        )
    if config.compute.attention == "flex" and config.compute.device == "cpu":
        yield (
            "compute.attention: got flex, but compute.device is cpu, where FlexAttention has no backward pass; use"
            " compute.attention=auto, which is dense there"
        )


def _ranks(config: Config) -> Iterable[str]:
    ranks, size = config.compute.num_policy_workers, config.compute.fsdp_size
    if size is not None and size >= 1 and ranks > 1 and ranks % size:
        yield (
            f"compute.fsdp_size: got {size}, expected a divisor of compute.num_policy_workers={ranks}, so that every"
            f" copy of the weights lies on as many ranks; {_divisors_near(ranks, size)} would do"
        )


def _files(config: Config) -> Iterable[str]:
    data = config.data
    for path, folder in (("model.path", config.model.path), ("sft.checkpoint", config.sft.checkpoint)):
        if folder is None or (path == "model.path" and looks_like_hub_id(folder)):
            continue
        fix = "expected a folder in Hugging Face format" + (
            " or a Hub id (organisation/name)" if path == "model.path" else ""
        )
        if gguf := gguf_of(Path(folder)):
            yield f"{path}: {gguf} is a GGUF, which is not read as it is; {fix}. {GGUF_FIX}"
        elif not Path(folder).is_dir():
            yield f"{path}: there is no folder {folder}; {fix}{how_to_make(folder)}"
        elif not (Path(folder) / "config.json").is_file():
            is_state = (Path(folder) / "MANIFEST.json").is_file()
            made = "; of a checkpoint python -m rl.export RUN --to model makes one" if is_state else ""
            yield f"{path}: {folder} holds no config.json, so it is no model; {fix}{made}"
    if data.name == "phantoms":
        return
    what = "folder with trainset.json and images/" if data.name == "vqa_rad" else "JSONL file"
    is_there = data.root is not None and (
        Path(data.root).is_dir() if data.name == "vqa_rad" else Path(data.root).is_file()
    )
    if data.root is None:
        yield f"data.root: data={data.name} needs the {what}, such as data.root=PATH"
    elif not is_there and not (data.name == "vqa_rad" and looks_like_hub_id(data.root)):
        yield (
            f"data.root: expected a {what}, but {data.root}"
            f" {'is none' if Path(data.root).exists() else 'does not exist'}{how_to_make(data.root)}"
        )


def gguf_of(path: Path) -> Path | None:
    """The GGUF that stands where a model of Hugging Face's format should: the path itself, or in a folder without
    safetensors."""
    if path.is_file():
        return path if path.suffix == ".gguf" else None
    return None if any(path.glob("*.safetensors")) else next(path.glob("*.gguf"), None)


def looks_like_hub_id(path: str) -> bool:
    """Whether a path that is not on this disk may name a repository of the Hub: `organisation/name`, and no local
    folder `organisation`."""
    return HUB_ID.fullmatch(path) is not None and not path.startswith(".") and not Path(path.split("/")[0]).exists()

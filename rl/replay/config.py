"""The configuration of a replay: the run's own, changed by the arguments. Only settings that change the pay of stored
completions are allowed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewards.rubric import ACCURACY
from rl.config import Config, RewardConfig
from rl.config.build import build, value_at
from rl.config.door import COMMAND_LINE, ConfigError, apply_request, groups, load, paths_of, read_arguments, run_hydra
from rl.config.effects import asks_judge
from rl.config.rules import problems
from rl.run.folder import CONFIG
from rollouts.store.layout import NotARun

# Scoring and advantages read these sections. The groups of conf/ with these names are allowed, too.
SECTIONS = ("reward", "judge")
SETTINGS = ("grpo.scale_rewards", "grpo.min_valid", "grpo.multi_objective_aggregation")
# Settings of the judge that change how a verdict is obtained, not what it says.
_OF_CALLING = (
    *(
        "base_url",
        "api_key_env",
        "timeout_seconds",
        "deadline_seconds",
        "max_attempts",
        "max_reasks",
        "max_concurrency",
    ),
    *(
        "breaker_failures",
        "breaker_pause_seconds",
        "max_calls",
        "max_tokens",
        "price_input",
        "price_output",
        "cache",
        "offline",
    ),
    *("canary_fraction", "canaries", "on_canary", "calibration", "min_kappa", "min_sensitivity", "min_specificity"),
)


def stored_config(run_dir: Path) -> Config:
    """The configuration that a run wrote. Raises NotARun where there is none, ConfigError where it cannot be read."""
    try:
        return load(run_dir / CONFIG)
    except FileNotFoundError as error:
        raise NotARun(
            f"{run_dir} holds no {CONFIG}, which says how it was scored. Give the out_dir of `python -m rl.train`."
        ) from error


def configure(before: Config, argv: Sequence[str]) -> Config:
    """The configuration `before` with the arguments over it, such as `["reward=med", "judge.model=NAME"]`.

    A group (`judge=openai`) starts its section anew from conf/, a setting changes the run's own value.

    Raises:
        ConfigError: everything `rl.config.door.compose` raises it for, arguments that no replay reads, and arguments
            that change nothing.
    """
    request = read_arguments(argv)
    faults = [*request.faults, *_not_read(argv, request.explicit)]
    chosen = [text for text in request.hydra_overrides if text.split("=")[0] in SECTIONS]
    values: dict[str, Any] = dataclasses.asdict(before)
    if chosen and not faults:
        fresh, _ = build(run_hydra(chosen, faults)[0], lambda _: COMMAND_LINE)
        values |= {
            name: dataclasses.asdict(getattr(fresh, name))
            for name in SECTIONS
            if any(c.startswith(f"{name}=") for c in chosen)
        }
    if faults:
        raise ConfigError(faults)
    config, faults = build(apply_request(values, request), lambda _: COMMAND_LINE)
    mine = [
        fault
        for fault in problems(config, request.explicit)
        if paths_of([fault]).pop().startswith(("reward", "judge", *SETTINGS))
    ]
    faults += [fault for fault in mine if not paths_of([fault]) & paths_of(faults)]
    faults += _without_effect(before, config, argv, request.explicit)
    if faults:
        raise ConfigError(faults)
    return config


def same_verdicts(before: Config, config: Config) -> bool:
    """Whether both judges would say the same of the same answer, so that a verdict of one holds for the other."""
    forget = dict.fromkeys(_OF_CALLING)
    return dataclasses.asdict(before.judge) | forget == dataclasses.asdict(config.judge) | forget


def same_rewards(before: Config, config: Config, answer_type: str) -> frozenset[str]:
    """Names of the outcomes that are made by the same reward and the same judge in both: a failed judgement of these is
    not asked again."""
    if before.judge != config.judge:
        return frozenset()

    def specs(reward: RewardConfig) -> dict[str, tuple[str | None, Any]]:
        named = {name: name for name in (*reward.weights, *reward.gates)} | {ACCURACY: reward.routes.get(answer_type)}
        return {name: (spec, reward.arguments.get(spec or "")) for name, spec in named.items()}

    old, new = specs(before.reward), specs(config.reward)
    return frozenset(name for name in old if name in new and old[name] == new[name])


def _not_read(argv: Sequence[str], explicit: set[str]) -> list[str]:
    allowed = f"a replay reads {', '.join(f'{name}.*' for name in SECTIONS)} and {', '.join(SETTINGS)}"
    faults = [
        f"{path} ({COMMAND_LINE}): has no effect on a replay; {allowed}"
        for path in sorted(explicit)
        if path.split(".")[0] not in SECTIONS and path not in SETTINGS
    ]
    others = set(groups()) - set(SECTIONS)
    return faults + [
        f"{argument} ({COMMAND_LINE}): has no effect on a replay; {allowed}"
        for argument in argv
        if argument.lstrip("+").partition("=")[0] in others
    ]


def _without_effect(before: Config, config: Config, argv: Sequence[str], explicit: set[str]) -> list[str]:
    """Faults: arguments that change nothing, and a judge that no reward asks."""
    faults = [
        f"{path} ({COMMAND_LINE}): changes nothing, the run has {value_at(before, path)!r} already; leave it out"
        for path in sorted(explicit)
        if value_at(before, path) == value_at(config, path)
    ]
    for name in SECTIONS:
        group = next((argument for argument in argv if argument.startswith(f"{name}=")), None)
        if group and getattr(before, name) == getattr(config, name):
            faults.append(
                f"{group} ({COMMAND_LINE}): changes nothing, the run has these settings already; leave it out"
            )
    if before.judge != config.judge and not asks_judge(config):
        faults.append(f"judge ({COMMAND_LINE}): has no effect, because no reward of this configuration asks a judge")
    return faults

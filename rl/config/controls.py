"""The controls of a run: the same run with one thing taken away that a gain is said to come from.

A gain over the SFT model counts only as far as no control makes it too. `blind` and `shuffled_gold` change the rows
that RL learns from (rl/data/controls.py); `random_reward` and `format_only` change what is paid, which is said here, so
that the stored configuration of such a run states the weights that it really paid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rewards.shipped.coin import COIN
from rl.config.schema import Config, Control

FORMAT = "format"
# What each takes away, in words for tables and reports.
TAKEN_AWAY: Mapping[str, str] = {
    "none": "nothing",
    "blind": "the training images: every pixel is grey",
    "random_reward": "the reward: a coin pays",
    "format_only": "the reward for right answers: only the form pays",
    "shuffled_gold": "the right answers: each prompt is graded by another one's",
}
PAID: Mapping[Control, str] = {"random_reward": COIN, "format_only": FORMAT}


def with_control(config: Config) -> Config:
    """The configuration with the weights of its control: one reward pays 1, all others are measured and not paid, and
    no gate is closed. A control of the rows changes nothing here; done twice it is the same as once."""
    paid = PAID.get(config.control)
    if paid is None:
        return config
    measured = dict.fromkeys([*config.reward.weights, *config.reward.gates], 0.0)
    arguments = {**config.reward.arguments, **({COIN: {"seed": config.seed}} if paid == COIN else {})}
    reward = dataclasses.replace(config.reward, weights={**measured, paid: 1.0}, gates={}, arguments=arguments)
    return dataclasses.replace(config, reward=reward)


def control_of(config: Config, control: Control, out_dir: str) -> Config:
    """The configuration of a control of this run, in a folder of its own: all else is the same."""
    return with_control(dataclasses.replace(config, control=control, controls=(), out_dir=out_dir))

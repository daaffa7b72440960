"""The ways of asking the held-out items, and what they are called in tables. Loads nothing."""

from typing import Literal, get_args

Mode = Literal["greedy", "sampled", "blank"]
MODES: tuple[Mode, ...] = get_args(Mode)
WAYS: dict[str, str] = {"greedy": "greedy", "sampled": "sampled", "blank": "greedy, image blanked"}

"""Prompts on their way to policy and reference: each is put into the object store once, and every pass and update that
needs it is handed a reference.

Pixels are most of what a step sends: without this they would travel with the log-probs of the policy, with those of the
reference, and with the update. Where the run computes in bfloat16 they travel in it: the first thing that a vision
tower does with them is to round them to it, so no bit of a result changes (tests/rl/policy/test_policy.py). In float32
they stay what they are.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import torch

from rl.policy.batching import Row
from rollouts.prompt.processing import EncodedPrompt

Worker = TypeVar("Worker")
Part = TypeVar("Part")
Answer = TypeVar("Answer")

_ELSEWHERE = EncodedPrompt("", "", (), {})


@dataclass(frozen=True)
class Letter:
    """Rows without their prompts, which travel beside them."""

    rows: tuple[Row, ...]
    # Of each row, which of the prompts is its own.
    places: tuple[int, ...]

    def opened(self, prompts: Sequence[EncodedPrompt]) -> tuple[Row, ...]:
        """The rows as they were. Those of one prompt hold the same object again."""
        pairs = zip(self.rows, self.places, strict=True)
        return tuple(dataclasses.replace(row, prompt=prompts[place]) for row, place in pairs)


class Parcels:
    """Knows which prompts are in the object store. They leave it when nobody here holds them any more.

    Args:
        put: puts a value into the object store and returns a reference to it.
        dtype: of the arithmetic of policy and reference (model.dtype).
    """

    def __init__(self, put: Callable[[Any], Any], dtype: Literal["float32", "bfloat16"]) -> None:
        self._put = put
        self._dtype = dtype
        # By identity: a prompt's own object goes through all verbs of a step.
        self._known: dict[int, tuple[weakref.ref[EncodedPrompt], Any]] = {}

    def packed(self, rows: Sequence[Row]) -> tuple[Letter, list[Any]]:
        """The rows without their prompts, and references to these, each once."""
        prompts = {id(row.prompt): row.prompt for row in rows}
        order = {key: place for place, key in enumerate(prompts)}
        light = tuple(dataclasses.replace(row, prompt=_ELSEWHERE) for row in rows)
        letter = Letter(light, tuple(order[id(row.prompt)] for row in rows))
        return letter, [self._reference(prompt) for prompt in prompts.values()]

    def _reference(self, prompt: EncodedPrompt) -> Any:
        key = id(prompt)
        if key not in self._known:
            watch = weakref.ref(prompt, lambda _: self._known.pop(key, None))
            self._known[key] = watch, self._put(in_bfloat16(prompt) if self._dtype == "bfloat16" else prompt)
        return self._known[key][1]


def in_bfloat16(prompt: EncodedPrompt) -> EncodedPrompt:
    """The prompt with the numbers of its media, and of its documents', in bfloat16: half the bytes. What counts, such
    as a grid, stays as it is."""
    media = {name: one.to(torch.bfloat16) if one.is_floating_point() else one for name, one in prompt.media.items()}
    return dataclasses.replace(prompt, media=media, documents=tuple(map(in_bfloat16, prompt.documents)))


def opens_letters(method: Callable[[Worker, Part], Answer]) -> Callable[[Worker, Part], Answer]:
    """A worker's method that takes rows, or a tuple that begins with rows: called with a letter, the rest of the tuple
    and the prompts, as a group calls it through Ray, it gets the rows as they were. Called plainly it is what it was,
    and its type says that alone.

    It shows no signature of the method's while it runs (functools.wraps would), because Ray holds calls to that.
    """

    def call(self: Worker, part: Any, rest: tuple[Any, ...] = (), *prompts: EncodedPrompt) -> Answer:
        if not isinstance(part, Letter):
            return method(self, part)
        rows: Any = part.opened(prompts)
        return method(self, (rows, *rest) if rest else rows)  # type: ignore[arg-type]

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return cast(Callable[[Worker, Part], Answer], call)

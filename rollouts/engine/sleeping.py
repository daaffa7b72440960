"""Whose memory a shared GPU is: an engine sleeps while the policy trains, and wakes in an order in which both fit."""

from __future__ import annotations

from typing import Protocol

# vLLM's names of the two things that it gives back.
WEIGHTS, KV_CACHE = "weights", "kv_cache"
# Level 1 keeps a copy of the weights in the memory of the machine (as many bytes again, for each engine), and all that
# was on the GPU comes back as it was. Level 2 keeps nothing but registered buffers: what a model computed at its start
# and holds as a plain tensor comes back as noise, and no sync of the weights overwrites it (vLLM #29341, #16564;
# NeMo-RL #2631). A sync takes longer than the copy, so the certain one is used.
LEVEL = 1


class Sleeping(Protocol):
    """vLLM's engine, as far as it sleeps."""

    def sleep(self, level: int) -> object: ...
    def wake_up(self, tags: list[str]) -> object: ...


class Sleeper:
    """Puts one engine to sleep and wakes it; does nothing where `enabled` is False, for an engine with a GPU of its
    own."""

    def __init__(self, engine: Sleeping, *, enabled: bool) -> None:
        self._engine = engine
        self._enabled = enabled
        self._asleep: set[str] = set()

    def sleep(self) -> None:
        """Give the memory back. Prefixes and features that were cached are forgotten; weights and their version
        stay."""
        if self._enabled and not self._asleep:
            self._engine.sleep(level=LEVEL)
            self._asleep = {WEIGHTS, KV_CACHE}

    def wake(self, *parts: str) -> None:
        """Take memory for these parts again, in the order given. New weights come in between `WEIGHTS` and `KV_CACHE`:
        while they are loaded there are two copies of a part of them, for which the room of the cache is needed."""
        for part in parts:
            if part in self._asleep:
                self._engine.wake_up(tags=[part])
                self._asleep.remove(part)

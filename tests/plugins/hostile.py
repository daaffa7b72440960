"""Rewards that do what rewards must not do, each on the completion that names it; on any other they pay 1."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import sys
import time

from rewards import Outcome

KEPT: list[bytearray] = []


def _ends(what: str) -> None:
    if what == "os._exit":
        os._exit(3)
    if what == "sys.exit":
        sys.exit(4)
    if what == "segfault":
        ctypes.string_at(0)
    if what == "abort":
        os.abort()
    if what == "closes its pipes":
        os.closerange(0, 256)
    if what == "forks and leaves":
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    if what == "writes rubbish":
        os.write(int(sys.argv[1]), b"\xff" * 64)
    if what == "forges a frame":
        os.write(int(sys.argv[1]), b"\x00\x00\x00\x04\x00\x00\x00\x00[1]\n")


def _hangs(what: str) -> None:
    while what == "spins":
        pass
    if what == "sleeps":
        time.sleep(600)  # here
    if what == "hangs in a regex":
        re.match(r"(a+)+$", "a" * 64 + "b")
    if what == "hangs in C":
        ctypes.CDLL(None).pause()


def hostile(completion: str) -> object:
    """The one that does it all."""
    _ends(completion)
    _hangs(completion)
    if completion == "raises":
        raise KeyError("lesion")
    if completion == "allocates 10 GiB":
        return len(bytearray(10 << 30))
    if completion == "recurses":
        return hostile("recurses")
    if completion == "forks":
        os.fork()
    if completion == "prints much":
        print("x" * 4_000_000)
    odd = {
        "nan": float("nan"),
        "none": None,
        "text": "1.0",
        "a list": [1.0],
        "a huge integer": 10**400,
        "giant evidence": Outcome(1.0, evidence={"text": "y" * (9 << 20)}),
        "much evidence": Outcome(1.0, evidence={"text": "y" * (2 << 20)}),
        "evidence that is no JSON": Outcome(1.0, evidence={"object": object()}),
        "nan in a part": Outcome(1.0, parts={"a": float("nan")}),
    }
    return odd.get(completion, 1.0)


def leaks(completion: str) -> Outcome:
    """Keeps 100 MiB a call; pays its process."""
    KEPT.append(bytearray(100 << 20))
    return Outcome(1.0, parts={"process": os.getpid()})


async def blocks(completion: str) -> Outcome:
    """Asynchronous: waits a little, or blocks the whole loop, or waits for ever, or ends its process."""
    await asyncio.sleep(0.05)
    if completion == "blocks":
        time.sleep(600)
    if completion == "ends":
        os._exit(5)
    if completion == "waits":
        await asyncio.sleep(600)
    return Outcome(1.0, parts={"process": os.getpid()})


def fewer(group: list[object]) -> list[float]:
    """One value too few."""
    return [1.0] * (len(group) - 1)


def one_for_all(group: list[object]) -> float:
    """One value for a group."""
    return 1.0

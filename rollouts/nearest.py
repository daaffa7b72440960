"""Which known name was meant by one that does not exist; every error about an unknown name asks here."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant; None = nothing is close. Of dotted names the one with the same
    last part comes first, then the closest spelling of the whole, then of the last part."""
    last_parts = {one: one.rpartition(".")[2] for one in known}
    last = name.rpartition(".")[2]
    same_last = [one for one in last_parts if last_parts[one] == last]
    if whole := get_close_matches(name, same_last, 1, 0.0) or get_close_matches(name, last_parts, 1):
        return whole[0]
    near = get_close_matches(last, last_parts.values(), 1)
    return next((one for one in last_parts if near and last_parts[one] == near[0]), None)


def likeness(first: str, second: str) -> float:
    """How alike two texts are, 0 to 1, after Ratcliff and Obershelp: twice the characters in matching blocks over all
    characters."""
    return SequenceMatcher(None, first, second).ratio()


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of an error about an unknown name: "; did you mean 'NAME'?", or `otherwise` where nothing is close."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else otherwise

"""What must stay on one side of a split, since it shares an image, a patient or a pair."""

from __future__ import annotations

from collections.abc import Sequence


def families(keys: Sequence[Sequence[str]]) -> list[str]:
    """The name of each row's family: the smallest key that can be reached over shared keys, in any number of steps
    (union-find). `keys`: of each row, at least one."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for one in keys:
        first, *others = [root(key) for key in one]
        for other in others:
            first, other = sorted((root(first), root(other)))
            parent[other] = first
    return [root(one[0]) for one in keys]

"""Which documents share a sequence, as pure functions of their lengths."""

from __future__ import annotations

from collections.abc import Sequence

# Sequences that are open at a time: more would fill better, and move documents further from their random place.
OPEN_SEQUENCES = 16


def pack(lengths: Sequence[int], order: Sequence[int], room: int) -> list[tuple[int, ...]]:
    """Numbers of the documents of each sequence: each document, in the order given, goes into the first of the open
    sequences that has room for it; the fullest is closed when there are too many.

    Args:
        lengths: tokens of every document.
        order: their numbers in the order they are dealt out.
        room: tokens of a sequence.

    Raises:
        ValueError: a document is longer than a sequence.
    """
    closed: list[list[int]] = []
    opened: list[list[int]] = []
    used: list[int] = []
    for number in order:
        length = lengths[number]
        if length > room:
            raise ValueError(f"document {number} has {length} tokens, and a sequence {room}")
        place = next((place for place, tokens in enumerate(used) if tokens + length <= room), None)
        if place is None:
            if len(opened) == OPEN_SEQUENCES:
                fullest = used.index(max(used))
                closed.append(opened.pop(fullest))
                used.pop(fullest)
            opened.append([])
            used.append(0)
            place = len(opened) - 1
        opened[place].append(number)
        used[place] += length
    return [tuple(numbers) for numbers in (*closed, *opened)]


def share_filled(lengths: Sequence[int], sequences: Sequence[Sequence[int]], room: int) -> float:
    """Tokens of documents among all tokens of the sequences."""
    return sum(lengths[number] for numbers in sequences for number in numbers) / max(1, len(sequences) * room)

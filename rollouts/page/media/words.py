"""What is told of a medium beside its frames: window, plane, place, time, and everything that is kept of how it was
read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rollouts.imaging.notes import Provenance
from rollouts.store.codec import Row

# The most of one text, and of one list, that is sent to the page: a stranger's run may hold anything.
_MAX_CHARS, _MAX_FACTS = 300, 60


def medium_page(medium: Row, problem_of: Callable[[str], str | None]) -> dict[str, Any]:
    """One stored medium for the page: its frames with a line each, and the facts of how it was read.

    `problem_of` says of a file's name why it cannot be shown; None = it can. What cannot be read of a stranger's record
    is left out, never raised.
    """
    names = medium["frames"] if medium["frames"] is not None else [medium["sha256"]]
    masks = medium.get("mask") or []
    read = _read(medium)
    frames = [
        {
            "sha256": name,
            "problem": problem_of(str(name)),
            "index": _at(medium["frame_indices"], at),
            "line": _line(read, at),
            "label": _short(_at(medium.get("labels"), at)),
            "mask": _there(_at(masks, at), problem_of),
        }
        for at, name in enumerate(names)
    ]
    return {"kind": medium["kind"], "frames": frames, "facts": _facts(read, medium), "count": _count(read)}


def _at(values: Any, place: int) -> Any:
    return values[place] if values and place < len(values) else None


def _there(name: Any, problem_of: Callable[[str], str | None]) -> str | None:
    return None if name is None or problem_of(str(name)) is not None else str(name)


def _short(text: Any) -> str | None:
    return None if text is None else str(text)[:_MAX_CHARS]


def _read(medium: Row) -> Provenance | None:
    """How the medium was read, as its reader wrote it; None where nothing is kept, or nothing that we know."""
    try:
        kept = json.loads(medium.get("provenance") or "null")
        if not isinstance(kept, Mapping):
            return None
        columns = {
            "indices": medium["frame_indices"] or [0],
            "positions": medium.get("positions"),
            "times": medium.get("frame_times"),
            "source_sha256": medium.get("source_sha256") or "",
            "axes": medium.get("axes") or "",
        }
        return Provenance.from_dict({**kept, **{name: value for name, value in columns.items() if value is not None}})
    except (TypeError, ValueError, RecursionError):
        return None


def _line(read: Provenance | None, at: int) -> str:
    try:
        return "" if read is None else str(read.line(at))[:_MAX_CHARS]
    except Exception:  # a boundary: fields of a stranger's record may be of any type
        return ""


def _facts(read: Provenance | None, medium: Row) -> list[tuple[str, str]]:
    try:
        facts = [] if read is None else [(str(name), str(text)) for name, text in read.words()]
    except Exception:  # a boundary, as above
        facts = []
    if medium.get("patient"):
        facts.append(("patient", f"{medium['patient']} (a salted hash)"))
    return [(name[:_MAX_CHARS], text[:_MAX_CHARS]) for name, text in facts[:_MAX_FACTS]]


def _count(read: Provenance | None) -> int:
    """Slices of the source; 0 = not known."""
    return read.source_frames if read is not None and isinstance(read.source_frames, int) else 0

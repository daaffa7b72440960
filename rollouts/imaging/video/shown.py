"""When the frames of a video are shown, and which of them a question is about. Pure."""

from __future__ import annotations

import bisect
import itertools
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from rollouts.imaging.ask import Ask
from rollouts.records import BadSample

# The end of a part may lie so far behind the video's own: times of annotations are rounded.
_BEHIND_END = 0.5


class Shown(NamedTuple):
    """Seconds at which each frame appears, rising from 0, and when the last one ends."""

    times: tuple[float, ...]
    end: float
    notes: tuple[str, ...] = ()


def shown_at(stamps: Sequence[float | None], last: float | None, step: float | None) -> Shown:
    """The times of frames in the order a decoder gives them.

    `stamps`: seconds in the file's own clock; `last`: how long the last frame is shown; `step`: seconds a frame by the
    header. Where stamps are missing or do not rise, frames follow each other evenly, and a note says so.
    """
    usual = step or 0.04
    if all(stamp is not None for stamp in stamps):
        times = [float(stamp) - float(stamps[0]) for stamp in stamps]  # type: ignore[arg-type]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        if all(gap > 0 for gap in gaps):
            end = times[-1] + (last or (statistics.median(gaps) if gaps else usual))
            return Shown(tuple(times), end)
        why = "times of frames do not rise: taken as even"
    else:
        why = "no times of frames stored: taken as even"
    return Shown(tuple(index * usual for index in range(len(stamps))), len(stamps) * usual, (why,))


def part_of(shown: Shown, ask: Ask) -> tuple[range, Shown]:
    """Which frames are on the screen between `ask.start` and `ask.end`, and their times, which keep counting from the
    whole video's start. Raises BadSample where the video has no such part."""
    everything = range(len(shown.times))
    if ask.start is None and ask.end is None:
        return everything, shown
    start, end = ask.start or 0.0, shown.end if ask.end is None else ask.end
    if start >= shown.end and ask.end is None:
        raise BadSample(f"the part from {start:g} s on is asked for, and the video ends at {shown.end:.2f} s")
    if start >= shown.end or end > shown.end + _BEHIND_END:
        raise BadSample(f"the part from {start:g} s to {end:g} s is asked for, and the video ends at {shown.end:.2f} s")
    # A hair later, as where frames are chosen in time: what appears at `start` is the first, at `end` none.
    first = max(0, bisect.bisect_right(shown.times, start + 1e-9) - 1)
    behind = max(first + 1, bisect.bisect_left(shown.times, end - 1e-9))
    times = shown.times[first:behind]
    note = f"the part from {start:g} s to {end:g} s, frames {first} to {behind - 1} of {len(everything)}"
    return everything[first:behind], Shown(times, min(end, shown.end), (*shown.notes, note))

"""Which frames of a source are shown: evenly spaced in place, or in time."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def evenly_spaced(count: int, wanted: int) -> tuple[int, ...]:
    """Indices of `wanted` of `count` slices or frames, evenly spaced and centred in their shares, in order (Fleming-VL,
    Sec 3.3).

    Raises:
        ValueError: fewer than one is wanted, or there is none.
    """
    if count < 1 or wanted < 1:
        raise ValueError(f"cannot choose {wanted} of {count} frames; both must be at least 1")
    if count <= wanted:
        return tuple(range(count))
    return tuple((2 * i + 1) * count // (2 * wanted) for i in range(wanted))


def evenly_in_time(times: Sequence[float], end: float, wanted: int) -> tuple[int, ...]:
    """Indices of the frames that are on the screen in the middle of each of `wanted` equal parts of the time from the
    first frame to `end`, in seconds; no frame twice, so there may be fewer. `times` rise: when each frame appears.

    Raises:
        ValueError: there is no frame, or none is wanted.
    """
    if not times or wanted < 1:
        raise ValueError(f"cannot choose {wanted} of {len(times)} frames; both must be at least 1")
    if len(times) <= wanted:
        return tuple(range(len(times)))
    start = times[0]
    # A hair later, so that a frame that appears exactly then is the one on the screen, whatever the rounding.
    moments = [start + (2 * i + 1) * (end - start) / (2 * wanted) + 1e-9 for i in range(wanted)]
    chosen = [max(0, bisect.bisect_right(times, moment) - 1) for moment in moments]
    return tuple(dict.fromkeys(chosen))

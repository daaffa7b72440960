"""What a reader of one format gives: where its frames lie, and how their values are fetched.

How a reader plugs in. Write `open_source(paths, ask) -> Source` in a room of its own (`rollouts/imaging/nifti/`), with
the heavy library imported inside functions of one file, and add one line to the table `READERS` in
`rollouts/imaging/read.py`: how the file's first bytes look. The reader refuses what it cannot read right
(`BadSample`, without the file's name, which `read` puts before it), looks at `ask.kind`, `plane`, `page`,
`volume_index`, `start`, `end`, `series`, `where`, `on_gap` and `on_cut`, refuses those that it gives no meaning to
(`refuse_unused`), and gives frames along the plane asked for, already in their final order. Everything after that is
the same for all formats and done in `frames.py`: `slices` and `max_frames`, one scale for all, square pixels, the
longest side; and in `cache.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollouts.imaging.ask import Ask
from rollouts.imaging.geometry import Places
from rollouts.imaging.notes import Provenance
from rollouts.imaging.windows import Greys
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Source:
    """An opened medium whose frames are fetched when they are needed."""

    # Frames along the plane asked for, in the order they are shown.
    count: int
    # Fetches frames, whose indices rise, in one pass: float32 [rows, columns] with NaN where there is no value
    # (padding, NaN, Inf), or uint8 [rows, columns, 3] for colour, upright. Raises BadSample for damage.
    load: Callable[[Sequence[int]], Iterator[np.ndarray]]
    # What the reader knows: format, source_sha256, patient, modality, encoding, notes, ..; the rest is filled in later.
    provenance: Provenance
    # Needed for grey values; None = colour.
    greys: Greys | None = None
    # Where columns, rows and frames run to, "LPS"; "" = unknown.
    axes: str = ""
    # Millimetres between frames, rows, columns; None = unknown, then pixels are taken as squares.
    spacing: tuple[float, float, float] | None = None
    # Height of a pixel over its width, where a file tells no millimetres but this.
    aspect: float = 1.0
    # Place of each frame along its axis in mm; seconds at which each frame appears, and when the last one ends.
    positions: tuple[float, ...] | None = None
    # Where the pixels of all frames lie; None = unknown.
    places: Places | None = None
    times: tuple[float, ...] | None = None
    end: float | None = None
    # Width and height of a frame as it is stored; None = they differ or are not known before decoding.
    size: tuple[int, int] | None = None
    # InstanceNumber of each frame; None = there is none.
    instance_numbers: tuple[int, ...] | None = None


# What an ask holds where nothing is asked.
_DEFAULTS = Ask("volume")


def refuse_unused(ask: Ask, format_name: str, *names: str) -> None:
    """Refuse settings of an ask that mean nothing for this format: what has no effect is an error. Raises BadSample."""
    for name in names:
        if (value := getattr(ask, name)) != getattr(_DEFAULTS, name):
            raise BadSample(f"{name}={value!r} means nothing for {format_name}; leave it out")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Puts a medium's name before what is wrong with it; a file that cannot be read is a BadSample too."""
    try:
        yield
    except BadSample as error:
        if not name or str(error).startswith(f"{name}: "):
            raise
        raise BadSample(f"{name}: {error}") from error
    except OSError as error:
        raise BadSample(f"{name}: cannot be read: {error.strerror or type(error).__name__}") from error
    except MemoryError as error:
        raise BadSample(f"{name}: does not fit in memory") from error

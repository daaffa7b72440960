"""Near copies of pictures: other sizes, encodings and crops of one picture, found by difference hashes of 64 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

# Parts of the picture that are hashed beside the whole: crops of these shares at nine places.
_CROPS = (0.9, 0.8)
_PLACES = (0.0, 0.5, 1.0)
# Bits of a hash that must be set or clear: a picture of hardly any structure is like every other.
_LEAST_BITS = 6
_BITS = 64
_CHUNK = 200_000


class Copy(NamedTuple):
    """Two pictures that look the same, by their places in the two lists."""

    first: int
    second: int
    distance: int


def hashes(image: Image.Image) -> tuple[int, ...]:
    """The difference hash of a picture, that of the picture without its even border, and those of its crops."""
    grey = image.convert("L")
    # Hashes look at 9 x 8 pixels: a smaller picture costs less and says the same.
    if max(grey.size) > 512:
        grey.thumbnail((512, 512))
    width, height = grey.size
    values = [_hash(grey), _hash(_without_border(grey))]
    for share in _CROPS:
        w, h = max(9, round(width * share)), max(8, round(height * share))
        for x in _PLACES:
            for y in _PLACES:
                left, top = round((width - w) * x), round((height - h) * y)
                values.append(_hash(grey.crop((left, top, left + w, top + h))))
    return tuple(values)


def _hash(grey: Image.Image) -> int:
    """One bit for each of 8 x 8 neighbours: whether the right one is brighter (D. Hamilton, "dHash")."""
    import numpy

    small = numpy.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=numpy.int16)
    bits = (small[:, 1:] > small[:, :-1]).reshape(-1)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _without_border(grey: Image.Image) -> Image.Image:
    """Without rows and columns at the edges that are as dark as the darkest corner, give or take the noise of JPEG."""
    import numpy

    values = numpy.asarray(grey)
    ground = int(min(values[0, 0], values[0, -1], values[-1, 0], values[-1, -1]))
    shown = values > ground + 12
    rows, columns = numpy.flatnonzero(shown.any(axis=1)), numpy.flatnonzero(shown.any(axis=0))
    if rows.size < 16 or columns.size < 16:
        return grey
    return grey.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def tells_little(value: int) -> bool:
    """Whether a hash is that of a nearly even picture, which matches everything."""
    return not _LEAST_BITS <= value.bit_count() <= _BITS - _LEAST_BITS


def near(first: Sequence[tuple[int, ...]], second: Sequence[tuple[int, ...]], most: int) -> list[Copy]:
    """Pairs of which the whole of one picture differs from the whole, or a crop, of the other in at most `most` bits.

    Whole against whole, whole against crop and crop against whole; of two crops of one picture each is compared with
    the other's whole.
    """
    distances: dict[tuple[int, int], int] = {}
    _search(first, second, most, distances, turned=False)
    _search(second, first, most, distances, turned=True)
    return sorted(Copy(one, other, distance) for (one, other), distance in distances.items())


def _search(
    wholes: Sequence[tuple[int, ...]],
    queries: Sequence[tuple[int, ...]],
    most: int,
    distances: dict[tuple[int, int], int],
    *,
    turned: bool,
) -> None:
    """Add pairs of a whole of `wholes` and any hash of `queries`; found by a band of bits in which they agree."""
    import numpy

    whole_of = _owners((value, place) for place, one in enumerate(wholes) for value in one[:2])
    query_of = _owners((value, place) for place, one in enumerate(queries) for value in one)
    if not whole_of or not query_of:
        return
    known = numpy.array(sorted(whole_of), dtype=numpy.uint64)
    query_hashes = numpy.array(sorted(query_of), dtype=numpy.uint64)
    pairs: set[tuple[int, int, int]] = set()
    # Of most + 1 bands at least one is untouched by `most` flipped bits.
    width = _BITS // (most + 1)
    for band in range(most + 1):
        shift = numpy.uint64(band * width)
        mask = numpy.uint64((1 << (width if band < most else _BITS - band * width)) - 1)
        order = numpy.argsort((known >> shift) & mask, kind="stable")
        bands = ((known >> shift) & mask)[order]
        for start in range(0, len(query_hashes), _CHUNK):
            part = query_hashes[start : start + _CHUNK]
            pairs |= _within(known[order], bands, part, (part >> shift) & mask, most)
    for whole, query, distance in pairs:
        for one in whole_of[whole]:
            for other in query_of[query]:
                key = (other, one) if turned else (one, other)
                distances[key] = min(distance, distances.get(key, _BITS))


def _owners(values: object) -> dict[int, list[int]]:
    owners: dict[int, list[int]] = {}
    for value, place in values:  # type: ignore[attr-defined]
        if not tells_little(value) and place not in owners.setdefault(value, []):
            owners[value].append(place)
    return {value: places for value, places in owners.items() if places}


def _within(
    known: np.ndarray, bands: np.ndarray, query_hashes: np.ndarray, query_bands: np.ndarray, most: int
) -> set[tuple[int, int, int]]:
    """(known hash, query hash, distance) of the pairs that agree in this band and differ in at most `most` bits."""
    import numpy

    left = numpy.searchsorted(bands, query_bands, side="left")
    right = numpy.searchsorted(bands, query_bands, side="right")
    counts = right - left
    query = numpy.repeat(numpy.arange(len(query_hashes)), counts)
    offsets = numpy.arange(counts.sum()) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
    where = left[query] + offsets
    distances = numpy.bitwise_count(known[where] ^ query_hashes[query])
    close = numpy.flatnonzero(distances <= most)
    return {(int(known[where[i]]), int(query_hashes[query[i]]), int(distances[i])) for i in close}

"""Elements of a data set as plain values: what cannot be read is None or refused by the element's own name, and its
text is never repeated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rollouts.imaging.dicom.headers import TELLING_APART, TELLING_WORDS, FileHead, image_type_of, word_or_hash
from rollouts.imaging.windows import Table, Window
from rollouts.records import BadSample

# Entries that a table of values may have (PS3.3, C.11.1.1).
_MAX_ENTRIES = 1 << 16


def text(dataset: Any, keyword: str) -> str:
    """An element's first value as text, without blanks around it; "" = there is none."""
    values = texts(dataset, keyword)
    return values[0] if values else ""


def texts(dataset: Any, keyword: str) -> list[str]:
    """All values of an element as texts."""
    try:
        value = dataset.get(keyword)
    except Exception:  # a boundary: damaged elements raise anything
        return []
    if value is None:
        return []
    return [str(one).strip() for one in (value if _is_list(value) else [value])]


def numbers(dataset: Any, keyword: str, *, forgiving: bool = False) -> list[float] | None:
    """All values of an element; None = there is none.

    Raises:
        BadSample: it is there and no list of finite numbers; forgiving: None then.
    """
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return None
        values = [float(one) for one in (value if _is_list(value) else [value])]
        if all(math.isfinite(one) for one in values):
            return values
    except Exception:  # a boundary: damaged elements raise anything
        pass
    if forgiving:
        return None
    raise BadSample(f"{keyword} is damaged: expected numbers")


def number(dataset: Any, keyword: str) -> float | None:
    """The first value of an element; None = there is none, or it is no finite number."""
    values = numbers(dataset, keyword, forgiving=True)
    return values[0] if values else None


def whole(dataset: Any, keyword: Any) -> int | None:
    """The first value of an element as a whole number; None = there is none, or it is another one."""
    if isinstance(keyword, tuple):
        try:
            return int(dataset[keyword].value)
        except Exception:  # a boundary: damaged elements raise anything
            return None
    value = number(dataset, keyword)
    return int(value) if value is not None and value == int(value) else None


def _is_list(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")


def table(place: Any, sequence: str, signed: bool) -> Table | None:
    """The first table of a sequence of LUTs; None = there is none. Raises BadSample where it is damaged."""
    items = place.get(sequence)
    if not items:
        return None
    descriptor = numbers(items[0], "LUTDescriptor") or []
    if len(descriptor) != 3:
        raise BadSample(f"{sequence} is damaged: LUTDescriptor has {len(descriptor)} numbers, expected 3")
    count, first, bits = (int(value) for value in descriptor)
    count = count or _MAX_ENTRIES
    if signed and first >= _MAX_ENTRIES // 2:
        first -= _MAX_ENTRIES
    entries = _entries(items[0].get("LUTData"), count, place)
    if len(entries) != count or not 1 <= bits <= 16 or count > _MAX_ENTRIES:
        raise BadSample(f"{sequence} is damaged: its data are not the {count} entries of {bits} bits that it says")
    # Some files say 16 bits and use fewer.
    return Table(first, entries, max(bits, max(entries).bit_length()))


def _entries(data: Any, count: int, place: Any) -> tuple[int, ...]:
    if isinstance(data, bytes):
        if len(data) in (count, count + 1):  # eight bits each
            return tuple(data[:count])
        if len(data) < 2 * count:
            return ()
        order = "big" if place.original_encoding[1] is False else "little"
        return tuple(int.from_bytes(data[at : at + 2], order) for at in range(0, 2 * count, 2))  # type: ignore[arg-type]
    if data is None:
        return ()
    return tuple(int(value) & 0xFFFF for value in (data if _is_list(data) else [data]))


def largest_colour(dataset: Any) -> int:
    """The largest entry of a palette's three tables; 0 where they are written in segments."""
    largest = 0
    for name in ("Red", "Green", "Blue"):
        descriptor = numbers(dataset, f"{name}PaletteColorLookupTableDescriptor", forgiving=True) or [0]
        data = dataset.get(f"{name}PaletteColorLookupTableData")
        largest = max([largest, *_entries(data, int(descriptor[0]) or _MAX_ENTRIES, dataset)])
    return largest


def voi(holder: Callable[..., Any], head: FileHead) -> tuple[Window | Table | None, str]:
    """A frame's own first window or table, or None with a note that says why. `holder` gives the data set that holds a
    keyword."""
    place = holder("VOILUTSequence")
    if place is not None:
        signed = head.signed or head.modality_table is None
        try:
            return table(place, "VOILUTSequence", signed), ""
        except BadSample:
            return None, "the VOI LUT is damaged"
    place = holder("WindowWidth", "FrameVOILUTSequence")
    if place is None:
        return None, "the file has no window"
    centre, width = number(place, "WindowCenter"), number(place, "WindowWidth")
    if centre is None or width is None:
        return None, "the window is damaged"
    if width <= 0:
        return None, f"WindowWidth is {width:g}, which says nothing"
    function = text(place, "VOILUTFunction").upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return None, "VOILUTFunction is none of LINEAR, LINEAR_EXACT, SIGMOID"
    # LINEAR is not defined below a width of 1 (PS3.3, C.11.2.1.2).
    return Window(centre, width, "LINEAR_EXACT" if function == "LINEAR" and width < 1 else function), ""  # type: ignore[arg-type]


def image_tags(holder: Callable[..., Any]) -> dict[str, str]:
    """Numbers and short words that may tell images at one place apart, as texts, and ImageType."""
    tags = {}
    for keyword, sequence in TELLING_APART.items():
        place = holder(keyword, sequence)
        if place is None:
            continue
        if (value := number(place, keyword)) is not None:
            tags[keyword] = f"{value:g}"
        elif keyword in TELLING_WORDS and (word := text(place, keyword)):
            tags[keyword] = word_or_hash(word)
    place = holder("ImageType")
    if place is not None:
        tags["ImageType"] = image_type_of(texts(place, "ImageType"))
    return tags

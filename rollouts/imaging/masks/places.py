"""Where something is marked, in words: patient's side and image's side are two things and never mixed.

A word is said when at least 85 % of what is marked lies there, "both" when each half holds its own part; what lies
between is not said. The centroid is not asked: that of a ring, or of a spot on each side, lies where nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

Language = Literal["en", "zh"]
# The share of what is marked that must lie in a half or a third before its word is said.
ENOUGH = 0.85
# Of what is marked, each half holds at least so much in parts of its own where it lies on both sides.
EACH_SIDE = 0.25
# What is photographed or held by hand has no patient's side that could be read off the picture.
SIDELESS = ("dermoscopy", "photograph", "endoscopy", "ultrasound", "fundus", "microscopy", "pathology")
_SIDELESS_CODES = ("US", "IVUS", "ES", "XC", "GM", "SM", "DMS", "OP", "OPT", "OCT")
# What each letter of the axes names: the direction in which an index grows.
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "S": "I", "I": "S"}
_SIDES, _HEIGHTS, _DEPTHS = ("right", "left"), ("lower", "middle", "upper"), ("front", "middle", "back")


@dataclass(frozen=True)
class Place:
    """Where a mask lies. None = between two words, or nobody can know."""

    # Pixels or voxels that are marked, at least one.
    area: int
    # "left", "right" or "both", of the picture as a reader sees it.
    image_side: str | None
    # "upper", "middle" or "lower", of the picture's rows.
    image_height: str | None
    # The patient's own side; None also where the axes are not known.
    patient_side: str | None
    # Towards the patient's head where the axes are known and hold that direction, else that of the picture's rows.
    height: str | None
    # "front", "middle" or "back" of the patient; None where the axes do not hold that direction.
    depth: str | None
    # Where columns, rows and frames run to; "" = unknown, or of no use: then `height` is of the picture's rows.
    axes: str = ""
    # Whether halves and thirds are those of an organ's box; else of the whole image.
    within_organ: bool = False


def place_of(
    marked: np.ndarray, axes: str = "", *, organ: np.ndarray | None = None, modality: str = ""
) -> Place | None:
    """Where the marked pixels lie, in the words of `Place`; None where nothing is marked.

    `marked`: truth values [rows, columns] or [frames, rows, columns], as the frames are shown. `axes`: where columns,
    rows and frames run to, in that order, as "LPS"; "" = unknown, then no word of the patient is said. `organ`: the
    same shape; its box is what halves and thirds are taken of. `modality`: a DICOM code or a word; photographs,
    endoscopy and ultrasound have no patient's side, whatever `axes` says.

    Raises:
        BadSample: shapes differ, the axes are none, or the organ is marked nowhere.
    """
    import numpy

    marked = numpy.asarray(marked) != 0
    if marked.ndim not in (2, 3):
        raise BadSample(f"mask has {marked.ndim} dimensions, expected rows x columns or frames x rows x columns")
    known = "" if has_no_sides(modality) else _checked(axes, marked.ndim)
    if not marked.any():
        return None
    boxes = _boxes(marked.shape, organ)
    columns, rows = marked.ndim - 1, marked.ndim - 2
    labels = _components(marked)
    patient = {letter: (axis, letter in "LPS") for axis, letter in zip(range(columns, -1, -1), known, strict=False)}
    image_height = _third(marked, boxes, rows, _HEIGHTS[::-1])
    height, depth = image_height if not known else None, None
    side = None
    for letter, (axis, grows) in patient.items():
        if letter in "LR":
            side = _side(labels, boxes, axis, _SIDES if grows else _SIDES[::-1])
        elif letter in "AP":
            depth = _third(marked, boxes, axis, _DEPTHS if grows else _DEPTHS[::-1])
        else:
            height = _third(marked, boxes, axis, _HEIGHTS if grows else _HEIGHTS[::-1])
    return Place(
        area=int(marked.sum()),
        image_side=_side(labels, boxes, columns, ("left", "right")),
        image_height=image_height,
        patient_side=side,
        height=height,
        depth=depth,
        axes=known,
        within_organ=organ is not None,
    )


def has_no_sides(modality: str) -> bool:
    """Whether pictures of this modality (a DICOM code or a word) show no side of the patient."""
    return modality.upper() in _SIDELESS_CODES or any(word in modality.lower() for word in SIDELESS)


def _checked(axes: str, num_dimensions: int) -> str:
    letters = axes.upper()
    whole = {frozenset((letter, _OPPOSITE.get(letter, ""))) for letter in letters}
    if letters and (len(letters) < num_dimensions or len(whole) != len(letters) or not set(letters) <= set(_OPPOSITE)):
        raise BadSample(
            f'axes are "{axes}", expected a letter of L, R, P, A, S, I for columns, rows and frames, such as "LPS"'
        )
    return letters[:num_dimensions]


def _boxes(shape: tuple[int, ...], organ: np.ndarray | None) -> list[tuple[int, int]]:
    """First index and the one behind the last, for each axis: of the organ, or of the whole image."""
    import numpy

    if organ is None:
        return [(0, length) for length in shape]
    organ = numpy.asarray(organ) != 0
    if organ.shape != shape:
        raise BadSample(f"organ's mask is {_by(organ.shape)}, the finding's is {_by(shape)}: give both on one grid")
    if not organ.any():
        raise BadSample("organ's mask is empty: leave it out, or mark the organ")
    others = [tuple(axis for axis in range(len(shape)) if axis != one) for one in range(len(shape))]
    indices = [numpy.flatnonzero(organ.any(axis=axes)) for axes in others]
    return [(int(where[0]), int(where[-1]) + 1) for where in indices]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


def _parts_of(length: int, box: tuple[int, int], count: int) -> np.ndarray:
    """For each index along an axis, which of `count` equal parts of the box its middle lies in; what lies outside
    belongs to the part beside it."""
    import numpy

    first, behind = box
    middles = (numpy.arange(length) + 0.5 - first) / (behind - first) * count
    return numpy.clip(numpy.floor(middles).astype(int), 0, count - 1)


def _third(marked: np.ndarray, boxes: list[tuple[int, int]], axis: int, words: tuple[str, ...]) -> str | None:
    import numpy

    counts = marked.sum(axis=tuple(other for other in range(marked.ndim) if other != axis))
    sums = numpy.bincount(_parts_of(len(counts), boxes[axis], 3), weights=counts, minlength=3)
    return next((word for word, share in zip(words, sums / counts.sum(), strict=True) if share >= ENOUGH), None)


def _side(labels: np.ndarray, boxes: list[tuple[int, int]], axis: int, words: tuple[str, str]) -> str | None:
    """One of the two words, "both" where each half holds components that lie in it, or None between."""
    import numpy

    where = numpy.nonzero(labels)
    halves = _parts_of(labels.shape[axis], boxes[axis], 2)[where[axis]]
    # Pixels of each component [component, half].
    areas = numpy.bincount(labels[where] * 2 + halves, minlength=2 * (int(labels.max()) + 1)).reshape(-1, 2)[1:]
    total = areas.sum()
    for half, word in enumerate(words):
        if areas[:, half].sum() >= ENOUGH * total:
            return word
    own = [areas[areas[:, half] >= ENOUGH * areas.sum(axis=1), half].sum() / total for half in (0, 1)]
    return "both" if min(own) >= EACH_SIDE else None


def _components(marked: np.ndarray) -> np.ndarray:
    """What hangs together, pixels that touch at a corner included, as numbers from 1; 0 where nothing is marked."""
    from scipy import ndimage

    labels: np.ndarray = ndimage.label(marked, ndimage.generate_binary_structure(marked.ndim, marked.ndim))[0]
    return labels


_EN = {"left": "left", "right": "right", "both": "both sides", "upper": "upper", "middle": "middle", "lower": "lower"}
_ZH = {"left": "左", "right": "右", "both": "双侧", "upper": "上", "middle": "中", "lower": "下"}
_ZH_DEPTH = {"front": "前部", "middle": "中部", "back": "后部"}
_EN_DEPTH = {"front": ("front", "anterior"), "middle": ("middle",), "back": ("back", "posterior")}
_EN_ALSO = {"upper": ("top", "superior"), "lower": ("bottom", "inferior")}


def side_words(place: Place, language: Language, of: Literal["patient", "image"]) -> tuple[str, ...]:
    """How the side is said, the usual form first, then others that mean the same; () where none is known.

    English: "left", "left side"; Chinese: "左侧", "左". Whose side it is stands in the question (`side_question`).
    """
    side = place.patient_side if of == "patient" else place.image_side
    if side is None:
        return ()
    if language == "zh":
        return ("双侧", "两侧", "左右两侧") if side == "both" else (f"{_ZH[side]}侧", _ZH[side], f"{_ZH[side]}边")
    return ("both sides", "both", "bilateral") if side == "both" else (side, f"{side} side")


def side_question(language: Language, of: Literal["patient", "image"]) -> str:
    """The words by which a question says whose side it asks."""
    if language == "zh":
        return "患者的左侧还是右侧" if of == "patient" else "图像的左侧还是右侧"
    return "on the patient's left or right" if of == "patient" else "on the left or right of the image"


def height_words(place: Place, language: Language, of: Literal["patient", "image"]) -> tuple[str, ...]:
    """The third of the height, the usual form first, then others; () where none is known."""
    height = place.height if of == "patient" else place.image_height
    if height is None or (of == "patient" and not place.axes):
        return ()
    if language == "zh":
        return (f"{_ZH[height]}部", f"{_ZH[height]}方", _ZH[height])
    return (height, *_EN_ALSO.get(height, ()), f"{height} third")


def depth_words(place: Place, language: Language) -> tuple[str, ...]:
    """Front or back of the patient, the usual form first; () where none is known."""
    if place.depth is None:
        return ()
    return (_ZH_DEPTH[place.depth],) if language == "zh" else _EN_DEPTH[place.depth]


def region_words(place: Place, language: Language, of: Literal["patient", "image"]) -> tuple[str, ...]:
    """Height and side as one answer ("upper left", "左上"), the usual form first, then other orders and words; () where
    either is not known."""
    side = place.patient_side if of == "patient" else place.image_side
    height = place.height if of == "patient" else place.image_height
    if side is None or height is None:
        return ()
    return tuple(dict.fromkeys(_regions(side, height, language)))


def _regions(side: str, height: str, language: Language) -> Iterator[str]:
    if language == "zh":
        if side == "both":
            yield from (f"双侧{_ZH[height]}部", f"两侧{_ZH[height]}部", f"{_ZH[height]}部双侧")
        else:
            yield from (f"{_ZH[side]}{_ZH[height]}", f"{_ZH[side]}{_ZH[height]}部", f"{_ZH[height]}{_ZH[side]}")
        return
    for word in (height, *_EN_ALSO.get(height, ())):
        yield from (
            (f"{word}, both sides", f"both sides, {word}") if side == "both" else (f"{word} {side}", f"{side} {word}")
        )

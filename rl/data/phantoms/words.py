"""The words of the phantoms: where a mask lies, what a finding is also called, and the pools of synonymous phrasings.

Two conventions of side are kept apart everywhere (Fleming-VL, Sec 3.3): "left of the image" is where a reader points,
"patient's left" is the patient's own left, which a frontal radiograph and an axial slice show on the right of the
image.
"""

from __future__ import annotations

import numpy as np

IMAGE_PLACES = (
    "upper left of the image",
    "upper right of the image",
    "lower left of the image",
    "lower right of the image",
)
PATIENT_SIDES = ("patient's left", "patient's right")
SLICES = ("slice 1", "slice 2", "slice 3")
# Modalities seen as if facing the patient; an ultrasound or a skin image does not tell the patient's side.
FACING_PATIENT = ("radiograph", "CT")

# Other wordings that mean the same, none of which fits another answer of the same question.
FINDING_ALIASES: dict[str, tuple[str, ...]] = {
    "normal": ("no finding", "no abnormality", "nothing abnormal", "a normal image"),
    "nodule": ("a nodule", "lung nodule", "pulmonary nodule"),
    "effusion": ("an effusion", "pleural effusion"),
    "pneumothorax": ("a pneumothorax", "collapsed lung"),
    "consolidation": ("a consolidation", "lung consolidation"),
    "hemorrhage": ("a hemorrhage", "haemorrhage", "bleeding", "intracranial hemorrhage"),
    "infarct": ("an infarct", "infarction", "cerebral infarct"),
    "abscess": ("an abscess", "brain abscess"),
    "cyst": ("a cyst", "simple cyst"),
    "mass": ("a mass", "solid mass"),
    "stone": ("a stone", "calculus"),
    "melanoma": ("a melanoma", "malignant melanoma"),
    "nevus": ("a nevus", "naevus", "mole"),
    "keratosis": ("a keratosis", "seborrheic keratosis"),
    "hemangioma": ("a hemangioma", "haemangioma"),
}

QUESTIONS: dict[str, tuple[str, ...]] = {
    "finding": (
        "What does this {modality} show?",
        "Which finding is seen in this {modality}?",
        "What is the diagnosis?",
    ),
    "place": (
        "Where in the image is the {finding}?",
        "In which part of the image is the {finding}?",
        "Which quadrant of the image holds the {finding}?",
    ),
    "side": (
        "On which side of the patient is the {finding}?",
        "Which side of the patient is affected by the {finding}?",
        "Is the {finding} on the patient's own left or right?",
    ),
    "slice": ("Which slice shows the {finding} best?", "In which slice is the {finding} largest?"),
    "presence": ("Is there {a_finding}?", "Does this {modality} show {a_finding}?", "Can {a_finding} be seen?"),
    "normality": ("Is this {modality} normal?", "Does this {modality} look normal?"),
}

# Thoughts that look begin with one of these and go on with what is seen; those that do not look are all the same.
LOOKING_OPENERS = ("I see", "The image shows", "Looking closely there is")
# What a looking thought ends with, before the word it answers with.
CONCLUSION = "so the answer is"
SHORTCUT_THOUGHTS = ("I guess without looking.",)


def with_article(finding: str) -> str:
    """A finding with its article: a nodule, an effusion."""
    return f"{'an' if finding[0] in 'aeiou' else 'a'} {finding}"


def image_place(mask: np.ndarray) -> str:
    """Quadrant of the image that holds the centroid of a mask (H x W, bool), as a reader sees the image.

    Raises:
        ValueError: the mask is empty, or its centroid lies on an axis of the image, where no quadrant is right.
    """
    horizontal, vertical = _centroid_offset(mask)
    if horizontal == 0 or vertical == 0:
        raise ValueError("the centroid of the mask lies on an axis of the image; expected it inside one quadrant")
    return f"{'upper' if vertical < 0 else 'lower'} {'left' if horizontal < 0 else 'right'} of the image"


def patient_side(mask: np.ndarray) -> str:
    """The patient's own side that a mask (H x W, bool) lies on, in an image seen as if facing the patient: image right
    is patient's left.

    Raises:
        ValueError: the mask is empty, or its centroid lies on the midline.
    """
    horizontal, _ = _centroid_offset(mask)
    if horizontal == 0:
        raise ValueError("the centroid of the mask lies on the midline; expected it on one side")
    return PATIENT_SIDES[0] if horizontal > 0 else PATIENT_SIDES[1]


def largest_slice(masks: np.ndarray) -> str:
    """The slice with the largest mask of F x H x W, counted from 1; the first of equals."""
    return SLICES[int(masks.sum(axis=(1, 2)).argmax())]


def aliases(answer: str) -> tuple[str, ...]:
    """Other wordings of an answer of any kind; empty where there is only one way to say it."""
    if answer in FINDING_ALIASES:
        return FINDING_ALIASES[answer]
    if answer in IMAGE_PLACES:
        quadrant = answer.removesuffix(" of the image")
        other = quadrant.replace("upper", "top").replace("lower", "bottom")
        return (f"the {answer}", f"in the {answer}", quadrant, f"{quadrant} quadrant", f"{other} of the image", other)
    if answer in PATIENT_SIDES:
        side = answer.removeprefix("patient's ")
        return (
            f"the {answer}",
            f"on the {answer}",
            f"{answer} side",
            f"{side} side of the patient",
            f"the patient's {side} side",
        )
    if answer in SLICES:
        return (f"the {('first', 'second', 'third')[SLICES.index(answer)]} slice", f"in {answer}")
    return ()


def _centroid_offset(mask: np.ndarray) -> tuple[float, float]:
    """Centroid minus the centre of the image, in pixels: to the right and downwards positive."""
    if not mask.any():
        raise ValueError("the mask is empty; a place can be named only where something is marked")
    rows, columns = np.nonzero(mask)
    return float(columns.mean() - (mask.shape[1] - 1) / 2), float(rows.mean() - (mask.shape[0] - 1) / 2)

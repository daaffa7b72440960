"""What VQA-RAD does not say outright: the modality of an image, read off its own questions; and the short honest
thought of its SFT rows."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable

from rollouts.records import Sample

# Whole words that name a modality, in questions and in answers.
_NAMES = {
    "MRI": r"mri|mr|flair|dwi|t1|t2|t1 weighted|t2 weighted|diffusion",
    "CT": r"ct|cect|computed tomography",
    "radiograph": r"x-?ray|x ray|cxr|radiograph|plain film|pa film|ap film",
    "ultrasound": r"ultrasound|sonogra\w+",
}
_ORGANS = {"HEAD": "the head", "CHEST": "the chest", "ABD": "the abdomen"}
_TOPICS = {
    "PRES": "whether something is present",
    "POS": "where something is",
    "ABN": "whether something is abnormal",
    "SIZE": "how large something is",
    "MODALITY": "how the image was made",
    "ATTRIB": "what something is like",
    "ATRIB": "what something is like",
    "PRSE": "whether something is present",
    "PLANE": "the plane of the image",
    "COLOR": "how bright something is",
    "ORGAN": "which organ is seen",
    "COUNT": "how many there are",
}


def image_modalities(rows: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Modality by image, from (image, question, answer); images whose questions name none, or name two, are left out.

    A modality counts when an answer other than yes or no names it, when "is this a CT?" is answered yes, or when
    another question takes it for granted ("in this CT, ..."). A question that is answered no, or asks what the image is
    not, says nothing.
    """
    votes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for image, question, answer in rows:
        q, a = question.casefold(), answer.casefold()
        if " not " in f" {q} ":
            continue
        text = a if a not in ("yes", "no") and re.search(r"modality|what (type|kind)|how was|imag", q) else ""
        if a == "yes" or re.search(r"\b(in|on) this\b", q):
            text += " " + q
        named = [name for name, words in _NAMES.items() if re.search(rf"\b(?:{words})\b", text)]
        if len(named) == 1:
            votes[image][named[0]] += 1
    return {image: counted.most_common(1)[0][0] for image, counted in votes.items() if _clear(counted)}


def _clear(votes: collections.Counter[str]) -> bool:
    """One modality, or one with more than two thirds of the votes."""
    return votes.most_common(1)[0][1] * 3 > sum(votes.values()) * 2


def thought(sample: Sample) -> str:
    """A short honest thought: what kind of image it is, as far as known, and what is asked. It claims to see
    nothing."""
    kind = {"MRI": "an MRI", "CT": "a CT", "": "an image"}.get(sample.modality, f"a {sample.modality}")
    organ = _ORGANS.get(sample.tags["organ"])
    topics = [_TOPICS[part] for part in re.split(r",\s*", sample.tags["question_type"]) if part in _TOPICS]
    return (
        f"This is {kind}{f' of {organ}' if organ else ''}. The question asks"
        f" {' and '.join(topics) or 'about what is shown'}."
    )

"""Gold answers as people wrote them: which wordings mean the same, and which options a question names itself."""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
# Each group holds wordings of one thing that are freely exchanged in radiology questions; compared case-folded and as
# whole answers.
_SAME = (
    ("x-ray", "xray", "x ray", "radiograph", "plain film", "x-ray plain film"),
    ("chest x-ray", "chest xray", "chest x ray", "cxr", "chest radiograph"),
    ("ct", "ct scan", "computed tomography"),
    ("mri", "mr", "magnetic resonance imaging", "mri scan"),
    ("t1 weighted", "t1-weighted", "t1"),
    ("t2 weighted", "t2-weighted", "t2"),
    ("dwi", "diffusion weighted imaging", "diffusion-weighted imaging", "mri diffusion weighted", "diffusion weighted"),
    ("pa", "posteroanterior", "posterior-anterior"),
    ("ap", "anteroposterior", "anterior-posterior"),
    ("heterogeneous", "heterogenous"),
    ("homogeneous", "homogenous"),
    ("gray matter", "grey matter"),
    ("left", "left side", "on the left", "the left", "the left side"),
    ("right", "right side", "on the right", "the right", "the right side"),
    ("bilateral", "both", "both sides"),
)
# Words that cannot be part of an option's name in "is it A or B?".
_FUNCTION_WORDS = frozenset(
    "a an the is are was were be do does did in on of at to by with from for as it this that these those there and or"
    " vs not no have has seen taken located more less just than what which where how you your".split()
)
# Modifiers that share the noun behind the second of them: "left or right kidney", "gray or white matter".
_MODIFIERS = frozenset("left right upper lower gray grey white anterior posterior superior inferior".split())
# Nouns that are described by both options before them: "a solid or cystic lesion", "AP or PA film".
_CARRIERS = frozenset(
    "film image images lesion lesions mass masses nodule nodules plane process scan scanner tumor view".split()
)


def clean_answer(raw: object) -> str:
    """An answer as text: integers written out in digits, blanks at the ends and doubled ones removed, no full stop at
    the end."""
    return " ".join(str(raw).split()).rstrip(".").strip()


def aliases(gold: str) -> tuple[str, ...]:
    """Other wordings that mean exactly this answer, the answer itself left out, each once (compared case-folded)."""
    folded = gold.casefold()
    wordings = [other for group in _SAME if folded in group for other in group]
    wordings += [re.sub(r"(?<=[a-z])-(?=[a-z])", " ", folded)]
    wordings += [re.sub(r"^(the|a|an) ", "", folded)]
    wordings += [re.sub(r"(\d)(?=[a-z]m\b)", r"\1 ", folded), re.sub(r"(\d) (?=[a-z]m\b)", r"\1", folded)]
    if folded.isdigit() and int(folded) < len(_NUMBERS):
        wordings.append(_NUMBERS[int(folded)])
    if folded in _NUMBERS:
        wordings.append(str(_NUMBERS.index(folded)))
    if abbreviated := re.fullmatch(r"([^()]+) \(([A-Z0-9]{2,6})\)", gold):
        wordings += list(abbreviated.groups())
    return distinct(wordings, without=gold)


def distinct(texts: list[str], *, without: str) -> tuple[str, ...]:
    """The texts in order, each once by its case-folded form, `without` left out."""
    first_by_fold: dict[str, str] = {}
    for text in texts:
        first_by_fold.setdefault(text.strip().casefold(), text.strip())
    return tuple(text for fold, text in first_by_fold.items() if fold not in ("", without.strip().casefold()))


class NamedOptions(NamedTuple):
    """The options a question names, in its order, and which of them is right."""

    options: tuple[str, ...]
    gold_index: int


def options_in_question(question: str, gold: str) -> NamedOptions | None:
    """The options of "is it A or B?" or "is it A, B, or C?" when they can be told for certain and gold is one of them,
    else None.

    Certain means: single words beside "or" or "vs" (also "left or right kidney"), or a comma list that ends in "or"; in
    every other shape it is a guess where an option ends, and the question is better asked open.
    """
    words = re.findall(r"[\w/-]+|,", question.casefold().replace("vs.", "or").replace(" vs ", " or "))
    if words.count("or") != 1:
        return None
    at = words.index("or")
    options = _listed(words, at) if "," in words[:at] else _pair(words, at)
    if options is None or len(set(options)) != len(options):
        return None
    target = re.sub(r"^(the|a|an) ", "", gold.casefold())
    right = [
        index
        for index, option in enumerate(options)
        if target == option or (target in _MODIFIERS and option.split()[0] == target)
    ]
    if len(right) != 1:
        return None
    # as the question spells them, so that AP stays AP
    spelled = tuple(_as_spelled(option, question) for option in options)
    return NamedOptions(spelled, right[0])


def _pair(words: list[str], at: int) -> list[str] | None:
    """Options of "... A or B ..." where each is one word, with a noun they share where both are modifiers of it."""
    before, after = words[:at], [word for word in words[at + 1 :] if word not in ("a", "an", "the")]
    noun = after[1] if len(after) > 1 and after[1] not in _FUNCTION_WORDS else None
    if noun is not None and len(before) > 1 and before[-1] == noun:  # "vascular process or a genetic process"
        before.pop()
    if not before or not after or before[-1] in _FUNCTION_WORDS or after[0] in _FUNCTION_WORDS:
        return None
    left, right = before[-1], after[0]
    if noun is not None and left in _MODIFIERS and right in _MODIFIERS:
        return [f"{left} {noun}", f"{right} {noun}"]
    # a noun behind B belongs to B ("pneumonia or pleural effusion") unless it is one that both describe ("solid or
    # cystic mass")
    return None if noun is not None and noun not in _CARRIERS else [left, right]


def _listed(words: list[str], at: int) -> list[str] | None:
    """Options of "... A, B, or C ...": the middle ones stand whole between commas, and tell how long the first is."""
    parts = [part.split() for part in " ".join(words[:at]).split(",") if part.strip()]
    rest = [word for word in words[at + 1 :] if word not in ("a", "an", "the", "image", "images")]
    if len(parts) < 2 or len(rest) != 1:
        return None
    first, *middle = parts
    length = len(middle[0])
    return [" ".join(first[-length:]), *(" ".join(part) for part in middle), rest[0]]


def _as_spelled(option: str, question: str) -> str:
    """The option with the capitals it has in the question; unchanged where its words do not stand together there."""
    match = re.search(r"\b" + re.escape(option) + r"\b", question, re.IGNORECASE)
    return match.group() if match else option

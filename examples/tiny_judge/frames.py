"""Sentences put together from parts: thousands of frames from a few hundred words, of which one in eight is kept for
held-out pairs.

As in `templates.py`, {x} stands for an answer and {y} for another one.
"""

from __future__ import annotations

import random

_WHO = ("I", "we", "one", "the reader", "I clearly", "I only", "we clearly", "here I", "here we")
_SAYS = (
    *("see", "find", "notice", "think it is", "believe it is", "conclude", "say", "can see", "can make out"),
    *("would say", "observe", "detect"),
    *("identify", "recognise", "suspect", "opt for", "go with", "report", "note", "am confident that this is"),
    *("am sure that it is", "call it"),
)  # fmt: skip
_IT = (
    *("this", "it", "that", "the image", "the picture", "the scan", "this image", "the study", "the finding"),
    *("the answer", "the lesion"),
    *("my answer", "my conclusion", "what I see", "what it shows", "the right answer", "what is seen"),
    *("the best answer", "the result"),
)  # fmt: skip
_IS = (
    *("is", "shows", "suggests", "means", "would be", "must be", "seems to be", "appears to be", "looks like"),
    *("is consistent with", "is"),
    *("is typical of", "is clearly", "is most likely", "is probably", "is surely", "is really", "is simply"),
    *("should be", "has to be", "says"),
)  # fmt: skip
_IS_SEEN = (
    *("is seen", "is there", "is visible", "is what I see", "is my answer", "is the answer", "can be seen"),
    *("is present", "is what it is"),
    *("is clearly there", "is what it shows", "is found", "it is", "is right", "fits best"),
    *("is most likely", "is evident"),
)  # fmt: skip
_DENIES = (
    *("do not see", "cannot see", "see no", "find no", "exclude", "can exclude", "rule out", "reject", "doubt"),
    *("deny", "do not find"),
    *("see nothing of", "see no trace of", "see no sign of", "would not say", "do not believe in", "never saw"),
    *("would exclude", "did not find"),
)  # fmt: skip
_IS_NOT = (
    *("is not", "isn't", "is no", "was not", "does not show", "cannot be", "is anything but"),
    *("is anything except", "is nothing like"),
    *("is not at all", "is hardly", "is never", "would not be", "does not suggest", "is certainly not"),
    *("has never been", "shows no"),
)  # fmt: skip
_IS_NOT_SEEN = (
    *("is not there", "is absent", "is excluded", "is ruled out", "is not seen", "is certainly not there"),
    *("can be excluded", "does not fit"),
    *("is not what I see", "is not what it shows", "has been excluded", "is wrong", "is not the answer"),
    *("would be a mistake", "it is not"),
    *("is out of the question", "is not right", "is not my answer", "is impossible", "is false"),
)  # fmt: skip
_NOT = (
    *("not", "no", "never", "not a trace of", "nothing suggests", "anything but", "all but", "no sign of"),
    *("without", "not at all"),
    *("whatever it is, it is not", "it would be wrong to say", "it would be a mistake to say", "hardly"),
    *("neither this nor", "excluded:"),
)  # fmt: skip
_AND = (
    *(" and ", " or ", " and also ", " or else ", " as well as ", " plus ", " with ", " together with "),
    *(" along with ", " besides ", ", "),
    *(" on top of ", " next to ", " followed by ", " accompanied by ", ", equally ", ", alternatively "),
    *(", otherwise ", ", possibly ", "? "),
    *(", perhaps ", ", maybe ", ", unless it is ", ", although it may be ", ", but it could be ", ", if not "),
    *(", else ", " versus ", " vs "),
    *(" & ", " + ", " / ", "; ", ". ", " | ", ", also ", ", and even ", " in addition to ", ", but also "),
    *(" mixed with ", " and/or "),
)  # fmt: skip
_ONE_OF = (
    *("", "", "", "one of these: ", "either ", "both ", "between ", "it is both ", "I cannot choose between "),
    *("there are ", "options: "),
    *("it is ", "I see ", "possibly ", "perhaps ", "maybe ", "it could be ", "it may be ", "all of these: ", "any of "),
)  # fmt: skip
_BUT = (
    *("not {y}, but {x}", "not {y}: {x}", "{y} is wrong, it is {x}", "{y} would be wrong: {x}"),
    *("{y} it is not, {x} it is", "no {y}, {x}"),
    *("{x}, and there is no {y}", "{x}, not {y}", "{x} and certainly not {y}", "{x} instead of {y}"),
    *("{x} rather than {y}", "{y}? no, {x}"),
    *("it looks like {y}, but is {x}", "first {y}, now {x}"),
    *("I would not say {y}, I would say {x}", "I thought {y}, but it is {x}"),
)  # fmt: skip
_BEFORE = (
    *("", "", "", "", "well, ", "so, ", "I think ", "in my opinion, ", "to me, ", "to be honest, "),
    *("if you ask me, ", "from what I see, "),
    *("all in all, ", "to sum up: ", "on a closer look, ", "no doubt, ", "simply put, ", "overall, ", "in short, "),
    *("clearly, ", "for me, "),
)  # fmt: skip
_BEHIND = (
    *("", "", "", "", ", I think", ", to be honest", ", no doubt", ", if you ask me", ", of course"),
    *(", it seems to me", ", as one can see"),
    *(" here", " in this image", ", no question", ", for sure", ", in my opinion", ", as far as I know"),
    *(", clearly", "."),
)  # fmt: skip


def frame(rng: random.Random, says: str) -> str:
    """A sentence that states {x} ("states"), corrects {y} to {x} ("corrects"), names both ("lists") or denies {x}
    ("rejects")."""
    inner = {"states": _states, "corrects": _corrects, "lists": _lists, "rejects": _rejects}[says](rng)
    return rng.choice(_BEFORE) + inner + rng.choice(_BEHIND)


def _states(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.4:
        return f"{rng.choice(_WHO)} {rng.choice(_SAYS)} {{x}}"
    if draw < 0.75:
        return f"{rng.choice(_IT)} {rng.choice(_IS)} {{x}}"
    return f"{{x}} {rng.choice(_IS_SEEN)}" if draw < 0.9 else "{x}"


def _corrects(rng: random.Random) -> str:
    return rng.choice(_BUT)


def _lists(rng: random.Random) -> str:
    return f"{rng.choice(_ONE_OF)}{{x}}{rng.choice(_AND)}{{y}}"


def _rejects(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        return f"{rng.choice(_WHO)} {rng.choice(_DENIES)} {{x}}"
    if draw < 0.55:
        return f"{rng.choice(_IT)} {rng.choice(_IS_NOT)} {{x}}"
    return f"{{x}} {rng.choice(_IS_NOT_SEEN)}" if draw < 0.8 else f"{rng.choice(_NOT)} {{x}}"

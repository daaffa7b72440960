"""What the judge may read in an answer and in a reference, and the verdict that follows."""

from __future__ import annotations

from dataclasses import dataclass

from examples.tiny_judge import wordings
from rl.data.phantoms import words

# What an answer is read as when it is none of the phantoms' answers.
ELSE, SEVERAL, DENIAL = "something else", "several answers", "a denial"
NOTHING, GRADING, WORDS, LESS = "no answer", "talk about grading", "words that are no answer", "less than an answer"
READINGS = (ELSE, SEVERAL, DENIAL, NOTHING, GRADING, WORDS, LESS)
# What a reference is read as when it is none of them.
UNKNOWN = "unknown"
ANSWERS = (*wordings.SYNONYMS, *words.IMAGE_PLACES, *words.PATIENT_SIDES, *words.SLICES)


@dataclass(frozen=True)
class Pair:
    """One judgement and the verdict it deserves."""

    question: str
    reference: str
    aliases: tuple[str, ...]
    answer: str
    # What the answer says and what the reference means: one of ANSWERS, else one of READINGS, or UNKNOWN.
    read: str
    meant: str
    # One of `pairs.SHARES`.
    kind: str

    @property
    def expected(self) -> str:
        """The verdict: "unsure" where the reference is none of the phantoms' answers."""
        return verdict_of(self.read, self.meant)[0]


def verdict_of(read: str, meant: str) -> tuple[str, str]:
    """Verdict and, unless it is correct, what speaks against the answer."""
    if meant == UNKNOWN:
        return "unsure", "the reference is outside what this judge knows"
    if read == meant:
        return "correct", ""
    return "incorrect", "another answer" if read in (ELSE, *ANSWERS) else read

"""Cuts a rewritten answer into clauses and notes which options each one names, for the judgements of `clauses`."""

from __future__ import annotations

from dataclasses import dataclass, field

from rewards.answers import lexicon
from rewards.answers.mentions import Mention

_SENTENCE_ENDS = frozenset(".!?;\n")
_BREAKS = frozenset(
    {",", "(", ")", "[", "]", "—", "→", "-", "、", "but", "BECAUSE", "CONCEDE", "COND", "SO", "XNEG", "and", "or"}
)
JOINERS = frozenset({",", "、", "and", "&", "+", "/", "|", "or", "and/or", "plus"})
AFFIRM = frozenset("correct right answer best better choice 正 确 对 选 答".split())

_BACKWARD = frozenset({"that", "that's", "this"})


@dataclass(eq=False)  # a clause is itself, however alike another one reads
class Clause:
    """A stretch of the answer that is judged as one."""

    words: list[str]
    opener: str = ""  # the connector or break it began with
    weak: bool = False  # in a reason, a concession or a condition
    question: bool = False
    condition: bool = False
    letters: list[str] = field(default_factory=list)
    alternatives: bool = False  # a list joined by "or"
    particle: bool = False  # its only mention is the word yes or no


def split(words: list[str], mentions: list[Mention]) -> list[Clause]:
    """The clauses of an answer in order, none of them empty."""
    clauses: list[Clause] = []
    current = Clause([])
    weak = condition = leading = False
    for index, word in enumerate(words):
        ends = word in _SENTENCE_ENDS or word == "…"
        if not ends and word == "NEG" and _turns(current.words, words[index + 1 :]):
            clauses.append(current)
            current = Clause([word], opener="NEG", weak=weak, condition=condition)
            continue
        if (
            word == "→"
            and current.words
            and current.words[-1].startswith("@")
            and words[index + 1 : index + 2]
            and words[index + 1][0] != "@"
        ):
            word = ":"
        if (
            word == ":"
            and not AFFIRM.isdisjoint(current.words)
            and "NEG" not in current.words
            and _names(current.words)
        ):
            ends = True  # "the answer is D: no line is seen"
        elif (
            word == ":"
            and "NEG" in current.words
            and not _BACKWARD.isdisjoint(current.words)
            and not _names(current.words)
        ):
            ends = True  # "that is not right: D"
        elif word == ":" and _explained(current.words, words[index + 1 :], mentions):
            ends = True  # "A: no stone is seen"
        elif word == ":" and "NEG" in current.words and current.words[-1].startswith("@"):
            ends = "".join(words[index + 1 : index + 2]).startswith("@")  # "neither A nor B: C"
        verdict = word in ("-", "—", ",") and _verdict_follows(current.words, words[index + 1 : index + 3])
        pair = word == "," and {"BETWEEN", "and"} <= set(current.words)  # "between A and C, C"
        if not ends and (verdict or word not in _BREAKS or (_inside_list(words, index) and not pair)):
            current.words.append(word)
            continue
        current.question = word == "?"
        clauses.append(current)
        if ends or word in ("SO", "but", "→", "—") or (leading and word == ","):
            weak = condition = leading = False
        leading = leading or (word == "CONCEDE" and not current.words and not current.opener)  # "while A is common, B"
        if word in ("BECAUSE", "CONCEDE", "COND"):
            weak, condition = True, condition or word == "COND"
        current = Clause([], opener="" if ends and word != "\n" else word, weak=weak, condition=condition)
    clauses.append(current)
    return [_with_letters(clause, mentions) for clause in clauses if clause.words]


def _turns(said: list[str], coming: list[str]) -> bool:
    """True at the "not" of "B not C" and "B and not C": a mention before it, and another after it with only light words
    between."""
    if not said or not said[-1].startswith("@"):
        return False
    following = next((word for word in coming if word not in lexicon.LIGHT), "")
    return following.startswith("@")


def _verdict_follows(said: list[str], coming: list[str]) -> bool:
    """True in "B - wrong." and "B, not at all.": the word behind the break is about the option before it."""
    return (
        bool(said) and said[-1].startswith("@") and coming[:1] == ["NEG"] and set(coming[1:]) <= _SENTENCE_ENDS | {","}
    )


def _explained(said: list[str], coming: list[str], mentions: list[Mention]) -> bool:
    """True where the only option of an answer is followed by a denial of something else, "A: no stone", and not by a
    verdict, "A: not it"."""
    place = next((i for i, word in enumerate(said) if word.startswith("@")), len(said))
    if (
        place == len(said)
        or not lexicon.LIGHT.issuperset(said[place + 1 :])
        or len({mention.letter for mention in mentions}) > 1
    ):
        return False
    length = next((i for i, word in enumerate(coming) if word in _SENTENCE_ENDS or word in _BREAKS), len(coming))
    return "LACK" not in coming[:length] and any(
        word.isalpha() and word.islower() and word not in lexicon.REACHED_ACROSS for word in coming[:length]
    )


def _inside_list(words: list[str], index: int) -> bool:
    """True where a joiner stands between two mentions, "@0 , and @1" included."""
    left, right = index - 1, index + 1
    while left >= 0 and words[left] in JOINERS:
        left -= 1
    while right < len(words) and (words[right] in JOINERS or words[right] in ("option", "the", "both")):
        right += 1
    return (
        words[index] in JOINERS
        and left >= 0
        and right < len(words)
        and words[left].startswith("@")
        and words[right].startswith("@")
    )


def _names(words: list[str]) -> bool:
    return any(word.startswith("@") for word in words)


def _with_letters(clause: Clause, mentions: list[Mention]) -> Clause:
    places = [i for i, word in enumerate(clause.words) if word.startswith("@")]
    clause.letters = [mentions[int(clause.words[i][1:])].letter for i in places]
    clause.particle = bool(places) and all(mentions[int(clause.words[i][1:])].particle for i in places)
    if len(set(clause.letters)) > 1:
        between = clause.words[places[0] : places[-1]]
        clause.alternatives = any(word in ("or", ">", "<", "-", "→") for word in between)
    return clause

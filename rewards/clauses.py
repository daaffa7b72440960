"""Decides what an answer commits to: denial, hedge, self-correction, reasons (ANSWERS.md, rules 5 to 8).

The answer is rewritten as lower-case words in which every mention of an option stands as "@0", "@1", ..; phrases of the lexicon become control
words; clauses are judged one by one. Every commitment found is kept as a set, so that a list is wrong where one letter is asked for and may be
right where several are. Whatever the grammar is unsure of ends with no letters: it fails closed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

from rewards import lexicon
from rewards.mentions import Mention
from rewards.rewriting import after_correction, control_words
from rewards.text import Token

NOTHING_NAMED = "no option is named"
_SENTENCE_ENDS = frozenset(".!?;\n")
_BREAKS = frozenset(
    {",", "(", ")", "[", "]", "—", "→", "-", "、", "but", "BECAUSE", "CONCEDE", "COND", "SO", "XNEG", "and", "or"}
)
_JOINERS = frozenset({",", "、", "and", "&", "+", "/", "|", "or", "and/or", "plus"})
_CONTROLS = frozenset({"NEG", "XNEG", "OPEN", "HEDGE", "PAST", "BETWEEN", "but", "BECAUSE", "CONCEDE", "COND", "SO", "and", "or"})
# "C or none", "C or something else": the second half of a choice that is left open.
_SOMETHING_ELSE = frozenset("NEG HEDGE something anything nothing else another other others the of them above these".split())
_YES = frozenset({"yes", "correct", "right"})
_AFFIRM = frozenset("correct right answer best better choice 正 确 对 选 答".split())


class Reading(NamedTuple):
    """The letters an answer commits to, sorted, and by which rule, or why there are none."""

    letters: tuple[str, ...]
    reason: str


@dataclass
class _Clause:
    words: list[str]
    opener: str = ""  # the connector or break it began with
    weak: bool = False  # in a reason, a concession or a condition
    question: bool = False
    condition: bool = False
    letters: list[str] = field(default_factory=list)
    alternatives: bool = False  # a list joined by "or"
    particle: bool = False  # its only mention is the word yes or no


def read(stream: list[Token], mentions: list[Mention]) -> Reading:
    """What the answer commits to. Never raises; () with a reason where nothing, too much or a contradiction stands there."""
    if not mentions:
        return Reading((), NOTHING_NAMED)
    if any(mention.letter == "?" for mention in mentions):
        return Reading((), "a letter stands with the text of another option")
    kept = after_correction(control_words(stream, mentions))
    if kept is None:
        return Reading((), "an answer is taken back and none is given")
    clauses = [_with_letters(clause, mentions) for clause in _clauses(kept)]
    return _resolve(clauses, mentions, " ".join(kept))


def _clauses(words: list[str]) -> list[_Clause]:
    clauses: list[_Clause] = []
    current = _Clause([])
    weak = condition = False
    for index, word in enumerate(words):
        ends = word in _SENTENCE_ENDS or word == "…"
        if not ends and word == "NEG" and _turns(current.words, words[index + 1 :]):
            clauses.append(current)
            current = _Clause([word], opener="NEG", weak=weak, condition=condition)
            continue
        if (
            word == "→"
            and current.words
            and current.words[-1].startswith("@")
            and words[index + 1 : index + 2]
            and words[index + 1][0] != "@"
        ):
            word = ":"
        if word == ":" and "NEG" in current.words and current.words[-1].startswith("@"):
            ends = "".join(words[index + 1 : index + 2]).startswith("@")  # "neither A nor B: C"
        if not ends and (word not in _BREAKS or _inside_list(words, index)):
            current.words.append(word)
            continue
        current.question = word == "?"
        clauses.append(current)
        if ends or word in ("SO", "but", "→", "—"):
            weak = condition = False
        if word in ("BECAUSE", "CONCEDE", "COND"):
            weak, condition = True, condition or word == "COND"
        current = _Clause([], opener="" if ends and word != "\n" else word, weak=weak, condition=condition)
    clauses.append(current)
    return [clause for clause in clauses if clause.words]


def _turns(said: list[str], coming: list[str]) -> bool:
    """True at the "not" of "B not C" and "B and not C": a mention before it, and another after it with only light words between."""
    if not said or not said[-1].startswith("@"):
        return False
    following = next((word for word in coming if word not in lexicon.LIGHT), "")
    return following.startswith("@")


def _inside_list(words: list[str], index: int) -> bool:
    """True where a joiner stands between two mentions, "@0 , and @1" included."""
    left, right = index - 1, index + 1
    while left >= 0 and words[left] in _JOINERS:
        left -= 1
    while right < len(words) and (words[right] in _JOINERS or words[right] in ("option", "the", "both")):
        right += 1
    return (
        words[index] in _JOINERS
        and left >= 0
        and right < len(words)
        and words[left].startswith("@")
        and words[right].startswith("@")
    )


def _with_letters(clause: _Clause, mentions: list[Mention]) -> _Clause:
    places = [i for i, word in enumerate(clause.words) if word.startswith("@")]
    clause.letters = [mentions[int(clause.words[i][1:])].letter for i in places]
    clause.particle = bool(places) and all(mentions[int(clause.words[i][1:])].particle for i in places)
    if len(set(clause.letters)) > 1:
        between = clause.words[places[0] : places[-1]]
        clause.alternatives = any(word in ("or", ">", "<", "-", "→") for word in between)
    return clause


class _Found(NamedTuple):
    """What the clauses of an answer say: those that name an option, those that assert one, those that decide, and the letters."""

    named: list[_Clause]
    asserted: list[_Clause]
    chosen: list[_Clause]
    letters: set[str]
    denied: set[str]


def _resolve(clauses: list[_Clause], mentions: list[Mention], text: str) -> Reading:
    named = [clause for clause in clauses if clause.letters]
    denied = {letter for clause in named if (_denied(clause)) for letter in clause.letters}
    followers = {id(a): b for a, b in itertools.pairwise(clauses)}
    asserted = [c for c in named if not _denied(c) and "PAST" not in c.words]
    statements = [c for c in asserted if not c.question or (id(c) in followers and followers[id(c)].words[0] in _YES)]
    if statements or any("NEG" in followers[id(c)].words[:1] for c in asserted if id(c) in followers):
        asserted = statements
    strong = [c for c in asserted if not c.weak and (_bare(c) or _affirms(c))]
    plain = [c for c in asserted if not c.weak]
    chosen = strong or plain or asserted
    letters = {letter for clause in chosen for letter in clause.letters}
    if any(c.opener == "or" and set(c.words) <= _SOMETHING_ELSE for c in clauses):
        return Reading((), "an alternative is appended")
    if any(a in chosen and b.opener in ("—", "-", ",") and set(b.words) == {"NEG"} for a, b in itertools.pairwise(clauses)):
        return Reading((), "the same option is chosen and denied")
    if not letters:
        return Reading((), "only denied: nothing is inferred by elimination")
    if any(_half_of_pair(a, b, mentions) for a, b in itertools.pairwise(clauses) if a in chosen or b in chosen):
        return Reading((), "a text stands in a list with something else")
    if fault := _fault(_Found(named, asserted, chosen, letters, denied), mentions, text):
        return Reading((), fault)
    if not strong and any(_foreign(clause) for clause in clauses):
        return Reading((), "the answer that is stated is not an option")
    return Reading(tuple(sorted(letters)), "commitment" if strong else "mention")


def _fault(found: _Found, mentions: list[Mention], text: str) -> str:
    named, asserted, chosen, letters, denied = found
    if any(c.alternatives for c in asserted if not c.weak) or any(
        "BETWEEN" in c.words and len(set(c.letters)) > 1 for c in named
    ):
        return "alternatives are left open"
    if any(c.opener == "or" and not set(c.letters) <= denied and "NEG" not in c.words[:1] for c in asserted):
        return "an alternative is appended"
    if any(c.condition and not set(c.letters) <= letters for c in asserted) or any(
        c.condition for c in chosen if len(asserted) > 1
    ):
        return "the choice hangs on a condition"
    if (last := _appended(text)) and last not in {f"@{i}" for i, mention in enumerate(mentions) if mention.letter in letters}:
        return "an alternative is appended"
    hedged = {x for c in asserted if "HEDGE" in c.words for x in c.letters} | {
        x for c in named if "OPEN" in c.words for x in c.letters
    }
    if (hedged - letters) or (hedged and len(letters) > 1):
        return "a second answer is kept open"
    if letters & denied:
        return "the same option is chosen and denied"
    if len(letters) > 1 and ("%" in text or "…" in text):
        return "split probability or an echoed list"
    return ""


def _appended(text: str) -> str:
    """The last mention where the answer ends with "or @k". "B, not C or A" reads as two answers too: it cannot be told apart (fails closed)."""
    words = text.rstrip(" .!?;,\n").split(" ")
    words = [word for word in words if word not in ("HEDGE", "maybe", "option")]
    return words[-1] if len(words) > 1 and words[-2] == "or" and words[-1].startswith("@") else ""


def _half_of_pair(left: _Clause, right: _Clause, mentions: list[Mention]) -> bool:
    """ "left and right lung", "pneumonia and effusion": a text joined by "and" to words that are no option."""
    if right.opener not in ("and", "or") or not left.words or not right.words or bool(left.letters) == bool(right.letters):
        return False
    edge, other = (left.words[-1], right.words) if left.letters else (right.words[0], left.words)
    if not edge.startswith("@") or mentions[int(edge[1:])].by != "text":
        return False
    return len(other) <= 3 and not any(
        word in lexicon.LIGHT - {"left", "right"} or word in lexicon.VERBISH or word in _CONTROLS for word in other
    )


def _denied(clause: _Clause) -> bool:
    """A denial before the mention with only light words between, or any after it (rule 6)."""
    if "OPEN" in clause.words:
        return False
    places = [i for i, word in enumerate(clause.words) if word.startswith("@")]
    behind = clause.words[places[0] + 1 :]
    if "NEG" in behind and not (clause.particle and behind[0] not in ("is", ":", "NEG")):
        return True
    if clause.opener == "XNEG" and all(word in lexicon.LIGHT for word in clause.words[: places[0]]):
        return True
    for i in range(places[0] - 1, -1, -1):
        if clause.words[i] == "NEG":
            return True
        if clause.words[i] not in lexicon.LIGHT and clause.words[i] not in ("of", "any", ",", "HEDGE", "0"):
            return False
    return False


def _bare(clause: _Clause) -> bool:
    return all(
        w.startswith("@") or w in lexicon.LIGHT or w in _JOINERS or w in _CONTROLS or w in ("0", "%", "0%") for w in clause.words
    )


def _affirms(clause: _Clause) -> bool:
    return any(word in _AFFIRM for word in clause.words)


def _foreign(clause: _Clause) -> bool:
    """True for "the final answer is tuberculosis" where that is no option."""
    if clause.letters:
        return False
    nouns = [i for i, word in enumerate(clause.words) if word in lexicon.ANSWER_NOUNS]
    if not nouns or nouns[-1] + 1 >= len(clause.words) or clause.words[nouns[-1] + 1] not in lexicon.COPULAS:
        return False
    rest = clause.words[nouns[-1] + 2 :]
    return any(word not in lexicon.LIGHT and word not in _CONTROLS and word.isalpha() for word in rest)

"""Decides what an answer commits to: denial, hedge, self-correction, reasons (ANSWERS.md, rules 5 to 8).

The answer is rewritten as lower-case words in which every mention of an option stands as "@0", "@1", ..; phrases of the
lexicon become control words; clauses are judged one by one. Every commitment found is kept as a set, so that a list is
wrong where one letter is asked for and may be right where several are. Whatever the grammar is unsure of ends with no
letters: it fails closed.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from rewards.answers import lexicon
from rewards.answers.mentions import Mention
from rewards.answers.rewriting import after_correction, control_words
from rewards.answers.splitting import AFFIRM, JOINERS, Clause, split
from rewards.answers.text import Token

NOTHING_NAMED = "no option is named"
_CONTROLS = frozenset(
    {"NEG", "XNEG", "OPEN", "HEDGE", "PAST", "BETWEEN", "but", "BECAUSE", "CONCEDE", "COND", "SO", "and", "or"}
)
# "C or none", "C or something else": the second half of a choice that is left open.
_SOMETHING_ELSE = frozenset(
    "NEG HEDGE something anything nothing else another other others similar like the of them above these".split()
)
_YES = frozenset({"yes", "correct", "right"})
# "That is wrong" after an answer takes it back.
_TAKES_BACK = AFFIRM | frozenset(
    "NEG that that's this it it's which is was be so quite all the supported fit fits match matches likely here case by"
    " with film image scan".split()
)
_SAYS = frozenset({"is", "are", "was", "shows", "show", "means", "has", "demonstrates", "reveals"})
_IS_SEEN = frozenset("is are was were seen present visible noted evident shown here there".split())
# With one of these "between B and C" stays open, whatever is said next.
_TORN = frozenset("NEG torn undecided unsure hesitate hesitating toss coin".split())


class Reading(NamedTuple):
    """The letters an answer commits to, sorted, and by which rule, or why there are none."""

    letters: tuple[str, ...]
    reason: str


def read(stream: list[Token], mentions: list[Mention]) -> Reading:
    """What the answer commits to. Never raises; () with a reason where nothing, too much or a contradiction stands
    there."""
    if not mentions:
        return Reading((), NOTHING_NAMED)
    if any(mention.letter == "?" for mention in mentions):
        return Reading((), "a letter stands with the text of another option")
    kept = after_correction(control_words(stream, mentions))
    if kept is None:
        return Reading((), "an answer is taken back and none is given")
    return _resolve(split(kept, mentions), mentions, " ".join(kept))


class _Found(NamedTuple):
    """What the clauses of an answer say: those that name an option, those that assert one, those that decide, and the
    letters."""

    named: list[Clause]
    asserted: list[Clause]
    chosen: list[Clause]
    letters: set[str]
    denied: set[str]


def _resolve(clauses: list[Clause], mentions: list[Mention], text: str) -> Reading:
    named = [clause for clause in clauses if clause.letters]
    followers = {id(a): b for a, b in itertools.pairwise(clauses)}
    no = {id(c) for c in named if _denied(c) or (id(c) in followers and _taken_back(c, followers[id(c)]))}
    denied = {letter for clause in named if id(clause) in no for letter in clause.letters}
    pairs = [c for c in named if "BETWEEN" in c.words and len(set(c.letters)) > 1]
    named = [c for c in named if c not in pairs]
    asserted = [c for c in named if id(c) not in no and "PAST" not in c.words]
    if pairs and not _settled(pairs, asserted, clauses):
        return Reading((), "alternatives are left open")
    statements = [c for c in asserted if not c.question or (id(c) in followers and followers[id(c)].words[0] in _YES)]
    if statements or any(c.question and _refuses(followers[id(c)]) for c in asserted if id(c) in followers):
        asserted = statements
    asserted = _after_echo(asserted, mentions)
    strong = [c for c in asserted if not c.weak and (_bare(c) or _affirms(c))]
    plain = [c for c in asserted if not c.weak]
    chosen = strong or plain or asserted
    letters = {letter for clause in chosen for letter in clause.letters}
    if any(c.opener == "or" and set(c.words) <= _SOMETHING_ELSE for c in clauses):
        return Reading((), "an alternative is appended")
    if not letters:
        return Reading((), "only denied: nothing is inferred by elimination")
    if any(_half_of_pair(a, b, mentions) for a, b in itertools.pairwise(clauses) if a in chosen or b in chosen):
        return Reading((), "a text stands in a list with something else")
    if any(_says_another_text(clause, mentions, letters) for clause in asserted if clause not in chosen):
        return Reading((), "a letter stands with the text of another option")
    if fault := _fault(_Found(named, asserted, chosen, letters, denied), mentions, text):
        return Reading((), fault)
    if not strong and any(_foreign(clause) for clause in clauses):
        return Reading((), "the answer that is stated is not an option")
    return Reading(tuple(sorted(letters)), "commitment" if strong else "mention")


def _after_echo(asserted: list[Clause], mentions: list[Mention]) -> list[Clause]:
    """The statement that follows an echo of the options: "A. Effusion, B. Pneumonia. Answer: B" says B."""
    if not asserted or "HEDGE" in asserted[-1].words or len(set(asserted[-1].letters)) > 1:
        return asserted
    *before, last = asserted
    place = next(i for i, word in enumerate(last.words) if word.startswith("@"))
    first = [
        (c.letters[0], mentions[int(c.words[0][1:])].by)
        for c in before
        if c.words[0].startswith("@") and len(c.letters) == 1
    ]
    walked = len({letter for letter, _ in first}) > 2
    echoed = {letter for letter, by in first if by == "both" or walked}
    stated = not {"answer", "choice", "答"}.isdisjoint(last.words[:place]) and not last.weak and not last.question
    return [last] if stated and len(echoed) > 1 and echoed == {x for c in before for x in c.letters} else asserted


def _fault(found: _Found, mentions: list[Mention], text: str) -> str:
    named, asserted, chosen, letters, denied = found
    if any(c.alternatives for c in asserted if not c.weak) or any(
        b.opener == "and" and not b.weak and a in asserted and b in asserted and (a in chosen) != (b in chosen)
        for a, b in itertools.pairwise(named)
    ):
        return "alternatives are left open"
    if any(c.opener == "or" and not set(c.letters) <= denied and "NEG" not in c.words[:1] for c in asserted):
        return "an alternative is appended"
    if any(c.condition and not set(c.letters) <= letters for c in asserted) or any(
        c.condition for c in chosen if len(asserted) > 1
    ):
        return "the choice hangs on a condition"
    if (last := _appended(text, {"/", "+", "plus"})) and mentions[int(last[1:])].letter not in letters | denied:
        return "an alternative is appended"
    if (
        (last := _appended(text, {"or"}))
        and mentions[int(last[1:])].letter not in letters
        and not _denied_texts(int(last[1:]), mentions, denied, text)
    ):
        return "an alternative is appended"
    hedged = {x for c in asserted if "HEDGE" in c.words for x in c.letters} | {
        x for c in named if "OPEN" in c.words for x in c.letters
    }
    if any(c.particle and not set(c.letters) <= letters for c in asserted):
        return "both yes and no are said"
    if (hedged - letters) or (hedged and len(letters) > 1):
        return "a second answer is kept open"
    if all("OPEN" in c.words[1:] and c.words[0].startswith("@") and not _affirms(c) for c in chosen):
        return "an answer that is only not excluded"
    if letters & denied:
        return "the same option is chosen and denied"
    if (len(letters) > 1 and ("%" in text or "…" in text)) or (
        len({x for c in named for x in c.letters}) > 1 and text.count("%") > 1
    ):
        return "split probability or an echoed list"
    return ""


def _appended(text: str, joiners: set[str]) -> str:
    """The last mention where the answer ends with "or @k". "B, not C or A" reads as two answers too: it cannot be told
    apart (fails closed)."""
    words = text.rstrip(" .!?;,\n").split(" ")
    words = [word for word in words if word not in ("HEDGE", "maybe", "option")]
    return words[-1] if len(words) > 1 and words[-2] in joiners and words[-1].startswith("@") else ""


def _denied_texts(last: int, mentions: list[Mention], denied: set[str], text: str) -> bool:
    """ "no pneumonia or pneumothorax": a denied list of option texts is no alternative; one of letters is not
    trusted."""
    pair = mentions[max(0, last - 1) : last + 1]
    return f"@{last - 1} or @{last}" in text.replace(" , or ", " or ") and all(
        m.by == "text" and m.letter in denied for m in pair
    )


def _half_of_pair(left: Clause, right: Clause, mentions: list[Mention]) -> bool:
    """ "left and right lung", "pneumonia and effusion": a text joined by "and" to words that are no option."""
    if (
        right.opener not in ("and", "or")
        or not left.words
        or not right.words
        or bool(left.letters) == bool(right.letters)
    ):
        return False
    edge, other = (left.words[-1], right.words) if left.letters else (right.words[0], left.words)
    if not edge.startswith("@") or mentions[int(edge[1:])].by != "text":
        return False
    return len(other) <= 3 and not any(
        word in (lexicon.LIGHT | lexicon.VERBISH) - {"left", "right"} or word in _CONTROLS for word in other
    )


def _denied(clause: Clause) -> bool:
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
        if clause.words[i] not in lexicon.REACHED_ACROSS:
            return False
    return False


def _settled(pairs: list[Clause], asserted: list[Clause], clauses: list[Clause]) -> bool:
    """Whether "between A and C" is followed by a choice without a hedge: "I am torn between A and C, but A" is none."""
    after = clauses[clauses.index(pairs[-1]) + 1 :]
    return all(_TORN.isdisjoint(pair.words) for pair in pairs) and any(
        c in after and "HEDGE" not in c.words for c in asserted
    )


def _taken_back(clause: Clause, after: Clause) -> bool:
    """ "B. That is wrong.", but not "no, none"."""
    return not clause.particle and not after.condition and "NEG" in after.words and set(after.words) <= _TAKES_BACK


def _says_another_text(clause: Clause, mentions: list[Mention], letters: set[str]) -> bool:
    """ "The film shows pneumothorax, so B": a statement that ends in the text of an option that is not chosen (rule
    4)."""
    place = max(i for i, word in enumerate(clause.words) if word.startswith("@"))
    if not _IS_SEEN.issuperset(clause.words[place + 1 :]) or "would" in clause.words or clause.condition:
        return False
    before = [word for word in clause.words[:place] if word not in ("a", "an", "the")][-1:]
    if clause.weak and not (clause.opener == "BECAUSE" and _SAYS.issuperset(before)):
        return False
    said = mentions[int(clause.words[place][1:])]
    return said.by == "text" and not said.particle and said.letter not in letters


def _refuses(reply: Clause) -> bool:
    """ "B? No." and "B? I don't think so." """
    return reply.words[0] == "NEG" or (
        not reply.letters and "NEG" in reply.words and lexicon.LIGHT.issuperset({*reply.words} - {"NEG"})
    )


def _bare(clause: Clause) -> bool:
    return all(
        w.startswith("@") or w in lexicon.LIGHT or w in JOINERS or w in _CONTROLS or w in ("0", "%", "0%")
        for w in clause.words
    )


def _affirms(clause: Clause) -> bool:
    return any(word in AFFIRM for word in clause.words)


def _foreign(clause: Clause) -> bool:
    """True for "the final answer is tuberculosis" where that is no option."""
    if clause.letters:
        return False
    nouns = [i for i, word in enumerate(clause.words) if word in lexicon.ANSWER_NOUNS]
    if not nouns or nouns[-1] + 1 >= len(clause.words) or clause.words[nouns[-1] + 1] not in lexicon.COPULAS:
        return False
    rest = clause.words[nouns[-1] + 2 :]
    return any(word not in lexicon.LIGHT and word not in _CONTROLS and word.isalpha() for word in rest)

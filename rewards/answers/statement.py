"""Decides what an answer commits to, by one table of precedence (ANSWERS.md, "In which order").

Each clause that names options gets the first role of TABLE that fits. The clauses are folded in that order; where two
readings stand against each other, the answer is unclear: it fails closed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from rewards.answers.clauses import DENIALS, ENDS, Clause, is_bare, split, to_words
from rewards.answers.mentions import PAD, Options, find
from rewards.answers.text import tokens
from rewards.answers.words import lexicon

MAX_MENTIONS = 64
_DENIES = DENIALS | {"WOULD"}
_NEVER = ("denial", "exclusion")  # roles whose options are never chosen


class Rule(NamedTuple):
    """One row of the table of precedence."""

    role: str
    groups: str  # of words.yaml
    scope: str  # where such words stand for the option that they touch
    effect: str
    example: str
    letters: str  # what the example says of A effusion, B pneumonia, C pneumothorax, D normal; "" = none


TABLE = (
    Rule("retraction", "correction undo past", "before", "what was said falls", "A. Wait, B.", "B"),
    Rule("denial", "deny reject nor lack would", "before, behind", "not chosen; twice: open", "B. Not due to C.", "B"),
    Rule("exclusion", "except", "before", "not chosen", "B rather than C", "B"),
    Rule("condition", "if", "before", "unclear", "If febrile, B.", ""),
    Rule("alternative", "or open between torn", "clause", "unclear", "B, but C is also possible", ""),
    Rule("hedge", "hedge", "clause", "chosen alone, unclear beside another option", "Possibly B", "B"),
    Rule("assertion", "anchor", "clause", "chosen; the last sets aside weaker ones", "A or B. Final answer: C", "C"),
    Rule("mention", "light", "clause", "chosen where nothing is asserted", "A large pneumothorax is seen.", "C"),
)


class Reading(NamedTuple):
    """What one answer says."""

    letters: tuple[str, ...]  # sorted; () unless stated
    verdict: Literal["stated", "nothing", "unclear"]
    reason: str  # by which rule, or why there is none
    anchored: bool = False  # stated by an anchor


NOTHING = Reading((), "nothing", "no option is named")
UNCLEAR = Reading((), "unclear", "")
MISMATCH = "a letter stands with the text of another option"


def read(plain: str, options: Options) -> Reading:
    """What an answer without markup commits to. Never raises."""
    stream = [*PAD, *tokens(plain), *PAD]
    mentions = find(stream, options)
    if len(mentions) > MAX_MENTIONS:
        return UNCLEAR._replace(reason=f"more than {MAX_MENTIONS} options are named")
    if not mentions or any(mention.letter == "?" for mention in mentions):
        return UNCLEAR._replace(reason=MISMATCH) if mentions else NOTHING
    kept = _after_correction(to_words(stream, mentions))
    reading = _resolve(split(kept, mentions)) if kept else UNCLEAR._replace(reason="an answer is taken back")
    inside = not options.letters or {*reading.letters} <= {*options.letters}
    return reading if inside else UNCLEAR._replace(reason="a letter outside the options")


def _after_correction(words: list[str]) -> list[str]:
    """What follows the last self-correction that leads to a choice (rule 8); [] where an answer is only taken back."""
    while cuts := [place for place, word in enumerate(words) if word in ("CORRECTION", "UNDO")]:
        cut, after = cuts[-1], words[cuts[-1] + 1 :]
        said = words[max((place for place in range(cut) if words[place] in ENDS), default=-1) + 1 : cut]
        denial = max((place for place, word in enumerate(said) if word in _DENIES), default=cut)
        if words[cut] == "CORRECTION" and denial < cut and "@" not in " ".join(said[denial:]):
            words = words[:cut] + after  # "it is not actually C"
        elif "@" in " ".join(after):
            return after
        elif words[cut] == "UNDO" or {"DENY", "REJECT", "OPEN"} & set(after):
            return []
        else:
            words = [*words[:cut], ".", *after]
    return words


def _num_denials(clause: Clause) -> int:
    """How often a clause denies its options, whatever adverbs stand between; not B in "no line indicates B"."""
    before, behind = clause.before, clause.words[len(clause.before) + 1 :]
    stop = max((place for place, word in enumerate(before) if word in lexicon().sets["stops"]), default=0)
    spans = [before[place:stop] for place, word in enumerate(before) if word in _DENIES]
    spans = [re.sub(" , [^,]+ , ", " ", " ".join(span)).split() for span in spans]  # "not, as you may think, due to"
    count = (clause.opener == "NOR") + sum(map(is_bare, spans))
    if clause.particle and behind[:1] not in (["is"], ["was"], ["DENY"], ["REJECT"]):
        return count
    return count + sum(word in ("DENY", "REJECT", "WOULD") or (word == "LACK" and is_bare(behind)) for word in behind)


def _role(clause: Clause) -> str:
    """The first row of TABLE that fits."""
    marks = set(clause.words)
    denials = 0 if {"OPEN", "WOULD"} <= marks else _num_denials(clause)
    offered = len(clause.letters) > 1 and ("BETWEEN" in marks or clause.is_either)
    fits = {
        "retraction": "PAST" in marks,
        "denial": denials == 1 and clause.opener != "EXCEPT",
        "exclusion": denials == 0 and clause.opener == "EXCEPT",
        "condition": clause.conditional,
        "alternative": denials > 1 or offered or bool({"OPEN", "TORN"} & marks) or clause.opener in ("OR", "/"),
        "hedge": "HEDGE" in marks,
        "assertion": "ANCHOR" in marks,
        "mention": True,
    }
    return next(rule.role for rule in TABLE if fits[rule.role])


def _strength(clause: Clause) -> int:
    """0 in a reason, 1 for an option among other words, 2 for one that is asserted or stands for itself."""
    return 0 if clause.weak else 1 + (is_bare(clause.words) or "ANCHOR" in clause.words)


def _takes_back(clause: Clause, named: Clause) -> bool:
    """ "That is wrong." and "no" behind an option; not "no fluid"."""
    shared = clause.opener == "AND" and {"are", "were"} & set(clause.words)  # "pneumonia and collapse are not seen"
    denies = not clause.mentions and bool(DENIALS & set(clause.words)) and bool(shared or is_bare(clause.words))
    return denies and not clause.conditional and clause.opener != "WHILE" and not named.particle


class State(NamedTuple):
    """The clauses of an answer by what they say."""

    clauses: list[Clause]
    committed: list[Clause]  # assertions, hedges and mentions that stand
    chosen: list[Clause]  # the strongest of them
    letters: set[str]  # of the chosen
    denied: set[str]

    def beside(self, role: str) -> set[str]:
        """The letters of a role that are not chosen alone."""
        alone = self.letters if len(self.letters) == 1 else set()
        return {x for clause in self.clauses if clause.role == role for x in clause.letters} - alone


def _open(state: State) -> bool:
    """An alternative beside what is chosen, unless an offer ("between A and C") is followed by a choice."""
    for place, clause in enumerate(state.clauses):
        settled = any(later.role != "hedge" and later in state.chosen for later in state.clauses[place:])
        beside = not clause.weak if clause.is_either else bool(clause.letters - state.letters)
        alternative = (
            clause.role == "alternative" and beside and not (settled and ("BETWEEN" in clause.words or clause.question))
        )
        if alternative or "TORN" in clause.words:
            return True
    return False


def _joined(state: State) -> bool:
    """ "B is likely and C fits"; "left and right lung", where one half is no option."""
    for left, right in itertools.pairwise(state.clauses):
        named, edge, other = (left, left.words[-1], right) if left.mentions else (right, right.words[0], left)
        half = named in state.chosen and named.mentions[-1].by == "text" and not other.mentions and edge[0] == "@"
        pair = {left, right} <= {*state.committed} and (left in state.chosen) != (right in state.chosen)
        if right.opener in ("AND", "OR") and not right.weak and (pair or (half and len(other.words) <= 3)):
            return True
    return False


def _another_text(state: State) -> bool:
    """ "The film shows pneumothorax, so B": a statement that ends in the text of an option which is not chosen."""
    for clause in state.committed:
        last, seen = clause.mentions[-1], {"is", "shows", "are", "has", "seen", "present"} & set(clause.words)
        other = last.by == "text" and not last.particle and last.letter not in state.letters
        if other and is_bare(clause.words[clause.places[-1] :]) and (seen or not clause.weak):
            return True
    return False


def _said_of_it(state: State) -> bool:
    """ "Warfarin is contraindicated": what is said of the text of an option is in no list of words."""
    ends = [[*c.words[c.places[-1] + 1 :], "", "", ""] for c in state.chosen if c.mentions[-1].by == "text"]
    return any(verb in lexicon().sets["asks"] and not is_bare(behind[:2]) for verb, *behind in ends)


def _goes_on(state: State) -> bool:
    """ "B, not C or A": whether A is denied cannot be told. "B 60%, C 40%". "B, C, ..."."""
    last, words = state.clauses[-1], [word for clause in state.clauses for word in clause.words]
    listed = last.opener == "OR" or ("OR" in last.words and last.opener != "(" and last.role in _NEVER)
    several = len({letter for clause in state.clauses for letter in clause.letters}) > 1
    if listed and last.mentions and last.mentions[-1].by != "text" and last.mentions[-1].letter not in state.letters:
        return True
    return (len(state.letters) > 1 and bool({"%", "…"} & set(words))) or (several and words.count("%") > 1)


def _may_be_name(state: State) -> bool:
    """A letter that may be a name: it is never chosen alone, and nothing else is chosen beside it."""
    named = [(mention, clause) for clause in state.clauses for mention in clause.mentions]
    sure = {m.letter for m, clause in named if m.by != "letter" and clause in state.chosen} | state.denied
    return any(m.by == "letter" and not clause.weak and m.letter not in sure for m, clause in named)


# What makes an answer unclear: any of these.
CONFLICTS: tuple[tuple[Callable[[State], bool], str], ...] = (
    (_may_be_name, "a letter may be an answer or a name"),
    (_open, "alternatives are left open"),
    (_joined, "an option is joined to something else"),
    (_another_text, MISMATCH),
    (_said_of_it, "what is said of the option is not understood"),
    (lambda state: bool(state.beside("condition")), "the choice hangs on a condition"),
    (lambda state: bool(state.beside("hedge")), "a second answer is kept open"),
    (lambda state: any(c.particle and c.letters - state.letters for c in state.committed), "both yes and no are said"),
    (lambda state: bool(state.letters & state.denied), "the same option is chosen and denied"),
    (_goes_on, "a list goes on, or probabilities are split"),
)


def _is_final(clause: Clause) -> bool:
    stands = clause.role in ("assertion", "mention") and len(clause.letters) == 1 and not clause.question
    return stands and _strength(clause) == 2 and ("ANCHOR" in clause.before or clause.opener == "SO")


def _from_final(clauses: list[Clause]) -> list[Clause]:
    """From the final statement on: it sets aside the walk, the hedge and the alternatives before it (rule 19)."""
    if (cut := max((place for place, clause in enumerate(clauses) if _is_final(clause)), default=-1)) < 0:
        return clauses
    stated = [clause for clause in clauses[:cut] if clause.role in ("assertion", "mention")]
    walk = len({x for c in stated for x in c.letters}) > 1 and not any("ANCHOR" in c.words for c in stated)
    kept = [clause for clause in clauses[:cut] if clause.role in _NEVER or (clause in stated and not walk)]
    others = {x for clause in clauses[cut + 1 :] for x in clause.letters} - clauses[cut].letters
    heads = [a for a, b in itertools.pairwise(clauses[cut:]) if len(a.words) == 1 and not is_bare(b.words)]
    explained = [a for a in heads if len(others) > 1 and a.letters <= others]  # "Answer: C. A: blunted angle. B: .."
    return kept + [clause for clause in clauses[cut:] if clause not in explained]


def _resolve(clauses: list[Clause]) -> Reading:
    for clause in clauses:
        clause.role = _role(clause) if clause.mentions else ""
    asides = [c for c in clauses if c.opener == "," and not c.mentions and not DENIALS & {*c.words}]
    for clause, after in itertools.pairwise(clause for clause in clauses if clause not in asides):
        if clause.role not in ("", "denial") and _takes_back(after, clause):
            clause.role = "assertion" if clause.role == "exclusion" else "denial"
    clauses = _from_final(clauses)
    agreed = [a for a, b in itertools.pairwise(clauses) if a.question and b.words[0] in ("yes", "ANCHOR")]
    stated = [clause for clause in clauses if clause.role in ("assertion", "hedge", "mention")]
    stated = [c for c in stated if not c.question or c in agreed or c.words[0] not in lexicon().sets["asks"]]
    committed = [clause for clause in stated if not clause.question or clause in agreed] or stated
    sure = [clause for clause in committed if any(mention.by != "letter" for mention in clause.mentions)]
    strongest = max(map(_strength, sure), default=0)
    chosen = [clause for clause in sure if _strength(clause) == strongest]
    letters = {letter for clause in chosen for letter in clause.letters}
    denied = {letter for clause in clauses if clause.role in _NEVER for letter in clause.letters}
    state = State(clauses, committed, chosen, letters, denied)
    if fault := next((reason for conflicts, reason in CONFLICTS if conflicts(state)), ""):
        return UNCLEAR._replace(reason=fault)
    if not letters:
        return NOTHING._replace(reason="only denied: nothing is inferred by elimination")
    anchored = any(is_bare(clause.words) and "ANCHOR" in clause.before for clause in chosen)
    reason = "commitment" if strongest == 2 else "mention"
    return Reading(tuple(sorted(letters)), "stated", reason, anchored)

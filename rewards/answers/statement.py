"""Decides what an answer commits to, by one table of precedence (ANSWERS.md, "In which order").

Each clause that names options gets the first role of TABLE that fits; they are folded in that order. It fails closed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from rewards.answers.clauses import DENIALS, ENDS, Clause, foreign, is_bare, reaches, split, to_words
from rewards.answers.mentions import PAD, Options, find
from rewards.answers.text import tokens
from rewards.answers.words import lexicon

MAX_MENTIONS = 64
MIN_EXPLANATION = 12  # words before a sentence that make it the end of an explanation
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
    if kept and kept[-1] in ("AND", "OR", "BECAUSE", "by"):
        return UNCLEAR._replace(reason="the answer ends within a sentence")
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
        else:
            words = [] if words[cut] == "UNDO" or {"DENY", "REJECT", "OPEN"} & {*after} else [*words[:cut], ".", *after]
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
    if "WOULD" in behind and "DENY" in behind:
        return count + 1  # "C would not bleed"
    return count + sum(word in ("DENY", "REJECT", "WOULD") or (word == "LACK" and is_bare(behind)) for word in behind)


def _role(clause: Clause) -> str:
    """The first row of TABLE that fits."""
    marks = set(clause.words)
    denials = 0 if {"OPEN", "WOULD"} <= marks else _num_denials(clause)
    offered = (len(clause.letters) > 1 and ("BETWEEN" in marks or clause.is_either)) or clause.words[0] == "BETWEEN"
    fits = {
        "retraction": "PAST" in marks,
        "denial": (denials == 1 or (clause.conditional and "WERE" in marks)) and clause.opener != "EXCEPT",
        "exclusion": denials == 0 and clause.opener == "EXCEPT",
        "condition": clause.conditional,
        "alternative": denials > 1 or offered or bool({"OPEN", "TORN"} & marks) or clause.opener in ("OR", "/"),
        "hedge": "HEDGE" in marks,
        "assertion": "ANCHOR" in marks,
    }
    return next((rule.role for rule in TABLE[:-1] if fits[rule.role]), TABLE[-1].role)


def _strength(clause: Clause) -> int:
    """0 in a reason, 1 if not understood, 2 for a statement, 3 for "the answer is B" and for what begins the answer."""
    told = clause.states and ("ANCHOR" in clause.before or (clause.leads and is_bare(clause.words)))
    return 0 if clause.weak else 1 + clause.states + told


def _takes_back(clause: Clause, named: Clause) -> bool:
    """ "That is wrong." and "no" behind an option; not "no fluid"."""
    shared = clause.opener == "AND" and {"are", "were"} & set(clause.words)  # "pneumonia and collapse are not seen"
    denies = not clause.mentions and bool(DENIALS & set(clause.words)) and bool(shared or is_bare(clause.words))
    return denies and not clause.conditional and clause.opener != "WHILE" and not named.particle


class State(NamedTuple):
    """The clauses of an answer; those that commit, the strongest of these, their letters, and the letters denied."""

    clauses: list[Clause]
    committed: list[Clause]
    chosen: list[Clause]
    letters: set[str]
    denied: set[str]


def _open(state: State) -> bool:
    """An alternative beside what is chosen, unless an offer ("between A and C") is followed by a choice."""
    for place, clause in enumerate(state.clauses):
        settled = any(later.role != "hedge" and later in state.chosen for later in state.clauses[place:])
        offer = settled and ("BETWEEN" in clause.words or clause.question)
        beside = not clause.weak if clause.is_either else bool(clause.letters - state.letters)
        conceded = clause.opener == "WHILE" and any("ANCHOR" in later.words for later in state.chosen)
        if (clause.role == "alternative" and not conceded and beside and not offer) or "TORN" in clause.words:
            return True
    return False


def _joined(state: State) -> bool:
    """ "Left and right lung", where one half is no option; "medial, or the other way round"."""
    for left, right in itertools.pairwise(state.clauses):
        named, edge, other = (left, left.words[-1], right) if left.mentions else (right, right.words[0], left)
        first = other.words[0]  # a verb in "and must be isolated"
        verb = len(first) > 1 and first in lexicon().sets["known"] and first not in lexicon().sets["modifier"]
        half = (
            not verb
            and named in state.chosen
            and named.mentions[-1].by == "text"
            and edge[0] == "@"
            and len(other.words) <= 3
        )
        loose = (
            right.opener == "OR"
            and left.mentions
            and left.role not in _NEVER
            and foreign(right.words)
            and not left.describes
        )
        pair = {left, right} <= {*state.committed} and (left in state.chosen) != (right in state.chosen)
        if right.opener in ("AND", "OR") and not right.weak and (pair or (not other.mentions and (half or loose))):
            return True
    return False


def _competes(clause: Clause, ahead: bool) -> bool:
    """Whether what is said of another option than the chosen one stands against the choice."""
    if clause.question or (clause.weak and clause.opener != "WHILE"):
        seen = clause.states and {"is", "shows", "are", "has", "seen", "present"} & {*clause.words}
        return not ahead and bool(clause.question or (seen and clause.mentions[-1].by == "text"))
    listed = len(clause.words) < 3 and clause.mentions[-1].by != "text"  # "left A, right B"
    return (clause.states or listed) and not clause.weak if ahead else not clause.describes


def _unaccounted(state: State) -> bool:
    """Another option of which something is said that is neither a denial nor a description, or words of the speaker
    behind the choice that are in no list. Where all is explained, one of many may be so in unknown words."""
    places = [place for place, clause in enumerate(state.clauses) if clause in state.chosen] or [0]
    behind = state.clauses[places[-1] + 1 :]
    spoken_of = [c for c in state.clauses if c.letters - state.letters and c.role in ("assertion", "hedge", "mention")]
    others = [c for c in spoken_of if c not in state.chosen and _competes(c, c not in behind)]
    explained = not any(c.opener == "BUT" for c in others)
    explained &= all(len(c.words) > 2 or c.mentions[-1].by != "label" for c in others)
    weakly = max(map(_strength, state.chosen), default=0) < 3
    explained &= not (weakly and any("ANCHOR" in c.words or c is spoken_of[-1] for c in others))
    explained &= len({x for c in others for x in c.letters} | (state.denied - state.letters)) > 2
    doubted = all(clause.question and clause.words[0] != "why" for clause in state.chosen)
    doubted &= not any("yes" in clause.words for clause in behind)
    again = [c for c in behind if c.letters & state.letters and not (c.states or c.describes or c.weak)]
    if any(c.mentions[-1].by == "label" and c.words[-1][0] != "@" for c in again):
        return True  # "B. B is a placeholder"
    return (bool(others) and not explained) or any(c.speaks or (doubted and foreign(c.words)) for c in behind)


def _goes_on(state: State) -> bool:
    """ "B, not C or A": whether A is denied cannot be told. "B 60%, C 40%". "B, C, ..."."""
    last, words = state.clauses[-1], [word for clause in state.clauses for word in clause.words]
    listed = last.opener == "OR" or ("OR" in last.words and last.opener != "(" and last.role in _NEVER)
    split_up = len({x for clause in state.clauses if "%" in clause.words for x in clause.letters}) > 1
    by_label = listed and last.mentions and last.mentions[-1].by != "text" and last.letters - state.letters
    return bool(by_label or (len(state.letters) > 1 and {"%", "…"} & {*words}) or split_up)


CONFLICTS: tuple[tuple[Callable[[State], bool], str], ...] = (  # any of these makes an answer unclear
    (_open, "alternatives are left open"),
    (_joined, "an option is joined to something else"),
    (lambda state: any(clause.letters - (state.letters if len(state.letters) == 1 else set()) for clause in
                       state.clauses if clause.role == "condition" or (clause.role == "hedge" and clause.states)),
     "the choice hangs on a condition, or a second answer is kept open"),
    (lambda state: any(c.particle and c.letters - state.letters for c in state.committed), "both yes and no are said"),
    (_goes_on, "a list goes on, or probabilities are split"),
    (lambda state: bool(state.letters & state.denied), "the same option is chosen and denied"),
    (lambda state: not state.letters <= {x for clause in state.chosen if clause.states for x in clause.letters},
     "what is said of the option is not understood"),
    (_unaccounted, "something is said beside the choice that is not understood"),
)  # fmt: skip


_FINDINGS = {
    *"this these that it its all everything taken together combined such".split()
}  # what a conclusion is drawn from
_DANGERS = {*"DENY REJECT LACK PAST IF OR OPEN BETWEEN TORN EXCEPT WOULD WERE".split()}


def _concludes(clause: Clause) -> bool:
    """Whether the last sentence of an explanation leads to an option, in words that need not be known but turn nothing
    over: "this nails down a perforated ulcer"."""
    before, after, sets = clause.before, clause.words[clause.places[-1] + 1 :], lexicon().sets
    astray = (
        clause.words[0] not in _FINDINGS
        or {*clause.words} & (_DANGERS | sets["others"])
        or clause.weak
        or clause.question
    )
    ends = not after or after[0] in sets["preposition"] or after[0][0].isdigit()
    return not astray and bool(before) and ends and len(clause.letters) == 1 and reaches(before)


def _conclusion(clauses: list[Clause]) -> int:
    """The place of the last sentence that names an option, where it ends an explanation of some length in which no
    answer is stated before, and is no entry of a list; -1 = there is none."""
    last = max((place for place, clause in enumerate(clauses) if clause.mentions), default=-1)
    before, clause = clauses[: max(last, 0)], clauses[last]
    stated = any(_strength(clause) == 3 for clause in before if clause.role in ("assertion", "mention"))
    doubted = any(c.role == "hedge" or "TORN" in c.words or (c.is_either and c.mentions) for c in before)
    if last < 0 or stated or doubted or sum(len(clause.words) for clause in before) <= MIN_EXPLANATION:
        return -1
    clause.states |= _concludes(clause)
    head = before[-1] if clause.opener == "," and not before[-1].mentions else clause
    entries = sum(entry.words[0][0] == "@" and entry.opener in ("", "\n") for entry in clauses)
    return last if head.opener in ("", "\n") and not (entries > 1 and head.words[0][0] == "@") else -1


def _from_final(clauses: list[Clause]) -> list[Clause]:
    """From the final statement on ("so B", "final answer: B", "but B is right"): it sets aside what is before (19)."""
    cut, conclusion = -1, _conclusion(clauses)
    for place, clause in enumerate(clauses):
        anchored = "ANCHOR" in (clause.words if clause.opener == "BUT" else clause.before)
        led = place == conclusion or anchored or "SO" in (clause.opener, *clause.before)
        if led and clause.role in ("assertion", "mention") and len(clause.letters) == 1 and clause.states:
            cut = cut if clause.weak or clause.question else place
    stated = [clause for clause in clauses[: max(cut, 0)] if clause.role in ("assertion", "mention")]
    walk = len({x for c in stated for x in c.letters}) > 1 and not any("ANCHOR" in c.words for c in stated)
    if -1 < cut == conclusion and _strength(clauses[cut]) == 3:  # an explanation, then "the answer is B"
        stated = []
    kept = (c for c in stated if not walk and (c.states or "ANCHOR" not in clauses[cut].words))
    return [*kept, *clauses[max(cut, 0) :]]


def _resolve(clauses: list[Clause]) -> Reading:
    clauses[0].leads &= any(foreign(clause.words) for clause in clauses)  # no list of options alone
    for clause in clauses:
        clause.role = _role(clause) if clause.mentions else ""
    asides = [c for c in clauses if c.opener == "," and not c.mentions and not DENIALS & {*c.words}]
    for clause, after in itertools.pairwise(clause for clause in clauses if clause not in asides):
        if clause.role not in ("", "denial") and _takes_back(after, clause):
            clause.role = "assertion" if clause.role == "exclusion" else "denial"
    clauses = _from_final(clauses)
    agreed = [a for a, b in itertools.pairwise(clauses) if a.question and b.words[0] in ("yes", "ANCHOR")]
    said = [clause for clause in clauses if clause.role in ("assertion", "hedge", "mention")]
    stated = [c for c in said if not c.question or c in agreed or c.words[0] not in lexicon().sets["asks"]]
    committed = [clause for clause in stated if not clause.question or clause in agreed] or stated
    sure = [clause for clause in committed if any(mention.by != "letter" for mention in clause.mentions)]
    strongest = max(map(_strength, sure), default=0)
    chosen = [clause for clause in sure if _strength(clause) == strongest]
    letters, denied = (
        {x for c in some for x in c.letters} for some in (chosen, [c for c in clauses if c.role in _NEVER])
    )
    state = State(clauses, committed, chosen, letters, denied)
    if fault := next((reason for conflicts, reason in CONFLICTS if conflicts(state)), ""):
        return UNCLEAR._replace(reason=fault)
    if not letters:
        return NOTHING._replace(reason="only denied: nothing is inferred by elimination")
    anchored = any(is_bare(clause.words) and "ANCHOR" in clause.before for clause in chosen)
    reason = "commitment" if strongest and any(is_bare(c.words) or "ANCHOR" in c.words for c in chosen) else "mention"
    return Reading(tuple(sorted(letters)), "stated", reason, anchored)

"""Decides what an answer commits to, by one table of precedence (ANSWERS.md, "In which order").

Each clause that names options gets the first role of the table in `words.yaml` that fits. It fails closed.
"""

from __future__ import annotations

import itertools
from typing import Literal, NamedTuple

from rewards.answers.clauses import DENIALS, Clause, foreign, is_bare, last_of, split, to_words
from rewards.answers.mentions import PAD, Options, find
from rewards.answers.text import tokens
from rewards.answers.words import grammar, group

MAX_MENTIONS = 64
MIN_EXPLANATION = 12  # words before a sentence that make it the end of an explanation
_DENIES = DENIALS | {"WOULD"}
_NEVER = ("denial", "exclusion")  # roles whose options are never chosen
_CHOICES = ("assertion", "hedge", "mention")  # roles whose options may be chosen
_SURE = ("assertion", "mention")


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
        if "@" in " ".join(after):
            return after
        fallen = words[cut] == "UNDO" or {"DENY", "REJECT", "OPEN"} & {*after}
        words = [] if fallen else [*words[:cut], ".", *after]
    return words


def _num_denials(clause: Clause) -> int:
    """How often a clause denies its options, whatever adverbs stand between; not B in "no line indicates B"."""
    before, behind = clause.before, clause.words[len(clause.before) + 1 :]
    stop = max(last_of(before, "stops"), 0)
    ahead = sum(word in _DENIES and is_bare(before[place:stop]) for place, word in enumerate(before))
    later = sum(word in ("DENY", "REJECT", "WOULD") or (word == "LACK" and is_bare(behind)) for word in behind)
    return ahead + later + (clause.opener == "NOR")


def _role(clause: Clause) -> str:
    """The first row of the table of precedence that fits."""
    marks = {*clause.words, clause.opener}
    denials = 0 if {"OPEN", "WOULD"} <= marks else _num_denials(clause)
    offered = clause.is_either or clause.opener == "OR" or not marks.isdisjoint({"OPEN", "TORN", "BETWEEN"})
    fits = {
        "retraction": "PAST" in marks,
        "denial": denials == 1,
        "exclusion": clause.opener == "EXCEPT",
        "condition": clause.conditional,
        "alternative": denials > 1 or offered,
        "hedge": "HEDGE" in marks,
        "assertion": "ANCHOR" in marks,
        "mention": True,
    }
    return next(rule["role"] for rule in grammar()["table"] if fits[rule["role"]])


def _strength(clause: Clause) -> int:
    """0 in a reason, 1 if not understood, 2 for a statement, 3 for "the answer is B" and for what begins the answer."""
    return 0 if clause.weak else 1 + clause.states + (clause.states and (clause.leads or "ANCHOR" in clause.before))


def _joined(clauses: list[Clause], committed: list[Clause], chosen: list[Clause]) -> bool:
    """ "Left and right lung", where one half is no option; "medial, or the other way round"."""
    for left, right in itertools.pairwise(clauses):
        edge, other = (left.words[-1], right) if left.mentions else (right.words[0], left)
        loose = right.opener == "OR" or (edge[0] == "@" and len(other.words) <= 3)
        joined = right.opener in ("AND", "OR") and (other in committed if other.mentions else loose)
        if joined and (left in chosen) != (right in chosen):
            return True
    return False


def _unaccounted(clauses: list[Clause], chosen: list[Clause], letters: set[str], denied: set[str]) -> bool:
    """Another option of which something is said that is neither a denial nor a description, or words of the speaker
    behind the choice that are in no list. Where at least three are gone through, they may be so in unknown words."""
    last = max((place for place, clause in enumerate(clauses) if clause in chosen), default=-1)
    ahead, behind = clauses[: max(last, 0)], clauses[last + 1 :]
    others = [c for c in ahead if c.states and not c.weak and not c.question]
    others += [c for c in behind if (c.states if c.weak and c.opener != "WHILE" else not c.describes)]
    others = [clause for clause in others if clause.letters - letters and clause.role in _CHOICES]
    explained = len({x for clause in others for x in clause.letters} | (denied - letters)) > 2
    explained &= all(len(clause.words) > 2 or clause.mentions[-1].by != "label" for clause in others)
    doubted = all(clause.question for clause in chosen) and not any("yes" in clause.words for clause in behind)
    again = [c for c in behind if c.letters & letters and c.after and not (c.states or c.describes or c.weak)]
    placeholder = any(clause.mentions[-1].by == "label" for clause in again)  # "B. B is a placeholder"
    speaks = any(clause.speaks or (doubted and foreign(clause.words)) for clause in behind)
    return (bool(others) and not explained) or placeholder or speaks


def _conflict(clauses: list[Clause], committed: list[Clause], chosen: list[Clause], letters: set[str]) -> str:
    """Why an answer is unclear, "" = it is not."""
    denied = {letter for clause in clauses if clause.role in _NEVER for letter in clause.letters}
    understood = {letter for clause in chosen if clause.states for letter in clause.letters}
    is_open = any("TORN" in c.words or (c.role == "alternative" and "BETWEEN" not in c.words) for c in clauses)
    goes_on = len(letters) > 1 and any({"%", "…"} & {*clause.words} for clause in clauses)  # "B, C, ..."
    split_up = len({letter for clause in clauses if "%" in clause.words for letter in clause.letters}) > 1
    last = clauses[-1]
    listed = last.role in _NEVER and "OR" in last.words and last.mentions[-1].by == "label" and last.opener != "("
    kept = [c.letters for c in clauses if c.role == "condition" or (c.role == "hedge" and c.states)]
    hangs = any(x != letters or len(x) > 1 for x in kept)
    conflicts = {
        "alternatives are left open": is_open,
        "an option is joined to something else": _joined(clauses, committed, chosen),
        "the choice hangs on a condition, or a second answer is kept open": hangs,
        "both yes and no are said": any(clause.particle and clause.letters - letters for clause in committed),
        "a list goes on, or probabilities are split": bool(goes_on or split_up or listed),
        "the same option is chosen and denied": bool(letters & denied),
        "what is said of the option is not understood": not letters <= understood,
        "something is said beside the choice that is not understood": _unaccounted(clauses, chosen, letters, denied),
    }
    return next((reason for reason, holds in conflicts.items() if holds), "")


def _conclusion(clauses: list[Clause]) -> int:
    """The place of the last sentence that names an option, where it ends an explanation of some length in which no
    answer is stated before; -1 = there is none."""
    last = max((place for place, clause in enumerate(clauses) if clause.mentions), default=0)
    before = clauses[:last]
    stated = any(_strength(clause) == 3 for clause in before if clause.role in _SURE)
    doubted = any(c.role == "hedge" or "TORN" in c.words or (c.is_either and c.mentions) for c in before)
    short = sum(len(clause.words) for clause in before) <= MIN_EXPLANATION
    return -1 if stated or doubted or short or clauses[last].opener not in ("", "\n") else last


def _from_final(clauses: list[Clause]) -> list[Clause]:
    """From the final statement on ("so B", "final answer: B"): it sets aside what is before but one statement (19)."""
    conclusion, cut = _conclusion(clauses), 0
    for place, clause in enumerate(clauses):
        led = place == conclusion or "ANCHOR" in clause.before or "SO" in (clause.opener, *clause.before)
        states = clause.states and not clause.weak and not clause.question and len(clause.letters) == 1
        cut = place if led and states and clause.role in _SURE else cut
    stated = [clause for clause in clauses[:cut] if clause.role in _SURE]
    walk = len({x for clause in stated for x in clause.letters}) > 1 and not any("ANCHOR" in c.words for c in stated)
    return [*([] if walk else stated), *clauses[cut:]]


def _committed(clauses: list[Clause]) -> list[Clause]:
    """Those that may commit. A question does where its answer follows, or where nothing else does: "B?"."""
    agreed = [a for a, b in itertools.pairwise(clauses) if a.question and b.words[0] in ("yes", "ANCHOR")]
    asks = [c for c in clauses if c.question and c not in agreed and c.words[0] in group("asks")]
    stated = [clause for clause in clauses if clause.role in _CHOICES and clause not in asks]
    return [clause for clause in stated if not clause.question or clause in agreed] or stated


def _resolve(clauses: list[Clause]) -> Reading:
    clauses[0].leads &= any(foreign(clause.words) for clause in clauses)  # no list of options alone
    for clause in clauses:
        clause.role = _role(clause) if clause.mentions else ""
    for clause, after in itertools.pairwise(clauses):  # "That is wrong." and "no" behind an option; not "no fluid"
        denied = not after.mentions and DENIALS & {*after.words} and is_bare(after.words) and after.opener != "WHILE"
        clause.role = "denial" if clause.role and denied and not clause.particle else clause.role
    clauses = _from_final(clauses)
    committed = _committed(clauses)
    sure = [clause for clause in committed if any(mention.by != "letter" for mention in clause.mentions)]
    strongest = max(map(_strength, sure), default=0)
    chosen = [clause for clause in sure if _strength(clause) == strongest]
    letters = {letter for clause in chosen for letter in clause.letters}
    if reason := _conflict(clauses, committed, chosen, letters):
        return UNCLEAR._replace(reason=reason)
    if not letters:
        return NOTHING._replace(reason="only denied: nothing is inferred by elimination")
    anchored = any(is_bare(clause.words) and "ANCHOR" in clause.before for clause in chosen)
    commits = strongest and any(is_bare(clause.words) or "ANCHOR" in clause.words for clause in chosen)
    return Reading(tuple(sorted(letters)), "stated", "commitment" if commits else "mention", anchored)

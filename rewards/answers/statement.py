"""Decides what an answer commits to, by one table of precedence (ANSWERS.md, "In which order").

Each clause that names options gets the first role of TABLE whose words stand in its scope. The resolver folds the clauses in that order and
answers with letters (stated), with nothing, or with "unclear" where two readings stand against each other: it fails closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

from rewards.answers.clauses import DENIALS, ENDS, Clause, is_bare, is_content, split, to_words
from rewards.answers.mentions import Mention
from rewards.answers.text import Token
from rewards.answers.words import Lexicon, lexicon

Verdict = Literal["stated", "nothing", "unclear"]
NOTHING_NAMED = "no option is named"
MISMATCH = "a letter stands with the text of another option"


class Rule(NamedTuple):
    """One row of the table of precedence."""

    role: str
    groups: tuple[str, ...]  # of words.yaml
    scope: str  # where such words stand for the option they touch
    effect: str
    example: str
    letters: str  # what the example says of the options Effusion, Pneumonia, Pneumothorax, Normal; "" = none


TABLE = (
    Rule("retraction", ("correction", "undo", "past"), "before", "what was said before it falls", "A. Wait, B.", "B"),
    Rule(
        "denial",
        ("deny", "reject", "lack", "would"),
        "before or behind",
        "the option is not chosen; denied twice it is open",
        "B. It is not due to C.",
        "B",
    ),
    Rule("exclusion", ("except",), "before", "the option is not chosen", "B rather than C", "B"),
    Rule("condition", ("if",), "before", "nothing is chosen: unclear", "If febrile, B.", ""),
    Rule(
        "alternative",
        ("or", "open", "between", "torn"),
        "clause",
        "unclear, unless a final statement follows",
        "B or C",
        "",
    ),
    Rule("hedge", ("hedge",), "clause", "chosen alone, unclear beside another option", "Possibly B", "B"),
    Rule("assertion", ("anchor",), "clause", "chosen", "The answer is B.", "B"),
    Rule("mention", ("light",), "clause", "chosen where nothing is asserted", "A large pneumothorax is seen.", "C"),
)
_DENIES = DENIALS | {"WOULD"}
_CHOICE = frozenset({"ANCHOR"})


class Reading(NamedTuple):
    """What one answer says."""

    letters: tuple[str, ...]  # sorted; () unless stated
    verdict: Verdict
    reason: str  # by which rule, or why there is none
    bare: bool = False  # stated by an anchor or as a whole clause, and not only mentioned
    anchored: bool = False  # stated by an anchor


def nothing(reason: str) -> Reading:
    """The answer names no choice."""
    return Reading((), "nothing", reason)


def unclear(reason: str) -> Reading:
    """Two readings stand against each other."""
    return Reading((), "unclear", reason)


def read(stream: list[Token], mentions: list[Mention]) -> Reading:
    """What the answer commits to. Never raises."""
    if not mentions:
        return nothing(NOTHING_NAMED)
    if any(mention.letter == "?" for mention in mentions):
        return unclear(MISMATCH)
    kept = _after_correction(to_words(stream, mentions, lexicon()))
    if kept is None:
        return unclear("an answer is taken back and none is given")
    return _resolve(split(kept, mentions, lexicon()))


def _after_correction(words: list[str]) -> list[str] | None:
    """What follows the last self-correction that leads to a choice (rule 8); None where an answer is taken back without a new one."""
    while "CORRECTION" in words or "UNDO" in words:
        cut = max(place for place, word in enumerate(words) if word in ("CORRECTION", "UNDO"))
        sentence = max((place for place in range(cut) if words[place] in ENDS), default=-1)
        after = words[cut + 1 :]
        before = words[sentence + 1 : cut]
        denying = any(word in _DENIES for word in before) and not any(
            word.startswith("@") for word in before[_last_denial(before) :]
        )
        if words[cut] == "CORRECTION" and denying:
            words = [*words[:cut], *after]  # "it is not actually C"
        elif any(word.startswith("@") for word in after):
            return after
        elif words[cut] == "UNDO" or any(word in ("DENY", "REJECT", "OPEN") for word in after):
            return None
        else:
            words = [*words[:cut], ".", *after]
    return words


def _last_denial(words: list[str]) -> int:
    return max(place for place, word in enumerate(words) if word in _DENIES)


def _reaches(words: list[str], place: int) -> bool:
    """Whether a denial before an option reaches it: whatever adverbs stand between, but not across something else that it denies and a verb
    that says what this means ("no line indicates B")."""
    between = words[place + 1 :]
    stop = max((i for i, word in enumerate(between) if word in lexicon().sets["stops"]), default=-1)
    return not any(_content(word) for word in between[: max(stop, 0)])


def _content(word: str) -> bool:
    return is_content(word, lexicon())


def _num_denials(clause: Clause) -> int:
    """How often a clause denies its options: by a denial before them that reaches them, or one behind that is about them."""
    before, behind = clause.words[: clause.places[0]], clause.words[clause.places[0] + 1 :]
    if "OPEN" in clause.words and "WOULD" in clause.words:
        return 0
    count = sum(word in _DENIES and _reaches(before, place) for place, word in enumerate(before))
    if clause.particle and behind[:1] not in (["is"], ["was"], ["DENY"], ["REJECT"]):
        return count
    bare = not any(_content(word) for word in behind)
    return count + sum(word in ("DENY", "REJECT", "WOULD") or (word == "LACK" and bare) for word in behind)


def _alternatives(clause: Clause) -> bool:
    """Whether several options stand in a list that is joined by "or" and its like."""
    between = clause.words[clause.places[0] : clause.places[-1]] if clause.places else []
    return len(clause.letters) > 1 and any(word in ("OR", "<", ">", "-", "→") for word in between)


def _role(clause: Clause) -> str:
    """The first row of TABLE that fits."""
    marks = set(clause.words)
    denials = _num_denials(clause)
    offered = "BETWEEN" in marks and len(clause.letters) > 1
    fits: dict[str, bool] = {
        "retraction": "PAST" in marks or "NOTONLY" in clause.words[: clause.places[0]],
        "denial": denials == 1 and clause.opener != "EXCEPT",
        "exclusion": clause.opener == "EXCEPT" and denials == 0,
        "condition": clause.conditional,
        "alternative": denials > 1
        or "OPEN" in marks
        or "TORN" in marks
        or clause.opener in ("OR", "/")
        or offered
        or _alternatives(clause),
        "hedge": "HEDGE" in marks,
        "assertion": bool(marks & _CHOICE),
    }
    return next((rule.role for rule in TABLE if fits.get(rule.role, False)), "mention")


def _bare(clause: Clause) -> bool:
    """Whether a clause holds nothing beside its options but words of a bare choice."""
    return is_bare(clause.words, lexicon())


def _strength(clause: Clause) -> int:
    return 0 if clause.weak else 2 if _bare(clause) or _CHOICE & set(clause.words) else 1


def _takes_back(clause: Clause) -> bool:
    """ "That is wrong." and "no" behind an option; not "no fluid"."""
    shared = clause.opener == "AND" and bool(
        {"are", "were"} & set(clause.words)
    )  # "pneumonia and collapse are not seen"
    return (
        not clause.mentions
        and clause.opener != "WHILE"
        and bool(DENIALS & set(clause.words))
        and (_bare(clause) or shared)
        and not clause.conditional
    )


def _sure(clause: Clause) -> bool:
    return any(mention.by != "letter" for mention in clause.mentions)


class State(NamedTuple):
    """The clauses of an answer by what they say."""

    clauses: list[Clause]
    committed: list[Clause]  # assertions, hedges and mentions that stand
    chosen: list[Clause]  # the strongest of them
    letters: set[str]  # of the chosen
    denied: set[str]

    def of(self, *roles: str) -> list[Clause]:
        return [clause for clause in self.clauses if clause.mentions and clause.role in roles]


def _open(state: State) -> bool:
    settled = {id(c) for c in state.of("alternative") if "BETWEEN" in c.words and any(
        state.clauses.index(chosen) > state.clauses.index(c) and chosen.role != "hedge" for chosen in state.chosen)}  # fmt: skip
    alternatives = [
        clause
        for clause in state.of("alternative")
        if not (clause.weak and _alternatives(clause)) and id(clause) not in settled
    ]
    return any(
        _alternatives(c) or not c.letters <= state.letters | (state.denied if c.opener == "OR" else set())
        for c in alternatives
    ) or any("TORN" in clause.words for clause in state.clauses)


def _joined(state: State) -> bool:
    """ "B is likely and C fits"; "left and right lung", where one half is no option."""
    for left, right in itertools.pairwise(state.clauses):
        if right.opener not in ("AND", "OR") or right.weak:
            continue
        if left in state.committed and right in state.committed and (left in state.chosen) != (right in state.chosen):
            return True
        if not left.mentions or not right.mentions:
            named, edge, other = (left, left.words[-1], right) if left.mentions else (right, right.words[0], left)
            text = named in state.chosen and edge.startswith("@") and named.mentions[-1].by == "text"
            if text and len(other.words) <= 3 and any(map(_content, other.words)):
                return True
    return False


def _another_text(state: State) -> bool:
    """ "The film shows pneumothorax, so B": a statement that ends in the text of an option which is not chosen (rule 4)."""
    for clause in state.committed:
        last = clause.mentions[-1]
        ends = is_bare(clause.words[clause.places[-1] + 1 :], lexicon())
        shows = bool(set(clause.words) & {"is", "shows", "show", "are", "has", "seen", "present", "visible"})
        if (
            last.by == "text"
            and not last.particle
            and last.letter not in state.letters
            and ends
            and (shows or not clause.weak)
        ):
            return True
    return False


def _hedged(state: State) -> bool:
    hedged = {letter for clause in state.of("hedge") for letter in clause.letters}
    return bool(hedged - state.letters) or (bool(hedged) and len(state.letters) > 1)


def _denied_list_goes_on(state: State) -> bool:
    """ "B, not C or A": whether A is denied or an alternative cannot be told."""
    last = next((clause for clause in reversed(state.clauses) if clause.mentions), None)
    ended = (
        last is not None
        and _alternatives(last)
        and last.role in ("denial", "exclusion")
        and last.opener != "("
        and last.mentions[-1].by != "text"
    )
    return ended and last is not None and last.mentions[-1].letter not in state.letters and last is state.clauses[-1]


def _split_probability(state: State) -> bool:
    words = [word for clause in state.clauses for word in clause.words]
    named = {letter for clause in state.clauses for letter in clause.letters}
    return (("%" in words or "…" in words) and len(state.letters) > 1) or (len(named) > 1 and words.count("%") > 1)


def _foreign(state: State) -> bool:
    """ "The final answer is tuberculosis", which is not on offer."""
    for clause in state.clauses:
        place = max((i for i, word in enumerate(clause.words) if word == "ANCHOR"), default=-1)
        if not clause.mentions and place >= 0 and clause.words[place + 1 : place + 2] in (["is"], [":"], ["was"]):
            if any(map(_content, clause.words[place + 2 :])) and all(_strength(c) < 2 for c in state.chosen):
                return True
    return False


# What makes an answer unclear: any of these.
CONFLICTS: tuple[tuple[Callable[[State], bool], str], ...] = (
    (_open, "alternatives are left open"),
    (_joined, "an option is joined to something else"),
    (_another_text, MISMATCH),
    (
        lambda state: any(clause.letters - state.letters for clause in state.of("condition")),
        "the choice hangs on a condition",
    ),
    (lambda state: not state.chosen and bool(state.of("condition")), "the choice hangs on a condition"),
    (_hedged, "a second answer is kept open"),
    (
        lambda state: any(c.particle and not c.letters <= state.letters for c in state.committed),
        "both yes and no are said",
    ),
    (lambda state: bool(state.letters & state.denied), "the same option is chosen and denied"),
    (_denied_list_goes_on, "an alternative is appended"),
    (_split_probability, "probabilities are split"),
    (_foreign, "the answer that is stated is not an option"),
)


def _assign(clauses: list[Clause]) -> None:
    """Give each clause its role; a following "no" or "that is wrong" denies the clause before it."""
    for clause in clauses:
        clause.role = _role(clause) if clause.mentions else ""
    for clause, after in itertools.pairwise(clauses):
        if clause.mentions and not clause.particle and _takes_back(after) and clause.role != "denial":
            clause.role = "assertion" if clause.role == "exclusion" else "denial"


def _final(clauses: list[Clause]) -> list[Clause]:
    """From the final anchored statement on: it sets aside the walk, the hedge and the alternatives before it (rule 19)."""
    finals = [
        place
        for place, clause in enumerate(clauses)
        if clause.role in ("assertion", "mention") and len(clause.letters) == 1 and not clause.weak and not clause.question
        and ("ANCHOR" in clause.words[: clause.places[0]] or (clause.opener == "SO" and _strength(clause) == 2))
    ]  # fmt: skip
    if not finals:
        return clauses
    cut = finals[-1]
    before = [clause for clause in clauses[:cut] if clause.mentions]
    stated = [clause for clause in before if clause.role in ("assertion", "mention")]
    walked = {letter for clause in stated for letter in clause.letters}
    if len(walked) > 1 and not any("ANCHOR" in clause.words for clause in stated):
        stated = []
    return [*(c for c in before if c in stated or c.role in ("denial", "exclusion")), *clauses[cut:]]


def _resolve(clauses: list[Clause]) -> Reading:
    _assign(clauses)
    clauses = _final(clauses)
    perhaps = {m.letter for clause in clauses if not clause.weak for m in clause.mentions if m.by == "letter"}
    followers = dict(zip(map(id, clauses), clauses[1:], strict=False))
    committed = [clause for clause in clauses if _sure(clause) and clause.role in ("assertion", "hedge", "mention")]
    answered = {
        id(c) for c in committed if c.question and id(c) in followers and followers[id(c)].words[0] in ("yes", "ANCHOR")
    }
    statements = [clause for clause in committed if not clause.question or id(clause) in answered]
    committed = statements or committed
    strongest = max(map(_strength, committed), default=0)
    chosen = [clause for clause in committed if _strength(clause) == strongest]
    letters = {letter for clause in chosen for letter in clause.letters}
    denied = {letter for clause in clauses if clause.role in ("denial", "exclusion") for letter in clause.letters}
    state = State(clauses, committed, chosen, letters, denied)
    if perhaps - {m.letter for c in chosen for m in c.mentions if m.by != "letter"} - denied or (
        letters and letters <= perhaps
    ):
        return unclear("a letter may be an answer or a name")
    if fault := next((reason for conflicts, reason in CONFLICTS if conflicts(state)), ""):
        return unclear(fault)
    if not letters:
        return nothing("only denied: nothing is inferred by elimination")
    anchored = any(_bare(clause) and _CHOICE & set(clause.words[: clause.places[0]]) for clause in chosen)
    reason = "commitment" if strongest == 2 else "mention"
    return Reading(tuple(sorted(letters)), "stated", reason, strongest == 2, anchored)

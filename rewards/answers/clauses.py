"""Cuts an answer into clauses, stretches that say one thing of the options they name, and tells what they say.

It comes as lower-case words in which options stand as "@0", "@1", .. and phrases of `words.yaml` as marks in capitals.
Only known words state an answer: what fits none of the forms here is not understood, whatever it says.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rewards.answers.mentions import Mention
from rewards.answers.text import Token
from rewards.answers.words import lexicon, mark

ENDS = frozenset(".!?;\n…")
JOINERS = frozenset({",", "、", "AND", "&", "+", "/", "|", "OR"})
_BREAKS = (JOINERS - {"&", "+"}) | {*"()—→←-", *"BUT BECAUSE WHILE IF SO EXCEPT NOR".split()}
DENIALS = frozenset({"DENY", "REJECT", "LACK"})
_CONTRACTED = re.compile(r"^(can|\w+(?=n't$))(?:n?'t|not)$")
_ADJECTIVE = re.compile(r"(?!patient)\w{2,}(?:al|ar|ic|ous|ary|oid|ant|ent|est|ile|ive|ior|ly|like|sided|shaped)")
_NOUN = re.compile(r"(?:\S+ ){0,5}(?:in|on|at|to|within|for|with|by|of|from|towards?)(?: the| an?)?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_PLACE = re.compile(
    r"(?:\w+ ){1,4}(?:in|of|to|on|at|within) the(?: \w+(?:al|ior))?"
)  # "a bleed in the", where nothing leads there


@dataclass(eq=False)  # a clause is itself, however alike another one reads
class Clause:
    """One stretch of an answer."""

    words: list[str]
    opener: str = ""  # the mark or sign it begins behind
    weak: bool = False  # in a reason, a concession or a condition: options are only mentioned
    conditional: bool = False
    question: bool = False
    named: bool = False  # an option stands in it
    role: str = ""
    places: list[int] = field(default_factory=list)  # where options stand among the words
    mentions: list[Mention] = field(default_factory=list)  # these options
    letters: set[str] = field(default_factory=set)
    before: list[str] = field(default_factory=list)  # the words in front of them
    is_either: bool = False  # several stand in a list that is joined by "or" and its like
    particle: bool = False  # they are nothing but the word yes or no
    leads: bool = False  # it begins the answer
    states: bool = False  # it says that they are the answer
    describes: bool = False  # it says what they are like, no word on whether they are the answer
    speaks: bool = False  # it names none, and may take something back

    def fill(self, mentions: list[Mention]) -> Clause:
        """Look up the options that stand in it."""
        self.places = [place for place, word in enumerate(self.words) if word[0] == "@"]
        if self.places:
            self.mentions = [mentions[int(self.words[place][1:])] for place in self.places]
            self.letters = {mention.letter for mention in self.mentions}
            self.before, between = self.words[: self.places[0]], self.words[self.places[0] : self.places[-1]]
            self.is_either = len(self.letters) > 1 and bool({"OR", *"<>-→"} & {*between})
            self.particle = all(mention.particle for mention in self.mentions)
            self.states, self.describes = _is_statement(self), _describes(self)
        self.speaks = not self.places and _speaks(self)
        return self


def to_words(stream: list[Token], mentions: list[Mention]) -> list[str]:
    """The answer as words, options and marks. Brackets around an option alone say nothing."""
    firsts = [mention.first for mention in mentions]  # glued letters share theirs
    at = {first: " , ".join(f"@{n}" for n, other in enumerate(firsts) if other == first) for first in firsts}
    inside = {index for mention in mentions for index in range(mention.first, mention.last + 1)}
    items: list[str] = []
    for index, token in enumerate(stream):
        if index in at:
            items.append(at[index])
        elif index not in inside and token.text not in "'\"@{}<>`":
            hyphen = token.text == "-" and stream[index - 1].end == token.start and stream[index + 1].start == token.end
            items.append("" if hyphen else _CONTRACTED.sub(r"\1 not", token.key))
    parts = ["", *re.sub(r"\( (@\d+) \)", r"≔ \1", " ".join(items)).split(" ")]  # "steatosis (B)" is "steatosis = B"
    text = " ".join("=" if word == "≔" else word for left, word in itertools.pairwise(parts)
                    if word != "≔" or (left not in lexicon().sets["known"] and foreign([left])))  # fmt: skip
    text = re.sub(r"^(@\d+) \)(?= \w[^@]*$)", r"\1 :", text)  # "A) fluid level"
    return mark([item for item in (text if "(" in text else text.replace(" )", "")).split(" ") if item])


def split(words: list[str], mentions: list[Mention]) -> list[Clause]:
    """The clauses of an answer in order, none of them empty."""
    clauses = [Clause([], leads=True)]
    leading, starts = False, 0  # "since A is common, B": the comma ends what stands first
    walk = sum(a[0] == "@" and b in {*DENIALS, "ANCHOR", "yes"} for a, b in itertools.pairwise(words)) > 2
    for index, word in enumerate(words):
        current = clauses[-1]
        kind = _kind(words, index, current, walk)
        if word == "EXCEPT" and DENIALS & set(current.words) and not current.named:
            current.words = [w for w in current.words if w not in DENIALS]  # "it can not be anything but B"
            continue
        if not kind or word == "…":
            current.words.append(word)
            current.named = current.named or word[0] == "@"
        if not kind:
            continue
        current.question = word == "?"
        current.weak |= word == "," and current.named and current.words[0] in ("in", "with", "for")  # "in B, it rises"
        if word == "IF":  # "B, if febrile"
            for clause in clauses[starts:]:
                clause.conditional |= clause.named
        current.conditional |= (
            current.words[:1] in (["had"], ["were"]) and current.opener == "" and len(current.words) > 2
        )
        current.conditional = current.conditional or (word == "IF" and current.named)  # "B if febrile"
        ends = kind == "end" or word in ("SO", "BUT", "→", "—") or (word == "," and leading)
        first = not (current.words or current.opener) or current.words[-1:] == [":"]
        leading = (word in ("WHILE", "BECAUSE") and first) or (leading and not ends)
        weak = (current.weak and not ends) or word in ("BECAUSE", "WHILE", "IF")
        conditional = (current.conditional and (not ends or word == "SO")) or word == "IF"
        opener = "" if kind == "end" and word != "\n" else word
        starts = len(clauses) if kind == "end" else starts
        clauses.append(Clause([word] if kind == "turn" else [], opener, weak, conditional))
        clauses[-1].named = kind == "turn" and word[0] == "@"
    return [clause.fill(mentions) for clause in clauses if clause.words]


def _kind(words: list[str], index: int, current: Clause, walk: bool) -> str:
    """How a word ends a clause: as "end" of a sentence, "break", "turn" (it begins the next one), "" = it does not."""
    word, said, named = words[index], current.words, current.named
    if word == "SO" and said[-1:] == ["is"]:
        return ""  # "the next step is therefore B"
    if word == "/" and "@" not in "".join(words[max(index - 1, 0) : index + 2]):
        return ""  # "300/min"
    if word in ENDS:  # not behind the heading "Final answer"
        return "" if word == "\n" and not named and "ANCHOR" in said and is_bare(said) else "end"
    if word == ":":  # behind "No", "That is not right" and "No fluid", not behind "Wrong", which speaks of what follows
        denials, back = DENIALS & {*said}, {"that", "that's", "this"} & {*said}
        denied = denials and (back or denials == {"LACK"} or not (is_bare(said) or "REJECT" in denials))
        return "end" if named or denied else ""
    if word[0] == "@":
        return "turn" if walk and named else ""  # "A no B no C yes"
    if word in ("DENY", "LACK") and named and not walk:
        following = next((w for w in words[index + 1 :] if w not in lexicon().sets["light"]), " ")
        return "turn" if following[0] == "@" else ""  # "B not C"
    inner = words[index + 1 : index + 7]  # "not, as you may think, C"
    paired = "," in inner and "@" not in " ".join(inner[: inner.index(",")])
    aside = paired or "," in said or current.opener == "NOR" or (len(said) > 1 and said[-1] == "DENY")
    if not named and ("DENY" in said or current.opener == "NOR") and (word == "BECAUSE" or (word == "," and aside)):
        return ""  # "it is not due to C", "it is not, however, C"
    if not named and word == "," and said[-1:] == ["PAST"]:
        return ""  # "my first thought, B, .."
    listing = said and said[-1][0] == "@" and ("BETWEEN" in said or current.opener == "EXCEPT")
    if listing and word not in JOINERS and word not in _BREAKS:
        return "turn"  # "instead of A I choose B"
    if word not in JOINERS or word not in _BREAKS:
        return "break" if word in _BREAKS else ""
    single = word == "," and (words[index + 2 : index + 3] in (["is"], ["was"]) or {"BETWEEN", "AND"} <= set(said))
    left = next((other for other in words[index - 1 :: -1] if index and other not in JOINERS), " ")
    right = next(
        (other for other in words[index + 1 :] if other not in JOINERS and other not in ("the", "an", "a")), " "
    )
    return "" if left[0] == right[0] == "@" and not single else "break"  # "A, B is wrong", "between B and C, B"


def is_bare(words: Sequence[str]) -> bool:
    """Whether words hold nothing beside options but the words of a bare choice: marks, signs, adverbs, light words."""
    return not foreign(words, "bare")


def foreign(words: Sequence[str], known: str = "plain") -> list[str]:
    """The words that are not among the known ones; marks, signs, numbers and adverbs in -ly are none of them."""
    spelled = (w for w in words if w.isalpha() and (w.islower() or not w.isascii()) and w not in lexicon().sets[known])
    return [word for word in spelled if not word.endswith("ly") or word.endswith("megaly")]


def _is_statement(clause: Clause) -> bool:
    """Whether a clause says of its options, in words that are known, that they are the answer."""
    last, sets = clause.mentions[-1], lexicon().sets
    before, after = clause.words[: clause.places[-1]], clause.words[clause.places[-1] + 1 :]
    by_text, terse = last.by != "label", clause.leads and not before and len(after) == 1
    if (last.by == "text" and not last.particle and not reaches(before)) or _is_of_others(clause.words, after):
        return False
    before = before[next((n + 1 for n in range(len(before) - 2, -1, -1) if before[n] == ":"), 0) :]
    if _is_irreal(before, after, by_text):
        return False
    if is_bare(clause.words):
        return True
    if clause.particle and before[-1:] != [":"]:
        return not (foreign(before) or "WERE" in after or {*after[:1]} & sets["copula"])
    verbs = sets["copula"] | {"has", "have", "had", "should"}
    if by_text and not before and after[0] in sets["preposition"]:  # "B in early pregnancy is the drug of choice"
        after = after[next((n for n, word in enumerate(after) if word in verbs), 0) :]
    asked = clause.question and clause.words[0] != "why"
    compound = by_text and terse and len(after[0]) > 4  # "T10 dermatome"
    return not asked and _leads_to(before, by_text) and (compound or _is_said(after, by_text))


def _is_of_others(words: list[str], after: list[str]) -> bool:
    """Whether somebody else speaks, or of another time: "a resident would say B", "B in her sister", "B in 2015"."""
    sets, articles = lexicon().sets, ("a", "an", "the", "this")
    for place, word in enumerate(words):
        if word not in sets["others"]:
            continue
        ahead = [w for w in words[max(place - 2, 0) : place] if w not in articles][-1:]
        within = ahead and ahead[0] in sets["preposition"] and ahead[0] not in ("to", "by")  # "in a student"
        if word in sets["astray"] or (word in sets["agent"] and not within):
            return True
    return any(word in sets["times"] or _YEAR.fullmatch(word) for word in after)


def _is_irreal(before: list[str], after: list[str], by_text: bool) -> bool:
    """Whether it speaks of what would be, could be or was: "granulomas would speak for B", "B can do this, too"."""
    sets = lexicon().sets
    would = before.index("would") if "would" in before[:-1] and not {"ANCHOR", "i", "we", "my"} & {*before} else 0
    if before[would + 1 : would + 2] != ["be"] and foreign(before[:would]):
        return True
    verb, behind = (after[0], after[1]) if len(after) > 1 else ("", " ")
    if by_text and verb in sets["copula"]:  # "was 9 %", "is given within four hours"
        was = verb in ("was", "were") and not {"ANCHOR", *sets["seen"]} & {*after}
        return was or (behind in sets["described"] and behind not in sets["seen"]) or behind[0].isdigit()
    able = verb in ("can", "could") and behind not in sets["copula"] and behind not in sets["fits"]
    return able or (verb == "HEDGE" and behind == "do")


def _leads_to(before: list[str], by_text: bool) -> bool:
    """What stands before an option: "the film shows a large", "the most likely diagnosis in this man is"."""
    sets = lexicon().sets
    if not foreign(before):
        return True
    link = max((n for n, word in enumerate(before) if word in sets["links"]), default=-1)
    subject, rest = before[: link + 1], before[link + 1 :]
    named = by_text or {*rest[-1:]} & {"option", "choice", "letter", "answer"}  # "the vessel is option B"
    led = (_NOUN if link >= 0 else _PLACE).fullmatch(" ".join(rest)) if by_text else not foreign(rest)
    if not {"DENY", "REJECT", "WOULD"}.isdisjoint(before) or not (led or (by_text and _modifies(rest))):
        return False
    if "ANCHOR" in subject:
        place = max(n for n, word in enumerate(subject) if word == "ANCHOR")
        heads = [-1, *(n for n, word in enumerate(subject[:place]) if word in sets["links"] or word in ("i", "we"))]
        told, behind = _modifies(subject[heads[-1] + 1 : place]) or before[link] in sets["link"], subject[place + 1 :]
        return told and (_modifies(behind) or behind[0] in sets["preposition"])
    wished = not _modifies(subject[max((n for n, word in enumerate(subject) if word in ("i", "we")), default=link) :])
    return not wished and (bool(named) or before[link] not in sets["copula"] | {"has", "have"} or _modifies(subject))


def reaches(before: list[str]) -> bool:
    """Whether a preposition before an option leads to it: "typical of", "settle on", no "just below", "allergic to"."""
    sets, here = lexicon().sets, [*before]
    while here and here[-1] not in sets["ends_noun"] and _modifies(here[-1:]):
        here.pop()
    if sets["beside"] & {*before[:1]} and {*before[1:2]} <= {"it", "this", "them", "which"}:
        return False  # "above it lies the spleen"
    if not here or here[-1] not in sets["prepositions"]:
        return True
    head, last = next((word for word in reversed(here[:-1]) if not word.endswith("ly")), ""), here[-1]
    place = "the" in before[len(here) :] and not _ADJECTIVE.fullmatch(head)
    if last in ("in", "within", "to") and head not in sets["beside"] and (place or DENIALS & {*before}):
        return not DENIALS & {*before}  # "an infiltrate in the right lung"
    if last in sets["beside"] or len(here) == 1:
        return last not in sets["beside"]
    passive = last == "by" and head.endswith("ed")  # "served by"
    return (
        passive
        or f"{head} {last}" in sets["toward"]
        or head in sets["unit"]
        or head in ("", "ANCHOR", *":=→—")
        or head[0] == "@"
    )


def _modifies(words: Sequence[str]) -> bool:
    """Whether the foreign ones of some words are adjectives, or nouns which say nothing of an answer."""
    return words[-1:] in (["性"], ["型"]) or all(
        _ADJECTIVE.fullmatch(word) or word in lexicon().sets["modifier"] for word in foreign(words)
    )


def _is_said(after: list[str], by_text: bool) -> bool:
    """What stands behind an option: "is the best next step", "fits the lesions", "with a central scar"."""
    sets = lexicon().sets
    while after and (after[0].endswith("ly") or after[0] == "ANCHOR"):
        after = after[1:]
    if after[:1] == ["caused"] and after[1:2] != ["by"]:
        return False
    while len(after) > 1 and after[0] in ("can", "must", "should") and after[1] in sets["copula"]:
        after = after[1:]
    if not foreign(after, "tail") or after[0] in sets["follows"]:
        return True
    if "ANCHOR" in after and after[0] not in sets["copula"] and _modifies(after):
        return True  # "makes B the leading diagnosis"
    first, rest = after[0], after[1:]
    if first in sets["copula"]:
        stop = next((n for n, word in enumerate(rest) if word == "ANCHOR" or word in sets["preposition"]), len(rest))
        chosen = "ANCHOR" in rest[stop : stop + 2]  # "is the anticoagulant of choice"
        beyond = rest[rest.index("ANCHOR") + 1 :] if chosen else []
        if not _modifies(beyond) and beyond[0] not in sets["preposition"] | sets["links"] | {"that", "which"}:
            return False  # "is a diagnosis one regrets"
        if rest[0] == "what" and {"i", "i'd", "we", "needs", "need"} & {*rest}:
            return True  # "is what I would mark"
        of = rest[stop : stop + 2] == ["of", "ANCHOR"]
        if not chosen and (stop == 0 or rest[0] in ("a", "an") or (not by_text and sets["seen"] & {*rest[:stop]})):
            return False
        if of or chosen:
            return of or all(word in sets["modifier"] for word in foreign(rest[:stop], "bare"))
        return {*foreign(rest[:stop])} <= sets["apt"]
    beyond = after[next((n for n, word in enumerate(after) if word not in sets["nouns"]), len(after)) :]  # "3 old ribs"
    return by_text and beyond != after and (not foreign(beyond) or beyond[0] in sets["preposition"])


def _describes(clause: Clause) -> bool:
    """ "C usually shows an edge": what another option is like, no word on whether it is the answer."""
    behind = [word for word in clause.words[clause.places[-1] + 1 :] if not word.endswith("ly")]
    behind = behind[{*behind[:1]} <= {"it", "this", "one", "you", "there"} :]  # "in C it would ascend"
    start = behind[1:2] if behind and behind[0] in lexicon().sets["copula"] else behind[:1]
    known = lexicon().sets["described" if behind[:1] != start else "describes"]
    return "HEDGE" not in behind and any(word in known or word in ("WERE", "LACK") for word in start)


def _speaks(clause: Clause) -> bool:
    """Whether a clause without options has the speaker or the answer in words of no list: it may take something back.
    So may "I, as a model, cannot see images", "I am far from convinced", "scrap that"."""
    sets, said = lexicon().sets, {*clause.words}
    aux = clause.words[1:2] == ["DENY"] and clause.words[0] in sets["auxiliary"] and clause.opener != "AND"
    if clause.opener == "," and len(clause.words) < 6 and ("PAST" in said or sets["agent"] & said):
        return True  # "B, he thought"
    if clause.mentions or (clause.weak and not aux) or not foreign(clause.words) or sets["sees"] & said:
        return False
    linked = not (said.isdisjoint(sets["links"]) and said.isdisjoint(DENIALS))
    it = len(clause.words) < 9 and clause.words[-1] in ("that", "it", "this") and not linked
    it = it and ("DENY" in said or clause.words[-2] not in sets["prepositions"])
    return bool(
        it
        or aux
        or (sets["speaker"] | {"ANCHOR"}) & said
        or clause.opener == "EXCEPT"
        or clause.words[:2] == ["that", "was"]
    )

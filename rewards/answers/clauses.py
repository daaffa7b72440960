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
from rewards.answers.words import group, mark

ENDS = frozenset(".!?;\n…")
JOINERS = frozenset({",", "、", "AND", "&", "+", "/", "|", "OR"})
_BREAKS = (JOINERS - {"&", "+", "/"}) | {*"()—→←-", *"BUT BECAUSE WHILE IF SO EXCEPT NOR".split()}
DENIALS = frozenset({"DENY", "REJECT", "LACK"})
_CONTRACTED = re.compile(r"^(can|\w+(?=n't$))(?:n?'t|not)$")
_ADJECTIVE = re.compile(r"(?!patient)\w{2,}(?:al|ar|ic|ous|ary|oid|ant|ent|est|ile|ive|ior|ly|like|sided|shaped)")
_NOUN = re.compile(r"(?:\S+ ){0,5}(?:in|on|at|to|within|for|with|by|of|from|towards?)(?: the| an?)?(?: \w+al)?")


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
    before: list[str] = field(default_factory=list)  # the words in front of the first
    after: list[str] = field(default_factory=list)  # the words behind the last
    is_either: bool = False  # several stand in a list that is joined by "or" and its like
    particle: bool = False  # they are nothing but the word yes or no
    leads: bool = False  # it begins the answer
    states: bool = False  # it says that they are the answer
    describes: bool = False  # it says what they are like, no word on whether they are the answer
    speaks: bool = False  # it names none, and may take something back

    def fill(self, mentions: list[Mention]) -> Clause:
        """Look up the options that stand in it."""
        if not self.named:
            self.speaks = _speaks(self)
            return self
        self.places = [place for place, word in enumerate(self.words) if word[0] == "@"]
        self.mentions = [mentions[int(self.words[place][1:])] for place in self.places]
        self.letters = {mention.letter for mention in self.mentions}
        self.before, self.after = self.words[: self.places[0]], self.words[self.places[-1] + 1 :]
        between = {*self.words[self.places[0] : self.places[-1]]}
        self.is_either = len(self.letters) > 1 and not between.isdisjoint({"OR", *"<>-→"})
        self.particle = all(mention.particle for mention in self.mentions)
        self.states, self.describes = _is_statement(self), _describes(self.after)
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
    text = re.sub(r"\( (@\d+) \)", r"= \1", " ".join(items))  # "steatosis (B)" is "steatosis = B"
    text = re.sub(r"^(@\d+) \)(?= \w[^@]*$)", r"\1 :", text)  # "A) fluid level"
    return mark([item for item in (text if "(" in text else text.replace(" )", "")).split(" ") if item])


def split(words: list[str], mentions: list[Mention]) -> list[Clause]:
    """The clauses of an answer in order, none of them empty."""
    clauses = [Clause([], leads=True)]
    leading, start = False, 0  # "since A is common, B": the comma ends what stands first in the sentence
    walk = sum(a[0] == "@" and b in {*DENIALS, "ANCHOR", "yes"} for a, b in itertools.pairwise(words)) > 2
    for index, word in enumerate(words):
        current, kind = clauses[-1], _kind(words, index, clauses[-1], walk)
        if not kind or word == "…":
            current.words.append(word)
            current.named |= word[0] == "@"
        if not kind:
            continue
        current.question = word == "?"
        for clause in clauses[start:] if word == "IF" else ():  # "B, if febrile"
            clause.conditional |= clause.named
        ends = kind == "end" or word in ("SO", "BUT") or (word == "," and leading)
        leading = (leading and not ends) or (word in ("WHILE", "BECAUSE") and not current.words)
        weak = (current.weak and not ends) or word in ("BECAUSE", "WHILE", "IF")
        conditional = (current.conditional and (not ends or word == "SO")) or word == "IF"
        start = len(clauses) if kind == "end" else start
        opener = "" if kind == "end" and word != "\n" else word
        clauses.append(Clause([word] if kind == "turn" else [], opener, weak, conditional, named=word[0] == "@"))
    return [clause.fill(mentions) for clause in clauses if clause.words]


def _kind(words: list[str], index: int, current: Clause, walk: bool) -> str:
    """How a word ends a clause: as "end" of a sentence, "break", "turn" (it begins the next one), "" = it does not."""
    word, here, named = words[index], current.words, current.named
    if word in ENDS:  # not behind the heading "Final answer"
        return "" if word == "\n" and not named and here[-1:] == ["ANCHOR"] else "end"
    if word == ":":  # behind "No fluid" and "That is not right", not behind "Wrong", which speaks of what follows
        denials = DENIALS & {*here}
        return "end" if named or denials == {"LACK"} or (denials == {"DENY"} and not is_bare(here)) else ""
    if word[0] == "@":
        return "turn" if walk and named else ""  # "A no B no C yes"
    if word in ("DENY", "LACK") and named and not walk:
        following = next((w for w in words[index + 1 :] if w not in group("light")), " ")
        return "turn" if following[0] == "@" else ""  # "B not C"
    inner = words[index + 1 : index + 7]  # "not, as you may think, C"
    paired = "," in inner and "@" not in " ".join(inner[: inner.index(",")])
    denies, ends = "DENY" in here or current.opener == "NOR", (here[-1:] == ["DENY"] and len(here) > 1) or "," in here
    aside = denies and (word == "BECAUSE" or (word == "," and (paired or ends or current.opener == "NOR")))
    if not named and (aside or (word == "," and here[-1:] == ["PAST"])):
        return ""  # "it is not due to C", "it is not, however, C", "my first thought, B, .."
    if word not in _BREAKS:  # "instead of A I choose B"
        listing = here and here[-1][0] == "@" and ("BETWEEN" in here or current.opener == "EXCEPT")
        return "turn" if listing and word not in JOINERS else ""
    left = next((other for other in words[index - 1 :: -1] if index and other not in JOINERS), " ")
    right = next((other for other in words[index + 1 :] if other not in JOINERS | {"the", "an", "a"}), " ")
    single = word == "," and {"BETWEEN", "AND"} <= {*here}  # "between B and C, B"
    return "" if word in JOINERS and left[0] == right[0] == "@" and not single else "break"


def is_bare(words: Sequence[str]) -> bool:
    """Whether words hold nothing beside options but the words of a bare choice: marks, signs, adverbs, light words."""
    return not foreign(words, "bare")


def foreign(words: Sequence[str], known: str = "plain") -> list[str]:
    """The words that are not among the known ones; marks, signs, numbers and adverbs in -ly are none of them."""
    spelled = (w for w in words if w.isalpha() and (w.islower() or not w.isascii()) and w not in group(known))
    return [word for word in spelled if not word.endswith("ly") or word.endswith("megaly")]


def _is_statement(clause: Clause) -> bool:
    """Whether a clause says of its options, in words that are known, that they are the answer."""
    before, after, by_text = clause.words[: clause.places[-1]], clause.after, clause.mentions[-1].by != "label"
    if (by_text and not _reaches(before)) or _is_astray(clause.words, before, after):
        return False
    known = is_bare(clause.words) or (clause.particle and not foreign(before) and "WERE" not in after)  # "no fracture"
    return known or (not clause.question and _leads_to(before, by_text) and _is_said(after, by_text))


def _reaches(before: list[str]) -> bool:
    """Whether a preposition before an option leads to it: "typical of", "settle on", no "just below", "allergic to"."""
    end = last_of(before, "ends_noun") + 1
    if not end or before[end - 1] not in group("prepositions"):
        return not (group("beside") & {*before[:1]} and {*before[1:2]} <= {"it", "this"})  # "above it lies the spleen"
    head, last = "".join(before[max(end - 2, 0) : end - 1]), before[end - 1]
    if last == "in" and "the" in before[end:]:
        return not DENIALS & {*before}  # "an infiltrate in the right lung"
    return f"{head} {last}" in group("toward") or head in group("sign") or head[:1] in ("", "@")


def _is_astray(words: list[str], before: list[str], after: list[str]) -> bool:
    """Whether somebody else speaks, or of another time, or of what would be, could be or was: "a resident would say B",
    "B in her sister", "B in 2015", "granulomas would speak for B", "B can do this, too"."""
    if not group("others").isdisjoint(words) or any(
        w in group("times") or re.fullmatch(r"(?:19|20)\d\d", w) for w in after
    ):
        return True
    if "would" in before and "be" not in before and foreign(before[: before.index("would")]):
        return True
    verb, behind = [*after, " ", " "][:2]
    if verb in group("copula"):  # "was 9 %", "is given within four hours"
        return verb in ("was", "were") or behind in group("described") - group("seen") or behind.isdigit()
    return verb in ("can", "could") or (verb == "HEDGE" and behind == "do")


def _leads_to(before: list[str], by_text: bool) -> bool:
    """What stands before an option: "the film shows a large", "the most likely diagnosis in this man is"."""
    if not foreign(before):
        return True
    link = last_of(before, "links")
    subject, rest = before[: link + 1], before[link + 1 :]
    led = _modifies(rest) or (by_text and (link >= 0 or "the" in rest) and _NOUN.fullmatch(" ".join(rest)))
    if not led or not {"DENY", "REJECT", "WOULD"}.isdisjoint(before):
        return False
    if "ANCHOR" in subject:
        place = len(subject) - 1 - subject[::-1].index("ANCHOR")
        lead, beyond = subject[last_of(subject[:place], "heads") + 1 : place], subject[place + 1 :]
        return _modifies(lead) and (_modifies(beyond) or beyond[0] in group("onward"))
    return by_text or before[link] not in group("copula") or _modifies(subject)


def last_of(words: Sequence[str], name: str) -> int:
    """The place of the last word of such a group, -1 = none."""
    return max((place for place, word in enumerate(words) if word in group(name)), default=-1)


def _modifies(words: Sequence[str]) -> bool:
    """Whether the foreign ones of some words are adjectives, or nouns which say nothing of an answer."""
    return all(_ADJECTIVE.fullmatch(word) or word in group("modifier") for word in foreign(words))


def _is_said(after: list[str], by_text: bool) -> bool:
    """What stands behind an option: "is the best next step", "fits the lesions", "with a central scar"."""
    if not foreign(after, "tail") or after[0] in group("follows"):
        return True
    first, rest = after[0], after[1:]
    if first in group("copula"):
        stop = next((n for n, word in enumerate(rest) if word == "ANCHOR" or word in group("onward")), len(rest))
        if "ANCHOR" in rest[stop : stop + 2]:  # "is the best next step", "is the anticoagulant of choice"
            beyond = rest[rest.index("ANCHOR") + 1 :]
            return _modifies(rest[:stop]) and (_modifies(beyond) or beyond[0] in group("onward"))
        terms = {*rest[:stop]}
        return bool(terms) and {*foreign(rest[:stop])} <= group("apt") and (by_text or not group("seen") & terms)
    beyond = after[next((n for n, word in enumerate(after) if word not in group("nouns")), len(after)) :]
    return by_text and beyond != after and (not foreign(beyond) or beyond[0] in group("onward"))  # "3 old ribs"


def _describes(after: list[str]) -> bool:
    """What another option is like, no word on whether it is the answer: "C usually shows an edge"."""
    first, second = [*(word for word in after if not word.endswith("ly")), "", ""][:2]
    return first in {"WERE", "LACK", *group("describes")} or (first in group("copula") and second in group("described"))


def _speaks(clause: Clause) -> bool:
    """Whether a clause without options speaks of the answer or the speaker in unknown words, and may take it back."""
    words = {*clause.words}
    if clause.opener == "," and words & {"PAST", *group("agent")}:
        return True  # "B, he thought"
    if not foreign(clause.words):
        return False
    if clause.words[0] in group("auxiliary") and clause.words[1:2] == ["DENY"] and clause.opener != "AND":
        return True  # "I, as a model, cannot see images"
    return not clause.weak and (clause.words[-1] == "that" or bool(words & group("speaker")))  # "scrap that"

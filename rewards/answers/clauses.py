"""Cuts an answer into clauses: stretches that say one thing of the options they name.

It comes as lower-case words in which options stand as "@0", "@1", .. and phrases of `words.yaml` as marks in capitals.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from rewards.answers.mentions import Mention
from rewards.answers.text import Token
from rewards.answers.words import lexicon, mark

ENDS = frozenset(".!?;\n…")
JOINERS = frozenset({",", "、", "AND", "&", "+", "/", "|", "OR"})
_BREAKS = (JOINERS - {"&", "+"}) | {*"()—→-", *"BUT BECAUSE WHILE IF SO EXCEPT NOR".split()}
DENIALS = frozenset({"DENY", "REJECT", "LACK"})
_CONTRACTED = re.compile(r"^(can|\w+(?=n't$))(?:n?'t|not)$")


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

    def fill(self, mentions: list[Mention]) -> Clause:
        """Look up the options that stand in it."""
        self.places = [place for place, word in enumerate(self.words) if word[0] == "@"]
        if self.places:
            self.mentions = [mentions[int(self.words[place][1:])] for place in self.places]
            self.letters = {mention.letter for mention in self.mentions}
            self.before, between = self.words[: self.places[0]], self.words[self.places[0] : self.places[-1]]
            self.is_either = len(self.letters) > 1 and bool({"OR", *"<>-→"} & {*between})
            self.particle = all(mention.particle for mention in self.mentions)
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
    text = re.sub(r"\( (@\d+) \)", r"\1", " ".join(items))
    return mark([item for item in (text if "(" in text else text.replace(" )", "")).split(" ") if item])


def split(words: list[str], mentions: list[Mention]) -> list[Clause]:
    """The clauses of an answer in order, none of them empty."""
    clauses = [Clause([])]
    leading = False  # "since A is common, B": the comma ends what stands first
    walk = (
        sum(first[0] == "@" and second in {*DENIALS, "ANCHOR", "yes"} for first, second in itertools.pairwise(words))
        > 2
    )
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
        current.conditional = current.conditional or (word == "IF" and current.named)  # "B if febrile"
        ends = kind == "end" or word in ("SO", "BUT", "→", "—") or (word == "," and leading)
        leading = (word in ("WHILE", "BECAUSE") and not (current.words or current.opener)) or (leading and not ends)
        weak = (current.weak and not ends) or word in ("BECAUSE", "WHILE", "IF")
        conditional = (current.conditional and (not ends or word == "SO")) or word == "IF"
        opener = "" if kind == "end" and word != "\n" else word
        clauses.append(Clause([word] if kind == "turn" else [], opener, weak, conditional))
        clauses[-1].named = kind == "turn" and word[0] == "@"
    return [clause.fill(mentions) for clause in clauses if clause.words]


def _kind(words: list[str], index: int, current: Clause, walk: bool) -> str:
    """How a word ends a clause: as "end" of a sentence, "break", "turn" (it begins the next one), "" = it does not."""
    word, said, named = words[index], current.words, current.named
    if word in ENDS:  # not behind the heading "Final answer"
        return "" if word == "\n" and not named and "ANCHOR" in said and is_bare(said) else "end"
    if word == ":":
        return "end" if named or _denies_something(said) else ""
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
    listing = said and said[-1][0] == "@" and ("BETWEEN" in said or current.opener == "EXCEPT")
    if listing and word not in JOINERS and word not in _BREAKS:
        return "turn"  # "instead of A I choose B"
    single = word == "," and (words[index + 2 : index + 3] in (["is"], ["was"]) or {"BETWEEN", "AND"} <= set(said))
    listed = word in JOINERS and _inside_list(words, index) and not single  # "A, B is wrong", "between B and C, B"
    return "break" if word in _BREAKS and not listed else ""


def _denies_something(said: list[str]) -> bool:
    """ "No:", "That is not right:" and "No fluid:"; not "Wrong:", which says it of what follows."""
    denials, backward = DENIALS & {*said}, bool({"that", "that's", "this"} & {*said})
    return bool(denials) and (backward or denials == {"LACK"} or (not is_bare(said) and "REJECT" not in denials))


def _inside_list(words: list[str], index: int) -> bool:
    """True where a joiner stands between two options, "@0 , AND @1" included."""
    left = next((word for word in words[index - 1 :: -1] if index and word not in JOINERS), " ")
    right = next((word for word in words[index + 1 :] if word not in JOINERS and word not in ("the", "an", "a")), " ")
    return left[0] == right[0] == "@"


def is_bare(words: list[str]) -> bool:
    """Whether words hold nothing beside options but the words of a bare choice: marks, signs, adverbs, light words."""
    light, stops = lexicon().sets["light"], lexicon().sets["stops"]
    others = (word for word in words if word.isalpha() and word not in light and word not in stops)
    return not any((word.islower() or word[0] > "\u2e80") and not word.endswith("ly") for word in others)

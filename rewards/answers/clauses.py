"""Cuts an answer into clauses: stretches that say one thing of the options they name.

The answer comes as lower-case words in which options stand as "@0", "@1", .. and phrases of `words.yaml` as capital words.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from rewards.answers.mentions import Mention
from rewards.answers.text import Token
from rewards.answers.words import Lexicon, mark

ENDS = frozenset(".!?;\n…")
_BREAKS = frozenset(
    {
        ",",
        "(",
        ")",
        "[",
        "]",
        "—",
        "→",
        "-",
        "、",
        "/",
        "|",
        "BUT",
        "BECAUSE",
        "WHILE",
        "IF",
        "SO",
        "EXCEPT",
        "AND",
        "OR",
    }
)
JOINERS = frozenset({",", "、", "AND", "&", "+", "/", "|", "OR"})
DENIALS = frozenset({"DENY", "REJECT", "LACK"})
_VERDICTS = DENIALS | {"ANCHOR", "yes"}
_CONTRACTED = re.compile(r"(\w+)n't")


@dataclass(eq=False)  # a clause is itself, however alike another one reads
class Clause:
    """One stretch of an answer."""

    words: list[str]
    opener: str = ""  # the connector or sign it begins behind
    weak: bool = False  # in a reason, a concession or a condition
    conditional: bool = False
    question: bool = False
    places: list[int] = field(default_factory=list)  # where options stand in `words`
    mentions: list[Mention] = field(default_factory=list)
    role: str = "mention"

    @property
    def letters(self) -> set[str]:
        return {mention.letter for mention in self.mentions}

    @property
    def particle(self) -> bool:
        """Whether it names nothing but the word yes or no."""
        return bool(self.mentions) and all(mention.particle for mention in self.mentions)


def to_words(stream: list[Token], mentions: list[Mention], lexicon: Lexicon) -> list[str]:
    """The answer as words, options and marks."""
    at: dict[int, list[int]] = {}
    for number, mention in enumerate(mentions):
        at.setdefault(mention.first, []).append(number)
    inside = {index for mention in mentions for index in range(mention.first, mention.last + 1)}
    items: list[str] = []
    for index, token in enumerate(stream):
        if index in at:
            items += " , ".join(f"@{number}" for number in at[index]).split()
        elif index not in inside:
            items += _item(stream, index, token, at, inside)
    return mark(items, lexicon)


def _item(stream: list[Token], index: int, token: Token, at: dict[int, list[int]], inside: set[int]) -> list[str]:
    if token.kind == "w":
        word = token.key
        if word == "cannot":
            return ["can", "not"]
        parts = _CONTRACTED.fullmatch(word)
        return [{"ca": "can", "wo": "will"}.get(parts[1], parts[1]), "not"] if parts else [word]
    if token.text.startswith("..."):
        return ["…"]
    if token.text in "'\"@{}<>`":
        return []
    if token.text in "([":  # brackets around an option alone say nothing
        close = next((i for i in range(index + 1, len(stream)) if i not in inside), index)
        return [] if index + 1 in at and stream[close].text in ")]" else ["("]
    if token.text in ")]":
        before = next((i for i in range(index - 1, -1, -1) if i not in inside), index)
        signs = [other.text for other in stream[:index]]
        unopened = sum(signs.count(sign) for sign in "([") <= sum(signs.count(sign) for sign in ")]")
        return [] if index - 1 in inside and (unopened or stream[before].text in "([") else [")"]
    hyphen = token.text == "-" and 0 < index < len(stream) - 1
    if hyphen and stream[index - 1].end == token.start and stream[index + 1].start == token.end:
        return []
    return [token.text]


def split(words: list[str], mentions: list[Mention], lexicon: Lexicon) -> list[Clause]:
    """The clauses of an answer in order, none of them empty."""
    clauses: list[Clause] = []
    current = Clause([])
    leading = ""
    pairs = sum(first.startswith("@") and second in _VERDICTS for first, second in itertools.pairwise(words))
    for index, word in enumerate(words):
        kind = _kind(words, index, current, pairs > 2, lexicon)  # "A no B no C yes" is a walk
        if word == "EXCEPT" and DENIALS & set(current.words) and not _named(current.words):
            current.words = [
                w for w in current.words if w not in DENIALS
            ]  # "nothing but B", "it can not be anything but B"
            continue
        if not kind:
            current.words.append(word)
            continue
        current.question = word == "?"
        current.words += ["…"] * (word == "…")
        clauses.append(current)
        ends = kind == "end" or word in ("SO", "BUT", "→", "—") or (word == "," and leading)
        weak, conditional = (False, False) if ends else (current.weak, current.conditional)
        leading = (
            word
            if word in ("WHILE", "BECAUSE") and not current.words and not current.opener
            else ""
            if ends
            else leading
        )
        weak, conditional = weak or word in ("BECAUSE", "WHILE", "IF"), conditional or word == "IF"
        current = Clause([], "" if kind == "end" and word != "\n" else word, weak, conditional)
        if kind == "turn":
            current.words.append(word)
    clauses.append(current)
    for clause in clauses:
        clause.places = [place for place, word in enumerate(clause.words) if word.startswith("@")]
        clause.mentions = [mentions[int(clause.words[place][1:])] for place in clause.places]
    return [clause for clause in clauses if clause.words]


def _kind(words: list[str], index: int, current: Clause, walk: bool, lexicon: Lexicon) -> str:
    """How a word ends a clause: "end" (of a sentence), "break", "turn" (and begins the next one itself), "" = not at all."""
    word, said = words[index], current.words
    named = _named(said)
    if word == "\n" and not named and "ANCHOR" in said and is_bare(said, lexicon):
        return ""  # "Final answer" as a heading
    if word in ENDS:
        return "end"
    if (
        word == ","
        and "DENY" in said[1:]
        and not named
        and (said[-1] == "DENY" or said[said.index("DENY") + 1 :][:1] == [","])
    ):
        return ""  # "it is not, however, C"
    if word == ":":
        return "end" if named or _denies_something(said, lexicon) else ""
    if word.startswith("@"):
        return "turn" if walk and named else ""
    if word in ("DENY", "LACK") and named and not walk:
        following = next((w for w in words[index + 1 :] if w not in lexicon.sets["light"]), "")
        return "turn" if following.startswith("@") else ""  # "B not C"
    if word == "BECAUSE" and DENIALS & set(said) and not named:
        return ""  # "it is not due to C"
    offered = named and ("BETWEEN" in said or current.opener == "EXCEPT") and said[-1].startswith("@")
    if offered and word not in JOINERS and word not in _BREAKS:
        return "turn"  # "instead of A I choose B"
    single = word == "," and (words[index + 2 : index + 3] in (["is"], ["was"]) or {"BETWEEN", "AND"} <= set(said))
    listed = _inside_list(words, index) and not single  # "A, B is wrong", "between B and C, B"
    return "break" if word in _BREAKS and not listed else ""


def _denies_something(said: list[str], lexicon: Lexicon) -> bool:
    """ "No:", "That is not right:" and "No fluid:", behind which something new begins; not "Wrong:", which says it of what follows."""
    backward = bool({"that", "that's", "this"} & set(said))
    return (
        bool(DENIALS & set(said))
        and ("REJECT" not in said or backward)
        and ("DENY" not in said or backward or not is_bare(said, lexicon))
    )


def is_content(word: str, lexicon: Lexicon) -> bool:
    """Whether a word says something beside a bare choice: no option, mark, sign or adverb, and none of the words that weaken nothing."""
    plain = word.isalpha() and (word.islower() or "\u2e80" < word[0]) and not word.endswith("ly")
    return plain and word not in lexicon.sets["light"] and word not in lexicon.sets["stops"]


def is_bare(words: list[str], lexicon: Lexicon) -> bool:
    """Whether words hold nothing beside options but the words of a bare choice."""
    return not any(is_content(word, lexicon) for word in words)


def _inside_list(words: list[str], index: int) -> bool:
    """True where a joiner stands between two options, "@0 , AND @1" included."""
    left, right = index - 1, index + 1
    while left >= 0 and words[left] in JOINERS:
        left -= 1
    while right < len(words) and (words[right] in JOINERS or words[right] in ("the", "an", "a")):
        right += 1
    return words[index] in JOINERS and left >= 0 and right < len(words) and words[left][0] == words[right][0] == "@"


def _named(words: list[str]) -> bool:
    return any(word.startswith("@") for word in words)

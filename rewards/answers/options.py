"""Reads which options an answer commits to (ANSWERS.md, rules 3 to 12), and whether it says yes or no (rule 16)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from rewards.answers import clauses, lexicon, mentions, text, wrappers
from rewards.answers.clauses import Reading
from rewards.answers.option_index import LETTERS, option_texts

# An answer longer than this is no answer. Without tags the statement is looked for at the end of the text.
MAX_ANSWER_CHARS = 1500
MAX_TAIL_CHARS = 600
MAX_MENTIONS = 64
Options = Sequence[str] | Mapping[str, str]

_YES_NO = re.compile(r"yes|no|[是否有没无不对存正未错\uff21-\uff5a]|[^\x00-\xff\u4e00-\u9fff]", re.IGNORECASE)
_LETTER_LIST = re.compile(r"[a-z](?:(?:[\s,;/&+、.()]|and){1,5}[a-z])+[.\s]*")
_ZH_ANCHOR = re.compile(
    r"^(?:(?:最终|正确)?(?:答案|结论|回答|诊断)(?:是|为)?\s*[::]?|我?(?:认为|觉得)|应该|应当|当然|肯定|结果)\s*"
)
# "B. 否", "B (否)" and "否 (B)".
_LABELLED_WORD = re.compile(r"[(\[]?(?:选项?)?([A-Z])\s?[.:、()\[\]]\s?(\w+)[)\].]*|(\w+)\s?[(\[]([A-Z])[)\]]\.*")
_ZH_UNSURE = re.compile(r"^(?:不确定|不知道|不清楚|不一定|无法|不能|是否|有没有|有可能|没有把握|不好说|不明|对不起)")
_ZH_NO = re.compile(r"^(?:不是|没有|不存在|不对|不正确|未见|否|无|不|没|错)(?!则)")
_ZH_YES = re.compile(r"^(?:(?:是的|对的|存在|正确|是|有|对)(?=$|[\s,.!;、吧啊])|有(?![无没否可待关时些限效害]))")
_ZH_BOTH = re.compile(r"[是有对]\W+[否无错不]\W*")
_ZH_YES_WORDS, _ZH_NO_WORDS = (
    frozenset({"是", "是的", "有", "对", "正确", "存在"}),
    frozenset({"否", "不是", "没有", "无", "不", "不对", "错误", "不存在"}),
)


def as_texts(options: Options) -> tuple[str, ...]:
    """The option texts in the order A, B, C.. Raises ValueError for a map whose letters are not exactly those."""
    if not isinstance(options, Mapping):
        return tuple(options)
    letters = LETTERS[: len(options)]
    if sorted(options) != list(letters):
        raise ValueError(f"option letters are {sorted(options)}, expected {list(letters)}: fix the row of the data set")
    return tuple(options[letter] for letter in letters)


def read_options(answer: str, options: Sequence[str], *, tagged: bool = True) -> Reading:
    """The letters that one answer body commits to. `tagged`: it stood in an answer tag; free text is read from its
    end."""
    if len(answer) > MAX_ANSWER_CHARS:
        if tagged:
            return Reading((), f"the answer is longer than {MAX_ANSWER_CHARS} characters")
        answer = answer[-MAX_TAIL_CHARS:]
    try:
        plain = _plain(answer)
    except wrappers.NoCommitment as none:
        return Reading((), str(none))
    polarity = {i: _zh_word(option) for i, option in enumerate(options)}
    skip = [LETTERS[i] for i, word in polarity.items() if word]
    reading = _read(plain, options, skip)
    if skip and (labelled := _LABELLED_WORD.fullmatch(_ZH_ANCHOR.sub("", plain.strip()))):
        letter, word = labelled[1] or labelled[4], _zh_word(labelled[2] or labelled[3])
        if word and word == polarity.get(LETTERS.index(letter)):
            return Reading((letter,), "commitment")
        if word:
            return Reading((), "a letter stands with the text of another option")
    if not skip or reading.reason != clauses.NOTHING_NAMED:
        return reading
    said = zh_polarity(plain)
    letters = tuple(LETTERS[i] for i, word in polarity.items() if word == said and said)
    return Reading(letters, "yes/no by word") if len(letters) == 1 else reading


def _read(plain: str, options: Sequence[str], skip: Sequence[str] = (), labels: bool = True) -> Reading:
    if _LETTER_LIST.fullmatch(plain.strip()):
        plain = plain.upper().replace("AND", "and")
    stream = text.tokens(plain)
    index = option_texts(options, skip)
    if not labels:
        index = index._replace(letters=())
    found = mentions.find(stream, index)
    if len(found) > MAX_MENTIONS:
        return Reading((), f"more than {MAX_MENTIONS} options are named")
    reading = clauses.read(*_without_determiners(stream, found))
    if any(letter not in LETTERS[: len(options)] for letter in reading.letters):
        return Reading((), "a letter outside the options")
    return reading


def _without_determiners(
    stream: list[text.Token], found: list[mentions.Mention]
) -> tuple[list[text.Token], list[mentions.Mention]]:
    """ "no" before a noun is a determiner: "Yes, there is no fracture" says yes. It counts only where nothing else was
    said before it."""
    kept: list[mentions.Mention] = []
    for mention in found:
        token = stream[mention.first]
        after = stream[mention.last + 1] if mention.last + 1 < len(stream) else None
        determiner = (
            mention.by == "text"
            and mention.first == mention.last
            and token.key == "no"
            and after is not None
            and after.kind == "w"
        )
        joined = after is not None and after.key in (
            "and",
            "or",
            "but",
            "because",
            "since",
            "as",
            "it",
            "there",
            "no",
            "otherwise",
            "if",
            "unless",
            "when",
        )
        if determiner and not joined and kept:
            continue
        kept.append(mention)
    return stream, kept


def _plain(answer: str) -> str:
    r"""The body without its wrappers: boxes agree and become "answer: ..", JSON becomes its main field, markup goes."""
    normal = text.normalise(answer)
    found = wrappers.boxes(normal)
    if found:
        for start, end, content in reversed(found):
            normal = (
                f"{normal[:start]} {content} {normal[end:]}"
                if len(found) == 1
                else f"{normal[:start]} . {content} . {normal[end:]}"
            )
        if len({text.key(text.strip_markup(content)) for _, _, content in found}) > 1 or not found[-1][2].strip():
            raise wrappers.NoCommitment("the boxes disagree or are empty")
    if "{" in normal or "[" in normal:
        normal = wrappers.unwrap_json(re.sub(r"```(?:json)?", " ", normal) if "```" in normal else normal)
    return lexicon.IDIOMS.sub(" ", text.strip_markup(normal))


def read_yes_no(answer: str) -> Literal["yes", "no"] | None:
    """ "yes" or "no" where the answer says so by a whole word, in English or Chinese; None where it says neither or
    both (rule 16)."""
    if len(answer) > MAX_ANSWER_CHARS or not _YES_NO.search(answer):
        return None
    try:
        plain = _plain(answer)
    except wrappers.NoCommitment:
        return None
    letters = _read(plain, ("yes", "no"), labels=False).letters
    if letters:
        return "yes" if letters == ("A",) else "no" if letters == ("B",) else None
    return zh_polarity(plain)


def zh_polarity(plain: str) -> Literal["yes", "no"] | None:
    """ "yes" or "no" by the opening word of a Chinese answer; "不确定" and "是否" are neither."""
    body = plain.strip().strip("\"'()[]").strip()
    body = _ZH_ANCHOR.sub("", body).strip()
    if (
        _ZH_UNSURE.match(body)
        or _ZH_BOTH.fullmatch(body)
        or any(word in body for word in ("或", "还是", "又是", "也是", "既是", " or "))
    ):
        return None
    if _ZH_NO.match(body):
        return "no"
    return "yes" if _ZH_YES.match(body) else None


def _zh_word(option: str) -> Literal["yes", "no"] | None:
    word = text.normalise(option).strip().strip(".").strip()
    return "yes" if word in _ZH_YES_WORDS else "no" if word in _ZH_NO_WORDS else None

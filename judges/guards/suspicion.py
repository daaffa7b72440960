"""What can be said of an answer without a model: a cautious opinion by rule, and words that have no place in an answer
(JUDGING.md, layer 6).

Neither decides anything. Both say where a second judge is worth its price.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from judges.guards.wording import clean, fold
from judges.verdict import Decision, Question

# Words of which an answer can mean only one; the rule speaks where the reference names one and the answer names only
# another.
_OPPOSITES = tuple(
    tuple(group.split())
    for group in (
        "left right", "yes no", "present absent", "positive negative", "benign malignant", "normal abnormal",
        "increased decreased",
        "high low", "upper middle lower", "top bottom", "anterior posterior", "medial lateral", "proximal distal",
        "acute chronic",
        "arterial venous", "systolic diastolic", "dorsal ventral", "unilateral bilateral", "first second third fourth",
    )
)  # fmt: skip
_OPPOSITES_ZH = (
    ("左", "右", "双"),
    ("阳性", "阴性"),
    ("良性", "恶性"),
    ("急性", "慢性"),
    ("升高", "降低"),
    ("正常", "异常"),
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
# Sign or comparison, number, unit.
_QUANTITY = re.compile(r"([-<>≤≥±~]?)\s*(?<![\w.])(\d{1,18}(?:\.\d{1,18})?)\s*([%‰°'′″\"]+|[^\W\d_]+(?:/[^\W\d_]+)?)?")
_WORD = re.compile(r"[^\W\d_]{3,}")
_CJK = re.compile(r"[\u4e00-\u9fff]")
_EMPTY_WORDS = frozenset(
    "the and with for this that there from into onto over under are was were has have had not its but side part area"
    " region image shows seen".split()
)
# An answer that holds one of these beside the reference may say the contrary, or something else as well.
_TURNS = re.compile(
    r"""\b(?: no | not | never | without | unlike | neither | nor | or | either | versus | vs | rather | instead
    | except | exclud\w* | rul\w*\ out
    | den(?:y|ies|ied) | reject\w* | less\ likely | unlikely | absen\w* | isn't | wasn't | cannot | can't | but
    | however | although | possibl\w*
    | maybe | perhaps | could | might )\b | [不非无未没或但] | 排除 | 可能 | 除外""",
    re.VERBOSE,
)
# Words that address a grader instead of answering. Medicine has grades and scores too: a word of the question or the
# reference never counts.
_GRADING = re.compile(
    r"""\b(?: grad(?:e|es|ed|er|ing) | scor(?:e|es|ed|ing) | verdicts? | rubrics? | references? | ground\ truth
    | gold(?:en)?\ (?:answer|label)
    | gold\ standard | answer\ key | judg(?:e|es|ed|ment|ement|ing) | evaluat\w+ | examiners? | markers?
    | verif(?:y|ied|ier|iers)
    | correct(?:ly|ness)? | incorrect(?:ly)? | accept(?:ed|able)? | equivalen\w+ | full\ (?:marks?|credit|points?)
    | match(?:es|ed)? | ignor\w+
    | disregard\w* | instruct\w+ | system | assistant | prompts? | developer | policy | override\w* | supersed\w*
    | addendum | errat\w+ | pass(?:ed)?
    | true | count(?:s|ed)?\ (?:as|for) | award\w* | authori[sz]ed | reward\w* | json | nonce | expected )\b
    | 评分 | 得分 | 打分 | 判定 | 判为 | 判断 | 正确
    | 参考答案 | 标准答案 | 满分 | 忽略 | 指令 | 系统 | 裁判 | 阅卷 | 考官 | 通过""",
    re.VERBOSE | re.IGNORECASE,
)
_MARKUP = re.compile(
    r"<[|/a-zA-Z!]|\[/?INST\]|```|^#{1,6}\s|[{}]|https?://|\b\w+\s*[=:]{1,2}\s*(?:true|correct|1\.0|10/10|100)\b",
    re.IGNORECASE | re.MULTILINE,
)


class Opinion(NamedTuple):
    """What the rule says, and why."""

    decision: Decision
    why: str


def rule_opinion(question: Question) -> Opinion | None:
    """Return a verdict by rule, or None where the rule has nothing to say. Never raises.

    "incorrect": the answer has another side, number, unit or polarity than the reference, holds the reference beside a
    denial or an alternative, or has nothing in common with it. "correct": the reference stands in an answer without
    denial or doubt.
    """
    wordings = [fold(wording) for wording in (question.reference, *question.aliases) if wording.strip()]
    answer = fold(question.answer)
    if not wordings or not answer:
        return None
    if (why := _contradicts(answer, wordings)) is not None:
        return Opinion("incorrect", why)
    if (why := _other_unit(question)) is not None:
        return Opinion("incorrect", why)
    standing = next((wording for wording in wordings if _stands_in(wording, answer)), None)
    if standing is not None:
        turn = _TURNS.search(answer.replace(standing, " ", 1))
        if turn is not None:
            return Opinion("incorrect", f"the reference stands in the answer beside {turn.group().strip()!r}")
        return Opinion("correct", "the reference stands in the answer, and nothing there denies or doubts it")
    if _same_script(answer, wordings) and not any(_content(answer) & _content(wording) for wording in wordings):
        return Opinion("incorrect", "the answer has no word in common with the reference")
    return None


def suspicious(question: Question) -> str:
    """Return the first thing in an answer that speaks to a grader, hides characters or carries markup; "" = there is
    none. Never raises."""
    hidden = next((char for char in question.answer if unicodedata.category(char) in ("Cf", "Co", "Cn", "Cs")), None)
    if hidden is not None:
        return f"hidden character U+{ord(hidden):04X}"
    answer = clean(question.answer)
    if (mark := _MARKUP.search(question.answer)) is not None:
        return f"markup {mark.group().strip()[:20]!r}"
    context = clean(" ".join((question.question, question.reference, *question.aliases))).casefold()
    words = (match.group() for match in _GRADING.finditer(answer))
    return next((f"the word {word[:30]!r}" for word in words if word.casefold() not in context), "")


def _contradicts(answer: str, wordings: list[str]) -> str | None:
    """Return which side, polarity or number of the answer is not the reference's; None = no such contradiction."""
    spoken, meant = set(_words(answer)), [set(_words(wording)) for wording in wordings]
    for group in _OPPOSITES:
        wanted = {word for word in group if any(word in words for words in meant)}
        named = spoken & set(group)
        if wanted and named and not wanted & named:
            return f"the answer says {sorted(named)[0]!r}, the reference {sorted(wanted)[0]!r}"
    for chars in _OPPOSITES_ZH:
        wanted = {word for word in chars if any(word in wording for wording in wordings)}
        named = {word for word in chars if word in answer}
        if wanted and named and not wanted & named:
            return f"the answer says {sorted(named)[0]!r}, the reference {sorted(wanted)[0]!r}"
    in_wordings = [set(map(float, _NUMBER.findall(wording))) for wording in wordings]
    in_answer = set(map(float, _NUMBER.findall(answer)))
    if in_answer and any(in_wordings) and not any(in_answer & one for one in in_wordings):
        return f"the answer's numbers are {sorted(in_answer)[:4]}, none of them the reference's"
    return None


def _other_unit(question: Question) -> str | None:
    """Return where the answer gives a number of the reference with another sign, comparison or unit; case is meaning
    here (mg, Mg). None where either has no unit to compare."""
    quantities = _QUANTITY.findall(clean(question.answer))
    for wording in (question.reference, *question.aliases):
        for before, number, unit in _QUANTITY.findall(clean(wording)):
            same = [(sign, other) for sign, value, other in quantities if float(value) == float(number)]
            if same and unit and all(other and (sign, other) != (before, unit) for sign, other in same):
                return f"the answer says {same[0][0] + number + ' ' + same[0][1]!r}, the reference {wording[:40]!r}"
    return None


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text)


def _content(text: str) -> set[str]:
    """Return the first five letters of the words that carry meaning, and every Chinese character."""
    return {word[:5] for word in _WORD.findall(text) if word not in _EMPTY_WORDS} | set(_CJK.findall(text))


def _same_script(answer: str, wordings: list[str]) -> bool:
    """Whether there are words to compare: a Chinese answer shares none with an English reference, and may be right."""
    chinese = bool(_CJK.search(answer))
    return bool(_content(answer)) and any(
        bool(_CJK.search(wording)) == chinese and bool(_content(wording)) for wording in wordings
    )


def _stands_in(wording: str, answer: str) -> bool:
    before, after = ("" if _CJK.match(edge) else r"\w" for edge in (wording[0], wording[-1]))
    pattern = (rf"(?<!{before})" if before else "") + re.escape(wording) + (rf"(?!{after})" if after else "")
    return re.search(pattern, answer) is not None

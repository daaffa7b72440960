"""Judging without a model: checks that settle an answer before any call, and equality with the reference (JUDGING.md, layers 1 and 2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from judges.verdict import Assessment, Criteria, JudgeMedia, Question, Verdict

# An answer span longer than this is no short answer; it is refused before it can fill a judge's context.
MAX_ANSWER_CHARS = 1500
# The same for a text judged by criteria, which may be a whole report.
MAX_CANDIDATE_CHARS = 20_000
# A capital A is left alone: "A positive" is a blood group.
_ARTICLES = re.compile(r"^(?:[Tt]he|[Aa]n|a)\s+(?=\w)")
# A leading point stays (".5 mg"), and so does every sign.
_HEADS = " \t\n,;:!?\"'`*_()[]{}。，；：！？“”‘’「」『』【】（）"
_ENDS = _HEADS + "."
_SUPERSCRIPTS = str.maketrans({char: f"^{digit}" for digit, char in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
_TAGS = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_LATEX = re.compile(r"\\(?:boxed|text|mathrm|mathbf|textbf)\s*\{|[{}$]")
_PLACEHOLDERS = frozenset(
    """null|nil|undefined|nan|n/a|na|none given|no answer|answer|the answer|your answer|your answer here|answer here|
    final answer|reference|the reference|reference answer|the reference answer|ground truth|see ground truth|see reference|
    see the reference|gold|gold answer|expert answer|target|label|ditto|same|same as above|idem|see above|as above|
    correct|the correct answer|correct answer|right answer|the right answer|true answer|the reference answer is correct|
    same as reference|same as the reference|same as the expert answer|same as the expert answer above|as per reference|candidate|
    response|solution|the solution|placeholder|insert answer here|todo|tbd|unknown|参考答案|同上|见上|正确答案|答案|正确|标准答案|
    见参考答案|与参考答案相同""".replace("\n", "").split("|")
)
_PLACEHOLDERS = frozenset(text.strip() for text in _PLACEHOLDERS)
_SLOT = re.compile(
    r"[{<\[(%]+\s*(?:[\w .]{0,60}(?:reference|target|answer|question|rubric|gold|truth|label|response|candidate)[\w .!:]{0,60}"
    r"|0?\.__\w{1,40}[\w.]{0,60})\s*[}>\])%]+",
    re.IGNORECASE,
)
_OPENERS = re.compile(
    r"(?:thought process|thinking process|solution|explanation|reasoning|analysis|answer|final answer|response"
    r"|conclusion|verdict|output|result|step 1"
    r"|respuesta|réponse|reponse|antwort|lösung|losung|risposta|resposta"
    r"|解答|答案|回答|解释|解析|分析|解|思考过程|以下のように考えます|回答[::]以下のように考えます)\s*[::.]*"
    r"|(?:let'?s|let me|i will|i'll|we will|we'll) (?:think|work|solve|go|reason|break|consider|analy[sz]e|look|start|begin|take)[^.!?]{0,80}[.!?:]*"
    r"|(?:sure|certainly|of course|okay|ok|great question)[!,.]*(?: (?:happy|glad) to help[^.!?]{0,80}"
    r"| i(?:'d| would) be (?:happy|glad)[^.!?]{0,80}| here(?: is|'s)[^.!?]{0,80})?[.!:]*"
    r"|here(?: is|'s| are) (?:my|the|a)[^.!?]{0,80}:",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    """NFKC; control, zero-width, bidi and Unicode-tag characters removed; white space collapsed. What a judge may see of an answer."""
    normal = unicodedata.normalize("NFKC", text)
    kept = "".join(
        char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn") else " " if char in "\n\t\r" else ""
        for char in normal
    )
    return re.sub(r"\s+", " ", kept).strip()


def fold(text: str) -> str:
    """The conservative form in which two answers are equal: cleaned, case-folded, outer article and punctuation dropped. Signs and digits stay."""
    bare = _LATEX.sub(" ", _TAGS.sub(" ", clean(text.translate(_SUPERSCRIPTS))))
    bare = re.sub(r"\s+", " ", bare).lstrip(_HEADS).rstrip(_ENDS)
    return _ARTICLES.sub("", bare).lstrip(_HEADS).casefold()


def equals_reference(answer: str, reference: str, aliases: tuple[str, ...] = ()) -> bool:
    """True if the whole answer is the reference or one of its aliases after `fold`; nothing is contained, stemmed or guessed."""
    folded = fold(answer)
    return bool(folded) and any(folded == fold(wording) for wording in (reference, *aliases))


def precheck(question: Question) -> Verdict | None:
    """The verdict that needs no model, or None. A wrong guess here must be impossible: only degenerate answers and whole-answer equality."""
    if len(question.answer) > MAX_ANSWER_CHARS:
        return _settled("incorrect", f"the answer is longer than {MAX_ANSWER_CHARS} characters")
    folded = fold(question.answer)
    if equals_reference(question.answer, question.reference, question.aliases):
        return Verdict("correct", reason="equal to the reference or an alias", layer="rules")
    if not folded or not any(char.isalnum() for char in folded):
        return _settled("incorrect", "the answer holds no letter or digit")
    if folded == fold(question.question):
        return _settled("incorrect", "the answer repeats the question")
    cleaned = clean(question.answer)
    if folded in _PLACEHOLDERS or _SLOT.fullmatch(cleaned) or all(_SLOT.fullmatch(part) for part in cleaned.split(" ")):
        return _settled("incorrect", "the answer is a placeholder")
    if _OPENERS.fullmatch(cleaned):
        return _settled("incorrect", "the answer is an opening phrase without content")
    return None


def _settled(decision: str, reason: str) -> Verdict:
    return Verdict("incorrect" if decision == "incorrect" else "correct", reason=reason, layer="precheck")


def _stands_in(words: str, text: str) -> bool:
    """Word-bounded, except beside Chinese and Japanese characters, which are written without spaces."""
    if not words:
        return False
    before, after = ("" if edge >= "\u2e80" else r"\w" for edge in (words[0], words[-1]))
    pattern = (rf"(?<!{before})" if before else "") + re.escape(words) + (rf"(?!{after})" if after else "")
    return re.search(pattern, text) is not None


class RulesJudge:
    """Equality with the gold text and its aliases; everything else is incorrect. For debugging and runs without an endpoint."""

    name = "rules"
    shows_images = False

    def __init__(self) -> None:
        self._num_judged = 0

    async def judge(
        self,
        question: str,
        reference: str,
        aliases: tuple[str, ...],
        answer: str,
        language: str = "en",
        *,
        media: Sequence[JudgeMedia] = (),
        group_key: str | None = None,
    ) -> Verdict:
        """Correct or incorrect, at once. Neither images nor groups change it."""
        self._num_judged += 1
        settled = precheck(Question(question, reference, answer, aliases, language))
        return settled or Verdict("incorrect", reason="not equal to the reference or an alias", layer="rules")

    async def assess(self, asked: Criteria) -> Assessment:
        """Met iff the words of the criterion stand in the candidate as they are: for debugging, understands neither negation nor synonyms."""
        self._num_judged += 1
        candidate = fold(asked.candidate)
        met = tuple(_stands_in(fold(criterion), candidate) for criterion in asked.criteria)
        return Assessment(met, reason="the criterion's words were looked up in the text, for debugging only", layer="rules")

    async def check(self) -> None:
        """Nothing can fail."""

    def check_now(self) -> None:
        """Nothing can fail."""

    def describe(self) -> str:
        """Says that no model is asked."""
        return "judge=rules: open answers are compared with the gold text and its aliases after normalisation; no judge model is asked"

    def metrics(self) -> dict[str, float]:
        """The number of judgements."""
        return {"judge/judged": float(self._num_judged)}

    async def close(self) -> None:
        """Nothing to give back."""

"""Settles answers before any call (JUDGING.md, layer 1): without content they are incorrect, equal to the reference
correct.

A wrong guess here must be impossible. Words that are no answer to one question are the answer to another ("Na" for
sodium, "same" after a comparison, "solution" for saline, "target" for the target sign), so they are settled only where
neither question nor reference speaks of such a thing, and are left to the judge otherwise.
"""

from __future__ import annotations

import re

from judges.guards.wording import clean, equals_reference, fold
from judges.verdict import Question, Verdict

# Characters of the longest answer span. A longer one is no short answer and would fill a judge's context.
MAX_ANSWER_CHARS = 1500
# Characters of the longest text for criteria, which may be a whole report.
MAX_CANDIDATE_CHARS = 20_000
# A question that is neither long nor begins like one may be answered by its own words ("Pneumothorax?").
_IS_A_QUESTION = re.compile(r"(?:which|what|where|who|when|why|how|name|in which|on which)\b|.{25}|.*(?:哪|什么|何)")


def _words(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.replace("\n", "").split("|"))


# These speak of an answer and never are one.
_PLACEHOLDERS = _words(
    """answer|your answer|your answer here|answer here|final answer|the final answer|reference|reference answer|
    ground truth|
    see ground truth|see reference|see the reference|gold answer|gold text|expert answer|the answer is|correct answer|
    right answer|true answer|the reference answer is correct|same as reference|same as the reference|
    same as the expert answer|
    same as the expert answer above|identical to the reference|as per reference|as in the reference|
    copy of the reference|
    placeholder|insert answer here|insert your answer here|todo|tbd|no answer|none given|my answer|
    this is the correct answer|
    my answer is right|my answer is correct|参考答案|正确答案|答案|标准答案|见参考答案|与参考答案相同|与参考答案一致|
    与标准答案一致|同参考答案|同标准答案|答案是|答案如下"""
)
# Openers of a text that goes on, and does not.
_OPENERS = _words(
    """thought process|thinking process|reasoning|explanation|analysis|verdict|réponse|reponse|respuesta|antwort|lösung|
    losung|
    risposta|resposta|explication|analyse|raisonnement|begründung|erklärung|razonamiento|explicación|
    ответ|решение|объяснение|
    解答|回答|解释|解析|分析|思考过程|解题过程|推理过程|以下のように考えます|回答:以下のように考えます|かいせつ|解説|答え|考察|풀이|해설|답"""
)
_ASKS_YES_OR_NO = (
    r"\byes\b|\bno\b|correct|\btrue\b|\bfalse\b|对|错|是|否|吗"
    r"|^(?:is|are|was|were|do|does|did|has|have|can|could|should|will|would)\b"
)
# Where "correct", "sure" and the like may mean yes.
_ASKS_FOR_CONSENT = (
    r"correct|proper|appropriate|right|true|yes|adequate|satisf|accept|good|well|ok|valid|accura|position|place"
    r"|^(?:is|are|was|were|do|does|did|has|have|had|can|could|should|will|would|whether)\b|是|对|正确|适当|吗|否"
)
# Settled only where question, reference and aliases hold nothing that the pattern finds.
_UNLESS = (
    (
        _words("null|nil|undefined|nan|n/a|na"),
        r"\b(?:no|non|none|not|nil|zero|0|never|without|absen\w*|negative|normal\w*|unremarkable|clear|nothing"
        r"|health\w*|intact|free"
        r"|un\w+|empty|any|how many|how"
        r" much|number|count|null|applicable|available|n/?a|sodium|natr\w+)\b|无|没|未|否|不|阴性|正常|零|钠|几|多少",
    ),
    (
        _words("ditto|same|idem|see above|as above|same as above|同上|见上"),
        r"compar|chang|prior|previous|former|earlier|differ|same|follow|interval|stable|identical|equal|above|alike"
        r"|similar"
        r"|比较|变化|相同|一致|上方",
    ),
    (
        _words(
            "correct|正确|对|it is correct|this is correct|correct correct|okay|ok|so|well|alright|sure|certainly|of"
            " course"
        ),
        _ASKS_FOR_CONSENT,
    ),
    (_words("solution|solucion|solución"), r"solu|saline|fluid|liquid|dissol|suspens|infus|irrigat|溶|液"),
    (
        _words("response|output|result|conclusion"),
        r"respon|react|remission|recist|output|result|outcome|conclu|test|urine|cardiac|反应|结果",
    ),
    (_words("step 1|step one|first step|步骤1|第一步"), r"step|first|stage|phase|\b1\b|\bone\b|\bi\b|步|阶段|一"),
    (_words("解"), r"解"),
)
# A slot of a template that was never filled: any name in the brackets of a template language, or words of grading in
# any brackets.
# A name with a value beside it is filled: {"answer": "melanoma"}.
_SLOT = re.compile(
    r"(?:\{\{|\{%|<%=?|\$\{|#\{|%\(|<<|\[%|\[\[|\{)(?![^{}<>\[\]]*(?:[\"']\s*:|:\s*[\"']?\w\w|:\s|=|\bis\b))"
    r"[^{}<>\[\]()%]{0,20}\b(reference|target|answer|question|rubric|gold|gold_text|truth|label|response"
    r"|candidate|rubric_item|raw|endraw)\b[^{}<>\[\]()%]{0,60}(?:\}\}|%\}|%>|\}|\)s|>>|%\]|\]\])"
    r"|\{[\w#/ ]{0,20}\.?__\w{1,40}[\w.]{0,60}\}"
    r"|[\[(<]\s*(?:the |your |insert |see |cited )*(?:reference|reference answer|ground truth|answer|answer here|gold"
    r" answer|rubric)\s*[\])>]",
    re.IGNORECASE,
)
# Symbols that answer some questions: which symbols, and what question or reference must hold for the judge to be asked.
_SYMBOLS = (
    (
        r"[+\-−–±]",
        r"positiv|negativ|plus|minus|present|absent|\byes\b|\bno\b|\brh|\bsign|charge|(?<!\w)[+-]|[+-](?!\w)"
        r"|阳|阴|正|负|有|无|是|否",
    ),
    (
        r"[✓✔✅☑👍✗✘❌👎√×✕✖☒○]",
        _ASKS_YES_OR_NO,
    ),
    (r"[♂♀]", r"\bmale|female|\bm[ae]n\b|\bwom[ae]n\b|\bboy|\bgirl|\bsex\b|gender|男|女|性别"),
    (
        r"[↑↓<>=≥≤]",
        r"increas|decreas|rais|elevat|\bhigher|\blower|reduc|\bris(?:e|en|ing)|\bfall|equal|greater|\bless\b|compar"
        r"|升|降|高|低|等|大|小",
    ),
)

# From here to `_ANNOUNCES_ZH`: the words of a text that only announces an answer (`only_announces`).
_LEAD = re.compile(
    r"(?:(?:okay|ok|(?-i:[Ss]o)|well|alright|first|sure|certainly|of course|great question)(?:\W+|$))*", re.IGNORECASE
)
_ANNOUNCES = re.compile(
    r"let'?s\b|let me\b|here(?: is| are|'s)\b|based on\b|(?:the|my)(?: final)? answer(?: is)?\W*$"
    r"|(?:happy|glad) to help with (?:this|your|the)(?: \w+)? (?:question|problem|image|case)\W*$",
    re.IGNORECASE,
)
# These may also be a yes, where that is asked for.
_ANNOUNCES_OR_AGREES = re.compile(r"(?:i|we)(?:'ll| will)\b|(?:happy|glad) to help\b", re.IGNORECASE)
_AGREES = re.compile(r"\b(?:it|that|there|this)(?: is|'s)\b|\b(?:i|we) will\W*$", re.IGNORECASE)
# Read over together; a word of them alone may be an answer ("one", "a complete tear").
_IN_PASSING = re.compile(
    r"\bone (?:step|thing) at a time\b|\bone by one\b|\bhow (?:i|we)\b|\b(?:full|complete|detailed)(?="
    r" (?:reasoning|analysis|explanation|thought)\b)",
    re.IGNORECASE,
)
# The only words of an announcement after its beginning: no number, place, adjective or treatment, so that "I'll go with
# melanoma" is none.
_SAYS_NOTHING = frozenset(
    """the a an this that these it its is are my your you of to at by on in with for from and then how what see here
    answer final requested followed
    think thinking work solve go reason break consider analyze analyse look start begin take through into about arrive
    arrived happy glad help
    step steps time carefully slowly systematically logically image images picture problem provided reasoning analysis
    explanation thought process
    """.split()
)
# A sign may be the answer; a hyphen is none.
_NO_SIGNS = re.compile(r"(?:[\w\s,.:;!?']|(?<=\w)-(?=\w))*")
_ANNOUNCES_ZH = re.compile(
    r"(?:首先|好的|那么)?,?让(?:我们|我)(?:来|先|仔细|认真|一步一步|一步步|逐步|地|观察|查看|看|分析|思考|推理|一下"
    r"|这张|这幅|这个|图像|图片|影像|问题|题目|[,。.:!])+"
)


def precheck(question: Question) -> Verdict | None:
    """Return the verdict that needs no model, or None: the judge decides. Only degenerate answers and equality of the
    whole answer are settled."""
    if len(question.answer) > MAX_ANSWER_CHARS:
        return _incorrect(f"the answer is longer than {MAX_ANSWER_CHARS} characters")
    if equals_reference(question.answer, question.reference, question.aliases):
        return Verdict("correct", reason="equal to the reference or an alias", layer="rules")
    folded, cleaned = fold(question.answer), clean(question.answer)
    known = "\n".join(clean(text).casefold() for text in (question.question, question.reference, *question.aliases))
    if not any(char.isalnum() for char in folded):
        if any(
            re.search(symbols, cleaned) and re.search(context, known, re.MULTILINE) for symbols, context in _SYMBOLS
        ):
            return None
        return _incorrect("the answer holds no letter or digit")
    wordings = [fold(wording) for wording in (question.reference, *question.aliases)]
    if any(_may_abbreviate(folded, wording) for wording in wordings):
        return None
    question_folded = fold(question.question)
    if folded == question_folded and _IS_A_QUESTION.match(question_folded):
        return _incorrect("the answer repeats the question")
    if folded in _PLACEHOLDERS or _only_slots(cleaned, wordings):
        return _incorrect("the answer is a placeholder")
    if folded in _OPENERS and folded not in known:
        return _incorrect("the answer is an opening phrase without content")
    if any(folded in words and not re.search(unless, known, re.MULTILINE) for words, unless in _UNLESS):
        return _incorrect("the answer is a placeholder or an opening phrase")
    if only_announces(cleaned, bool(re.search(_ASKS_YES_OR_NO, known, re.MULTILINE))):
        return _incorrect("the answer is an opening phrase without content")
    return None


def _may_abbreviate(folded: str, wording: str) -> bool:
    """Whether the letters stand in this order in a wording that begins with the first: "NA" is noradrenaline, "SO" the
    superior oblique."""
    letters = iter(wording[1:])
    return (
        folded.isalpha()
        and len(folded) <= 4
        and folded[0] == wording[:1]
        and all(char in letters for char in folded[1:])
    )


def _only_slots(cleaned: str, wordings: list[str]) -> bool:
    names = [(slot[1] or "").casefold() for slot in _SLOT.finditer(cleaned)]
    if any(name and name in wording for name in names for wording in wordings):
        return False  # "[[gold]]" where gold is the answer
    return bool(names) and not any(char.isalnum() for char in _SLOT.sub(" ", cleaned))


def _incorrect(reason: str) -> Verdict:
    return Verdict("incorrect", reason=reason, layer="precheck")


def only_announces(text: str, asks_yes_or_no: bool) -> bool:
    """Whether a text from `clean` says no more than that an answer is to come ("Okay, let me look at the image:").
    False in doubt: then the judge reads it."""
    text = text.replace("’", "'")
    if _ANNOUNCES_ZH.fullmatch(text):
        return True
    if not _NO_SIGNS.fullmatch(text):
        return False
    rest = _LEAD.sub("", text, count=1)
    if not rest:  # "Okay, so", but neither "First." nor "Sure!"
        return not asks_yes_or_no and len(text.split()) > 1 and "first" not in text.casefold()
    if asks_yes_or_no and _AGREES.search(rest):
        return False
    beginning = _ANNOUNCES.match(rest) or (None if asks_yes_or_no else _ANNOUNCES_OR_AGREES.match(rest))
    if beginning is None:
        return False
    words = re.findall(r"\w+", _IN_PASSING.sub(" ", rest[beginning.end() :]))
    return all(word.islower() and word in _SAYS_NOTHING for word in words)  # "A" is no article, "US" an ultrasound

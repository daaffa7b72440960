"""Texts that only announce an answer ("Okay, let me look at the image:") and hold none (JUDGING.md, layer 1)."""

from __future__ import annotations

import re

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


def only_announces(text: str, asks_yes_or_no: bool) -> bool:
    """Whether a cleaned text says no more than that an answer is to come. False in doubt: the judge reads it then."""
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
    begun = _ANNOUNCES.match(rest) or (None if asks_yes_or_no else _ANNOUNCES_OR_AGREES.match(rest))
    if begun is None:
        return False
    words = re.findall(r"\w+", _IN_PASSING.sub(" ", rest[begun.end() :]))
    return all(word.islower() and word in _SAYS_NOTHING for word in words)  # "A" is no article, "US" an ultrasound

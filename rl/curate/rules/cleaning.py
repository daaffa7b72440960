"""Captions and what they may not hold: what is not in the picture, what names somebody, what belongs to the paper and
not to the image (D1, D7)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import NamedTuple

from rl.curate.text import fold, words

MAX_CHARS = 4_000
# One panel is a picture; with more, one caption tells of several.
_PANEL = re.compile(
    r"(?:^|[\s;,.(])\(?([A-Za-z]|[0-9]{1,3})\)(?=[\s:,.;]|$)|(?:^|[.;:\s])\(?([A-H])[:.]\s(?=[A-Z])"
    r"|(?:^|[.;。；]\s*|\d\s+)([A-H])\s*(?:[:：]|,\s)(?=\s*\S)"
)
_PANELS_IN_WORDS = re.compile(
    r"\b(?:panels?|subfigures?)\s+\(?[A-Za-z0-9]\b|\bfrom left to right\b|\((?:left|right|top|bottom)\)"
    r"|\b(?:left|right|top|bottom|upper|lower|middle)[- ](?:panel|row|image)s?\b"
    r"|(?:^|[.;]\s*)(?:left|top):\s.*[.;]\s*(?:right|bottom):"
    r"|[（(]?[左右上下]图|\((?:[A-Za-z](?:\s*[,&–-]\s*[A-Za-z])+)\)",
    re.IGNORECASE,
)
# A whole sentence of these goes; what is left is the caption.
_NOT_SEEN = re.compile(
    r"\b(?:see (?:the )?text|see (?:above|below|fig|table)|refer to|in the text|same (?:patient|case)"
    r"|(?:described|discussed|mentioned) (?:above|below|elsewhere)|as in (?:fig|figure)|reprinted|reproduced"
    r"|courtesy of|credits?:|source:|contributed by|(?:image|photo(?:graph)?) by|radiopaedia|wikimedia"
    r"|copyright|©|permission|licen[cs]ed?|adapted from|from ref|et al\b|doi\b|https?:|www\."
    r"|at \d+ (?:days?|weeks?|months?|years?)\b"
    r"|follow[- ]?up (?:after|at|on|in)|(?:days?|weeks?|months?|years?) (?:after|later|before|post)"
    r"|scale bar|original magnification|magnification|h\s?&\s?e\b|ha?ematoxylin|stain(?:ed|ing)?\b"
    r"|19\d\d|20\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2,4})"
    r"|(?:见(?:正文|图|表)|同一(?:患者|病例)|转载|版权|引自|术后\d|随访|染色|放大倍数)",
    re.IGNORECASE,
)
_AGE = re.compile(
    r"\b(?:(?:in|of|from|for) )?(?:a |an |the )?\d{1,3}[ -]?(?:(?:year|yr|month|week|day)s?[ -]old|y/?o\b)"
    r"(?: (?:man|woman|boy|girl|male|female|patient|child|infant))?|\b\d{2}[MF]\b|\baged? \d{1,3}\b"
    r"|(?:男|女)[性，,]?\s?\d{1,3}\s?岁|\d{1,3}\s?岁(?:男|女)?性?",
    re.IGNORECASE,
)
_FIGURE = re.compile(
    r"^\s*(?:supplement(?:ary|al)\s+)?(?:fig(?:ure)?s?|plate|image|case|video|movie|clip)\.?\s*\(?S?\d+\s*[a-z]?"
    r"(?:\s*[-–]\s*\d*[a-z]?(?=[.:,)| ]))?\)?\s*(?:[.:,)|–-]|(?=[A-Z]))\s*"
    r"|^\s*图\s*\d+[a-zA-Z]?\s*[.:：、]?\s*",
    re.IGNORECASE,
)
_FIGURE_INSIDE = re.compile(r"\bfig(?:ure)?s?\.?\s*\d|\btable \d|图\s*\d|表\s*\d", re.IGNORECASE)
# Marks drawn for the reader of the paper. They may have been cropped away, and they give the place away.
_MARKS = re.compile(r"\barrow(?:head)?s?\b|\basterisks?\b|\bstars?\b|\bcircled?\b|\*|箭头|星号", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\s*(?:[(（][^()（）]{0,80}[)）]|\[[^\[\]]{0,80}\])")
# Numbers of a paper's list of references, and what is left of a web page.
_CITED = re.compile(r"\s*(?:\[\d+(?:\s*[,–-]\s*\d+)*\]|\(refs?\.? \d[\d ,–-]*\))", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,80}>")
_NAMED = re.compile(r"\b[Pp]atient,?:? [A-Z][a-z]+ [A-Z][a-z]+")
_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof)\.? (?:[A-Z]\. ?)*[A-Z][a-z]+|\b(?:MRN|DOB|patient (?:id|name))\b", re.IGNORECASE
)
# What a clip's caption tells that is not to be seen (D7).
_UNSEEN_IN_CLIP = re.compile(
    r"\bnarrat|\bvoice|\bsays?\b|\bspeak|\bspoken|\bsound|\baudio|\bmusic|\bsubscri|\bchannel\b|\bon-?screen text"
    r"|\bcaptions? read|\btext (?:reads|appears|overlay)|\btitle card|\blogo\b|\bwatermark|\byoutube"
    r"|旁白|解说|声音|音乐|字幕|频道|订阅|水印",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(
    r"^\S+\.(?:png|jpe?g|tiff?|dcm|nii(?:\.gz)?|bmp|gif|mp4|webm|avi)$|^[A-Za-z]*[_\d-]+$", re.IGNORECASE
)
_SENTENCES = re.compile(r"(?<![Ff]ig\.)(?<![Ff]igs\.)(?<!No\.)(?<!vs\.)(?<=[.!?;])\s+(?=[A-Z0-9(])|(?<=[。！？；])")


def _begins_with_age(sentence: str) -> bool:
    age = _AGE.match(sentence)
    return age is not None and age[0][0].isascii()


class Cleaned(NamedTuple):
    """A caption as it may be used, or why it may not: exactly one of the two is not empty."""

    text: str = ""
    reason: str = ""


def clean_caption(caption: str, *, min_words: int, file_name: str = "", clip: bool = False) -> Cleaned:
    """A caption without what is not in the picture.

    Sentences that tell of the paper, of other times or of stains go, and so do figure numbers, ages and marks in
    brackets. What cannot be cut (several panels, a mark that the sentence rests on, a name) drops the caption.
    `file_name`: of the medium; a caption that repeats it says nothing.
    """
    text = " ".join(_CITED.sub("", _TAG.sub("", html.unescape(caption[: MAX_CHARS * 4]))).split())
    if not text:
        return Cleaned(reason="no caption")
    if num_panels(text) > 1:
        return Cleaned(reason="one caption for several panels")
    if len(caption) > MAX_CHARS:
        return Cleaned(reason="longer than a caption")
    if _FILE_NAME.match(text) or (file_name and words(text) == words(file_name)):
        return Cleaned(reason="the caption is a file name")
    if _TITLED.search(text) or _NAMED.search(text):
        return Cleaned(reason="may name somebody")
    text = _FIGURE.sub("", text)
    text = _IN_BRACKETS.sub(
        lambda match: "" if _MARKS.search(match[0]) or _FIGURE_INSIDE.search(match[0]) else match[0], text
    )
    # A sentence that begins with an age tells who was ill, and without it says nothing whole.
    text = " ".join(one for one in _SENTENCES.split(text) if not _NOT_SEEN.search(one) and not _begins_with_age(one))
    text = " ".join(_AGE.sub("", text).split()).strip(" ,;:，；：").lstrip(".。 ")
    text = re.sub(r"\s+([,.;:])", r"\1", text)
    if _MARKS.search(text) or _FIGURE_INSIDE.search(text):
        return Cleaned(reason="rests on a mark or another figure")
    if clip and _UNSEEN_IN_CLIP.search(text):
        return Cleaned(reason="tells of sound, text or channel")
    if len(words(text)) < min_words:
        return Cleaned(reason=f"fewer than {min_words} words" if text else "nothing of it is to be seen")
    return Cleaned(text[:1].upper() + text[1:])


def num_panels(text: str) -> int:
    """How many panels of a figure a caption tells of; 1 = no more than one can be seen."""
    letters = {(match[1] or match[2] or match[3]).lower() for match in _PANEL.finditer(text)}
    if _PANELS_IN_WORDS.search(text):
        return max(2, len(letters))
    return max(1, len(letters))


def too_often(captions: Iterable[str], most: int) -> set[str]:
    """Captions, folded, that stand at more than `most` items."""
    counts: dict[str, int] = {}
    for caption in captions:
        key = fold(caption)
        counts[key] = counts.get(key, 0) + 1
    return {key for key, count in counts.items() if key and count > most}

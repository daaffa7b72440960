"""How other projects grade, rewritten from what their code does: `as_in: medevalkit | r2gen | mmmu`.

A column of these explains the gap between a number here and a published one, row by row. They are never the headline
and never a reward: each of them pays answers that are wrong, which its docstring says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from rewards.metrics import bleu, overlap
from rewards.metrics.cider import cider, cider_d, rarity
from rewards.metrics.cutting import ptb, stops
from rewards.metrics.result import TextRow
from rollouts.nearest import likeness
from rollouts.records import LETTERS

GRADERS = ("medevalkit", "r2gen", "mmmu")
Kind = Literal["yes_no", "mcq", "open"]


class Item(NamedTuple):
    """A question as a foreign grader sees it."""

    kind: Kind
    # The whole completion, or its answer; each grader looks for the answer by its own rules.
    answer: str
    # The gold answer: "yes", the letter of the option, or texts that are right.
    gold: tuple[str, ...]
    options: tuple[str, ...] = ()


def as_in(grader: str, item: Item) -> float | None:
    """What that project gives an answer, 0 to 1; None = it has no rule for such a question.

    Raises:
        ValueError: an unknown grader.
    """
    if grader not in GRADERS:
        raise ValueError(f"as_in is {grader!r}, expected one of {', '.join(GRADERS)}")
    rules = _RULES[grader]
    return rules[item.kind](item) if item.kind in rules else None


def reports_as_in(
    grader: str, rows: Sequence[TextRow], *, train: Sequence[str] = (), max_words: int = 59
) -> dict[str, float]:
    """The report metrics of a project, as means over rows (or corpus scores), on the scale of the original.

    medevalkit: `rouge` 1.0.1 ROUGE-L F of the lower-cased texts, rows without an answer left out of its mean; nltk's
    BLEU-1 to 4, unsmoothed, with full stops as tokens; plain CIDEr. The references must already be in its form,
    "Findings: F Impression: I.".
    r2gen: both sides cleaned (lower case, punctuation gone, sentences joined by " . "), the reference cut after
    `max_words` words (59 for IU-Xray, 99 for MIMIC-CXR) and its words that `train`, the training reports, holds fewer
    than 3 times (IU-Xray) written <unk>; then the captioning metrics' BLEU-1 to 4, ROUGE-L and CIDEr-D. Without `train`
    no word is unknown. Its METEOR is 1.5 in Java and is not computed.

    Raises:
        ValueError: a grader without report metrics, or no rows.
    """
    if not rows:
        raise ValueError(f"as_in {grader}: there are no rows")
    if grader == "medevalkit":
        return _medevalkit_reports(rows)
    if grader == "r2gen":
        return _r2gen_reports(rows, _known_words(train), max_words)
    raise ValueError(f"as_in {grader!r} has no report metrics, expected medevalkit or r2gen")


def r2gen_text(report: str) -> str:
    """A report as R2Gen's IU-Xray cleaner leaves it."""
    text = report
    for _ in range(3):
        text = text.replace("..", ".")
    text = text.replace("1. ", "")
    for number in "2345":
        text = text.replace(f". {number}. ", ". ")
    for number in "2345":
        text = text.replace(f" {number}. ", ". ")
    sentences = text.strip().lower().split(". ")
    # The original's class of signs holds a range from ":" to "[", which in lower case are these.
    cleaned = (re.sub(r"[.,?;*!%^&_+():<=>@\[\]{}\"/\\']", "", sentence).strip() for sentence in sentences)
    return " . ".join(cleaned) + " ."


def _known_words(train: Sequence[str], least: int = 3) -> frozenset[str] | None:
    if not train:
        return None
    counts: dict[str, int] = {}
    for report in train:
        for word in r2gen_text(report).split():
            counts[word] = counts.get(word, 0) + 1
    return frozenset(word for word, number in counts.items() if number >= least)


def _r2gen_reports(rows: Sequence[TextRow], known: frozenset[str] | None, max_words: int) -> dict[str, float]:
    def reference(text: str) -> list[str]:
        words = r2gen_text(text).split()[:max_words]
        return [word if known is None or word in known else "<unk>" for word in words if word != "."]

    answers = [[word for word in r2gen_text(row.answer or "").split() if word != "."] for row in rows]
    references = [[reference(text) for text in row.references] for row in rows]
    pairs = list(zip(answers, references, strict=True))
    scores = bleu.coco_bleu(bleu.add([bleu.count(one, texts) for one, texts in pairs]))
    metrics = {f"bleu_{order}": score for order, score in enumerate(scores, start=1)}
    metrics["rouge_l"] = sum(overlap.rouge_l_coco(one, texts) for one, texts in pairs) / len(rows)
    rare = rarity(references)
    if not rare.fault:
        metrics["cider_d"] = sum(cider_d(one, texts, rare) for one, texts in pairs) / len(rows)
    return metrics


def _medevalkit_reports(rows: Sequence[TextRow]) -> dict[str, float]:
    texts = [((row.answer or "").lower(), row.references[0].lower()) for row in rows]
    rouges = [score for one, other in texts if (score := overlap.rouge_l_of_package(one, other)) is not None]
    metrics = {"rouge_l": sum(rouges) / len(rouges)} if rouges else {}
    for order in range(1, bleu.ORDERS + 1):
        scores = (bleu.nltk_bleu([bleu.count(stops(one), [stops(other)])], order) for one, other in texts)
        metrics[f"bleu_{order}"] = sum(scores) / len(rows)
    tokens = [(ptb(one), [ptb(other)]) for one, other in texts]
    rare = rarity([references for _, references in tokens])
    if not rare.fault:
        metrics["cider"] = sum(cider(one, references, rare) for one, references in tokens) / len(rows)
    return metrics


_MARKS = (
    "**answer**:", "**answer**", "*answer*:", "**answer:**", "answer is", "answer:", "答案:", "final answer",
    "final answer is",
)  # fmt: skip
_BOXED = re.compile(r"\\?boxed\{([^{}]{0,2000})\}")
_ANSWER_TAG = re.compile(r"<answer>(.{0,20000}?)</answer>", re.DOTALL)


def _medevalkit_answer(completion: str) -> str:
    text = completion.lower()
    if boxed := _BOXED.findall(text):
        text = boxed[-1]
    elif tagged := _ANSWER_TAG.findall(text):
        text = " ".join(tagged)
    for mark in _MARKS:
        text = text.split(mark)[-1]
    return text


def _medevalkit_yes_no(item: Item) -> float:
    """Exactly one of "yes" and "no" occurs as a part of the answer, and it is the gold: "abnormal", "nodule" and "not
    sure" hold "no"."""
    text = _medevalkit_answer(item.answer).replace("\n", "").replace(".", "")
    alone = ("yes" in text) != ("no" in text)
    return float(alone and item.gold[0].lower() in text)


def _medevalkit_open(item: Item) -> float:
    """The lower-cased answer equals the gold, character by character; a judge may replace it there."""
    return float(_medevalkit_answer(item.answer).strip() == item.gold[0].lower().strip())


def _medevalkit_choice(item: Item) -> float:
    """The letter, the option's text, or, where the answer is neither, the option it is spelled most alike: an answer
    that names none is given one."""
    letters = [letter.lower() for letter in LETTERS[: len(item.options)]]
    options = [option.lower() for option in item.options]
    gold = item.gold[0].strip().lower()
    text = item.answer.lower()
    parts = text.split("\n\n")
    if parts[0] in letters:
        text = parts[0]
    elif parts[-1].split(".")[0] in letters:
        text = parts[-1].split(".")[0]
    text = _medevalkit_answer(text).strip().replace("\n", "")
    short = text.split(".")[0].split(":")[-1]
    if short == gold:
        return 1.0
    if short in letters:
        return float(options[letters.index(short)] == gold)
    if short in options:
        return float(gold in letters and short == options[letters.index(gold)])
    scores = [likeness(option, text) for option in options]
    best = scores.index(max(scores))
    return float(gold in (letters[best], options[best]))


def _mmmu_choice(item: Item) -> float:
    """The last "(B)", else the last " B " with blanks around it, which a sentence that begins with "A " has too, else
    in more than five words the last option whose text occurs. Nothing found: one is drawn at random there; here the
    expected value, 1 / options."""
    letters = LETTERS[: len(item.options)]
    text = item.answer
    for mark in ",.!?;:'":
        text = text.strip(mark)
    text = f" {text} "
    bracketed = {letter: text.rfind(f"({letter})") for letter in letters if f"({letter})" in text}
    alone = {letter: text.rfind(f" {letter} ") for letter in letters if f" {letter} " in text}
    places = bracketed or alone
    if not places and len(text.split()) > 5:
        low = text.lower()
        named = zip(letters, item.options, strict=True)
        places = {letter: low.rfind(option.lower()) for letter, option in named if option.lower() in low}
    if not places:
        return 1 / len(letters)
    return float(max(places, key=lambda letter: places[letter]) in item.gold)


_NUMBER = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
_INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")


def _mmmu_open(item: Item) -> float:
    """A gold text occurs in what follows the last word of conclusion, or a number there equals a gold number to two
    places; so "not pneumonia" is paid for "pneumonia"."""
    gold = {form for text in item.gold for form in _mmmu_forms(text)}
    forms = {form for part in _mmmu_parts(item.answer) for form in _mmmu_forms(part)}
    texts = [form for form in gold if isinstance(form, str)]
    return float(any(any(text in one for text in texts) if isinstance(one, str) else one in gold for one in forms))


def _mmmu_parts(answer: str) -> list[str]:
    lines = answer.strip().strip(".").lower().split("\n")
    parts = []
    for place, line in enumerate(lines):
        marks = _INDICATORS + (("=",) if place == len(lines) - 1 else ())
        tails = [line.split(mark)[-1].strip() for mark in marks if mark in line]
        shortest = min(tails, key=len, default="")
        if shortest and shortest not in ":,.!?;'":
            parts.append(shortest)
    parts = parts or ["\n".join(lines)]
    return parts + [number for part in parts for form in _NUMBER for number in form.findall(part)]


def _mmmu_forms(text: str) -> list[str | float]:
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]


_RULES: Mapping[str, Mapping[str, Callable[[Item], float]]] = {
    "medevalkit": {"yes_no": _medevalkit_yes_no, "open": _medevalkit_open, "mcq": _medevalkit_choice},
    "mmmu": {"mcq": _mmmu_choice, "open": _mmmu_open},
    "r2gen": {},
}

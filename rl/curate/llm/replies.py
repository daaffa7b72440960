"""The replies that are asked for, as JSON schemas, and their strict readers: whatever is not exactly right is no
question, and nothing is ever filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from judges.model.reply import Form, object_schema, one_object
from rl.curate.llm import evidence
from rl.curate.text import cjk_share, fold, has_latin
from rollouts.texts.reading import is_blank

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_LONGEST = {"question": 400, "answer": 300, "reasoning": 2_000}
# Share of the words of a text that must come back when its translation is translated back.
LEAST_BACK = 0.5
Read = tuple[dict[str, Any] | None, str]


def _refused(problem: str) -> Read:
    return None, problem


def _texts_fault(value: dict[str, Any], names: Sequence[str]) -> str:
    for name in names:
        text = value[name]
        if not isinstance(text, str) or is_blank(text):
            return f"{name} is empty, or no text"
        if len(text) > _LONGEST[name]:
            return f"{name} has more than {_LONGEST[name]} characters"
        if evidence.holds_markup(text):
            return f"{name} holds markup"
        if evidence.speaks_of_input(text):
            return f"{name} speaks of what was given, not of the picture"
    return ""


def _list_fault(value: Any, name: str, most: int = 300) -> str:
    if not isinstance(value, list) or not all(isinstance(one, str) and not is_blank(one) for one in value):
        return f"{name} is no list of texts"
    return f"a text of {name} is too long" if any(len(one) > most for one in value) else ""


def synthesis_form(facts: Sequence[str]) -> Form:
    """D5: a question with a reasoned answer that rests on the facts."""
    keys = ("nonce", "question", "answer", "answer_type", "evidence", "reasoning")
    schema = object_schema(
        {
            **dict.fromkeys(("nonce", "question", "answer"), _TEXT),
            "answer_type": {"type": "string", "enum": ["open", "yes_no"]},
            "evidence": _TEXTS,
            "reasoning": _TEXT,
        }
    )

    def read(text: object, nonce: str, finish_reason: object) -> Read:
        value, problem = one_object(text, nonce, finish_reason, keys)
        if value is None:
            return _refused(problem)
        fault = _texts_fault(value, ("question", "answer", "reasoning")) or _list_fault(
            value["evidence"], "evidence", 2_000
        )
        return _refused(fault) if fault else _synthesis(value, facts)

    return Form("question", "synthesis_1", schema, read, least_reply_tokens=800)


def _synthesis(value: dict[str, Any], facts: Sequence[str]) -> Read:
    given = " \n ".join(facts)
    spans = " \n ".join(value["evidence"])
    fault = _support_fault(value["answer"], value["evidence"], facts)
    fault = fault or evidence.unsupported(value["answer"], spans) or evidence.unsupported(value["reasoning"], given)
    if not fault and cjk_share(value["question"] + value["answer"]) > 0.1:
        fault = "not in English"
    if not fault and value["answer_type"] not in ("open", "yes_no"):
        fault = "an answer_type that was not offered"
    if not fault and (value["answer_type"] == "yes_no") != (fold(value["answer"]) in ("yes", "no")):
        fault = "answer and answer_type do not fit"
    if fault:
        return _refused(fault)
    content = {name: " ".join(value[name].split()) for name in ("question", "answer", "reasoning")}
    return {**content, "answer_type": value["answer_type"], "reason": "written"}, ""


def _support_fault(answer: str, spans: Sequence[str], facts: Sequence[str]) -> str:
    if not evidence.spans_occur(spans, facts):
        return "the evidence does not stand word for word in what was given"
    return ""


def clip_choice_form(caption: str, count: int) -> Form:
    """D8: one question on a clip with exactly `count` wrong answers."""
    keys = ("nonce", "question", "answer", "distractors", "evidence")
    exactly = {**_TEXTS, "minItems": count, "maxItems": count}
    schema = object_schema({**dict.fromkeys(keys[:3], _TEXT), "distractors": exactly, "evidence": _TEXTS})

    def read(text: object, nonce: str, finish_reason: object) -> Read:
        value, problem = one_object(text, nonce, finish_reason, keys)
        if value is None:
            return _refused(problem)
        fault = _texts_fault(value, ("question", "answer"))
        fault = (
            fault
            or _list_fault(value["distractors"], "distractors")
            or _list_fault(value["evidence"], "evidence", 2_000)
        )
        return _refused(fault) if fault else _clip_choice(value, caption, count)

    return Form("choice", f"video_mcq_1.{count}", schema, read, least_reply_tokens=500)


def _clip_choice(value: dict[str, Any], caption: str, count: int) -> Read:
    options = [value["answer"], *value["distractors"]]
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: len(value["distractors"]) != count, f"{len(value['distractors'])} distractors, {count} were demanded"),
        (lambda: len({fold(one) for one in options}) < len(options), "two options are the same"),
        (lambda: evidence.all_or_none(*options), "an option such as all of the above"),
        (lambda: any(fold(one) in fold(caption) for one in value["distractors"]), "a distractor stands in the caption"),
        (lambda: evidence.holds_markup(*options), "an option holds markup"),
        (lambda: evidence.speaks_of_input(*options), "an option speaks of what was given"),
        (lambda: cjk_share(" ".join([value["question"], *options])) > 0.1, "not in English"),
        (lambda: not evidence.spans_occur(value["evidence"], [caption]), "the evidence does not stand in the caption"),
    )
    fault = next((problem for holds, problem in checks if holds()), "")
    fault = fault or evidence.unsupported(value["answer"], " \n ".join(value["evidence"]))
    if fault:
        return _refused(fault)
    content = {name: " ".join(value[name].split()) for name in ("question", "answer")}
    return {**content, "distractors": [" ".join(one.split()) for one in value["distractors"]], "reason": "written"}, ""


def translation_form(texts: Sequence[str], to: str) -> Form:
    """Texts in another language: as many, with the same numbers, sides, units and negations."""
    exactly = {**_TEXTS, "minItems": len(texts), "maxItems": len(texts)}
    schema = object_schema({"nonce": _TEXT, "translations": exactly})

    def read(text: object, nonce: str, finish_reason: object) -> Read:
        value, problem = one_object(text, nonce, finish_reason, ("nonce", "translations"))
        if value is None:
            return _refused(problem)
        translations = value["translations"]
        if fault := _list_fault(translations, "translations", 8_000):
            return _refused(fault)
        if len(translations) != len(texts):
            return _refused(f"{len(translations)} translations of {len(texts)} texts")
        pairs = zip(texts, translations, strict=True)
        fault = next((fault for one, other in pairs if (fault := _translation_fault(one, other, to))), "")
        return (
            _refused(fault)
            if fault
            else ({"translations": [" ".join(one.split()) for one in translations], "reason": "translated"}, "")
        )

    return Form(
        "translation", f"translate_1.{len(texts)}", schema, read, least_reply_tokens=200 + 4 * sum(map(len, texts))
    )


def _translation_fault(text: str, translation: str, to: str) -> str:
    if evidence.holds_markup(translation):
        return "the translation holds markup"
    if to == "zh" and cjk_share(translation) < 0.5:
        return "the translation is not Chinese"
    if to == "en" and (cjk_share(translation) > 0.1 or not has_latin(translation)):
        return "the translation is not English"
    return evidence.differs(text, translation)

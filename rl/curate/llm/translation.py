"""D3: free text in the languages it lacks, translated, checked, translated back; else the one language stands alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from rl.curate.items import Made
from rl.curate.llm.evidence import overlap
from rl.curate.llm.replies import LEAST_BACK, translation_form
from rl.curate.llm.synthesis import personal, tags_of
from rl.curate.llm.writer import Request, Written
from rl.curate.recipe.schema import Language
from rl.curate.rules.asking import Result, Work, dropped
from rl.curate.text import fold

PROMPT = "translate_1"


def translated(work: Work, made: Sequence[Made]) -> Iterator[Result]:
    """Rows of free text in each language of the recipe that they lack; a drop for each that fails."""
    settings = work.plan.recipe.llm
    for language in work.languages:
        lacking = [row for row in _originals(made) if row.language != language and not _has(made, row, language)]
        if settings is None or not settings.translate:
            for row in lacking:
                yield dropped(row.item, row.rule, "free text without a translation (llm.translate)", language)
            continue
        yield from _into(work, lacking, language)


def _originals(made: Sequence[Made]) -> list[Made]:
    """Rows whose answer somebody wrote, each once."""
    return [row for row in made if row.answer_type == "report" or row.tags.get("model")]


def _has(made: Sequence[Made], row: Made, language: str) -> bool:
    return any(other.pair == row.pair and other.language == language for other in made)


def _into(work: Work, rows: Sequence[Made], language: Language) -> Iterator[Result]:
    sent = [row for row in rows if not personal(row.item, _texts(row))]
    for row in rows:
        if row not in sent:
            yield dropped(row.item, row.rule, "a fact may name or date somebody, so nothing was sent", language)
    there = work.ask(f"texts translated ({language})", [_request(_texts(row), row.language, language) for row in sent])
    good = [(row, one) for row, one in zip(sent, there, strict=True) if one.content is not None]
    for row, one in zip(sent, there, strict=True):
        if one.content is None:
            yield dropped(row.item, row.rule, f"translation: {one.problem}", language)
    back = work.ask(
        "translations translated back", [_request(_translations(one), language, row.language) for row, one in good]
    )
    for (row, one), again in zip(good, back, strict=True):
        if again.content is None:
            yield dropped(row.item, row.rule, f"translation back: {again.problem}", language)
        elif fault := _lost(_texts(row), _translations(again), exact=bool(row.options)):
            yield dropped(row.item, row.rule, fault, language)
        else:
            yield from _row(work, row, _translations(one), language)


def _request(texts: Sequence[str], source: str, to: str) -> Request:
    return Request(translation_form(texts, to), PROMPT, {"from": source, "to": to, "texts": list(texts)})


def _texts(row: Made) -> list[str]:
    """What has to be translated: the caption, or question, answer, thought and wrong options."""
    if row.answer_type == "report":
        return [row.gold]
    others = [option for option in row.options if option != row.gold]
    # Yes and no are written in English in both languages' rows.
    gold = [] if row.answer_type == "yes_no" else [row.gold]
    return [row.question, *gold, *([row.think] if row.think else []), *others]


def _translations(one: Written) -> list[str]:
    content: Any = one.content
    return list(content["translations"])


def _lost(texts: Sequence[str], again: Sequence[str], *, exact: bool) -> str:
    """What the way there and back lost; "" = enough is kept. `exact`: the texts hold options, which must stay apart."""
    kept = [overlap(text, other) for text, other in zip(texts, again, strict=True)]
    if sum(kept) / len(kept) < LEAST_BACK:
        return "translated back, the text says something else"
    if exact and len({fold(text) for text in again[1:]}) < len(again) - 1:
        return "translated back, two options are the same"
    return ""


def _row(work: Work, row: Made, texts: list[str], language: Language) -> Iterator[Result]:
    tags = {**row.tags, **{f"translation_{name}": text for name, text in tags_of(work, PROMPT).items()}}
    if row.answer_type == "report":
        wording = work.wording(row.item, f"{row.rule} {row.task}", row.task, language)
        if wording is None:
            yield dropped(row.item, row.rule, "no wording fits", language)
            return
        yield dataclasses.replace(
            row, language=language, question=wording.text, wording=wording.name, gold=texts[0], tags=tags
        )
        return
    question, *rest = texts
    gold = row.gold if row.answer_type == "yes_no" else rest.pop(0)
    think = rest.pop(0) if row.think else ""
    options = (gold, *rest) if row.options else ()
    keys = (row.gold_key, *(key for key in row.option_keys if key != row.gold_key))
    yield dataclasses.replace(
        row,
        language=language,
        question=question,
        gold=gold,
        think=think,
        options=options,
        option_keys=keys if options else (),
        tags=tags,
    )

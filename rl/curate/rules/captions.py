"""D1 and D7: captions become answers, and the question is drawn from a pool of wordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rl.curate.items import Item, Made
from rl.curate.recipe.schema import CaptionRule, ClipRule
from rl.curate.rules.asking import Result, Work, dropped
from rl.curate.rules.cleaning import clean_caption, too_often
from rl.curate.sources.folders import stem_of
from rl.curate.text import cjk_share, fold
from rl.curate.wordings.pools import also


def caption_rule(work: Work, rule: str, settings: CaptionRule, items: Sequence[Item]) -> Iterator[Result]:
    """Questions answered by the caption (describe, findings), by the modality or by the organ."""
    often = too_often((item.caption for item in items), settings.max_uses)
    for item in items:
        for kind in settings.kinds:
            if kind in ("describe", "findings"):
                yield from captioned(work, rule, kind, item, often, settings.min_words)
            else:
                yield from _named(work, rule, kind, item)


def clip_rule(work: Work, rule: str, settings: ClipRule, items: Sequence[Item]) -> Iterator[Result]:
    """D7: "describe this procedure", answered by the caption of a clip."""
    often = too_often((item.caption for item in items), settings.max_uses)
    for item in items:
        if item.kind != "video":
            yield dropped(item, rule, "no video")
        else:
            yield from captioned(work, rule, "procedure", item, often, settings.min_words, clip=True)


def captioned(
    work: Work, rule: str, kind: str, item: Item, often: set[str], min_words: int, *, clip: bool = False
) -> Iterator[Result]:
    """The question of one caption in the caption's own language; the others need a translation
    (`rl.curate.llm.translation`)."""
    if fold(item.caption) in often:
        yield dropped(item, rule, "the caption stands at too many items", item.language)
        return
    name = stem_of(item.media[0][1].rpartition("/")[2])
    cleaned = clean_caption(item.caption, min_words=min_words, file_name=name, clip=clip)
    if cleaned.reason:
        yield dropped(item, rule, cleaned.reason, item.language, item.caption)
        return
    if (cjk_share(cleaned.text) >= 0.3) != (item.language == "zh"):
        yield dropped(item, rule, "the caption is in another language than it says", item.language, cleaned.text)
        return
    if item.language not in work.languages:
        yield dropped(item, rule, "in a language that the recipe does not write", item.language)
        return
    wording = work.wording(item, f"{rule} {kind}", kind, item.language)
    if wording is None:
        yield dropped(item, rule, "no wording fits", item.language)
        return
    yield Made(
        item=item,
        rule=rule,
        language=item.language,
        question=wording.text,
        wording=wording.name,
        answer_type="report",
        gold=cleaned.text,
        task=kind,
    )


def _named(work: Work, rule: str, kind: str, item: Item) -> Iterator[Result]:
    word = item.modality if kind == "modality" else item.organ
    if not word:
        yield dropped(item, rule, f"no {kind} is given")
        return
    for language in work.languages:
        answer = work.word(word, language)
        wording = work.wording(item, f"{rule} {kind}", kind, language) if answer else None
        if wording is None:
            yield dropped(
                item, rule, "no Chinese word for the answer" if not answer else "no wording fits", language, word
            )
            continue
        yield Made(
            item=item,
            rule=rule,
            language=language,
            question=wording.text,
            wording=wording.name,
            answer_type="open",
            gold=answer,
            gold_key=fold(word),
            aliases=also(word, language),
            task=kind,
        )

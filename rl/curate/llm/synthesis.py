"""D5: a language model writes a reasoned question from picture, label and facts; what does not rest on them is
dropped."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from rl.curate.filters.quality import names_somebody
from rl.curate.items import Item, Made
from rl.curate.llm.replies import synthesis_form
from rl.curate.llm.writer import Request
from rl.curate.recipe.schema import SynthesisRule
from rl.curate.rules.asking import Result, Work, dropped
from rl.curate.rules.cleaning import clean_caption

PROMPT = "synthesis_1"
# A date, a number of a hospital, an address: never sent.
_PERSONAL = re.compile(
    r"\b\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b|\b(?:19|20)\d\d\b|\b\d{6,}\b|\S+@\S+|\b(?:Mr|Mrs|Ms|Dr|Prof)\.? [A-Z]"
)


def synthesis_rule(work: Work, rule: str, settings: SynthesisRule, items: Sequence[Item]) -> Iterator[Result]:
    """One question an item, in English; other languages need a translation (`rl.curate.llm.translation`)."""
    requests: list[tuple[Item, Request]] = []
    for item in items:
        if not work.drawn(item, rule, settings.share):
            continue
        facts = facts_of(work, item, settings.facts)
        if not facts:
            yield dropped(item, rule, "no fact is known")
        elif personal(item, facts):
            yield dropped(item, rule, "a fact may name or date somebody, so nothing was sent")
        else:
            requests.append((item, _request(work, settings, item, facts)))
    written = work.ask("questions written", [request for _, request in requests])
    for (item, _), one in zip(requests, written, strict=True):
        if one.content is None:
            yield dropped(item, rule, one.problem, "en")
            continue
        content = one.content
        yield Made(
            item=item,
            rule=rule,
            language="en",
            question=content["question"],
            wording=PROMPT,
            answer_type="yes_no" if content["answer_type"] == "yes_no" else "open",
            gold=content["answer"].lower() if content["answer_type"] == "yes_no" else content["answer"],
            think=content["reasoning"],
            tags=tags_of(work, PROMPT),
        )


def facts_of(work: Work, item: Item, names: Sequence[str]) -> list[str]:
    """What is known of an item, as short sentences; never who, when or under which file name."""
    facts = [f"{what}: {value}" for what, value in (("modality", item.modality), ("organ", item.organ)) if value]
    labels = [work.plan.ontology.name(label) for label in item.labels]
    facts += [f"finding: {label}" for label in labels]
    caption = clean_caption(item.caption, min_words=3).text if item.caption else ""
    facts += [caption] if caption else []
    facts += [f"{name}: {' '.join(item.facts[name].split())}" for name in names if item.facts.get(name)]
    return facts if labels or caption or len(facts) > 2 else []


def personal(item: Item, facts: Sequence[str]) -> bool:
    """Whether a fact holds a date, a long number, an address, a title with a name, or a word of the patient's key."""
    return any(_PERSONAL.search(fact) for fact in facts) or names_somebody(item, *facts)


def _request(work: Work, settings: SynthesisRule, item: Item, facts: Sequence[str]) -> Request:
    picture = None
    if settings.show_image and work.picture is not None:
        picture = (work.looks[item.id].source_sha256, functools.partial(work.picture, item))
    return Request(synthesis_form(facts), PROMPT, {"facts": list(facts)}, picture)


def tags_of(work: Work, prompt: str) -> dict[str, str]:
    """Which model wrote a question, and under which version of which prompt."""
    if work.writer is None:
        return {}
    return {"model": work.writer.settings.model, "prompt": work.writer.version(prompt)}

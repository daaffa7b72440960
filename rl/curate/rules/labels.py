"""D4: a label becomes multiple choice among random other labels, or a direct question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rl.curate.items import Item, Made
from rl.curate.recipe.schema import ChoiceRule, LabelRule
from rl.curate.rules.asking import Result, Work, dropped
from rollouts.records import stable_hash

# (modality, organ): labels of another one would be trivial distractors.
Pool = tuple[str, str]


def choice_rule(work: Work, rule: str, settings: ChoiceRule, items: Sequence[Item]) -> Iterator[Result]:
    """Multiple choice. One of the item's labels is gold; the options are not in order yet (`rl.curate.letters`)."""
    pools = label_pools(work, items)
    for item in items:
        if not work.drawn(item, rule, settings.share):
            continue
        gold = gold_of(work, rule, item)
        if gold is None:
            yield dropped(item, rule, "no label")
            continue
        others = work.plan.ontology.distractors(gold, item.labels, pools[item.modality, item.organ])
        keys = draw_options(work, rule, item, work.plan.ontology.key(gold), others, settings.distractors)
        if keys is None:
            yield dropped(item, rule, "no label may be its distractor", detail=gold)
            continue
        yield from _questions(work, rule, settings.asks, item, gold, keys)


def label_rule(work: Work, rule: str, settings: LabelRule, items: Sequence[Item]) -> Iterator[Result]:
    """A direct question. An item with several labels has no one right answer and is dropped."""
    pools = label_pools(work, items)
    for item in items:
        if not work.drawn(item, rule, settings.share):
            continue
        if len({work.plan.ontology.key(label) for label in item.labels}) != 1:
            yield dropped(item, rule, "several labels, so no one answer" if item.labels else "no label")
            continue
        pool = tuple(pools[item.modality, item.organ])
        yield from _questions(work, rule, settings.asks, item, item.labels[0], (), pool)


def label_pools(work: Work, items: Sequence[Item]) -> Mapping[Pool, list[str]]:
    """Keys of all labels of a modality and organ, sorted."""
    pools: dict[Pool, set[str]] = {}
    for item in items:
        pools.setdefault((item.modality, item.organ), set()).update(map(work.plan.ontology.key, item.labels))
    return {pool: sorted(keys) for pool, keys in pools.items()}


def gold_of(work: Work, rule: str, item: Item) -> str | None:
    """The label that is asked for: one of the item's, drawn by hash; None where there is none."""
    ordered = sorted(item.labels, key=lambda label: stable_hash(work.seed, "gold", rule, item.id, label))
    return ordered[0] if ordered else None


def draw_options(
    work: Work, rule: str, item: Item, gold: str, others: Sequence[str], bounds: tuple[int, int]
) -> tuple[str, ...] | None:
    """Keys of gold and distractors, gold first; as many as drawn, fewer where there are not so many; None where there
    is none."""
    if not others:
        return None
    count = min(work.number(item, rule, bounds), len(others))
    drawn = sorted(others, key=lambda key: stable_hash(work.seed, "distractor", rule, item.id, key))
    return (gold, *drawn[:count])


def _questions(
    work: Work, rule: str, kind: str, item: Item, gold: str, keys: tuple[str, ...], pool: tuple[str, ...] = ()
) -> Iterator[Result]:
    ontology = work.plan.ontology
    yield from in_each_language(
        work,
        rule,
        kind,
        item,
        ontology.key(gold),
        keys,
        word=ontology.word,
        aliases=ontology.aliases,
        alternatives=pool,
    )


def in_each_language(
    work: Work,
    rule: str,
    kind: str,
    item: Item,
    gold: str,
    keys: tuple[str, ...],
    *,
    word: Callable[[str, str], str],
    aliases: Callable[[str, str], tuple[str, ...]],
    alternatives: tuple[str, ...] = (),
    task: str = "",
    finding: Callable[[str], str] = lambda language: "",
) -> Iterator[Result]:
    """The same question in each language: same options, and later the same letters. A language without a word for an
    option is left out and counted.

    `gold`, `keys`: as keys, `keys` with the gold first, () = asked open, among `alternatives`. `word`, `aliases`: of a
    key in a language. `finding`: what the question's slot {finding} says in a language.
    """
    for language in work.languages:
        words = {key: word(key, language) for key in keys or (gold,)}
        if lacking := next((key for key, text in words.items() if not text), None):
            yield dropped(item, rule, "no Chinese word for an answer", language, lacking)
            continue
        wording = work.wording(item, f"{rule} {task}", kind, language, finding(language))
        if wording is None:
            yield dropped(item, rule, "no wording fits", language, f"{kind}.{language}")
            continue
        yield Made(
            item=item,
            rule=rule,
            language=language,
            question=wording.text,
            wording=wording.name,
            answer_type="mcq" if keys else "open",
            gold=words[gold],
            gold_key=gold,
            options=tuple(words.values()) if keys else (),
            option_keys=tuple(words) if keys else (),
            alternatives=alternatives,
            aliases=() if keys else aliases(gold, language),
            task=task,
        )

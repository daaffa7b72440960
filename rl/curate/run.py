"""Carries a recipe out: sources, looks, rules, filters, balance, leaks, letters, in this order; nothing is written
here."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rl.curate.blind import blind, capped
from rl.curate.counts import Gate, Outcome
from rl.curate.filters import quality
from rl.curate.items import Drop, Item, Made
from rl.curate.leaks import sides
from rl.curate.leaks.known import Known, read_known
from rl.curate.letters import in_order
from rl.curate.llm.clips import clip_choice_rule
from rl.curate.llm.synthesis import synthesis_rule
from rl.curate.llm.translation import translated
from rl.curate.llm.writer import Writer
from rl.curate.looking import Look, Looked, Looker, faults_of
from rl.curate.recipe.door import Plan
from rl.curate.recipe.schema import PlaceRule
from rl.curate.rules.asking import Result, Rule, Work
from rl.curate.rules.captions import caption_rule, clip_rule
from rl.curate.rules.labels import choice_rule, label_rule
from rl.curate.rules.places import place_rule
from rl.curate.sources.reading import read_source, refuse, repeated
from rl.run.progress import Display
from rollouts.records import stable_hash

# A rule of a recipe and who carries it out.
RULES: dict[str, Rule] = {
    "caption": caption_rule,
    "mcq": choice_rule,
    "open": label_rule,
    "place": place_rule,
    "procedure": clip_rule,
    "video_mcq": clip_choice_rule,
    "synthesis": synthesis_rule,
}
# What a file's own code of its modality is called in questions, where the recipe says nothing.
MODALITIES = {
    "CT": "CT",
    "MR": "MRI",
    "US": "ultrasound",
    "PT": "PET",
    "MG": "mammogram",
    "ES": "endoscopy",
    **dict.fromkeys(("CR", "DX", "RG"), "radiograph"),
    **dict.fromkeys(("OP",), "fundus photograph"),
}
# The name in `dropped` of what happens to an item before any rule.
READING, LEAKS, BALANCE = "reading", "leaks", "balance"


def carry_out(
    plan: Plan,
    looked: Looked,
    looker: Looker,
    display: Display,
    writer: Writer | None,
    picture: Callable[[Item], bytes],
) -> Outcome:
    """Everything but the writing. `writer`: None = nobody is asked. `picture`: the middle frame of an item as PNG.

    Raises RecipeError where the data cannot be used, and WriterError where the endpoint cannot be asked.
    """
    outcome = Outcome(plan.recipe.recipe)
    items = _items(plan, outcome)
    looks = outcome.looks = _look(plan, items, looked, looker, display)
    items = _usable(plan, items, looks, outcome)
    plan.ontology.learn(label for item in items for label in item.labels)
    work = Work(plan, looks, display, writer, picture)
    made = _made(work, items, outcome)
    made = _filtered(work, made, outcome)
    known = read_known(plan, looker)
    made = _unknown(work, made, known, outcome)
    made = _balanced(work, made, outcome)
    made = _split(work, made, outcome)
    outcome.rows = in_order(sorted(made, key=lambda row: (row.item.source, row.id)), plan.recipe.seed)
    return outcome


def _items(plan: Plan, outcome: Outcome) -> list[Item]:
    items: list[Item] = []
    for name in plan.recipe.sources:
        read = read_source(plan, name)
        if plan.recipe.on_bad_item == "raise":
            refuse(plan, name, read.faults)
        bad = {number for number, _ in read.faults}
        again = repeated(read.items)
        for place, item in enumerate(read.items):
            if place in again:
                outcome.drops.append(Drop(item, READING, "the same row again"))
            elif item.number in bad:
                outcome.drops.append(Drop(item, READING, "a file is missing"))
            else:
                items.append(item)
        whole = {item.number for item in read.items}
        for number, reason in read.faults:
            if number not in whole:
                outcome.drops.append(Drop(Item("", name, number, ()), READING, "the row cannot be read", detail=reason))
        outcome.num_items += len(read.items)
    return items


def _look(plan: Plan, items: Sequence[Item], looked: Looked, looker: Looker, display: Display) -> dict[str, Look]:
    looks: dict[str, Look] = {}
    with display.late_bar("look at the media", len(items)) as advance:
        for item in items:
            looks[item.id] = looked.look(plan.root, plan.recipe.sources[item.source], item, looker)
            advance(1)
    return looks


def _usable(plan: Plan, items: Sequence[Item], looks: Mapping[str, Look], outcome: Outcome) -> list[Item]:
    if plan.recipe.on_bad_item == "raise":
        for name in plan.recipe.sources:
            refuse(plan, name, faults_of([item for item in items if item.source == name], looks))
    usable = []
    for item in items:
        look = looks[item.id]
        if fault := quality.picture_fault(look, plan.recipe.filters):
            outcome.drops.append(Drop(item, READING, fault, detail=look.fault))
        elif look.mask_fault:
            outcome.drops.append(Drop(item, READING, "the mask cannot be used", detail=look.mask_fault))
        elif look.num_cut == 0 and look.place is not None:
            outcome.drops.append(Drop(item, READING, "no frame shown holds what is marked"))
        else:
            usable.append(
                item if item.modality else dataclasses.replace(item, modality=MODALITIES.get(look.modality, ""))
            )
    masked = [looks[item.id] for item in items if item.mask and item.kind != "image" and not looks[item.id].mask_fault]
    if masked:
        uncut = sum(look.num_cut == 0 and look.place is not None for look in masked)
        outcome.notes.append(f"{uncut} of {len(masked)} masks of volumes and clips are cut by no frame shown")
    if text := sum(looks[item.id].may_hold_text for item in usable):
        outcome.notes.append(f"{text} pictures may hold text (burned in, or secondary captures); look at them")
    return usable


def _made(work: Work, items: Sequence[Item], outcome: Outcome) -> list[Made]:
    made: list[Made] = []

    def keep(results: Iterable[Result]) -> None:
        for result in results:
            if isinstance(result, Drop):
                outcome.drops.append(result)
            else:
                made.append(result)

    for name, settings in work.plan.rules.items():
        own = [item for item in items if item.source == name]
        for rule, record in settings.items():
            keep(RULES[rule](work, rule, record, own))
    keep(list(translated(work, made)))
    if work.writer is not None:
        outcome.traffic = work.writer.traffic()
    return made


def _filtered(work: Work, made: Sequence[Made], outcome: Outcome) -> list[Made]:
    kept = []
    for row in made:
        if fault := quality.fault(row, work.plan.recipe.filters):
            outcome.drops.append(_drop(row, fault))
        else:
            kept.append(row)
    again = quality.twice(kept, lambda item: work.looks[item.id].source_sha256)
    outcome.drops += [_drop(row, "the same question of the same picture again") for row in kept if row.id in again]
    return [row for row in kept if row.id not in again]


def _unknown(work: Work, made: Sequence[Made], known: Known, outcome: Outcome) -> list[Made]:
    """Without what an evaluation set holds already."""
    leaks = work.plan.recipe.leaks
    if not leaks.against:
        return list(made)
    items = list({row.item.id: row.item for row in made}.values())
    near = sides.known_copies(items, work.looks, known.hashes, leaks.max_distance)
    kept, counts = [], Counter[str]()
    for row in made:
        same = not known.sha256.isdisjoint(work.looks[row.item.id].media_sha256)
        reason = "the picture is in an evaluation set" if same else ""
        if not reason and row.item.id in near:
            counts["near copies of pictures of evaluation sets"] += 1
            reason = "a near copy is in an evaluation set" if leaks.strict else ""
        if not reason and known.holds_text_of(row):
            reason = "eight words in a row are in an evaluation set"
        if reason:
            outcome.drops.append(_drop(row, reason, LEAKS))
        else:
            kept.append(row)
    for what, count in counts.items():
        then = "dropped" if leaks.strict else "kept; leaks.strict drops them"
        outcome.notes.append(f"{count} rows are {what} ({then})")
    return kept


def _balanced(work: Work, made: Sequence[Made], outcome: Outcome) -> list[Made]:
    """Golds capped within each rule of a source, modality and organ; baselines before and after."""
    recipe = work.plan.recipe
    kept: list[Made] = []
    for source, rules in work.plan.rules.items():
        for rule, settings in rules.items():
            rows = [row for row in made if row.item.source == source and row.rule == rule]
            before = blind(rows, recipe.seed)
            open_place = isinstance(settings, PlaceRule) and settings.form == "open"
            cap = getattr(settings, "cap", None)
            stay = _capped_pairs(rows, None if open_place and cap == "auto" else cap, work)
            outcome.drops += [
                _drop(row, "its label is gold too often", BALANCE)
                for row in rows
                if row.options and row.pair not in stay
            ]
            rows = [row for row in rows if row.pair in stay]
            if before.num_asked:
                after = blind(rows, recipe.seed)
                result = "printed only" if open_place else "TOO EASY" if after.too_easy(recipe.max_blind) else "passed"
                outcome.gates.append(Gate(source, rule, before, after, result))
            kept += rows
    return _evened(kept, recipe.filters.max_imbalance, recipe.seed, outcome)


def _capped_pairs(rows: Sequence[Made], cap: Any, work: Work) -> set[str]:
    pools: dict[tuple[str, ...], list[Made]] = {}
    for row in rows:
        own = row.alternatives or (row.item.modality, row.item.organ)
        pools.setdefault((row.task, *own), []).append(row)
    stay: set[str] = set()
    for pool in pools.values():
        free = {row.pair for row in pool if len(row.choices) < 2}
        stay |= free | capped(pool, cap, work.plan.recipe.max_blind, work.seed)
    return stay


def _evened(made: list[Made], most: float | None, seed: int, outcome: Outcome) -> list[Made]:
    """No modality with more than `most` times the pairs of the rarest."""
    if most is None or not made:
        return made
    by_modality: dict[str, dict[str, None]] = {}
    for row in sorted(made, key=lambda row: stable_hash(seed, "even", row.pair)):
        by_modality.setdefault(row.item.modality, {})[row.pair] = None
    number = int(min(map(len, by_modality.values())) * most)
    stay = {pair for pairs in by_modality.values() for pair in list(pairs)[:number]}
    outcome.drops += [_drop(row, "its modality has too many rows", BALANCE) for row in made if row.pair not in stay]
    return [row for row in made if row.pair in stay]


def _split(work: Work, made: Sequence[Made], outcome: Outcome) -> list[Made]:
    recipe = work.plan.recipe
    items = list({row.item.id: row.item for row in made}.values())
    split = sides.split(items, work.looks, recipe.recipe, recipe.eval_fraction, recipe.seed)
    outcome.sides = split.side
    if split.moved:
        outcome.notes.append(
            f"{len(split.moved)} training items share a picture or a patient with held-out ones: held out, too"
        )
    train = [item for item in items if split.side.get(item.id) != "eval"]
    held_out = [item for item in items if split.side.get(item.id) == "eval"] if split.side else items
    near = sides.copies_between(train, held_out, work.looks, recipe.leaks.max_distance)
    if not split.side:
        pairs = {tuple(sorted(copy[:2])) for copy in near}
        if pairs:
            outcome.notes.append(
                f"{len(pairs)} pairs of items look the same; rows have no split, so data=jsonl may part them: set"
                " eval_fraction, and leaks.strict"
            )
        return list(made)
    copies = {copy.first for copy in near}
    if copies and not recipe.leaks.strict:
        outcome.notes.append(
            f"{len(copies)} training items are near copies of held-out ones; leaks.strict moves them out"
        )
        return list(made)
    outcome.drops += [_drop(row, "a near copy is held out", LEAKS) for row in made if row.item.id in copies]
    return [row for row in made if row.item.id not in copies]


def _drop(row: Made, reason: str, rule: str = "") -> Drop:
    return Drop(row.item, rule or row.rule, reason, row.language, row.question if not rule else "")


def paired(rows: Iterable[Made]) -> set[str]:
    """Pairs that have a row in more than one language."""
    counts = Counter(row.pair for row in rows)
    return {pair for pair, count in counts.items() if count > 1}

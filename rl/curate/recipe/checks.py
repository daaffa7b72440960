"""What the values of a recipe, each of the right type, still cannot mean; every fault with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rl.curate.opening import ask_of
from rl.curate.recipe.lines import Place
from rl.curate.recipe.schema import ASKING, RULES, ChoiceRule, ClipChoiceRule, LabelRule, PlaceRule, Recipe, Source
from rl.curate.wordings.pools import KINDS, Pools, slot_fault
from rl.data.media.given import SAYS
from rollouts.nearest import did_you_mean
from rollouts.records import BadSample
from rollouts.texts.reading import shorten

_MOST_DISTRACTORS = 25
# What the object of a volume or a video may say beside its path.
_SETTINGS = tuple(dict.fromkeys((*SAYS["volume"], *SAYS["video"])))
_NAME = re.compile(r"[\w.-]{1,60}")


def faults_of(recipe: Recipe, rules: dict[str, dict[str, Any]], pools: Pools) -> Iterator[tuple[Place, str]]:
    """(place, what is wrong) for the whole recipe. `rules`: source -> rule -> its settings."""
    if not _NAME.fullmatch(recipe.recipe):
        yield ("recipe",), f"recipe is {shorten(recipe.recipe)!r}, expected a name of letters, digits, - _ and ."
    if not recipe.sources:
        yield ("sources",), "there is no source; name one: sources: {ward: {read: ward.csv, rules: {mcq: {}}}}"
    if not recipe.languages or len(set(recipe.languages)) < len(recipe.languages):
        yield ("languages",), f"languages is {list(recipe.languages)}, expected en, zh, or both once"
    yield from _number_faults(recipe)
    yield from _wording_faults(recipe)
    for name, source in recipe.sources.items():
        yield from _source_faults(name, source, rules[name], recipe, pools)


def _number_faults(recipe: Recipe) -> Iterator[tuple[Place, str]]:
    if recipe.eval_fraction is not None and not 0 < recipe.eval_fraction < 1:
        yield ("eval_fraction",), f"eval_fraction is {recipe.eval_fraction}, expected more than 0 and less than 1"
    if not 0 <= recipe.max_blind <= 1:
        yield ("max_blind",), f"max_blind is {recipe.max_blind}, expected 0 to 1 (0.05 = five points above chance)"
    if not 0 <= recipe.leaks.max_distance <= 16:
        yield ("leaks", "max_distance"), f"max_distance is {recipe.leaks.max_distance}, expected 0 to 16 bits of 64"
    imbalance = recipe.filters.max_imbalance
    if imbalance is not None and imbalance < 1:
        yield ("filters", "max_imbalance"), f"max_imbalance is {imbalance}, expected at least 1"


def _wording_faults(recipe: Recipe) -> Iterator[tuple[Place, str]]:
    for kind, by_language in recipe.wordings.items():
        for language, texts in by_language.items():
            if not texts:
                yield ("wordings", kind, language), f"no wording of {kind} in {language}"
            for index, text in enumerate(texts):
                if fault := slot_fault(text):
                    yield ("wordings", kind, language, index), f"the wording {shorten(text)!r} {fault}"


def _source_faults(
    name: str, source: Source, rules: dict[str, Any], recipe: Recipe, pools: Pools
) -> Iterator[tuple[Place, str]]:
    place: Place = ("sources", name)
    if not _NAME.fullmatch(name):
        yield place, f"the source's name {shorten(name)!r} is no name of letters, digits, - _ and ."
    if not source.rules:
        yield (*place, "rules"), f"no rule makes anything of the source {name}; there are {', '.join(RULES)}"
    if source.patient_pattern is not None and (fault := _pattern_fault(source.patient_pattern)):
        yield (*place, "patient_pattern"), f"patient_pattern {fault}"
    if fault := _media_fault(source):
        yield (*place, "media"), f"media: {fault}"
    for rule, settings in rules.items():
        at = (*place, "rules", rule)
        if rule in ASKING and recipe.llm is None:
            yield at, f"the rule {rule} asks a language model: give `llm: {{base_url: .., model: ..}}`"
        yield from _rule_faults(at, settings, recipe, pools)


def _media_fault(source: Source) -> str:
    """What is wrong with how volumes and videos are to be read; "" = nothing."""
    problems = []
    for kind in ("volume", "video"):
        if unknown := next((name for name in source.media if name not in _SETTINGS), None):
            known = ", ".join(_SETTINGS)
            return f"there is no setting {shorten(unknown)!r}{did_you_mean(unknown, _SETTINGS, f'; there are {known}')}"
        try:
            ask_of(kind, source.media)
        except (BadSample, TypeError) as error:
            problems.append(str(error))
    return problems[0] if problems else ""


def _pattern_fault(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        return f"is no pattern: {error}"
    return "" if groups == 1 else f"has {groups} groups, expected one: the patient's key"


def _rule_faults(place: Place, rule: Any, recipe: Recipe, pools: Pools) -> Iterator[tuple[Place, str]]:
    share = getattr(rule, "share", 1.0)
    if not 0 < share <= 1:
        yield (*place, "share"), f"share is {share}, expected more than 0 and at most 1; to leave a rule out, remove it"
    if isinstance(rule, (ChoiceRule, PlaceRule, ClipChoiceRule)):
        least, most = rule.distractors
        highest = 3 if isinstance(rule, ClipChoiceRule) else _MOST_DISTRACTORS
        if not 1 <= least <= most <= highest:
            yield (
                (*place, "distractors"),
                f"distractors is {[least, most]}, expected [least, most] within 1 to {highest}",
            )
    cap = getattr(rule, "cap", None)
    if isinstance(cap, int) and cap < 1:
        yield (*place, "cap"), f"cap is {cap}, expected at least 1, auto or null"
    if isinstance(rule, LabelRule) and rule.asks not in pools.kinds:
        hint = did_you_mean(rule.asks, pools.kinds, f"; there are {', '.join(sorted(KINDS))}, and your own `wordings`")
        yield (*place, "asks"), f"there is no pool of wordings {shorten(rule.asks)!r}{hint}"
    for name in ("max_uses", "min_words"):
        if getattr(rule, name, 1) < 1:
            yield (*place, name), f"{name} is {getattr(rule, name)}, expected at least 1"
    for name in ("kinds", "sides"):
        if not getattr(rule, name, ("",)):
            yield (*place, name), f"{name} is empty"

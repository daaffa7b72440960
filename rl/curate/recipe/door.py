"""The one door to a recipe: YAML to records, everything checked that can be checked without opening the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.curate.recipe.lines import Document, Place, RecipeError
from rl.curate.recipe.schema import (
    ASKING,
    RULES,
    ChoiceRule,
    ClipChoiceRule,
    LabelRule,
    PlaceRule,
    Recipe,
    Source,
)
from rl.curate.rules.ontology import Ontology
from rl.curate.wordings.pools import KINDS, Pools, slot_fault
from rollouts.annotations import Misfit, read
from rollouts.nearest import did_you_mean
from rollouts.texts.reading import shorten

_MOST_FAULTS = 12
_MOST_DISTRACTORS = 25


@dataclass(frozen=True)
class Plan:
    """A recipe that was checked, with the settings of each source's rules as records."""

    recipe: Recipe
    # Folder that the recipe's paths start from.
    root: Path
    document: Document
    # Source -> rule -> settings.
    rules: dict[str, dict[str, Any]]
    ontology: Ontology
    pools: Pools

    def where(self, source: str) -> str:
        """File and line of a source in the recipe, for an error."""
        return f"{self.document.path}, line {self.document.line(('sources', source))}"


def read_recipe(path: Path) -> Plan:
    """Read and check a recipe. Raises RecipeError with all faults, each with its line."""
    document = Document(path)
    recipe = _record(document, Recipe, document.value, ())
    rules: dict[str, dict[str, Any]] = {}
    faults: list[tuple[Place, str]] = []
    for name, source in recipe.sources.items():
        rules[name] = {}
        for rule, settings in source.rules.items():
            place = ("sources", name, "rules", rule)
            if rule not in RULES:
                hint = did_you_mean(rule, RULES, f"; there are {', '.join(RULES)}")
                faults.append((place, f"there is no rule {shorten(rule)!r}{hint}"))
                continue
            try:
                rules[name][rule] = read(RULES[rule], settings)
            except Misfit as error:
                faults += _told(error, place, document)
    ontology = Ontology(recipe.labels, lambda where, text: faults.append((("labels", *where), text)))
    pools = Pools(recipe.wordings)
    faults += _faults(recipe, rules, pools)
    _refuse(document, faults)
    return Plan(recipe, path.parent, document, rules, ontology, pools)


def _record(document: Document, record: type, value: Any, place: Place) -> Any:
    # `rules: {mcq:}` reads as null, which means the defaults.
    for source in (value.get("sources") or {}).values() if isinstance(value.get("sources"), dict) else ():
        if isinstance(source, dict) and isinstance(source.get("rules"), dict):
            source["rules"] = {name: {} if item is None else item for name, item in source["rules"].items()}
    try:
        return read(record, value)
    except Misfit as error:
        _refuse(document, _told(error, place, document))
        raise


def _told(error: Misfit, place: Place, document: Document) -> list[tuple[Place, str]]:
    """The faults of values with their places, an unknown name with the one that was meant."""
    told = []
    for fault in error.faults:
        names = fault.expected.removeprefix("settings among ")
        name = ".".join(map(str, (*place, *fault.place)))
        if names == fault.expected:
            missing = re.search(r"missing \d+ required positional arguments?: (.*)\)$", fault.expected)
            said = f"{name or 'the recipe'}: got {shorten(repr(fault.got))}, expected {fault.expected}"
            told.append(
                ((*place, *fault.place), f"{name or 'the recipe'} lacks {missing[1].rstrip(')')}" if missing else said)
            )
        elif isinstance(fault.got, str):
            hint = did_you_mean(fault.got, names.split(", "), f"; there are {names}")
            at = (*place, *fault.place, fault.got)
            told.append((at, f"there is no setting {shorten(fault.got)!r}{f' in {name}' if name else ''}{hint}"))
        else:
            told.append(((*place, *fault.place), f"{name or 'the recipe'}: expected settings by name: {names}"))
    return told


def _refuse(document: Document, faults: list[tuple[Place, str]]) -> None:
    if not faults:
        return
    texts = [f"{document.path}, line {document.line(place)}: {text}" for place, text in faults]
    texts = sorted(dict.fromkeys(texts), key=lambda text: int(re.search(r"line (\d+):", text)[1]))  # type: ignore[index]
    more = [f"and {len(texts) - _MOST_FAULTS} more"] if len(texts) > _MOST_FAULTS else []
    raise RecipeError("\n".join([*texts[:_MOST_FAULTS], *more]))


def _faults(recipe: Recipe, rules: dict[str, dict[str, Any]], pools: Pools) -> Iterator[tuple[Place, str]]:
    """What values of the right type still cannot mean."""
    if not re.fullmatch(r"[\w.-]{1,60}", recipe.recipe):
        yield ("recipe",), f"recipe is {shorten(recipe.recipe)!r}, expected a name of letters, digits, - _ and ."
    if not recipe.sources:
        yield ("sources",), "there is no source; name one: sources: {ward: {read: ward.csv, rules: {mcq: {}}}}"
    if not recipe.languages or len(set(recipe.languages)) < len(recipe.languages):
        yield ("languages",), f"languages is {list(recipe.languages)}, expected en, zh, or both once"
    if recipe.eval_fraction is not None and not 0 < recipe.eval_fraction < 1:
        yield ("eval_fraction",), f"eval_fraction is {recipe.eval_fraction}, expected more than 0 and less than 1"
    if not 0 <= recipe.max_blind <= 1:
        yield ("max_blind",), f"max_blind is {recipe.max_blind}, expected 0 to 1 (0.05 = five points above chance)"
    if not 0 <= recipe.leaks.max_distance <= 16:
        yield ("leaks", "max_distance"), f"max_distance is {recipe.leaks.max_distance}, expected 0 to 16 bits of 64"
    imbalance = recipe.filters.max_imbalance
    if imbalance is not None and imbalance < 1:
        yield ("filters", "max_imbalance"), f"max_imbalance is {imbalance}, expected at least 1"
    for kind, by_language in recipe.wordings.items():
        for language, texts in by_language.items():
            for index, text in enumerate(texts):
                if fault := slot_fault(text):
                    yield ("wordings", kind, language, index), f"the wording {shorten(text)!r} {fault}"
            if not texts:
                yield ("wordings", kind, language), f"no wording of {kind} in {language}"
    for name, source in recipe.sources.items():
        yield from _source_faults(name, source, rules[name], recipe, pools)


def _source_faults(
    name: str, source: Source, rules: dict[str, Any], recipe: Recipe, pools: Pools
) -> Iterator[tuple[Place, str]]:
    place: Place = ("sources", name)
    if not re.fullmatch(r"[\w.-]{1,60}", name):
        yield place, f"the source's name {shorten(name)!r} is no name of letters, digits, - _ and ."
    if not source.rules:
        yield (*place, "rules"), f"no rule makes anything of the source {name}; there are {', '.join(RULES)}"
    if source.patient_pattern is not None:
        try:
            groups = re.compile(source.patient_pattern).groups
        except re.error as error:
            yield (*place, "patient_pattern"), f"patient_pattern is no pattern: {error}"
        else:
            if groups != 1:
                yield (*place, "patient_pattern"), f"patient_pattern has {groups} groups, expected one: the patient's key"
    for rule, settings in rules.items():
        at = (*place, "rules", rule)
        if rule in ASKING and recipe.llm is None:
            yield at, f"the rule {rule} asks a language model: give `llm: {{base_url: .., model: ..}}`"
        yield from _rule_faults(at, settings, recipe, pools)


def _rule_faults(place: Place, rule: Any, recipe: Recipe, pools: Pools) -> Iterator[tuple[Place, str]]:
    share = getattr(rule, "share", 1.0)
    if not 0 < share <= 1:
        yield (*place, "share"), f"share is {share}, expected more than 0 and at most 1; to leave a rule out, remove it"
    if isinstance(rule, (ChoiceRule, PlaceRule, ClipChoiceRule)):
        least, most = rule.distractors
        highest = 3 if isinstance(rule, ClipChoiceRule) else _MOST_DISTRACTORS
        if not 1 <= least <= most <= highest:
            yield (*place, "distractors"), f"distractors is {[least, most]}, expected [least, most] within 1 to {highest}"
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

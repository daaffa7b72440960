"""The one door to a recipe: YAML to records, everything checked that can be checked without opening the data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.curate.recipe.checks import faults_of
from rl.curate.recipe.lines import Document, Place, RecipeError
from rl.curate.recipe.schema import RULES, Recipe
from rl.curate.rules.ontology import Ontology
from rl.curate.wordings.pools import Pools
from rollouts.annotations import Misfit, read
from rollouts.nearest import did_you_mean
from rollouts.texts.reading import shorten

_MOST_FAULTS = 12


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
                rules[name][rule] = read(RULES[rule], _spelled_out(settings))
            except Misfit as error:
                faults += _faults(error, place, document)
    ontology = Ontology(recipe.labels, lambda where, text: faults.append((("labels", *where), text)))
    pools = Pools(recipe.wordings)
    faults += list(faults_of(recipe, rules, pools))
    _refuse(document, faults)
    return Plan(recipe, path.parent, document, rules, ontology, pools)


def _spelled_out(settings: dict[str, Any]) -> dict[str, Any]:
    """`distractors: 3` stands for 3 to 3."""
    number = settings.get("distractors")
    return settings | ({"distractors": [number, number]} if type(number) is int else {})


def _record(document: Document, record: type, value: Any, place: Place) -> Any:
    # `rules: {mcq:}` reads as null, which means the defaults.
    for source in (value.get("sources") or {}).values() if isinstance(value.get("sources"), dict) else ():
        if isinstance(source, dict) and isinstance(source.get("rules"), dict):
            source["rules"] = {name: {} if item is None else item for name, item in source["rules"].items()}
    try:
        return read(record, value)
    except Misfit as error:
        _refuse(document, _faults(error, place, document))
        raise


def _faults(error: Misfit, place: Place, document: Document) -> list[tuple[Place, str]]:
    """The faults of values with their places, an unknown name with the one that was meant."""
    faults = []
    for fault in error.faults:
        names = fault.expected.removeprefix("settings among ")
        name = ".".join(map(str, (*place, *fault.place)))
        if names == fault.expected:
            missing = re.search(r"missing \d+ required positional arguments?: (.*)\)$", fault.expected)
            text = f"{name or 'the recipe'}: got {shorten(repr(fault.got))}, expected {fault.expected}"
            faults.append(
                ((*place, *fault.place), f"{name or 'the recipe'} lacks {missing[1].rstrip(')')}" if missing else text)
            )
        elif isinstance(fault.got, str):
            hint = did_you_mean(fault.got, names.split(", "), f"; there are {names}")
            at = (*place, *fault.place, fault.got)
            faults.append((at, f"there is no setting {shorten(fault.got)!r}{f' in {name}' if name else ''}{hint}"))
        else:
            faults.append(((*place, *fault.place), f"{name or 'the recipe'}: expected settings by name: {names}"))
    return faults


def _refuse(document: Document, faults: list[tuple[Place, str]]) -> None:
    if not faults:
        return
    texts = [f"{document.path}, line {document.line(place)}: {text}" for place, text in faults]
    texts = sorted(dict.fromkeys(texts), key=lambda text: int(re.search(r"line (\d+):", text)[1]))  # type: ignore[index]
    more = [f"and {len(texts) - _MOST_FAULTS} more"] if len(texts) > _MOST_FAULTS else []
    raise RecipeError("\n".join([*texts[:_MOST_FAULTS], *more]))

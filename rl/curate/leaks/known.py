"""Evaluation sets that a recipe names: hashes of their pictures and runs of eight words of their questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rl.curate.items import Item, Kind, Made
from rl.curate.leaks.grams import all_grams, shares_a_run
from rl.curate.looking import Looker
from rl.curate.recipe.door import Plan
from rl.curate.recipe.schema import Source
from rollouts.texts.reading import TextFault, decode, file_lines, parse_object, shorten

# Rules whose questions come from the pools of wordings; only answers and questions that somebody wrote are compared.
_WRITTEN = ("video_mcq", "synthesis")


@dataclass
class Known:
    """What evaluation sets hold."""

    sha256: set[str] = field(default_factory=set)
    hashes: list[tuple[int, ...]] = field(default_factory=list)
    grams: set[tuple[str, ...]] = field(default_factory=set)

    def holds_text_of(self, made: Made) -> bool:
        """Whether eight words in a row of a question that was written, or of a caption, are known."""
        texts = (
            [made.question, made.gold] if made.rule in _WRITTEN else [made.gold] if made.answer_type == "report" else []
        )
        return any(shares_a_run(text, self.grams) for text in texts)


def read_known(plan: Plan, looker: Looker) -> Known:
    """Read the evaluation sets of `leaks.against`. Raises RecipeError for a file that cannot be read, and where a
    picture of it is missing: what was not compared is not clean."""
    known = Known()
    for index, name in enumerate(plan.recipe.leaks.against):
        path = plan.root / name
        try:
            rows = [(number, parse_object(decode(raw))) for number, raw in file_lines(path)]
        except (TextFault, OSError) as error:
            raise plan.document.error(("leaks", "against", index), f"{shorten(name)}: {error}") from error
        for number, row in rows:
            known.grams |= all_grams(text for text in (row.get("question"), row.get("answer")) if isinstance(text, str))
            for kind, medium in _media(row):
                item = Item("", "", number, ((kind, medium),), modality=str(row.get("modality", "")))
                look = looker(path.parent, Source("", {}), item)
                if look.fault:
                    place = ("leaks", "against", index)
                    raise plan.document.error(place, f"{shorten(name)}, line {number}: {shorten(look.fault)}")
                known.sha256.update(look.media_sha256)
                known.hashes += look.hashes
    return known


def _media(row: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    for path in (row.get("images"), [row.get("image")]):
        yield from (("image", one) for one in path or () if isinstance(one, str))
    kinds: tuple[Kind, ...] = ("volume", "video")
    for kind in kinds:
        value = row.get(kind)
        value = value.get("path") if isinstance(value, dict) else value
        if isinstance(value, str):
            yield kind, value

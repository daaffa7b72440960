"""What all rules share: the state of a run, words of an item in a language, shares and numbers drawn by hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl.curate.items import Drop, Item, Made
from rl.curate.llm.writer import Request, Writer, Written
from rl.curate.looking import Look
from rl.curate.recipe.door import Plan
from rl.curate.recipe.schema import Language
from rl.curate.wordings.pools import Wording, chinese
from rl.run.progress import Display
from rollouts.records import stable_hash

_UNIT = float(1 << 63)  # stable_hash gives 63 bits
# Why a question that a model should have written is not there with --check.
NOT_ASKED = "not asked (--check)"
# What a rule gives: a question, or why there is none.
Result = Made | Drop
# A rule: (work, source, settings, items) -> results.
Rule = Callable[["Work", str, Any, Sequence[Item]], Iterator[Result]]


@dataclass(frozen=True)
class Work:
    """What the rules of a run read beside the items."""

    plan: Plan
    # Item id -> what was seen of its media; an item that cannot be read is not among the items.
    looks: Mapping[str, Look]
    display: Display
    # The endpoint; None = nobody is asked (no llm in the recipe, or --check).
    writer: Writer | None = None
    # The middle frame of an item's media as PNG, for a model that is shown it. Raises BadSample.
    picture: Callable[[Item], bytes] | None = None

    @property
    def seed(self) -> int:
        """The seed of the recipe."""
        return self.plan.recipe.seed

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages that are written."""
        return self.plan.recipe.languages

    def ask(self, title: str, requests: Sequence[Request]) -> list[Written]:
        """What the language model wrote for each request, under a progress bar; nothing where nobody is asked. Raises
        WriterError where the endpoint cannot be asked at all."""
        if self.writer is None or not requests:
            return [Written(None, NOT_ASKED) for _ in requests]
        with self.display.bar(title, len(requests)) as bar:
            return self.writer.write(requests, lambda parts: bar.advance(parts=parts))

    def drawn(self, item: Item, rule: str, share: float) -> bool:
        """Whether the item is of the `share` that a rule asks."""
        return share >= 1 or stable_hash(self.seed, "share", rule, item.id) / _UNIT < share

    def number(self, item: Item, rule: str, bounds: tuple[int, int]) -> int:
        """A whole number within the bounds, both included."""
        least, most = bounds
        return least + stable_hash(self.seed, "number", rule, item.id) % (most - least + 1)

    def word(self, text: str, language: str) -> str:
        """A modality, organ or finding in a language; "" = it has no name in it."""
        return text if language == "en" or not text else chinese(text, self.plan.ontology.chinese_names)

    def wording(self, item: Item, rule: str, kind: str, language: str, finding: str = "") -> Wording | None:
        """A question for an item; None where the pool has none that can be filled. `finding`: in that language."""
        slots = {
            "modality": self.word(item.modality, language),
            "organ": self.word(item.organ, language),
            "finding": finding,
        }
        # A question must not hold its own answer.
        slots |= {kind: ""} if kind in slots else {}
        return self.plan.pools.draw(kind, language, slots, self.seed, rule, item.id)


def dropped(item: Item, rule: str, reason: str, language: str = "", detail: str = "") -> Drop:
    """A drop of a rule."""
    return Drop(item, rule, reason, language, detail)


def tagged(made: Made, **tags: str) -> Made:
    """The same question with more tags."""
    return dataclasses.replace(made, tags={**made.tags, **tags})

"""What a recipe knows of its labels: which mean the same, which stand above or below one another, which may be asked
together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from rl.curate.recipe.schema import Labels
from rl.curate.text import fold
from rl.curate.wordings.pools import also, chinese
from rollouts.texts.reading import shorten

# (place below `labels`, what is wrong)
Tell = Callable[[tuple[object, ...], str], None]


class Ontology:
    """Synonyms, tree and rules of a recipe's labels; every label is compared by `fold`."""

    def __init__(self, labels: Labels, tell: Tell) -> None:
        """`tell` is called for each contradiction: a label in two lists of synonyms, one above itself, one that is its
        own distractor."""
        self._names: dict[str, str] = {}
        self._group: dict[str, str] = {}
        for index, names in enumerate(labels.synonyms):
            self._read_synonyms(names, index, tell)
        self._parents: dict[str, set[str]] = {}
        for above, below in labels.tree.items():
            for name in below:
                self._parents.setdefault(self.key(name), set()).add(self.key(above))
                self._name(above)
                self._name(name)
        self._beside = {self.key(name) for name in labels.may_hold_beside}
        self._fixed: dict[str, tuple[str, ...]] = {}
        # Chinese names of the recipe, by `fold`.
        self.chinese_names = {fold(name): text for name, text in labels.chinese.items()}
        for name in labels.tree:
            if self.key(name) in self._above(self.key(name)):
                tell(("tree", name), f"the label {shorten(name)!r} stands above itself")
        for gold, others in labels.distractors.items():
            self._read_distractors(gold, others, tell)

    def _read_synonyms(self, names: list[str], index: int, tell: Tell) -> None:
        if len({fold(name) for name in names}) < 2:
            tell(("synonyms", index), f"a list of synonyms names at least two labels, got {shorten(str(names))}")
            return
        first = fold(names[0])
        for name in names:
            if self._group.get(fold(name), first) != first:
                tell(("synonyms", index), f"the label {shorten(name)!r} stands in two lists of synonyms")
            self._group.setdefault(fold(name), first)
            self._name(name)

    def _read_distractors(self, gold: str, others: list[str], tell: Tell) -> None:
        key = self.key(gold)
        for index, name in enumerate(others):
            other = self.key(name)
            if other == key:
                same = "" if fold(name) == fold(gold) else " (they are synonyms)"
                tell(("distractors", gold, index), f"the label {shorten(gold)!r} is its own distractor{same}")
            elif self.related(key, other):
                tell(
                    ("distractors", gold, index),
                    f"{shorten(name)!r} is a distractor of {shorten(gold)!r}, but labels.tree sets one above the other,"
                    " so both may be right",
                )
        self._fixed[key] = tuple(self.key(name) for name in others)
        for name in (gold, *others):
            self._name(name)

    def _name(self, label: str) -> None:
        self._names.setdefault(fold(label), " ".join(label.split()))

    def learn(self, labels: Iterable[str]) -> None:
        """Take the spelling of labels that the recipe does not name: the most common one, of equals the first in
        alphabetical order."""
        spelled: dict[str, Counter[str]] = {}
        for label in labels:
            spelled.setdefault(self.key(label), Counter())[" ".join(label.split())] += 1
        for key, counts in spelled.items():
            self._names.setdefault(key, min(counts, key=lambda one: (-counts[one], one)))

    def key(self, label: str) -> str:
        """One key for all labels that mean the same."""
        return self._group.get(fold(label), fold(label))

    def name(self, label: str) -> str:
        """How a label is written: the first of its synonyms, else as it is given."""
        return self._names.get(self.key(label), " ".join(label.split()))

    def word(self, label: str, language: str) -> str:
        """The label in a language; "" = it has no name in it."""
        if language == "en":
            return self.name(label)
        spellings = (label, self.name(label), *self._spelled(label))
        return next((name for one in spellings if (name := chinese(one, self.chinese_names))), "")

    def aliases(self, label: str, language: str) -> tuple[str, ...]:
        """Other wordings that mean exactly the label, in a language."""
        if language != "en":
            return also(self.name(label), language)
        spellings = (*self._spelled(label), *also(self.name(label), "en"))
        return tuple(dict.fromkeys(one for one in spellings if fold(one) != fold(self.name(label))))

    def _spelled(self, label: str) -> Iterator[str]:
        key = self.key(label)
        return (self._names[one] for one, group in self._group.items() if group == key)

    def _above(self, key: str) -> set[str]:
        above: set[str] = set()
        left = [key]
        while left:
            new = self._parents.get(left.pop(), set()) - above
            above |= new
            left += new
        return above

    def related(self, one: str, other: str) -> bool:
        """Whether one label (by its key) stands above the other."""
        return one in self._above(other) or other in self._above(one)

    def distractors(self, gold: str, positives: Iterable[str], pool: Iterable[str]) -> list[str]:
        """Which labels of a pool, by their keys and sorted, are wrong for an item whose labels are `positives`.

        Never the gold, another label of the item, a synonym, what stands above or below one of them, nor what may hold
        beside a finding.
        """
        true = {self.key(label) for label in (gold, *positives)}
        candidates = self._fixed.get(self.key(gold), tuple(pool))
        return sorted(
            {
                other
                for other in candidates
                if other not in true
                and not any(self.related(one, other) for one in true)
                and not (self._beside and (other in self._beside) != (self.key(gold) in self._beside))
            }
        )

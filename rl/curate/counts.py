"""What a curation made and dropped, as tables that the screen and the card both show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rl.curate.blind import Blind
from rl.curate.items import Drop, Made
from rl.curate.letters import Ordered, letters_of
from rl.curate.looking import Look

# What is not one of the two letters a modality code has.
NO_MODALITY = "(none)"


class Gate(NamedTuple):
    """The blind baselines of one rule of a source, before and after golds were capped."""

    source: str
    rule: str
    before: Blind
    after: Blind
    # "passed", "TOO EASY", or "printed only" where the answers are no labels that could be balanced.
    result: str


@dataclass
class Outcome:
    """All that is told of a curation."""

    recipe: str
    num_items: int = 0
    rows: list[Ordered] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    # Item id -> side; empty = the rows have no split.
    sides: dict[str, str] = field(default_factory=dict)
    # Item id -> what was seen of its media.
    looks: dict[str, Look] = field(default_factory=dict)
    # Sentences about leaks, volumes, translations and what a reader should know.
    notes: list[str] = field(default_factory=list)
    # Numbers of the endpoint: calls, tokens, cost, ..; empty = none was asked.
    traffic: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no rule is too easy for a guesser."""
        return all(gate.result != "TOO EASY" for gate in self.gates)


class Section(NamedTuple):
    """A table with its title."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def sections(outcome: Outcome) -> list[Section]:
    """All tables, in the order shown; those that would be empty are left out."""
    made = [row.made for row in outcome.rows]
    tables = [
        _by_rule(made, outcome.drops),
        _reasons(outcome.drops),
        _crossed("rows by modality and language", made, lambda row: row.item.modality or NO_MODALITY),
        _crossed("rows by answer type and language", made, lambda row: row.answer_type),
        _weights(made),
        _sides(made, outcome.sides),
        _letters(outcome.rows),
        _blind(outcome.gates),
    ]
    return [section for section in tables if section.rows]


def _by_rule(made: Sequence[Made], drops: Sequence[Drop]) -> Section:
    kept = Counter((row.item.source, row.rule) for row in made)
    lost = Counter((drop.item.source, drop.rule) for drop in drops)
    names = sorted({*kept, *lost})
    rows = [(source, rule, str(kept[source, rule]), str(lost[source, rule])) for source, rule in names]
    return Section("kept and dropped", ("source", "rule", "rows", "dropped"), rows)


def _reasons(drops: Sequence[Drop]) -> Section:
    counts = Counter((drop.rule, drop.reason, drop.language) for drop in drops)
    rows = [(rule, reason, language, str(count)) for (rule, reason, language), count in sorted(counts.items())]
    return Section("dropped, by reason", ("rule", "reason", "language", "count"), rows)


def _crossed(title: str, made: Sequence[Made], name_of: object) -> Section:
    counts = Counter((name_of(row), row.language) for row in made)  # type: ignore[operator]
    names = sorted({name for name, _ in counts})
    rows = [
        (name, str(counts[name, "en"]), str(counts[name, "zh"]), str(counts[name, "en"] + counts[name, "zh"]))
        for name in names
    ]
    return Section(title, ("", "en", "zh", "all"), rows)


def _weights(made: Sequence[Made]) -> Section:
    """By which factor each modality would be drawn to have equal shares; rows are never repeated (D11)."""
    counts = Counter(row.item.modality or NO_MODALITY for row in made)
    if len(counts) < 2:
        return Section("", (), [])
    mean = counts.total() / len(counts)
    rows = [
        (name, str(count), f"{count / counts.total():.1%}", f"{mean / count:.3g}")
        for name, count in sorted(counts.items())
    ]
    return Section("balance of modalities", ("modality", "rows", "share", "weight for equal shares"), rows)


def _sides(made: Sequence[Made], sides: dict[str, str]) -> Section:
    if not sides:
        return Section("", (), [])
    counts = Counter(sides[row.item.id] for row in made)
    items = Counter(sides[one] for one in {row.item.id for row in made})
    return Section(
        "split", ("side", "items", "rows"), [(side, str(items[side]), str(counts[side])) for side in sorted(counts)]
    )


def _letters(rows: Sequence[Ordered]) -> Section:
    letters = letters_of(rows)
    lines = [(f"{number} options", " ".join(map(str, counts))) for number, counts in letters.counts.items()]
    return Section(f"gold letters in order (chi-square p = {letters.p_value:.3f})", ("", "A B C .."), lines)


def _blind(gates: Sequence[Gate]) -> Section:
    rows: list[tuple[str, ...]] = []
    for gate in gates:
        for when, one in (("before", gate.before), ("after", gate.after)):
            result = "" if when == "before" else gate.result
            numbers = tuple(f"{value:.1%}" for value in (one.chance, one.frequent, one.text_only))
            rows.append((gate.source, gate.rule, when, str(one.num_asked), *numbers, result))
    columns = ("source", "rule", "capped", "questions", "chance", "most frequent", "text only", "gate")
    return Section("blind baselines: what a guesser that never looks scores", columns, rows)


def card(outcome: Outcome, head: Iterable[str]) -> str:
    """The card beside the data, in Markdown. `head`: lines under the title."""
    parts = [f"# {outcome.recipe}", *head, *(f"- {note}" for note in outcome.notes)]
    for section in sections(outcome):
        parts += ["", f"## {section.title[:1].upper()}{section.title[1:]}", ""]
        parts += ["| " + " | ".join(section.columns) + " |", "|" + "---|" * len(section.columns)]
        parts += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in section.rows]
    if outcome.traffic:
        parts += ["", "## Language model", ""]
        parts += [f"- {name}: {value:g}" for name, value in sorted(outcome.traffic.items())]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

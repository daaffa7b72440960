"""A benchmark's card: one YAML file that says where its rows are, how they become questions and what is known of them.

`conf/benchmark/NAME.yaml` are the shipped ones; a path to a file of one's own does as well. A card is data: it names
columns, readers and scorers, and holds no code. Every fault of a card is told with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from rewards.metrics.door import MODEL_METRICS
from rewards.metrics.reports import METRICS
from rl.benchmarks.odd_rows import FUNCTIONS
from rl.config.files import CONF_DIR, card_names, table_names
from rl.probes.table import FAMILIES, PROBES
from rollouts.annotations import Misfit, read
from rollouts.nearest import did_you_mean

FOLDER = CONF_DIR / "benchmark"
# What a column may be of a question. `options` and `images` may name several columns, one each; elsewhere several names
# are alternatives, the first that is there counts.
ROLES = (
    "id question answer letter index options image images modality language findings impression aliases rubric volume"
    " video conversation pair"
).split()
# Roles a file need not have: without an id the row's place names it, without the others a stratum is not there.
OPTIONAL = frozenset({"id", "modality", "language", "aliases"})
# The stratum of `Card.combination`.
COMBINATION = "combination"
# The headline of a card whose items count only together: the share of its groups that are right in all of their items.
ALL_RIGHT = "all_right"
# Strata that need no tag. Options that are letters or figures make their own letters doubtful (MedXpertQA).
OF_EVERY_CARD = ("answer_type", "modality", "source", "letter_options")
Scorer = Literal["rubric", "report", "rubric_judge"]
Baseline = Literal["chance", "majority", "options_only", "question_only", "constant", "nearest"]
PROMPTS = ("plain", "short", "letter", "report")


# Place of a setting in a card, and what is wrong with it.
Fault = tuple[tuple[object, ...], str]


class CardError(ValueError):
    """A card cannot be used; the message says which, on which line, what was got and what was expected."""


@dataclass(frozen=True)
class Source:
    """Where the rows and images are, below the folder that the user gives (`benchmark_root=FOLDER`)."""

    # Names or patterns of the file of rows, at any depth; the first that is there counts.
    files: tuple[str, ...]
    # A source of the project whose held-out items are the benchmark (`rl.data.load.SOURCES`), instead of files.
    data: Literal["", "phantoms", "vqa_rad"] = ""
    # The data set on the Hub and the revision this card was written for; "" = none, or not known.
    hub: str = ""
    revision: str = ""
    # The subset and the split there.
    subset: str = ""
    split: str = "test"
    # Every file that fits is read, not the first only.
    many: bool = False
    # Where the file is one JSON object: the name under which its rows stand, such as "test".
    under: str = ""
    # Folders in which image names are looked for, after the folder of the file of rows and the root.
    images: tuple[str, ...] = ()
    # A folder of the user in which this card's files are, instead of `benchmark_root`; "" = as given there.
    root: str = ""


@dataclass(frozen=True)
class Expect:
    """What the published set holds. Anything else is told, and not scored unless `eval.on_mismatch=tell`."""

    # Rows that are asked, after `where`; several where the set is passed around in several sizes; None = any number.
    rows: int | tuple[int, ...] | None = None
    # Rows that cannot be asked at all (no gold, gold that is no option): known and counted.
    unusable: int = 0
    # Hash of questions, options and golds as they are read (`rl.benchmarks.loading.content_hash`), of any order; a copy
    # in another file format has the same. "" = not known.
    content: str = ""


@dataclass(frozen=True)
class Form:
    """One of the forms in which the set is passed around: its columns, or a function that reads its rows."""

    # Role -> column, or several.
    columns: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    # Function of rl/benchmarks/odd_rows.py that turns a row into one with plain columns; "" = as it stands.
    function: str = ""
    # Columns that rows must have beside those, and roles that they need not have.
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    # Names of the files that come in this form; none = any.
    files: tuple[str, ...] = ()
    # Rows that are meant in this form, beside the card's `where`.
    where: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    # Hash of the rows in this form, where it is another than `Expect.content`, or where only this one is known.
    content: str = ""


@dataclass(frozen=True)
class Answers:
    """How the type of an answer is told where a row does not say it."""

    # "" = by the rules below, in their order; else every row is of this type.
    kind: Literal["", "mcq", "open", "report"] = ""
    # An answer that is yes or no in one of its forms makes a yes/no question.
    yes_no: bool = False
    # Only rows whose tag has this value are yes/no or name their options ("answer_type: CLOSED").
    closed: Mapping[str, str] = field(default_factory=dict)
    # "is it A or B?" with A or B as its answer is multiple choice of the two.
    from_question: bool = False
    # Answers that come in twos and whose polarity belongs to the question: a question answered by one of two is
    # multiple choice of both.
    pairs: tuple[tuple[str, str], ...] = ()
    # Several things parted by commas, in any order: "Left Lung, Right" is "right and left lung".
    comma_sets: bool = False
    # A full stop at the end of some options only tells which is right (OmniMedVQA): it is taken off all of them.
    strip_dots: bool = False


@dataclass(frozen=True)
class Training:
    """Rows of the set's own training part: for blind baselines, and to tell images that are on both sides."""

    name: str
    files: tuple[str, ...]
    where: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    under: str = ""
    # Whether baselines may learn from these rows; else only their images are compared.
    baselines: bool = True
    # The rows of the file that the card's file of ids does not name.
    other_ids: bool = False


@dataclass(frozen=True)
class Draw:
    """A part of a set that is too large, or too uneven, to be asked whole: as many rows of each stratum."""

    # "modality", or a tag; a row without it is not drawn.
    by: str
    rows: int


@dataclass(frozen=True)
class Reference:
    """One column of a table of others, with its origin and whether its numbers may be compared with ours."""

    # "Fleming-VL, Table 3".
    source: str
    metric: str
    # Model -> value, in per cent where the metric is a share.
    values: Mapping[str, float]
    comparable: bool = False
    # Why they may not be compared, or what must be the same where they may.
    why: str = ""
    grader: str = ""
    rows: int | None = None


@dataclass(frozen=True)
class Card:
    """One benchmark."""

    # With the version in every stored result: a changed row, prompt or rule is a new version.
    name: str
    version: int
    title: str
    source: Source
    forms: tuple[Form, ...]
    licence: str
    # False: no row may be sent to an endpoint on another machine.
    may_leave_machine: bool = True
    expect: Expect = field(default_factory=Expect)
    # Column -> value, or one of several: which rows of the file are meant.
    where: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    # A file of ids that says which rows are meant (PubMedQA's 500): a JSON object or list; "" = all.
    ids_file: str = ""
    # How many rows of each value of a tag are asked, drawn by the hash of their ids; None = all.
    draw: Draw | None = None
    # Tag -> column, or alternatives; strata and the reader's eyes use them.
    tags: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    # False: questions of text alone.
    needs_media: bool = True
    answers: Answers = field(default_factory=Answers)
    # What is resampled: "image", "row", "question", or a tag.
    cluster: str = "image"
    # Tags, "answer_type", "modality", "source".
    strata: tuple[str, ...] = ("answer_type",)
    # "modality" and tags whose combinations are looked for in the training rows: the stratum `combination` then says
    # whether an item's own was seen, recombined (each part was, never together) or novel (Med-MAT). () = it is not.
    combination: tuple[str, ...] = ()
    prompt: Literal["plain", "short", "letter", "report"] = "plain"
    # What is asked where rows hold no question (reports).
    question: str = ""
    language: Literal["en", "zh"] = "en"
    modality: str = ""
    scorer: Scorer = "rubric"
    # The number of the card in tables: accuracy, or a metric of reports.
    headline: str = "accuracy"
    metrics: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ("chance", "majority")
    training: tuple[Training, ...] = ()
    # The constant report of the baseline "constant", and what it adds where references have an impression, too.
    constant: str = ""
    constant_impression: str = ""
    traps: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()

    @property
    def label(self) -> str:
        """Name and version, as stored with every result."""
        return f"{self.name}@{self.version}"

    @property
    def all_strata(self) -> tuple[str, ...]:
        """The strata of its tables."""
        return (*self.strata, *([COMBINATION] if self.combination else []))


def names() -> list[str]:
    """The shipped cards, by name."""
    return card_names()


def of_table(name: str) -> list[str]:
    """The cards of a table of a paper (conf/benchmark/tables), in its order; a name that is none stands for itself."""
    if name not in table_names():
        return [name]
    cards: list[str] = yaml.safe_load((FOLDER / "tables" / f"{name}.yaml").read_text(encoding="utf-8"))["cards"]
    return cards


def find(wanted: Sequence[str]) -> list[Card]:
    """The cards of these names, files or tables, in this order.

    Raises:
        CardError: there is no such card, a file is no card, or two cards bear one name.
    """
    cards: dict[str, Path] = {}
    result = []
    for one in [name for group in wanted for name in of_table(group)]:
        path = _path_of(one)
        card = load(path)
        if cards.get(card.name) == path:
            raise CardError(f"benchmark {card.name!r} stands twice in benchmark=[{','.join(wanted)}]; leave one out")
        if card.name in cards:
            raise CardError(f"two cards are named {card.name!r}: {cards[card.name]} and {path}; rename one")
        shipped = FOLDER / f"{card.name}.yaml"
        if path.resolve() != shipped.resolve() and shipped.is_file():
            raise CardError(f"two cards are named {card.name!r}: {shipped} and {path}; rename yours")
        cards[card.name] = path
        result.append(card)
    return result


def _path_of(wanted: str) -> Path:
    if wanted.endswith((".yaml", ".yml")) or "/" in wanted:
        path = Path(wanted).expanduser()
        if not path.is_file():
            raise CardError(f"benchmark {wanted!r}: there is no such file")
        return path
    if wanted not in names():
        known = [*names(), *table_names()]
        near = did_you_mean(wanted, known, ";")
        raise CardError(f"benchmark {wanted!r}: there is no such card{near} there are {', '.join(known)}")
    return FOLDER / f"{wanted}.yaml"


def load(path: Path) -> Card:
    """One card, checked. Raises CardError with every fault and its line."""
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CardError(f"{path}: no card: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(values, Mapping):
        raise CardError(f"{path}: no card: expected settings such as `name: {path.stem}`")
    try:
        card: Card = read(Card, _with_lists(values))
    except Misfit as error:
        lines = [f"line {_line(text, _place(fault))}: {_hinted(fault)}" for fault in error.faults]
        raise CardError(_screen(path, lines)) from None
    except RecursionError:
        raise CardError(f"{path}: no card: nested too deeply") from None
    if faults := list(_faults(card)):
        lines = [f"line {_line(text, place)}: {words}" for place, words in faults]
        raise CardError(_screen(path, lines))
    return card


def _screen(path: Path, lines: Sequence[str]) -> str:
    return "\n".join([f"the card {path} cannot be used:", *(f"  {line}" for line in lines[:20])])


def _with_lists(values: Any) -> Any:
    """One text where a list of them is meant is a list of one: `files: test.json`."""
    if not isinstance(values, Mapping):
        return values
    listed = "files images strata combination probes baselines traps metrics needs optional".split()
    made = {}
    for name, value in values.items():
        if name in ("columns", "tags", "where", "values"):
            made[name] = value
        elif name in listed and isinstance(value, str):
            made[name] = [value]
        elif isinstance(value, list):
            made[name] = [_with_lists(one) for one in value]
        else:
            made[name] = _with_lists(value)
    return made


def _place(fault: Any) -> tuple[object, ...]:
    """The place of a fault; of a setting that does not exist, that of its name."""
    place: tuple[object, ...] = fault.place
    return (*place, fault.got) if fault.expected.startswith("settings among") else place


def _hinted(fault: Any) -> str:
    """The fault in words, with the setting that was meant where a name is unknown."""
    known = re.match(r"settings among (.*)", fault.expected)
    if known and isinstance(fault.got, str):
        return f"there is no setting {fault.got!r}{did_you_mean(fault.got, known[1].split(', '))}"
    return str(fault)


def _line(text: str, place: Sequence[object]) -> int:
    """The line, from 1, of the setting that a place leads to, or of the nearest one around it."""
    node: Any = yaml.compose(text)
    line = node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return int(line)


def _faults(card: Card) -> list[Fault]:
    """What types cannot say."""
    faults: list[Fault] = []
    if not re.fullmatch(r"[a-z][a-z0-9_]*", card.name):
        faults.append((("name",), f"got {card.name!r}, expected small letters, digits and _"))
    if card.version < 1:
        faults.append((("version",), f"got {card.version}, expected 1 or more"))
    if "constant" in card.baselines and not card.constant:
        faults.append((("baselines",), "the baseline 'constant' needs the report, as `constant:`"))
    faults += [(("probes",), text) for text in _unknown("probe", card.probes, [*PROBES, *FAMILIES])]
    faults += [(("strata",), text) for text in _unknown("tag", card.strata, [*card.tags, *OF_EVERY_CARD])]
    by = [card.draw.by] if card.draw else []
    faults += [(("draw", "by"), text) for text in _unknown("tag", by, ["modality", *card.tags])]
    faults += [(("combination",), text) for text in _unknown("tag", card.combination, ["modality", *card.tags])]
    of_reports = card.scorer == "report"
    known = [*METRICS, *MODEL_METRICS] if of_reports else ["macro_f1"]
    faults += [(("metrics",), text) for text in _unknown("metric", card.metrics, known)]
    heads = ["rouge_l", "meteor", "cider", "cider_d"] if of_reports else ["accuracy", "rubric_points", ALL_RIGHT]
    faults += [(("headline",), text) for text in _unknown("headline", [card.headline], heads)]
    clusters = ["image", "row", "question", *card.tags]
    faults += [(("cluster",), text) for text in _unknown("cluster", [card.cluster], clusters)]
    for number, one in enumerate(card.references):
        if not one.comparable and not one.why:
            faults.append((("references", number), f"{one.source} is not comparable: say why"))
    return [*faults, *_faults_of_forms(card)]


def _faults_of_forms(card: Card) -> Iterator[Fault]:
    if not card.forms:
        yield ("forms",), "a card needs at least one form of its rows"
    if not card.source.files:
        yield ("source",), "a card names at least one file"
    for number, form in enumerate(card.forms):
        place = ("forms", number, "columns")
        for text in _unknown("role of a column", list(form.columns), ROLES):
            yield place, text
        for text in _unknown("function", [form.function] if form.function else [], list(FUNCTIONS)):
            yield ("forms", number, "function"), text
        for text in _lacks(card, form):
            yield place, text


def _unknown(what: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    """A sentence for each name that is none of those known, with the one that was meant."""
    listed = ", ".join(known)
    return [
        f"there is no {what} {name!r}{did_you_mean(name, known, f'; there are {listed}')}"
        for name in names
        if name not in known
    ]


def _lacks(card: Card, form: Form) -> list[str]:
    """What a form leaves open that every question needs."""
    columns = form.columns
    if form.function:
        return []
    lacks = []
    if not card.question and not {"question", "conversation"} & set(columns):
        lacks.append("no column is the question")
    if not {"answer", "letter", "index", "findings", "rubric"} & {*columns}:
        lacks.append("no column is the answer (answer, letter, index, findings or rubric)")
    return lacks

"""A row of a benchmark becomes a question: which columns it has, of which type its answer is, what is wrong with it.

Two things can be wrong. A row that cannot be asked (no question, gold that is no option) is a BadSample. A row that can
be asked and whose gold is in doubt (two options of one text) has a flaw: it counts in the `official` score, as its
authors count it, and is left out of `clean`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rl.benchmarks.baselines import WRITTEN
from rl.benchmarks.card import ALL_RIGHT, OPTIONAL, Card, Form
from rl.benchmarks.named_options import named_options
from rl.benchmarks.odd_rows import FUNCTIONS, lettered, literal
from rl.benchmarks.pictures import Pictures
from rl.data.markup import bare_question
from rl.data.vqa_rad.answers import aliases, distinct
from rollouts.nearest import did_you_mean
from rollouts.records import LETTERS, BadSample, Media, RubricCriterion, Sample
from rollouts.rows.golds import without_labels, yes_or_no
from rollouts.texts.reading import is_blank, is_missing, is_value, quote, trim

Row = Mapping[str, Any]
# Tags of every sample of a benchmark, beside those of its card.
CARD, CLUSTER, FLAW = "benchmark", "cluster", "flaw"
# Tags of a report whose sections are told apart, and of an item that counts only together with the rest of its group.
SECTIONS = ("findings", "impression")
IN_GROUPS = "in_groups"
_SHORT = {"en": "Answer with a word or a short phrase.", "zh": "请用一个词或短语回答。"}
_REPORT = {
    "en": "Write the report of this study: findings, then impression.",
    "zh": "请写出该检查的报告：先写所见，再写印象。",
}
_LETTER = re.compile(r"\(?([A-Za-z])\)?(?:[.):、]\s*(.*))?", re.DOTALL)
_OWN_LABEL = re.compile(r"\(?([A-Z])\)?\s*[.:)、：]\s*(.*)", re.DOTALL)
_MARK = re.compile(r"[<\[]/?(image|video|img)(?:[ _-]?\d{1,3})?[>\]]", re.IGNORECASE)
# Orders of a set of things that are written out as other wordings.
_MOST_IN_SET = 4


class Item(NamedTuple):
    """One question of a benchmark."""

    sample: Sample
    # Why its gold is in doubt; "" = it is not, and the item counts in `clean`.
    flaw: str
    # What is resampled with it.
    cluster: str
    # Place in the file, from 1.
    line: int


def form_of(row: Row, card: Card, file_name: str) -> tuple[Form | None, str]:
    """The first form whose columns a row has, or None and what is missing."""
    lacks = []
    forms = [form for form in card.forms if not form.files or file_name in form.files]
    for form in forms:
        # A function makes columns of its own; what it reads is what the form needs.
        columns = {} if form.function else {k: v for k, v in form.columns.items() if k not in form.optional}
        missing = [(role, names) for role, column in columns.items() if (names := _lacking(row, role, column))]
        missing += [(name, names) for name in form.needs if (names := _lacking(row, name, name))]
        if not missing:
            return form, ""
        lacks.append("; ".join(f"{role}: {names}" for role, names in missing))
    if not forms:
        named = sorted({name for form in card.forms for name in form.files})
        return None, f"no form of this card comes in a file {file_name}; expected {', '.join(named)}"
    return None, " | or ".join(lacks)


def _lacking(row: Row, role: str, column: str | Sequence[str]) -> str:
    """The columns of a role that a row does not have, with those that were meant; "" = it has what it needs."""
    if role in OPTIONAL:
        return ""
    names = [column] if isinstance(column, str) else list(column)
    if role == "options" and len(names) > 1:
        missing = [name for name in names[:2] if name not in row]
    elif role == "images" and len(names) > 1:
        missing = [name for name in names[:1] if name not in row]
    else:
        missing = [] if any(name in row for name in names) else names
    return ", ".join(f"no column {name!r}{did_you_mean(name, row)}" for name in missing)


def matches(row: Row, where: Mapping[str, str | tuple[str, ...]]) -> bool:
    """Whether a row is meant: each column named has its value, or one of several."""
    return all(
        str(row.get(name, "")).strip() in ((wanted,) if isinstance(wanted, str) else wanted)
        for name, wanted in where.items()
    )


def made_of(row: Row, form: Form) -> list[Row]:
    """The rows with plain columns that a row of a file stands for: itself, what the form's function makes of it, none
    where it is not meant. Raises BadSample."""
    made: Any = FUNCTIONS[form.function](row) if form.function else row
    return made if isinstance(made, list) else [made]


def item_of(row: Row, form: Form, card: Card, line: int, pictures: Pictures, file: str = "") -> Item:
    """The question of a row of `made_of`. `file`: goes before the line where a row has no id, since lines repeat where
    a card has many files. Raises BadSample with what was got and what was expected."""
    cells = _Cells(row, form)
    tags = {tag: text for tag, column in card.tags.items() if (text := cells.text_in(column))}
    tags |= {name: cells.text(name) for name in SECTIONS if form.function and cells.value("impression") is not None}
    media = _media(cells, card, pictures)
    words = cells.text("question") or cells.text("conversation") or card.question or _REPORT[card.language]
    question = _bare(words, len(media))
    row_id = cells.text("id") or f"{file}{line}"
    gold = _gold(cells, card, question, tags)
    cluster = _cluster(card, row_id, question, media, tags)
    tags |= {CARD: card.label, CLUSTER: cluster, **({FLAW: gold.flaw} if gold.flaw else {})}
    written = "" if cells.value("options") is not None else cells.text_in(form.columns.get("answer", "answer"))
    if written and written != gold.text:
        tags[WRITTEN] = written
    pair = cells.text("pair")
    if card.headline == ALL_RIGHT and pair:
        tags[IN_GROUPS] = pair
    if "letter_options" in card.strata:
        tags["letter_options"] = _kind_of_options(gold.options or ())
    sample = Sample(
        id=f"{card.name}-{row_id}",
        question=_prompt(question, gold.kind, card),
        answer_type=gold.kind,  # type: ignore[arg-type]  # checked by the record itself
        gold_text=gold.text,
        options=gold.options,
        gold_letters=gold.letters,
        aliases=gold.aliases,
        media=media,
        split="eval",
        source=card.name,
        modality=cells.text("modality") or card.modality,
        language=card.language,
        tags=tags,
        rubric=_rubric(cells),
        pair_id=pair or None,
    )
    return Item(sample, gold.flaw, cluster, line)


def _bare(question: str, num_media: int) -> str:
    """The question without marks of images around it; a mark between its words becomes words, since images are shown
    before the question here."""
    if "<" not in question and "[" not in question:
        return question
    try:
        return bare_question(question, num_media)
    except BadSample:
        return bare_question(_MARK.sub(lambda mark: f"({mark[1].lower()})", question), num_media)


class _Cells:
    """A row's cells by their roles."""

    def __init__(self, row: Row, form: Form) -> None:
        self.row, self._columns = row, form.columns
        self._plain = bool(form.function)  # its function gives columns named after roles

    def value(self, role: str) -> Any:
        """What stands in the column of a role; None = nothing."""
        column = self._columns.get(role, role if self._plain else None)
        if column is None:
            return None
        names = [column] if isinstance(column, str) else list(column)
        if role == "options" and len(names) > 1:
            # An empty cell between others keeps its letter; those behind the last option are none.
            options = [None if _is_nothing(self.row.get(name)) else self.row[name] for name in names]
            while options and options[-1] is None:
                options.pop()
            return options
        if role == "images" and len(names) > 1:
            return [self.row[name] for name in names if not _is_nothing(self.row.get(name))]
        return next((self.row[name] for name in names if not _is_nothing(self.row.get(name))), None)

    def text(self, role: str) -> str:
        """The same as text, blanks folded at its ends; "" = nothing."""
        return _text(self.value(role), role)

    def text_in(self, column: str | Sequence[str]) -> str:
        """The text of the first of these columns that has one."""
        names = [column] if isinstance(column, str) else column
        value = next((self.row[name] for name in names if not _is_nothing(self.row.get(name))), None)
        if isinstance(value, (list, tuple)):
            return ", ".join(str(one) for one in value)
        return "" if value is None else trim(str(value))


def _is_nothing(value: Any) -> bool:
    """Whether a cell holds nothing; "None" and "NA" are answers."""
    return (
        value is None or (isinstance(value, str) and is_blank(value)) or (isinstance(value, float) and value != value)
    )


def _text(value: Any, role: str) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and is_missing(value) and trim(value) != "NaT":
        raise BadSample(f"{role} is {quote(value)}, which programs write for a value that is not there")
    if not is_value(value) or (isinstance(value, str) and is_blank(value)):
        raise BadSample(f"{role} is {quote(value)}, expected text or a number")
    return trim(str(value))


def _media(cells: _Cells, card: Card, pictures: Pictures) -> tuple[Media, ...]:
    roles = ("image", "images", "volume", "video")
    media = [one for role in roles for one in pictures.media(cells.value(role), role)]
    if card.needs_media and not media:
        raise BadSample("the row names no image")
    return tuple(media)


def _cluster(card: Card, row_id: str, question: str, media: Sequence[Media], tags: Mapping[str, str]) -> str:
    if card.cluster == "row":
        return row_id
    if card.cluster == "question" or (card.cluster == "image" and not media):
        return " ".join(question.casefold().split())[:200]
    if card.cluster == "image":
        return image_key(media[0])
    if card.cluster not in tags:
        raise BadSample(f"no {card.cluster}, which says what its rows have in common (the card's cluster)")
    return tags[card.cluster]


def image_key(media: Media) -> str:
    """What tells one image from another: its content, or its name where it is not there."""
    return media.source_sha256 or media.sha256 or f"name {media.path}"


def _kind_of_options(options: Sequence[str]) -> str:
    """Whether options are letters, figures or texts."""
    if options and all(len(option) == 1 and option.isalpha() for option in options):
        return "letters"
    return "figures" if options and all(option.casefold().startswith("figure") for option in options) else "texts"


class _Gold(NamedTuple):
    kind: str
    text: str
    options: tuple[str, ...] | None = None
    letters: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    flaw: str = ""


def _gold(cells: _Cells, card: Card, question: str, tags: Mapping[str, str]) -> _Gold:
    """The right answer, by the card's rules."""
    rules = card.answers
    options = _options(cells.value("options"))
    if options:
        return _choice(cells, options, card)
    if cells.value("rubric") is not None:
        return _Gold("open", cells.text("answer") or "what the criteria say")
    if rules.kind == "mcq":
        raise BadSample("the row has no options")
    text = " ".join((cells.text("answer") or cells.text("findings")).split())
    if not text:
        raise BadSample("the gold answer is empty")
    if rules.kind == "report":
        return _Gold("report", text)
    closed = all(tags.get(name, value).strip().upper() == value.upper() for name, value in rules.closed.items())
    if rules.yes_no and closed and (answer := yes_or_no(text)):
        return _Gold("yes_no", answer)
    if rules.kind == "" and closed and (choice := _named(rules, question, text)):
        return choice
    return _open(cells, card, text)


def _named(rules: Any, question: str, text: str) -> _Gold | None:
    """Multiple choice of a pair of words, or of what the question names."""
    for pair in rules.pairs:
        if text in pair:
            return _Gold("mcq", text, pair, (LETTERS[pair.index(text)],))
    named = named_options(question, text) if rules.from_question else None
    if named is None:
        return None
    if named.gold_index is None:
        flaw = f"the gold {quote(text)} is none of the options that the question names: {', '.join(named.options)}"
        return _Gold("open", text, flaw=flaw)
    spelled = named.options[named.gold_index]
    meant = distinct([text, *aliases(spelled)], without=spelled)
    return _Gold("mcq", spelled, named.options, (LETTERS[named.gold_index],), meant)


def _open(cells: _Cells, card: Card, text: str) -> _Gold:
    others = [_text(one, "alias") for one in cells.value("aliases") or ()]
    if card.answers.comma_sets:
        others += set_wordings(text)
    return _Gold("open", text, aliases=distinct([*others, *aliases(text)], without=text))


def set_wordings(text: str) -> list[str]:
    """Other wordings of several things parted by commas: in any order, with "and", and with a noun that they share:
    "Left Lung, Right" is "right and left lung" and "both lungs". Nothing for one thing, or for very many."""
    parts = [part.strip() for part in re.split(r"[,，、;；]", text) if part.strip()]
    if not 2 <= len(parts) <= _MOST_IN_SET:
        return []
    chinese = bool(re.search(r"[\u4e00-\u9fff]", text))
    joins = ("、", "和", "，") if chinese else (", ", " and ")
    wordings = [join.join(order) for order in itertools.permutations(parts) for join in joins]
    if len(parts) > 2 and not chinese:
        wordings += [f"{', '.join(order[:-1])} and {order[-1]}" for order in itertools.permutations(parts)]
    words = [part.casefold().split() for part in parts]
    nouns = {" ".join(one[1:]) for one in words if len(one) > 1}
    if {one[0] for one in words} == {"left", "right"} and len(parts) == 2 and len(nouns) == 1:
        noun = nouns.pop()
        wordings += [f"{a} and {b} {noun}{end}" for a, b in (("left", "right"), ("right", "left")) for end in ("", "s")]
        wordings += [f"left {noun} and right {noun}", f"right {noun} and left {noun}"]
        wordings += [f"both {noun}s", f"both {noun}", f"bilateral {noun}s", f"bilateral {noun}"]
    return wordings


def _options(value: Any) -> list[str]:
    """The texts of options in any of the forms in which sets write them."""
    if isinstance(value, Mapping):
        there = {str(name).strip().upper(): one for name, one in value.items() if one is not None}
        if sorted(there) != list(LETTERS[: len(there)]):
            raise BadSample(f"option letters are {sorted(there)}, expected {list(LETTERS[: len(there)])}")
        value = [there[letter] for letter in sorted(there)]
    if value is None or (isinstance(value, (list, tuple)) and not value):
        return []
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, (list, tuple)):
        raise BadSample(f"options is {quote(value)}, expected a list of texts")
    if all(isinstance(one, Mapping) for one in value):
        letters = [str(one.get("letter") or one.get("key") or one.get("label") or "") for one in value]
        if any(letters) and letters != list(LETTERS[: len(letters)]):
            raise BadSample(f"option letters are {letters}, expected {list(LETTERS[: len(letters)])}")
        value = [next((one[name] for name in ("content", "value", "text") if name in one), None) for one in value]
    texts = ["" if _is_nothing(one) else " ".join(_text(one, "option").split()) for one in value]
    labels = [_OWN_LABEL.fullmatch(text) for text in texts]
    if len(texts) > 1 and [label[1] if label else "" for label in labels] == list(LETTERS[: len(texts)]):
        return [label[2] for label in labels if label]  # an empty option, too, has its label ("D:")
    return list(without_labels(tuple(texts)))


def _listed(text: str) -> list[Any]:
    """The options that a text spells: a list as Python or JSON writes it, one option a line, or behind each other with
    letters of their own, "(A) one (B) two"."""
    if text.lstrip().startswith("["):
        value = literal(text)
        return value if isinstance(value, list) else [value]
    lines = [part for part in text.split("\n") if part.strip()]
    return lines if len(lines) != 1 else lettered(text.strip()) or lines


def _choice(cells: _Cells, options: list[str], card: Card) -> _Gold:
    if card.answers.strip_dots:
        options = [option[:-1].rstrip() if option.endswith(".") and len(option) > 1 else option for option in options]
    if not 2 <= len(options) <= len(LETTERS):
        raise BadSample(f"{len(options)} options, expected 2 to {len(LETTERS)}")
    folded = [_folded(option) for option in options]
    index = _gold_index(cells, options, folded, card)
    twins = [LETTERS[place] for place, one in enumerate(folded) if folded.count(one) > 1]
    empty = [LETTERS[place] for place, one in enumerate(folded) if not one]
    if not twins and not empty:
        return _Gold("mcq", options[index], tuple(options), (LETTERS[index],))
    # Shown with their letters, so that the letter can be answered, as the authors count it.
    marked = {*twins, *empty}
    shown = tuple(
        f"{text} [{LETTERS[at]}]".strip() if LETTERS[at] in marked else text for at, text in enumerate(options)
    )
    flaw = f"options {', '.join(twins)} have the same text" if twins else f"option {empty[0]} is empty"
    return _Gold("mcq", shown[index], shown, (LETTERS[index],), flaw=flaw)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _gold_index(cells: _Cells, options: Sequence[str], folded: Sequence[str], card: Card) -> int:
    if cells.value("letter") is not None:
        return _by_letter(cells.text("letter"), options, folded)
    if cells.value("index") is not None:
        text = cells.text("index")
        if not text.isdigit() or int(text) >= len(options):
            raise BadSample(f"the gold index is {quote(text)}, expected 0 to {len(options) - 1}")
        return int(text)
    text = cells.text("answer")
    if not text:
        raise BadSample("the gold answer is empty")
    if card.answers.strip_dots and text.endswith(".") and len(text) > 1:
        text = text[:-1].rstrip()
    if folded.count(_folded(text)) == 1:
        return folded.index(_folded(text))
    if options.count(text) == 1:  # its twin differs in capitals
        return options.index(text)
    return _by_letter(text, options, folded)


def _by_letter(text: str, options: Sequence[str], folded: Sequence[str]) -> int:
    """The place of "B", "(B)" or "B. its text"; a text that is no letter is looked for among the options."""
    match = _LETTER.fullmatch(text)
    letter = match[1].upper() if match else ""
    if match and letter in LETTERS[: len(options)]:
        place = LETTERS.index(letter)
        if not match[2] or _folded(match[2]) == folded[place]:
            return place
    if folded.count(_folded(text)) == 1 and not (match and not match[2] and letter in LETTERS[: len(options)]):
        return folded.index(_folded(text))  # "E. coli" is no label, however much it looks like one
    if folded.count(_folded(text)) > 1:
        raise BadSample(f"the gold {quote(text)} is the text of {folded.count(_folded(text))} options")
    raise BadSample(f"the gold answer {quote(text)} is not among the options {quote(list(options))}")


def _rubric(cells: _Cells) -> tuple[RubricCriterion, ...]:
    value = cells.value("rubric")
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, Mapping) for one in value):
        raise BadSample(f"rubric is {quote(value)}, expected a list of criteria")
    made = []
    for one in value:
        points = one.get("points")
        if not isinstance(points, (int, float)) or isinstance(points, bool):
            raise BadSample(f"a criterion has {quote(points)} points, expected a number")
        made.append(RubricCriterion(_text(one.get("criterion"), "criterion"), float(points)))
    return tuple(made)


def _prompt(question: str, kind: str, card: Card) -> str:
    """The question in the card's template; the think and answer template of the model goes around it."""
    if card.prompt == "short" and kind == "open":
        return f"{question}\n{_SHORT[card.language]}"
    return question

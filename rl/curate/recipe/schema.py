"""The settings of a recipe: records with the reason under each field. examples/curate/README.md shows one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Language = Literal["en", "zh"]
Form = Literal["mcq", "open"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


@dataclass(frozen=True)
class CaptionRule:
    """D1: a caption becomes the answer to a question drawn from a pool of wordings."""

    # What is asked: "describe" and "findings" are answered by the caption, "modality" and "organ" by the item's fields.
    kinds: tuple[Literal["describe", "findings", "modality", "organ"], ...] = ("describe",)
    # A caption that stands at more items says nothing about one of them.
    max_uses: int = 20
    min_words: int = 4


@dataclass(frozen=True)
class LabelRule:
    """D4: a label becomes multiple choice, or a direct question."""

    # What the labels are, which chooses the pool of wordings; any pool of the recipe's own `wordings` too.
    asks: str = "finding"
    # Share of the items that are asked so, 0 to 1, drawn by a hash.
    share: float = 1.0
    # Questions at most with the same label as gold. "auto": as many as keep a guesser within max_blind of chance;
    # null: all, and the blind baseline is printed and gated all the same.
    cap: int | Literal["auto"] | None = "auto"


@dataclass(frozen=True)
class ChoiceRule(LabelRule):
    """D4 as multiple choice: the gold label among random other labels."""

    # Wrong options, least and most; the number is drawn for each question. Fewer where there are not so many labels.
    distractors: tuple[int, int] = (3, 3)


@dataclass(frozen=True)
class PlaceRule:
    """D2: a mask becomes words for where it lies."""

    form: Form = "open"
    # "image": sides as they are seen; "patient": the patient's own, where the axes are known.
    sides: tuple[Literal["image", "patient"], ...] = ("image", "patient")
    # What the mask shows, as it is called in the question; null: the item's label, or "the marked finding".
    finding: str | None = None
    # "radiological": pictures are seen as if facing the patient. null: known only where the file says so.
    convention: Literal["radiological"] | None = None
    share: float = 1.0
    distractors: tuple[int, int] = (3, 3)
    # As for labels; "auto" keeps all that is asked open, whose baseline is printed and not gated.
    cap: int | Literal["auto"] | None = "auto"


@dataclass(frozen=True)
class ClipRule:
    """D7: the caption of a clip becomes the answer to "describe this procedure"."""

    max_uses: int = 20
    min_words: int = 4


@dataclass(frozen=True)
class ClipChoiceRule:
    """D8: a language model writes one multiple-choice question from the caption of a clip."""

    # Wrong options, least and most; the number is drawn before the model is asked, and exactly so many are demanded.
    distractors: tuple[int, int] = (1, 3)
    share: float = 1.0


@dataclass(frozen=True)
class SynthesisRule:
    """D5: a language model writes a question with a reasoned answer from picture, labels and facts."""

    share: float = 1.0
    # Send the picture too; the model must take images. A volume or a clip is shown by its middle frame.
    show_image: bool = True
    # Fields of the item that may be used beside label, modality and organ. Never one that names or dates somebody.
    facts: tuple[str, ...] = ()


RULES: dict[str, type] = {
    "caption": CaptionRule,
    "mcq": ChoiceRule,
    "open": LabelRule,
    "place": PlaceRule,
    "procedure": ClipRule,
    "video_mcq": ClipChoiceRule,
    "synthesis": SynthesisRule,
}
# Rules that ask a language model.
ASKING = ("video_mcq", "synthesis")


@dataclass(frozen=True)
class Source:
    """One data set: where it lies, what its columns mean, what is made of it."""

    # A table (.csv, .tsv, .jsonl, .json) or a folder; relative to the recipe.
    read: str
    # Rule -> its settings, {} for the defaults.
    rules: dict[str, dict[str, Any]]
    # What a folder is: "classes" = a folder for each label; "captions" = a .txt of the same name beside each medium;
    # "masks" = the folders images and masks with the same names. null: told by what lies there.
    layout: Literal["classes", "captions", "masks"] | None = None
    # Our field -> column of the table: image, images, volume, video, mask, organ_mask, label, caption, patient, id,
    # split, modality, organ, language, or a name of yours that `facts` of a rule uses.
    fields: dict[str, str] = field(default_factory=dict)
    # Of all items that do not say otherwise.
    modality: str = ""
    organ: str = ""
    language: Language = "en"
    # What stands between several labels of one item; null = an item has one label.
    label_separator: str | None = None
    # Pattern with one group that takes the patient's key out of a file's path; null = the field, or each medium alone.
    patient_pattern: str | None = None
    # Written into the object of each volume or video of the row, such as {window: lung, max_frames: 16}.
    media: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """What the recipe knows of its labels."""

    # Lists of labels that mean the same: never gold and distractor of one question; the first one is written.
    synonyms: list[list[str]] = field(default_factory=list)
    # Label -> its kinds: a label is never a distractor of one above or below it.
    tree: dict[str, list[str]] = field(default_factory=dict)
    # Labels that may be true beside a finding, as "no finding" beside a device: never in one question with a finding.
    may_hold_beside: list[str] = field(default_factory=list)
    # Label -> the only labels that may be its distractors.
    distractors: dict[str, list[str]] = field(default_factory=dict)
    # Label -> its Chinese name; without one a question stays English and is counted.
    chinese: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Filters:
    """Limits of the quality filters; null switches one off."""

    # Shortest side of a picture in pixels, and the least standard deviation of its greys (0 to 255).
    min_pixels: int | None = 64
    min_deviation: float | None = 2.0
    # The gold option at most so many times as long as the median option.
    max_gold_length: float | None = 2.0
    # Drop rows until no modality or language of a task holds more than so many times the rows of the rarest.
    max_imbalance: float | None = None


@dataclass(frozen=True)
class Leaks:
    """What is compared across the sides of the split, and with evaluation sets."""

    # Files of questions as data=jsonl reads them, whose images and questions must not be in the output.
    against: tuple[str, ...] = ()
    # Bits of 64 in which two pictures may differ and still count as copies.
    max_distance: int = 4
    # Move the training side of a near copy out instead of only reporting it.
    strict: bool = False


@dataclass(frozen=True)
class Llm:
    """The endpoint that writes and translates; the limits are the judge's (judges/JUDGING.md, Calls)."""

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    # Translate captions into the languages they do not have.
    translate: bool = False
    timeout_seconds: float = 60.0
    deadline_seconds: float = 600.0
    max_attempts: int = 5
    max_reasks: int = 2
    max_concurrency: int = 16
    max_calls: int | None = None
    max_tokens: int | None = None
    price_input: float = 0.0
    price_output: float = 0.0
    sampling: dict[str, int | float] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 1500})


@dataclass(frozen=True)
class Recipe:
    """All that decides what is made; the same recipe over the same files gives the same bytes."""

    # Name, kept in each row's tags.
    recipe: str
    sources: dict[str, Source]
    seed: int = 0
    languages: tuple[Language, ...] = LANGUAGES
    # Share of the patients (images, where none is known) that is held out; null = rows have no split, unless the
    # tables give one.
    eval_fraction: float | None = None
    # An item whose medium is missing or cannot be read stops the command, or is dropped and counted.
    on_bad_item: Literal["raise", "drop"] = "raise"
    # The blind baseline may lie so far above chance, as a share; more, and nothing is written.
    max_blind: float = 0.05
    labels: Labels = field(default_factory=Labels)
    # Kind -> language -> wordings, beside the shipped kinds or in their place.
    wordings: dict[str, dict[Language, list[str]]] = field(default_factory=dict)
    filters: Filters = field(default_factory=Filters)
    leaks: Leaks = field(default_factory=Leaks)
    llm: Llm | None = None

"""The records of curation: what a source gives, what a rule makes of it, and what was dropped with the reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["image", "volume", "video"]


@dataclass(frozen=True)
class Item:
    """One medium, or several that are shown together, with what is known of it."""

    # Hash of the source's name and all that was given: the same row has the same id wherever it stands. It holds no
    # file name, because names of patients stand in file names.
    id: str
    source: str
    # Line of the table, or place of the file in sorted order, from 1; for errors.
    number: int
    # Paths relative to the recipe, in the order they are shown: ("image", "images/17.png").
    media: tuple[tuple[Kind, str], ...]
    mask: str = ""
    organ_mask: str = ""
    labels: tuple[str, ...] = ()
    caption: str = ""
    language: Literal["en", "zh"] = "en"
    # Key of the patient as the data give it; it leaves curation hashed only. "" = unknown.
    patient: str = ""
    # "train", "eval", or "" where the data do not say.
    split: str = ""
    modality: str = ""
    organ: str = ""
    # Other columns of the table, for rules that name them.
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What is shown: an image unless a volume or a video is among the media."""
        kinds = [kind for kind, _ in self.media]
        return next((kind for kind in kinds if kind != "image"), "image")


def item_id(source: str, given: Mapping[str, Any]) -> str:
    """The id of an item: 16 hex digits of the SHA-256 of all that was given for it."""
    text = json.dumps([source, given], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


@dataclass(frozen=True)
class Made:
    """One question, as a rule made it."""

    item: Item
    rule: str
    language: Literal["en", "zh"]
    question: str
    # Pool and place of the wording, such as "finding.en.07"; the version of a prompt where a model wrote it.
    wording: str
    answer_type: Literal["mcq", "open", "report", "yes_no"]
    # The right answer in words.
    gold: str
    # The same answer whatever the language, by which golds are balanced and baselines are measured; "" = free text.
    gold_key: str = ""
    # In the order shown, and the same as keys; () = asked open.
    options: tuple[str, ...] = ()
    option_keys: tuple[str, ...] = ()
    # Asked open: what a guesser would choose from, all labels of the source; () = free text.
    alternatives: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    think: str = ""
    # What the question is of, beside its rule: kind of caption question, side convention.
    task: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def choices(self) -> tuple[str, ...]:
        """Keys of what a guesser chooses from: the options, or all labels; () = free text."""
        return self.option_keys or self.alternatives

    @property
    def pair(self) -> str:
        """Joins the languages of one question."""
        return f"{self.item.id}-{self.rule}{f'-{self.task}' if self.task else ''}"

    @property
    def id(self) -> str:
        """Unique in the output."""
        return f"{self.pair}-{self.language}"


class Drop(NamedTuple):
    """An item or a question that did not become a row. `reason` is of a fixed set for each rule, so that it can be
    counted; `detail` says more and is cut."""

    item: Item
    rule: str
    reason: str
    language: str = ""
    detail: str = ""

"""Benchmarks made of a few rows, for tests."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rl.benchmarks.card import Answers, Card, Expect, Form, Source, find
from rl.benchmarks.loading import Benchmark, load
from rollouts.records import Sample

MCQ = Form({"question": "question", "options": "options", "letter": "letter"})


def card_of(form: Form, **changes: Any) -> Card:
    """A card of text rows in mine.jsonl."""
    made = Card(
        name="mine", version=1, title="Mine", source=Source(files=("mine.jsonl",)), forms=(form,), licence="mine",
        needs_media=False,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def shipped(name: str, rows: int | None = None) -> Card:
    """A shipped card that expects so many rows, whatever they hold."""
    return dataclasses.replace(find([name])[0], expect=Expect(rows=rows))


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def picture(path: Path, grey: int = 90) -> Path:
    """A small image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey).save(path)
    return path


def read(card: Card, folder: Path, rows: Sequence[Any], name: str = "mine.jsonl") -> Benchmark:
    """The benchmark of these rows."""
    write_jsonl(folder / name, rows)
    return load(card, str(folder))


def sample(card: Card, folder: Path, row: Any, name: str = "mine.jsonl") -> Sample:
    """The question of one row."""
    benchmark = read(card, folder, [row], name)
    assert benchmark.unusable == ()
    return benchmark.samples[0]


def reason(card: Card, folder: Path, row: Any, good: Any, name: str = "mine.jsonl") -> str:
    """Why a row cannot be asked, beside one that can."""
    benchmark = read(card, folder, [good, row], name)
    assert len(benchmark.items) == 1
    return benchmark.unusable[0].reason


YES_NO_PAIRS = Answers(yes_no=True, pairs=(("正常", "不正常"),))

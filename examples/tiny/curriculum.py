"""What the tiny base model is taught, all of it clean: to answer from a written report, and to look.

`reading_row` is cheap, without an image: it teaches the words, which part of a finding each question asks for, and
which letter an option has. `seeing_rows` are the questions of the phantoms about images of their own split, which no
other split ever draws.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rl.data.phantoms import words
from rl.data.phantoms.draw import FINDINGS
from rl.data.phantoms.questions import choices, describe, draw_options, looking_response, phrase, samples
from rl.data.sets import SftRow
from rollouts.records import LETTERS, Sample, stable_hash


def seeing_rows(count: int, seed: int) -> Iterator[SftRow]:
    """Questions about images, answered by looking."""
    for sample in samples("base", count, seed):
        yield SftRow(sample, looking_response(sample, _rng("seeing", seed, sample.id)))


def reading_rows(count: int, seed: int) -> Iterator[SftRow]:
    """Questions about written reports."""
    for number in range(count):
        yield reading_row(number, seed)


def reading_row(number: int, seed: int) -> SftRow:
    """A question of the phantoms, the finding written out as a report; the thought repeats what the report says."""
    rng = _rng("reading", seed, number)
    modality = str(rng.choice(list(FINDINGS)))
    finding = str(rng.choice(FINDINGS[modality]))
    known = {"finding": finding}
    if finding != "normal":
        known["place"] = str(rng.choice(words.IMAGE_PLACES))
        if modality in words.FACING_PATIENT:
            known["side"] = words.PATIENT_SIDES[0 if "right" in known["place"] else 1]
        if modality == "CT":
            known["slice"] = str(rng.choice(words.SLICES))
    sample = _written_question(f"reading-{number}", modality, known, rng)
    return SftRow(sample, looking_response(sample, rng))


def _written_question(id: str, modality: str, known: dict[str, str], rng: np.random.Generator) -> Sample:

    report = f"Report: {describe(known)}."
    if rng.random() < 0.25:
        present = bool(rng.random() < 0.5)
        others = [finding for finding in FINDINGS[modality] if finding != known["finding"]]
        topic = known["finding"] if present else str(rng.choice(others))
        question = phrase("normality" if topic == "normal" else "presence", modality, topic, rng)
        return Sample(
            id=id,
            question=f"{report} {question}",
            answer_type="yes_no",
            gold_text="yes" if present else "no",
            split="base",
            source="drill",
            modality=modality,
            visual_references=(describe(known),),
        )
    where = [kind for kind in known if kind != "finding"]
    kind = str(rng.choice(where)) if where and rng.random() < 0.5 else "finding"
    options = draw_options(known[kind], choices(kind, modality), rng) if rng.random() < 0.8 else None
    return Sample(
        id=id,
        question=f"{report} {phrase(kind, modality, known['finding'], rng)}",
        answer_type="open" if options is None else "mcq",
        gold_text=known[kind],
        options=options,
        gold_letters=None if options is None else (LETTERS[options.index(known[kind])],),
        split="base",
        source="drill",
        modality=modality,
        visual_references=(describe(known),),
    )


def _rng(*seed: object) -> np.random.Generator:
    return np.random.default_rng(stable_hash(*seed))

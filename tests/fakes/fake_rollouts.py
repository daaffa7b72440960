"""Made-up rollouts that look like those of a run: written by hand for the tests of everything that stores, counts or
shows rollouts."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from rollouts.records import Completion, Media, Outcome, Parsed, Rollout, Sample, stable_hash
from rollouts.store.writer import RunWriter

MODALITIES = ("radiograph", "ct", "ultrasound", "dermoscopy")
WEIGHTS = {"accuracy": 0.9, "format": 0.1}
_LESIONS = ("a round bright opacity", "a dark irregular patch", "a thin bright line", "a faint ring")
_PLACES = ("upper left", "upper right", "lower left", "lower right")


def png(seed: int, size: int = 56) -> bytes:
    """A small grey picture with one bright spot, as PNG."""
    rng = random.Random(seed)
    image = Image.new("RGB", (size, size), (30, 30, 34))
    x, y, radius = rng.randrange(8, size - 8), rng.randrange(8, size - 8), rng.randrange(4, 9)
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(210, 205, 190 - seed % 40))
    return encoded(image, "PNG")


def encoded(image: Image.Image, form: str) -> bytes:
    """The file of an image as bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


def sample(number: int, answer_type: str | None = None) -> Sample:
    """A question about a picture: multiple choice, yes/no and open in turn; every fourth one is about a volume of three
    slices."""
    kind = answer_type or ("mcq", "yes_no", "open")[number % 3]
    place = _PLACES[number % 4]
    media = Media(kind="image", data=png(number))
    if number % 4 == 1:
        media = Media(kind="volume", frames=tuple(png(number + 1000 * k) for k in range(3)), frame_indices=(4, 12, 20))
    common = {
        "id": f"item-{number:04d}",
        "media": (media,),
        "modality": MODALITIES[number % 4],
        "source": "fake",
        "tags": {"site": "chest"},
    }
    if kind == "yes_no":
        return Sample(question="Is there a lesion in this picture?", answer_type="yes_no", gold_text="yes", **common)
    if kind == "open":
        return Sample(
            question="Where is the lesion?",
            answer_type="open",
            gold_text=place,
            aliases=(f"the {place} quadrant",),
            **common,
        )
    letter = "ABCD"[number % 4]
    return Sample(
        question="Where is the lesion?",
        answer_type="mcq",
        gold_text=place,
        options=_PLACES,
        gold_letters=(letter,),
        **common,
    )


def rollout(
    asked: Sample,
    *,
    step: int = 1,
    index: int = 0,
    right: bool = True,
    formed: bool = True,
    status: str = "ok",
    run: str = "fake",
) -> Rollout:
    """One completion of `asked`. An accuracy that is not ok makes the row invalid, as the rubric does."""
    rng = random.Random(stable_hash(step, asked.id, index))
    parsed, text = _said(asked, rng, right, formed)
    old = tuple(-rng.random() for _ in text.split())
    outcomes = _outcomes(asked, right, formed, status, parsed.answer or "")
    valid = status == "ok"
    return Rollout(
        run=run,
        step=step,
        prompt_id=asked.id,
        sample_index=index,
        sample=asked,
        prompt_text=f"<|user|><image>{asked.question}<|assistant|>",
        completion=Completion(
            token_ids=tuple(rng.randrange(5, 900) for _ in old),
            text=text,
            finish_reason="stop" if formed else "length",
            logprobs=tuple(value + 1e-7 for value in old),
            seed=stable_hash(0, step, asked.id, index, 0),
            policy_version=step - 1,
            engine="fake-0",
        ),
        parsed=parsed,
        outcomes=outcomes,
        weights=WEIGHTS,
        total=sum(WEIGHTS[name] * (outcome.value or 0.0) for name, outcome in outcomes.items()) if valid else None,
        valid=valid,
        old_logprobs=old,
        ref_logprobs=tuple(value - 0.01 for value in old),
        timings={"gen": round(rng.random(), 3), "reward": 0.002},
    )


def _said(asked: Sample, rng: random.Random, right: bool, formed: bool) -> tuple[Parsed, str]:
    other = _PLACES[(_PLACES.index(asked.gold_text) + 1) % 4] if asked.gold_text in _PLACES else "no"
    said = asked.gold_text if right else other
    letters = ("ABCD"[_PLACES.index(said)],) if asked.answer_type == "mcq" else ()
    answer = f"{letters[0]}. {said}" if letters else said
    think = (
        f"I see {rng.choice(_LESIONS)} in the {said} part of the image, which is"
        f" {rng.choice(('clear', 'subtle', 'typical'))}."
    )
    parsed = Parsed(
        think=think if formed else None,
        answer=answer if formed else f"{think} {answer}",
        letters=letters,
        yes_no="yes" if said == "yes" else "no" if said == "no" else None,
        well_formed=formed,
        reason="letter and text agree" if letters else "",
        verdict="stated" if formed or right else "unclear",
    )
    return parsed, f"<think>{think}</think>\n<answer>{answer}</answer>" if formed else f"{think} {answer}"


def _outcomes(asked: Sample, right: bool, formed: bool, status: str, answer: str) -> dict[str, Outcome]:
    evidence = None
    if asked.answer_type == "open":
        evidence = {
            "judge": "scripted",
            "request": {"candidate": answer},
            "reply": "same place" if right else "another place",
            "attempts": 1,
        }
    accuracy = Outcome(
        value=float(right) if status == "ok" else None,
        status=status,
        reason=(
            f"{'says' if right else 'does not say'} {asked.gold_text!r}"
            if status == "ok"
            else f"the judge gave no verdict ({status})"
        ),
        parts={"match": float(right)} if status == "ok" else {},
        evidence=evidence,
        cost=0.0004 if evidence else 0.0,
        seconds=0.3 if evidence else 0.0,
    )
    return {
        "accuracy": accuracy,
        "format": Outcome(value=float(formed), reason="" if formed else "no closed think block"),
    }


def with_advantages(group: list[Rollout]) -> list[Rollout]:
    """The group with (r - mean) / std (ddof 1, 1e-4 added as in TRL) over its valid members, 0 for the others."""
    totals = [one.total for one in group if one.total is not None]
    mean = sum(totals) / len(totals) if totals else 0.0
    std = (sum((total - mean) ** 2 for total in totals) / (len(totals) - 1)) ** 0.5 if len(totals) > 1 else 0.0
    return [
        dataclasses.replace(one, advantage=0.0 if one.total is None else (one.total - mean) / (std + 1e-4))
        for one in group
    ]


def group(
    number: int, *, step: int = 1, size: int = 8, skill: float = 0.5, failures: float = 0.0, run: str = "fake"
) -> list[Rollout]:
    """`size` completions of sample `number`; each is right with chance `skill`, and its judge fails with chance
    `failures`."""
    asked = sample(number)
    rng = random.Random(stable_hash("group", step, number))
    members = []
    for index in range(size):
        status = rng.choice(("error", "timeout", "abstain")) if rng.random() < failures else "ok"
        right, formed = rng.random() < skill, rng.random() < 0.95
        members.append(rollout(asked, step=step, index=index, right=right, formed=formed, status=status, run=run))
    return with_advantages(members)


def steps(
    num_steps: int, *, prompts_per_step: int = 4, size: int = 8, failures: float = 0.0, run: str = "fake"
) -> Iterator[list[list[Rollout]]]:
    """The groups of each step, 1 to `num_steps`, of a model that gets better."""
    for step in range(1, num_steps + 1):
        skill = 0.3 + 0.6 * step / num_steps
        first = (step - 1) * prompts_per_step
        yield [
            group(first + k, step=step, size=size, skill=skill, failures=failures, run=run)
            for k in range(prompts_per_step)
        ]


def written(run_dir: Path, num_steps: int = 2, **options: Any) -> list[Rollout]:
    """A stored run and what went into it, sorted by key."""
    writer = RunWriter(run_dir)
    everything = []
    for number, groups in enumerate(steps(num_steps, **options), start=1):
        for group in groups:
            writer.append_group(group)
            everything += group
        writer.finish_step(number)
    return sorted(everything, key=lambda one: one.key)

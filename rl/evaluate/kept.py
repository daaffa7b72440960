"""The answers to the held-out items of a run, kept in its folder: `evaluation/SFT.jsonl` and `evaluation/GRPO.jsonl`.

The first line says how they were asked and read; each further line is an item with its cluster and its judged
completions, way by way. From these rows two runs are compared item by item, without a model and without images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges.calibration.results import identity
from rewards.answers.version import reader_version
from rl.config import Config
from rl.evaluate.asking import Answer, EvalResult
from rl.evaluate.ways import MODES, Mode
from rollouts.media import with_hash
from rollouts.records import Sample, to_dict
from rollouts.store.disk import write_atomically

SCHEMA = 1
FOLDER = "evaluation"


class BadAnswers(ValueError):
    """A file of kept answers cannot be read; the message says what was got and expected."""


@dataclass(frozen=True)
class KeptItem:
    """One held-out item with the answers of one model."""

    id: str
    # Of question, gold answer and images: what was asked, whatever the id says.
    digest: str
    # Items of one cluster share an image or a pair.
    cluster: str
    answer_type: str
    modality: str
    answers: Mapping[Mode, tuple[Answer, ...]]

    def mean(self, mode: Mode) -> float | None:
        """Share of right answers over the completions with a verdict; None = there is none."""
        verdicts = [float(one.correct) for one in self.answers.get(mode, ()) if one.correct is not None]
        return sum(verdicts) / len(verdicts) if verdicts else None


@dataclass(frozen=True)
class Kept:
    """All kept answers of one model."""

    model: str
    # How they were asked and read (`signature_of`); answers with other values are not of one evaluation.
    signature: Mapping[str, Any]
    items: tuple[KeptItem, ...]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The ways in which the items were asked."""
        return tuple(mode for mode in MODES if any(mode in item.answers for item in self.items))


def signature_of(config: Config) -> dict[str, Any]:
    """What decides the numbers of an evaluation beside the model and its items: the reader of answers, the judge, the
    rewards that grade, seeds and sampling."""
    reward = {"routes": config.reward.routes, "arguments": _graders(config)}
    return {
        "reader": reader_version(),
        "judge": identity(config.judge),
        "graders": reward,
        "seed": config.seed,
        "temperature": config.grpo.temperature,
        "max_completion_length": config.grpo.max_completion_length,
        "num_samples": config.eval.num_samples,
    }


def _graders(config: Config) -> dict[str, Any]:
    """The arguments of the rewards that grade; what a control pays decides nothing of what is right."""
    return {name: given for name, given in config.reward.arguments.items() if name in config.reward.routes.values()}


def keep(folder: Path, result: EvalResult, config: Config) -> Path:
    """Write the answers of one model; an older file of it is replaced. Raises DiskFull."""
    lines = [{"schema": SCHEMA, "model": result.name, "signature": signature_of(config)}]
    for place, sample in enumerate(result.samples):
        answers = {mode: [one._asdict() for one in items[place]] for mode, items in result.answers.items()}
        lines.append(
            {
                "id": sample.id, "digest": digest_of(sample), "cluster": result.clusters[place],
                "answer_type": sample.answer_type, "modality": sample.modality, "answers": answers,
            }
        )  # fmt: skip
    path = folder / FOLDER / f"{result.name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(path, text.encode("utf-8", "backslashreplace"))
    return path


def digest_of(sample: Sample) -> str:
    """Of what is asked and what is right: fields and images, the id and where the files are left out."""
    fields = {name: value for name, value in to_dict(sample).items() if name not in ("id", "media", "split", "tags")}
    images = [with_hash(medium).sha256 for medium in sample.media]
    text = json.dumps([fields, images], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read(path: Path) -> Kept:
    """The kept answers of one model.

    Raises:
        BadAnswers: the file is of a newer version, or a line is not what is expected there.
        OSError: it cannot be read.
    """
    head: dict[str, Any] = {}
    items: list[KeptItem] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                if number == 1:
                    head = _head(json.loads(line))
                else:
                    items.append(_item(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise BadAnswers(
                    f"{path}, line {number}: {error!s:.200}; expected the answers that a run of this version keeps."
                    " Evaluate again, or take the file from a copy of the run."
                ) from error
    if not items:
        raise BadAnswers(f"{path} holds no answer; expected a line for each held-out item")
    return Kept(str(head["model"]), head["signature"], tuple(items))


def _head(line: Any) -> dict[str, Any]:
    if not isinstance(line, dict) or not isinstance(line.get("signature"), dict):
        raise ValueError("the first line does not say how the answers were asked")
    if line.get("schema") != SCHEMA:
        raise ValueError(f"schema {line.get('schema')!r}, this version reads {SCHEMA}")
    return line


def _item(line: Mapping[str, Any]) -> KeptItem:
    answers = {mode: tuple(_answer(one) for one in line["answers"][mode]) for mode in MODES if mode in line["answers"]}
    names = ("id", "digest", "cluster", "answer_type", "modality")
    name, digest, cluster, answer_type, modality = (str(line[one]) for one in names)
    return KeptItem(name, digest, cluster, answer_type, modality, answers)


def _answer(record: Mapping[str, Any]) -> Answer:
    correct = record["correct"]
    if correct is not None and not isinstance(correct, bool):
        raise ValueError(f"correct is {correct!r}, expected true, false or null")
    return Answer(correct, bool(record["well_formed"]), int(record["num_tokens"]), str(record["text"]))

"""What a run's models score with the abstract and without it: `python -m examples.real_model.blind RUN`.

A model that answers PubMedQA without the abstract knows how often the answer is yes, and no more; only what it scores
above that is reading. Each model is asked the held-out questions greedily, with the abstract and without it
(question_only.jsonl), beside the answer that is most frequent in training. Accuracy with 95 % Wilson intervals;
macro-F1 because an answer that is always yes has a fair accuracy; p by McNemar's mid-p on the same questions.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rollouts.terminal import Ending, accept_any_stdout, end_with, open_console, require, table

if __name__ == "__main__":
    require("python -m examples.real_model.blind", "train", "cpu")

from examples.real_model.data import DECISIONS
from judges import make_judge
from judges.calibration.agreement import wilson
from rewards.answers.read import parse
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.config import Config
from rl.config.door import ConfigError, load
from rl.data.load import load as load_data
from rl.evaluate.asking import Answer, evaluate, prepare
from rl.run.progress import Display
from rl.statistics.pairs import mcnemar
from rl.workers.rollout_worker import engine_settings
from rollouts.prompt.processing import load_processor
from rollouts.records import Sample

# What is asked -> the file beside the run's data.
WAYS = {"abstract": "pubmedqa.jsonl", "question only": "question_only.jsonl"}
NONE = "none"


class Column(NamedTuple):
    """The answers of one model, asked one way."""

    name: str
    # The decision each question was answered with, in order; NONE = none could be read.
    decisions: tuple[str, ...]
    # Share of completions in the shape that is asked for; None = nobody was asked.
    format_rate: float | None = None


def macro_f1(gold: Sequence[str], answers: Sequence[str]) -> float:
    """Mean over the decisions of 2 TP / (2 TP + FP + FN), 0 to 1; a decision that nobody gave and that is never right
    counts 0. An answer that could not be read is a miss of its gold decision and nothing else."""
    pairs = Counter(zip(gold, answers, strict=True))
    scores = []
    for one in DECISIONS:
        hits = pairs[(one, one)]
        given = sum(number for (_, answer), number in pairs.items() if answer == one)
        wanted = sum(number for (label, _), number in pairs.items() if label == one)
        scores.append(2 * hits / (given + wanted) if given + wanted else 0.0)
    return sum(scores) / len(scores)


def decision(sample: Sample, answer: Answer) -> str:
    """The decision that a completion commits to, as the reward reads it."""
    letters = parse(answer.text, sample.options).letters
    choice = (sample.options or ())[sample.letters.index(letters[0])] if len(letters) == 1 else NONE
    # An answer that was cut off may look like the gold one; the reward did not pay it.
    return NONE if choice == sample.gold_text and not answer.correct else choice


def ask(model: Path, config: Config, files: Sequence[Path], name: str, display: Display) -> list[Column]:
    """The columns of one model, one a file."""
    from rollouts.engine.vllm import VllmEngine  # seconds, that nobody should wait for to learn of a missing file

    engine = VllmEngine(model, engine_settings(config), disk_version=0)
    processor = load_processor(model.resolve())
    columns = []
    with Scorer(make_rubric(config.reward, make_judge(config.judge))) as scorer:
        for way, file in zip(WAYS, files, strict=True):
            samples = load_data(dataclasses.replace(config.data, root=str(file))).eval
            with display.bar(f"{name}, {way}", len(samples)) as bar:
                result = evaluate(
                    engine, scorer, prepare(samples, processor, blank=False), config,
                    name=name, policy_version=0, modes=("greedy",), progress=lambda mode, done, total: bar.advance(),
                )  # fmt: skip
            answers = [item[0] for item in result.answers["greedy"]]
            decisions = tuple(decision(sample, one) for sample, one in zip(samples, answers, strict=True))
            rate = sum(one.well_formed for one in answers) / len(answers)
            columns.append(Column(f"{name}, {way}", decisions, rate))
    return columns


def rows(gold: Sequence[str], columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """A line a column: accuracy with its interval, macro-F1, how often each decision was given, format, and p against
    the first column."""
    lines = []
    for column in columns:
        right = [one == two for one, two in zip(gold, column.decisions, strict=True)]
        first = [one == two for one, two in zip(gold, columns[0].decisions, strict=True)]
        low, high = wilson(sum(right), len(right))
        only_first = sum(a and not b for a, b in zip(first, right, strict=True))
        only_this = sum(b and not a for a, b in zip(first, right, strict=True))
        given = Counter(column.decisions)
        lines.append(
            (
                column.name,
                f"{100 * sum(right) / len(right):.1f} ({100 * low:.1f}-{100 * high:.1f})",
                f"{100 * macro_f1(gold, column.decisions):.1f}",
                " / ".join(str(given[one]) for one in (*DECISIONS, NONE)),
                "" if column.format_rate is None else f"{100 * column.format_rate:.1f}",
                "" if column is columns[0] else f"{mcnemar(only_first, only_this):.3f}",
            )
        )
    return lines


def compare(run: Path, data: Path, display: Display) -> None:
    """Ask both models of a finished run and print the table.

    Raises:
        FileNotFoundError: the run has not ended, or a file of questions is not there.
    """
    files = [data / name for name in WAYS.values()]
    for path in (run / "config.yaml", run / "summary.json", *files):
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no file {path}; expected the folder of a finished run, and --data with the files that"
                " examples.real_model.data writes"
            )
    config = load(run / "config.yaml")
    models = {"SFT": Path(json.loads((run / "summary.json").read_text())["sft_model"]), "GRPO": run / "model"}
    splits = load_data(dataclasses.replace(config.data, root=str(files[0])))
    gold = [sample.gold_text for sample in splits.eval]
    most = Counter(row.sample.gold_text for row in splits.sft).most_common(1)[0][0]
    columns = [Column(f"always {most}", (most,) * len(gold))]
    for name, model in models.items():
        columns += ask(model, config, files, name, display)
    names = ("", "accuracy, %", "macro-F1", " / ".join((*DECISIONS, NONE)), "format", f"p against always {most}")
    open_console().print(table(f"{len(gold)} held-out questions, greedy", names, rows(gold, columns)))


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--data", type=Path, help="the folder of both files (that of the run's data)")
    arguments = parser.parse_args(argv)
    with Ending("python -m examples.real_model.blind", ConfigError, OSError) as ending:
        data = arguments.data
        if data is None and (arguments.run / "config.yaml").is_file():
            data = Path(str(load(arguments.run / "config.yaml").data.root)).parent
        with Display() as display:
            compare(arguments.run, data or Path(), display)
    return ending.code


if __name__ == "__main__":
    accept_any_stdout()
    end_with(main)

"""The stages before RL of one run: each is trained, or found again, and its model answers the held-out items, so that
the report can say what each stage added. What is known of them stands in stages.json of the run's folder."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rewards.scorer import Scorer
from rl.config import Config
from rl.data.sets import DataSplits
from rl.evaluate.asking import EvalResult
from rl.evaluate.comparison import measure, strata
from rl.run.progress import Display, duration
from rl.sft.cache import ensure_sft
from rl.sft.train import METRICS
from rl.stages.book import CURVES, START, StageBook, StageRecord, in_percent
from rl.stages.cache import ensure_stage
from rl.stages.ready import ReadyStage, in_words
from rl.stages.settings import all_stages
from rl.training import evaluate_model
from rollouts.terminal import open_console, table


def record_of(stage: str, model: Path, seconds: float, taught: str, result: EvalResult | None) -> StageRecord:
    """The record of a stage whose model gave these greedy answers; None = it was not asked."""
    record = StageRecord(stage, str(model), seconds, taught)
    if result is not None:
        record.greedy = {name: dict(measure(result, "greedy", member)) for name, member in strata(result.samples)}
        record.right = [item[0].correct for item in result.answers["greedy"]]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(result.clusters))}
        record.clusters = [numbers[name] for name in result.clusters]
    return record


def climb(
    config: Config,
    folder: Path,
    splits: DataSplits,
    ready: Mapping[str, ReadyStage],
    scorer: Scorer,
    display: Display,
) -> Path:
    """The model that RL begins with: all supervised stages of the run, one from the other.

    The model of instruction tuning is not asked here where RL follows, which asks it before its first step.

    Raises:
        the typed errors of `rl.run.failures.EXPECTED`.
    """
    names, book, model = all_stages(config), StageBook(folder), Path(config.model.path)
    ends_with_rl = names[-1] == "grpo"
    evaluate = config.stages.evaluate if ready else not ends_with_rl
    if evaluate and ready:
        _ask(config, book, StageRecord(START, str(model)), splits, scorer, display)
    for number, name in enumerate((one for one in names if one != "grpo"), start=1):
        started = time.monotonic()
        with display.phase(f"stage {number} of {len(names)}, {name}" if ready else "SFT"):
            if name in ready:
                taught = in_words(config, ready[name])
                model = ensure_stage(config, ready[name], model, display)
            else:
                taught = f"{len(splits.sft):,} rows"
                model = ensure_sft(begins_with(config, model), splits.sft, display)
        if ready or not ends_with_rl:
            _keep_curve(folder, name, model)
            record = StageRecord(name, str(model), time.monotonic() - started, taught)
            if evaluate and not (name == "instruction" and ends_with_rl):
                _ask(config, book, record, splits, scorer, display)
            else:
                book.write(record)
    return model


def finish(folder: Path, sft: EvalResult, grpo: EvalResult, seconds: float, config: Config) -> None:
    """The last two stages, which RL asked itself, beside those before; nothing where none stands before them."""
    book = StageBook(folder)
    if not book.records:
        return
    before = book.records[-1]
    if before.stage == "instruction":
        book.write(record_of(before.stage, Path(before.model), before.seconds, before.taught, sft))
    taught = f"{config.grpo.prompts_per_step} prompts x {config.grpo.num_generations} completions a step"
    book.write(record_of("grpo", folder / "model", seconds, taught, grpo))


def begins_with(config: Config, model: Path) -> Config:
    """The configuration of a run that begins with another model."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, path=str(model)))


def _ask(
    config: Config, book: StageBook, record: StageRecord, splits: DataSplits, scorer: Scorer, display: Display
) -> None:
    """Ask the model of a stage the held-out items greedily, unless a run that goes on has asked it already."""
    if known := book.known(record.stage, Path(record.model)):
        display.say(f"{record.stage}: {known.greedy['all']['accuracy']:.1%} right, as asked before")
        return
    result = evaluate_model(config, Path(record.model), record.stage, splits, scorer, display)
    entry = record_of(record.stage, Path(record.model), record.seconds, record.taught, result)
    book.write(entry)
    display.say(f"{record.stage}: {in_percent(entry.greedy['all'])} of {len(entry.right)} held-out items right, greedy")


def _keep_curve(folder: Path, name: str, model: Path) -> None:
    """The numbers of a stage's updates beside the run's own, so that its report needs no other folder."""
    if (model / METRICS).is_file():
        (folder / CURVES).mkdir(exist_ok=True)
        shutil.copyfile(model / METRICS, folder / CURVES / f"{name}.jsonl")


def told_in_summary(folder: Path) -> list[dict[str, Any]]:
    """The stages as summary.json has them: without what is known of each item."""
    hidden = ("right", "clusters")
    records = map(asdict, StageBook(folder).records)
    return [{name: value for name, value in one.items() if name not in hidden} for one in records]


def print_stages(stages: Sequence[Mapping[str, Any]]) -> None:
    """Print what each stage added on the same held-out items."""
    rows = []
    for one in stages:
        row, more = one["greedy"].get("all"), one["added"]
        gain = "" if more is None else f"{100 * more['difference']:+.1f}"
        p_value = "" if more is None else "<0.001" if more["p_value"] < 0.001 else f"{more['p_value']:.3f}"
        shown = in_percent(row) if row else "not asked"
        rows.append((one["stage"], shown, gain, p_value, duration(one["seconds"]), Path(one["model"]).name))
    columns = ("stage", "right, greedy", "added", "p", "time", "model")
    open_console().print(table("What each stage added on the same held-out items, in points", columns, rows))

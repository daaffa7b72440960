"""What a run checks before its first minute is spent: its data, its rewards, its judge, the machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from judges import make_judge
from judges.calibration.results import identity
from rewards.rubric import Rubric, make_rubric
from rl.config import Config, JudgeConfig
from rl.data.controls import check_controls, controlled
from rl.data.encodable import check_rows, room_hint
from rl.data.load import load_for
from rl.data.sets import DataSplits, refuse_bad_rows, write_bad_rows
from rl.data.sizes import images_of
from rl.doctor.checks import check_disk, check_ray, check_rows_and_model
from rl.doctor.data import Finding
from rl.doctor.fitting import check_memory
from rl.doctor.model import start_of
from rl.run import judging
from rl.run.contents import contents_of, hold
from rl.run.failures import NotReady
from rl.run.progress import Display
from rl.run.run import total_steps
from rl.run.tracking import check_login
from rl.stages.cache import documents_of
from rl.stages.ready import ReadyStage, in_words, ready_stage
from rl.stages.settings import all_stages, document_stages
from rollouts.prompt.processing import load_processor, media_fault


class Ready(NamedTuple):
    """What a run goes on with."""

    splits: DataSplits
    # The rewards, with the judge that answers.
    rubric: Rubric
    num_steps: int
    # The stages before SFT by name, in order.
    stages: dict[str, ReadyStage]


def make_ready(config: Config, folder: Path, display: Display) -> Ready:
    """All that a run checks before it spends its first minute. What it refuses, the doctor refuses too, and nothing
    else: both ask the same functions.

    Raises:
        the typed errors of `rl.run.failures.EXPECTED`.
    """
    splits = ready_data(config, folder, display)
    stages = ready_stages(config, folder, splits, display)
    num_steps = total_steps(config, len(splits.rl)) if "grpo" in all_stages(config) else 0
    rubric = ready_rubric(config, folder, splits, display)
    check_machine(config, splits, num_steps, display)
    hold_contents(config, folder, splits, stages, rubric, display)
    return Ready(splits, rubric, num_steps, stages)


def ready_stages(config: Config, folder: Path, splits: DataSplits, display: Display) -> dict[str, ReadyStage]:
    """Every stage that is trained on documents, with each document checked, before the first of them begins.

    Raises:
        BadRows, UnusableData, FileNotFoundError: see `rl.stages.ready.ready_stage`.
    """
    stages: dict[str, ReadyStage] = {}
    for name in document_stages(config):
        with display.phase(f"documents of {name}"):
            ready = stages[name] = ready_stage(config, name, splits.eval, display.late_bar)
        display.say(f"{name}: {in_words(config, ready)}")
        for note, count in ready.notes.items():
            display.say(f"{name}: {count} {note}")
        if ready.bad_rows:
            where = write_bad_rows(folder / f"bad_rows_{name}.jsonl", ready.bad_rows)
            display.warn(f"{name}: {len(ready.bad_rows)} bad documents were left out; they are listed in {where}")
    return stages


def ready_data(config: Config, folder: Path, display: Display) -> DataSplits:
    """The data of the run; rows that cannot be used are listed in its folder.

    Raises:
        BadRows: there are some and data.on_bad_row is "raise".
    """
    with display.phase("data"):
        splits = load_for(config, display.late_bar)
    splits = _encodable(config, splits, display)
    # After the rows that cannot be asked are gone, so that a control has the rows of the run that it is a control of.
    check_controls(splits, config)
    with display.late_bar(f"control={config.control}", len(splits.rl)) as advance:
        splits = controlled(splits, config, advance)
    display.say(f"{len(splits.sft)} SFT rows, {len(splits.rl)} RL prompts, {len(splits.eval)} held-out items")
    for note, num_rows in splits.notes.items():
        display.say(f"{note}: {num_rows} rows")
    if splits.bad_rows:
        write_bad_rows(folder / "bad_rows.jsonl", splits.bad_rows)
        display.warn(f"{len(splits.bad_rows)} bad rows were left out; they are listed in {folder / 'bad_rows.jsonl'}")
    return splits


def _encodable(config: Config, splits: DataSplits, display: Display) -> DataSplits:
    """The data without rows that could not be asked. Raises BadRows where there are some and they are not to be
    skipped."""
    processor = load_processor(start_of(config), images_of(config.model))
    samples = [*(row.sample for row in splits.sft), *splits.rl, *splits.eval]
    if media_fault(processor.family, samples) and config.data.on_bad_row == "raise":
        return splits  # told in one sentence by `check_machine`, and not row by row
    with display.late_bar("check that every row can be encoded", len(samples)) as advance:
        checked = check_rows(processor, splits, config, advance)
    refuse_bad_rows(config.data, checked.bad_rows, room_hint(checked, config))
    return checked.splits


def ready_rubric(config: Config, folder: Path, splits: DataSplits, display: Display) -> Rubric:
    """The rewards of the run, checked against its data; the judge answers, its verdicts are kept in the run's folder.

    Raises:
        RewardError, JudgeError.
    """
    judge = judging.judge_of(config, folder)
    rubric = make_rubric(config.reward, judge)
    rubric.check_sample_types({sample.answer_type for sample in [*splits.rl, *splits.eval]})
    judging.make_ready(judge, config, folder, display)
    for name, home in rubric.plugins().items():
        display.say(f"reward {name}: {home}, in child processes")
    return rubric


def check_machine(config: Config, splits: DataSplits, num_steps: int, display: Display) -> None:
    """What only the model, the workers and W&B need, and whether rows, prompts and rewards fit together, before SFT
    spends minutes.

    Raises:
        NotReady: the first finding of the doctor's that is bad: the model or its template does not fit the data, gold
            answers are not paid, a GPU cannot hold its part, Ray cannot start or be joined, the disk is too full.
        TrackingError: W&B has no key.
    """
    check_login(config.wandb)
    processor = load_processor(start_of(config), images_of(config.model))
    # Gold answers are judged by rule, and nobody is asked.
    rubric = make_rubric(config.reward, make_judge(JudgeConfig()))
    for heading, findings in check_rows_and_model(splits, processor, config, rubric):
        for finding in findings:
            _require(finding)
            if heading == "Model":
                if finding.fix:
                    display.warn(f"{finding.text}; mend it by {finding.fix}")
                else:
                    display.say(finding.text)
    for finding in check_memory(config) if config.compute.device == "cuda" else ():
        _require(finding)
    _require(check_ray(config))
    _require(check_disk(config, num_steps))


def _require(finding: Finding) -> None:
    if not finding.good:
        raise NotReady(f"{finding.text}\nMend it by: {finding.fix}")


def hold_contents(
    config: Config,
    folder: Path,
    splits: DataSplits,
    stages: Mapping[str, ReadyStage],
    rubric: Rubric,
    display: Display,
) -> None:
    """What the run learns from is written into a new run's folder, and compared where a run goes on.

    Raises:
        RunFolderError: rows, images, files of rewards, the judge or the model changed, and `allow_changes` is not set.
    """
    now = contents_of(splits, rubric, identity(config.judge), Path(config.model.path)) | documents_of(stages)
    for change in hold(folder, now, resume=config.resume, allow_changes=config.allow_changes):
        display.warn(f"goes on although what it learns from has changed: {change}")

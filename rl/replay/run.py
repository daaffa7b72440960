"""Scores the stored completions of a run again, step by step, into a folder beside it. A killed replay resumes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from judges import Judge
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.algo.estimators import estimator_of
from rl.config import Config
from rl.config.effects import asks_judge
from rl.replay.config import configure, same_rewards, stored_config
from rl.replay.filters import Choice, ChosenStep, ReplayError, choose
from rl.replay.folder import ReplayFolder, check_out, default_out, request_of, to_json
from rl.replay.judge import StoredFirst, replay_judge
from rl.replay.report import changes, diff_table, summarize
from rl.replay.scoring import StepInWork
from rl.replay.variance import repetition_rows, variance
from rl.run.folder import RunFolder
from rl.run.progress import Bar, Display
from rollouts.store.disk import replace_from, write_atomically
from rollouts.store.layout import StoreError
from rollouts.store.reader import Problem, media_opener, problems

REPORT, DIFF, REPETITIONS = "replay_report.json", "diff.parquet", "repetitions"
_SHOWN_PROBLEMS = 10
# Completions that may wait for judges at the same time. The scorer limits the calls.
_IN_WORK = 4096


class Plan(NamedTuple):
    """A replay whose arguments are checked."""

    run_dir: Path
    out: Path
    before: Config
    config: Config
    only: tuple[str, ...]
    times: int


def replay(
    run_dir: Path, overrides: Sequence[str], only: Sequence[str], times: int, out: Path | None, display: Display
) -> tuple[Path, dict[str, Any]]:
    """Score the chosen completions of `run_dir` again into `out` (None: a folder beside it). Returns the folder and the
    report.

    Raises:
        ReplayError, ConfigError, StoreError, RewardError, JudgeError, RunFolderError, DiskFull: nothing of the run is
        ever changed.
    """
    before = stored_config(run_dir)
    config = configure(before, overrides)
    request = request_of(run_dir, before, config, only, times)
    out = out or default_out(run_dir, request)
    going_on = check_out(out, run_dir, request)
    plan = Plan(run_dir, out, before, config, tuple(only), times)
    _check_times(plan)
    spans_step = estimator_of(config.grpo.loss_type).advantages_span_step(config.grpo)
    choice = choose(run_dir, only, whole_steps=spans_step)
    with RunFolder(dataclasses.replace(config, out_dir=str(out), resume=going_on)):
        folder = ReplayFolder(out, run_dir, request)
        judge = replay_judge(before, config, run_dir, out, times=times)
        try:
            missing = [problem for problem in problems(run_dir) if problem.step is None]
            _check_images(judge, missing)
            rubric = make_rubric(config.reward, judge)
            rubric.check_sample_types(choice.answer_types)
        except BaseException:
            # From here on the scorer closes it; a judge may hold a server.
            asyncio.run(judge.close())
            raise
        display.say(f"{choice.num_completions} completions of {len(choice.steps)} steps; {judge.describe()}")
        for problem in [*choice.problems, *missing][:_SHOWN_PROBLEMS]:
            display.warn(problem.text if problem.step is None else f"step {problem.step} is left out: {problem.text}")
        with Scorer(rubric) as scorer:
            _score(plan, choice, folder, scorer, display)
        return out, _report(plan, choice, folder)


def _check_times(plan: Plan) -> None:
    if plan.times < 1:
        raise ReplayError(f"--times {plan.times}: expected at least 1")
    if plan.times > 1 and not asks_judge(plan.config):
        raise ReplayError(
            "--times measures a judge's own variance, and no reward of this configuration asks a judge; leave it out"
        )
    if plan.times > 1 and plan.config.judge.kind == "rules":
        raise ReplayError(
            "--times measures a judge's own variance, and judge=rules has none; leave it out or choose another judge"
        )


def _check_images(judge: Judge, missing: Sequence[Problem]) -> None:
    if judge.shows_images and missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ReplayError(
            f"{missing[0].text}{more}, and this judge is shown the images. Bring them back, or set"
            " judge.show_images=false."
        )


def _score(plan: Plan, choice: Choice, folder: ReplayFolder, scorer: Scorer, display: Display) -> None:
    left = [one for one in choice.steps if not folder.is_done(one.files.step)]
    done = choice.num_completions - sum(one.num_completions for one in left)
    with display.bar("replay", choice.num_completions, done) as bar:
        if plan.times > 1:
            for chosen in left:
                _repeat(plan, chosen, folder, scorer, bar)
            return
        for work in _in_order(plan, left, choice, scorer):
            _finish(plan, work, folder, scorer, bar)


def _in_order(plan: Plan, left: Sequence[ChosenStep], choice: Choice, scorer: Scorer) -> Iterator[StepInWork]:
    """The steps in order, while the judges already work on the next ones. A step that cannot be read becomes a
    problem."""
    waiting: deque[StepInWork] = deque()
    kept = partial(same_rewards, plan.before, plan.config)
    for chosen in left:
        try:
            waiting.append(StepInWork(chosen, scorer, media_opener(plan.run_dir), plan.out.name, kept=kept))
        except StoreError as error:
            choice.problems.append(Problem(chosen.files.step, str(error)))
            continue
        while waiting and (not waiting[0].is_waiting() or sum(len(one.rows) for one in waiting) > _IN_WORK):
            yield waiting.popleft()
    yield from waiting


def _finish(plan: Plan, work: StepInWork, folder: ReplayFolder, scorer: Scorer, bar: Bar) -> None:
    scored = work.scores()
    judge = scorer.rubric.judge
    if isinstance(judge, StoredFirst) and judge.broken is not None:
        raise judge.broken
    table = work.with_scores(scored, plan.config.grpo, plan.out.name)
    folder.write(work.chosen.files, table, judge.metrics() if judge else {})
    bar.advance(parts=len(work.rows))


def _repeat(plan: Plan, chosen: ChosenStep, folder: ReplayFolder, scorer: Scorer, bar: Bar) -> None:
    """One step, scored `times` times one after another; the first is what the replay stores, all of them measure the
    judge."""
    rows: list[dict[str, Any]] = []
    table: pa.Table = None
    for repetition in range(plan.times):
        work = StepInWork(chosen, scorer, media_opener(plan.run_dir), plan.out.name, repetition=repetition)
        scored = work.scores()
        rows += repetition_rows(work.rows, [one for members in scored for one in members], repetition)
        if repetition == 0:
            table = work.with_scores(scored, plan.config.grpo, plan.out.name)
    path = folder.path / REPETITIONS / f"step_{chosen.files.step:06d}.parquet"
    path.parent.mkdir(exist_ok=True)
    replace_from(path, lambda beside: pq.write_table(pa.Table.from_pylist(rows), beside, compression="zstd"))
    judge = scorer.rubric.judge
    folder.write(chosen.files, table, judge.metrics() if judge else {})
    bar.advance(parts=len(table))


def _report(plan: Plan, choice: Choice, folder: ReplayFolder) -> dict[str, Any]:
    """Write report and differences of all steps, those of earlier processes included."""
    completions = list(changes(plan.run_dir, folder.path))
    report = {
        "run": str(plan.run_dir), "replay": str(plan.out), "only": list(plan.only), "times": plan.times,
        "num_passing": choice.num_passing, **summarize(completions), "judge": folder.spent,
        "problems": [problem.text for problem in choice.problems],
    }  # fmt: skip
    if plan.times > 1:
        report["variance"] = variance(pq.read_table(folder.path / REPETITIONS).to_pylist())
    replace_from(folder.path / DIFF, lambda beside: pq.write_table(diff_table(completions), beside, compression="zstd"))
    write_atomically(folder.path / REPORT, to_json(report))
    return report

"""The recipe as `python -m rl.train` runs it: data, judge, SFT where it is needed, workers, GRPO, and the comparison of
both models."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from judges import raise_if_unsafe
from judges.local.judge import no_server_left, raise_if_server_gone
from rewards.rubric import Rubric, make_rubric
from rewards.scorer import Scorer
from rl.config import Config
from rl.data import sets
from rl.data.load import load
from rl.doctor.checks import check_disk, check_ray
from rl.doctor.data import frames_fit
from rl.doctor.model import check_model, start_of
from rl.evaluate.asking import MODES, EvalResult, HeldOut, Mode, evaluate, prepare
from rl.evaluate.comparison import compare, majority_baseline, measure
from rl.evaluate.table import print_table
from rl.grpo import train
from rl.report.page import write_report
from rl.run.failures import NotReady
from rl.run.folder import RunFolder, versions
from rl.run.judging import counted_before, judge_of, make_ready
from rl.run.progress import Teller, duration
from rl.run.run import CHECKPOINTS, Run, total_steps
from rl.run.tracking import Tracker, check_login
from rl.sft import ensure_sft
from rl.workers.cluster import Cluster, start
from rollouts.prompt.processing import load_processor
from rollouts.store.writer import RunWriter


def run_recipe(config: Config, teller: Teller) -> dict[str, Any]:
    """The whole recipe in `config.out_dir`; returns what summary.json says.

    Raises:
        the typed errors of `rl.run.failures.EXPECTED`.
    """
    started = time.monotonic()
    with RunFolder(config) as folder, no_server_left():
        with teller.phase("data"):
            splits = load(config.data)
        _tell_data(splits, folder.path, teller)
        num_steps = total_steps(config, len(splits.rl))
        rubric = _rubric(config, folder.path, splits, teller)
        _check_ready(config, splits, num_steps, teller)
        with teller.phase("SFT"):
            sft_path = (
                ensure_sft(config, splits.sft, teller)
                if config.sft.enabled or config.sft.checkpoint
                else Path(config.model.path)
            )
        sft, grpo = _learn(config, folder.path, splits, sft_path, rubric, num_steps, teller)
        comparison = compare(sft, grpo)
        baseline = majority_baseline([row.sample for row in splits.sft], splits.eval)
        summary = {
            "comparison": comparison,
            "majority_baseline": baseline,
            "num_steps": num_steps,
            "sft_model": str(sft_path),
            "judge": rubric.judge.describe() if rubric.judge else "none",
            "seconds": time.monotonic() - started,
            "versions": versions(),
        }
        folder.write_summary(summary)
        report = write_report(folder.path)
        print_table(comparison, baseline)
        teller.say(f"report: {report}")
        teller.say(f"rollouts: python -m rollouts.view {folder.path} --text")
        teller.say(f"done in {duration(time.monotonic() - started)}")
        return summary


def _rubric(config: Config, folder: Path, splits: sets.DataSplits, teller: Teller) -> Rubric:
    """The rewards of the run, checked against its data; the judge is ready, its verdicts are kept in the run's
    folder."""
    judge = judge_of(config, folder)
    rubric = make_rubric(config.reward, judge)
    rubric.check_sample_types({sample.answer_type for sample in [*splits.rl, *splits.eval]})
    make_ready(judge, config, folder, teller)
    for name, home in rubric.plugins().items():
        teller.say(f"reward {name}: {home}, in child processes")
    return rubric


def _check_ready(config: Config, splits: sets.DataSplits, num_steps: int, teller: Teller) -> None:
    """What only the model, the workers and W&B need, before SFT spends minutes."""
    check_login(config.wandb)
    samples = [*splits.rl, *splits.eval]
    model = check_model(load_processor(start_of(config)), [*samples, *(row.sample for row in splits.sft)])
    for finding in model:
        if finding.good:
            teller.say(finding.text)
    for finding in (*model, frames_fit(samples, config), check_ray(config), check_disk(config, num_steps)):
        if not finding.good:
            raise NotReady(f"{finding.text}\nMend it by: {finding.fix}")


def _learn(
    config: Config,
    folder: Path,
    splits: sets.DataSplits,
    sft_path: Path,
    rubric: Rubric,
    num_steps: int,
    teller: Teller,
) -> tuple[EvalResult, EvalResult]:
    """Everything that needs the workers: both evaluations, and GRPO between them."""
    with teller.phase("workers"):
        cluster = start(config, sft_path, total_updates=num_steps * config.grpo.num_minibatches)
        raise_if_server_gone()
    with cluster, Scorer(rubric) as scorer:
        done = _resumed(config, folder, cluster, teller)
        counted = counted_before(config, folder)
        processor = load_processor(sft_path)
        held_out = prepare(splits.eval, processor, blank=config.eval.blank_images)
        with _tracker(config, folder, done) as tracker:
            sft = _evaluate(cluster, scorer, held_out, config, "SFT", 0, teller)
            _warn_of_format(sft, config, teller)
            raise_if_server_gone()
            with teller.bar("GRPO", num_steps, done) as bar:
                writer = RunWriter(folder)
                writer.drop_steps_after(done)
                train(
                    Run(config, folder, splits.rl, processor, cluster, scorer, writer, tracker, bar, done + 1, counted)
                )
                writer.close()
            cluster.policy.save(folder / "model")
            cluster.sync(version=num_steps)
            grpo = _evaluate(cluster, scorer, held_out, config, "GRPO", num_steps, teller)
            tracker.summary(_accuracies(sft, grpo))
    return sft, grpo


def _resumed(config: Config, folder: Path, cluster: Cluster, teller: Teller) -> int:
    """Steps that are done already: those of the newest checkpoint, which the policy takes up, or 0."""
    if not config.resume:
        return 0
    found = cluster.policy.restore(folder / CHECKPOINTS)
    teller.say(f"resumed after step {found[0]}" if found else "there is no checkpoint yet: starting with step 1")
    return found[0] if found else 0


def _tracker(config: Config, folder: Path, done: int) -> Tracker:
    settings = dataclasses.asdict(config)
    return Tracker(folder, config.wandb, config.wandb_project, settings, done if config.resume else None)


def _accuracies(*results: EvalResult) -> dict[str, float]:
    """accuracy/{model}/{way of asking} over all held-out items, for the last word in W&B."""
    return {
        f"accuracy/{result.name}/{mode}": measure(result, mode, lambda _: True)["accuracy"]
        for result in results
        for mode in MODES
        if mode in result.answers
    }


def _evaluate(
    cluster: Cluster, scorer: Scorer, held_out: HeldOut, config: Config, name: str, version: int, teller: Teller
) -> EvalResult:
    per_item = 1 + config.eval.num_samples + held_out.blank
    with teller.bar(f"evaluate {name}", per_item * len(held_out.samples)) as bar:
        result = evaluate(
            cluster.rollout, scorer, held_out, config,
            name=name, policy_version=version, progress=lambda mode, done, total: bar.advance(),
        )  # fmt: skip
    raise_if_unsafe(scorer.rubric.judge)
    return result


def _tell_data(splits: sets.DataSplits, folder: Path, teller: Teller) -> None:
    teller.say(f"{len(splits.sft)} SFT rows, {len(splits.rl)} RL prompts, {len(splits.eval)} held-out items")
    for note, num_rows in splits.notes.items():
        teller.say(f"{note}: {num_rows} rows")
    if splits.bad_rows:
        sets.write_bad_rows(folder / "bad_rows.jsonl", splits.bad_rows)
        teller.warn(f"{len(splits.bad_rows)} bad rows were left out; they are listed in {folder / 'bad_rows.jsonl'}")


def _warn_of_format(sft: EvalResult, config: Config, teller: Teller) -> None:
    """RL cannot start from a model that never writes the tags: every format reward is then 0 (VLM-R1 #173)."""
    mode: Mode = "sampled" if "sampled" in sft.answers else "greedy"
    judged = [one for item in sft.answers[mode] for one in item]
    rate = sum(one.well_formed for one in judged) / max(1, len(judged))
    teller.say(f"format rate of the SFT model: {rate:.1%} ({mode})")
    if rate < config.sft.min_format_rate:
        teller.warn(
            f"only {rate:.1%} of the SFT model's completions are well-formed, below"
            f" sft.min_format_rate={config.sft.min_format_rate:.0%}: RL will hardly start. Train SFT longer, raise"
            " sft.learning_rate, or check that the chat template speaks of the tags."
        )

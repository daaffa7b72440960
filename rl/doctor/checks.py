"""Runs every check in the order in which a run meets it, and says in numbers what the run would do. Starts nothing."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.text import Text

from judges.calibration.results import identity
from rewards.rubric import Rubric
from rl.algo.estimators import estimator_of
from rl.algo.order import steps_per_epoch
from rl.config import Config, GrpoConfig
from rl.config.controls import TAKEN_AWAY
from rl.config.schedule import why_whole
from rl.data.controls import check_controls, controlled
from rl.data.load import load_for
from rl.data.sets import DataSplits
from rl.data.sizes import images_of
from rl.doctor.architecture import architecture_of
from rl.doctor.data import (
    Finding,
    check_data,
    check_golds,
    check_shuffled,
    check_taught,
    check_template,
    rows_fit,
    trains_sft,
)
from rl.doctor.fitting import check_memory
from rl.doctor.judge import check_judge, estimate
from rl.doctor.memory import GIB, checkpoint_bytes
from rl.doctor.model import MODEL_FIX, check_arithmetic, check_model, start_of, unseen_model
from rl.doctor.parts import LEARN_FIX, check_parts, check_weights
from rl.doctor.stages import STAGES, check_stages
from rl.protocols import RubricScoring
from rl.run.contents import check_contents, contents_of
from rl.run.failures import EXPECTED
from rl.run.folder import RunFolderError, check_can_go_on, holder_of
from rl.run.progress import Display
from rl.run.tracking import check_login
from rollouts.prompt.hub import HubOutOfReach
from rollouts.prompt.processing import Processor, load_processor
from rollouts.terminal import missing, one_line, plain, printable

# A run keeps the newest two.
CHECKPOINTS_KEPT = 2
SPARE_BYTES = 1 << 30
RAY_SECONDS = 5.0
MEMORY_TITLE = "Memory of each GPU in GiB: while training, while drawing"
ROUTE_FIX = "give every answer type of the data a route in reward.routes"


def arithmetic(config: Config, splits: DataSplits) -> list[str]:
    """The run in words: what is asked, scored and updated, and how often."""
    grpo, sft = config.grpo, config.sft
    rows = grpo.prompts_per_step * grpo.num_generations
    epoch = max(1, len(splits.rl) // grpo.prompts_per_step)
    steps = num_steps(config, len(splits.rl))
    lines = []
    if trains_sft(config):
        batches = -(-len(splits.sft) // sft.batch_size)
        lines.append(
            f"SFT: {len(splits.sft):,} rows x {sft.num_epochs} epochs in batches of {sft.batch_size} ="
            f" {batches * sft.num_epochs:,} updates at {sft.learning_rate:g}, in"
            f" micro-batches of at most {sft.micro_batch_tokens:,} tokens"
        )
    else:
        lines.append(f"SFT: none, RL starts from {sft.checkpoint if sft.enabled else config.model.path}")
    lines += [
        (
            f"GRPO step: {grpo.prompts_per_step} prompts x {grpo.num_generations} = {rows} completions of at most"
            f" {grpo.max_completion_length} tokens, {grpo.num_minibatches} mini-batches of"
            f" {rows // grpo.num_minibatches} rows, so {grpo.num_minibatches} updates"
        ),
        "GRPO schedule: "
        + (
            f"a step is drawn as a whole before its first update, because {why}"
            if (why := why_whole(config))
            else "a mini-batch is trained on as soon as it is scored, while engines draw the rest (unless they share"
            " the policy's GPUs)"
        ),
        (
            f"GRPO run: {steps:,} steps = {steps * rows:,} completions and {steps * grpo.num_minibatches:,} updates at"
            f" {grpo.learning_rate:g}, {steps / epoch:.2f} epochs of {len(splits.rl):,} questions"
        ),
        (
            f"objective: loss {grpo.loss_type}, clip {1 - grpo.epsilon:g} to"
            f" {1 + (grpo.epsilon_high or grpo.epsilon):g}, KL to the SFT model x {grpo.beta:g}, advantages scaled by"
            f" {grpo.scale_rewards}"
        ),
        *paper_differences(grpo),
        "reward: " + " + ".join(f"{weight:g} {name}" for name, weight in config.reward.weights.items()),
        "accuracy: " + ", ".join(f"{kind} by {name}" for kind, name in config.reward.routes.items()),
        *(f"gate: paid 0 where {name} is below {least:g}" for name, least in config.reward.gates.items()),
        *_controls(config),
        _evaluation(config, len(splits.eval), config.eval.blank_images and any(one.media for one in splits.eval)),
    ]
    return lines


def _controls(config: Config) -> list[str]:
    """What a control takes away, or what controls come after the run."""
    if config.control != "none":
        return [f"control={config.control} takes away {TAKEN_AWAY[config.control]}"]
    lines = [f"{name} takes away {TAKEN_AWAY[name]}" for name in config.controls]
    return [f"then {len(lines)} controls, each GRPO and an evaluation again: {'; '.join(lines)}"] if lines else []


def paper_differences(grpo: GrpoConfig) -> list[str]:
    """Where the paper of the estimator used other values than the run."""
    values = estimator_of(grpo.loss_type).published
    other = [
        f"grpo.{name}={value} (here {getattr(grpo, name)})"
        for name, value in values.items()
        if getattr(grpo, name) != value
    ]
    return [f"the paper of {grpo.loss_type} used {', '.join(other)}"] if other else []


def _evaluation(config: Config, num_items: int, blank: bool) -> str:
    ways = f"1 greedy + {config.eval.num_samples} sampled" + (" + 1 with the image blanked" if blank else "")
    count = 1 + config.eval.num_samples + blank
    every = config.eval.every_steps
    quick = f", and {min(num_items, config.eval.quick_items)} greedy ones every {every} steps" if every else ""
    return (
        f"evaluation: {num_items:,} held-out items x ({ways}) = {num_items * count:,} completions of each model{quick}"
    )


def num_steps(config: Config, num_rl: int) -> int:
    """Steps the run will take: as configured, else whole steps of the epochs; 0 where the RL set is smaller than one
    step."""
    if config.grpo.num_steps is not None:
        return config.grpo.num_steps
    if num_rl < config.grpo.prompts_per_step:
        return 0
    return steps_per_epoch(num_rl, config.grpo.prompts_per_step) * config.grpo.num_epochs


def check_run_folder(config: Config) -> Finding:
    """A new run needs a folder that is empty or can be made, a resumed one the folder of the same run; nobody else
    writes into it."""
    folder = Path(config.out_dir)
    other = "out_dir=ANOTHER, resume=true, or remove the folder"
    if process := holder_of(folder):
        return Finding(False, f"run folder {folder} is being written by another run (process {process})", other)
    if folder.is_dir() and any(folder.iterdir()):
        try:
            check_can_go_on(folder, config)
        except RunFolderError as error:
            return Finding(False, f"run folder: {error}", other)
        return Finding(True, f"run folder {folder} to resume")
    try:
        # The permissions of a folder do not say whether anything can be made in it (/proc, a disk mounted to be read).
        tempfile.TemporaryDirectory(dir=_existing_parent(folder)).cleanup()
    except OSError as error:
        return Finding(False, f"run folder {folder} cannot be made: {error.strerror}", "out_dir=ANOTHER")
    return Finding(True, f"run folder {folder} is free")


def check_disk(config: Config, steps: int) -> Finding:
    """Room for checkpoints, one of them being written beside those that are kept, two models and the rollouts where the
    run folder will be."""
    free = shutil.disk_usage(_existing_parent(Path(config.out_dir))).free
    try:
        sizes = architecture_of(str(start_of(config)))
    except (OSError, ValueError) as error:
        text = (
            f"disk: {free / GIB:.1f} GiB free; the size of {start_of(config)} is not known: {one_line(str(error), 200)}"
        )
        return Finding(True, text, checked=not isinstance(error, HubOutOfReach))
    kept = min(-(-steps // config.grpo.save_steps), CHECKPOINTS_KEPT)
    models = 2 * (2 if config.model.dtype == "bfloat16" else 4) * sizes.total.parameters
    needed = checkpoint_bytes(config, sizes) * (kept + 1) + models + SPARE_BYTES
    text = (
        f"disk: {free / GIB:.1f} GiB free, {kept} checkpoints and one that is written, two models and 1 GiB of records"
        f" need {needed / GIB:.1f} GiB"
    )
    return Finding(free >= needed, text, "" if free >= needed else "out_dir=ON_ANOTHER_DISK")


def _existing_parent(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def check_ray(config: Config) -> Finding:
    """Whether the Ray address can be reached; a Ray of our own needs a free port on this machine."""
    address = config.compute.ray_address
    if address is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return Finding(True, f"Ray: one of our own on this machine, with free ports such as {port}")
    if address == "auto":
        cluster = bool(os.environ.get("RAY_ADDRESS")) or Path("/tmp/ray/ray_current_cluster").is_file()
        return Finding(
            cluster, "Ray: the cluster of this machine", "" if cluster else "ray start --head, or compute=local"
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=RAY_SECONDS).close()
    except (OSError, ValueError) as error:
        return Finding(
            False, f"Ray: nothing answers at {address} ({error})", "compute.ray_address=HOST:PORT of a running cluster"
        )
    return Finding(True, f"Ray: {address} answers")


T = TypeVar("T")
Section = tuple[str, list[Finding]]


def attempt(make: Callable[[], T], fix: str) -> T | Finding:
    """What `make` makes; where its subject is unusable altogether, what it raises as a finding."""
    try:
        return make()
    except HubOutOfReach as error:
        return Finding(True, f"not checked: {error.name} is not on this machine, and {error.why}", checked=False)
    except (*EXPECTED, ValueError, ImportError) as error:
        return Finding(False, str(error), fix)


def guard(check: Callable[[], list[Finding]], fix: str) -> list[Finding]:
    """The findings of a check, or what it raises as its only one."""
    findings = attempt(check, fix)
    return [findings] if isinstance(findings, Finding) else findings


def check_rows_and_model(splits: DataSplits, processor: Processor, config: Config, rubric: Rubric) -> Iterator[Section]:
    """What a run refuses of its rows, its model and its rewards before it starts, asked by the doctor and by the run.

    Args:
        splits: the rows that can be asked, without those that `check_rows` took out.
        processor: that of the model the run starts from.
        rubric: the run's rewards, with the judge that asks nobody.
    """
    samples = [*splits.rl, *splits.eval]
    yield "Data", check_data(splits, config)
    model = guard(lambda: check_model(processor, [*samples, *(row.sample for row in splits.sft)]), MODEL_FIX)
    yield "Model", [*model, *check_arithmetic(config)]
    yield "What learns", guard(lambda: what_learns(config), LEARN_FIX)
    if all(finding.good for finding in model):
        yield "Template", guard(lambda: check_template(processor, splits, config), MODEL_FIX)
    taught = splits.sft if trains_sft(config) else []
    yield "Rewards", guard(lambda: [*check_golds(rubric, samples), *check_taught(rubric, taught)], ROUTE_FIX)


def _load(config: Config) -> DataSplits:
    with Display(sys.stderr) as display:
        return load_for(config, display.late_bar)


def examine(config: Config, scorer: RubricScoring) -> Iterator[Section]:
    """Every check of a run, as headings with findings, in the order in which a run would meet them.

    Args:
        config: the composed run.
        scorer: the run's parser and rubric, with the judge that asks nobody.
    """
    splits = attempt(lambda: _load(config), "correct data.root, or set data.on_bad_row=skip")
    steps, costs = 1, []
    if isinstance(splits, Finding):
        yield "Data", [splits]
    else:
        processor = _processor(config)
        if isinstance(processor, list):
            yield "Data", check_data(splits, config)
            yield "Model", processor
            if all(finding.good for finding in processor):
                yield "What learns", guard(lambda: what_learns(config), LEARN_FIX)
        else:
            rows, splits = rows_fit(processor, splits, config)
            control, splits = under_control(splits, config)
            for heading, findings in check_rows_and_model(splits, processor, config, scorer.rubric):
                yield heading, [*findings, rows, *control] if heading == "Data" else findings
            yield "Shuffled answers", guard(lambda: check_shuffled(scorer, [*splits.rl, *splits.eval]), ROUTE_FIX)
        if stages := guard(lambda: check_stages(config, splits), MODEL_FIX):
            yield STAGES, stages
        steps = num_steps(config, len(splits.rl))
        costs = estimate(config, splits.rl, splits.eval, steps)
        yield "What the run does", [Finding(True, line) for line in arithmetic(config, splits)]
    if config.compute.device == "cuda":
        yield MEMORY_TITLE, guard(lambda: check_memory(config), MODEL_FIX)
    machine = [check_run_folder(config), check_disk(config, steps), check_ray(config), *check_packages()]
    machine += guard(lambda: check_tracking(config), "wandb=offline")
    if config.resume and not isinstance(splits, Finding):
        machine += guard(lambda: check_same(config, splits, scorer.rubric), "put it back, or allow_changes=true")
    yield "Machine", machine
    yield "Judge", [*check_judge(config), *costs]


def what_learns(config: Config) -> list[Finding]:
    """The parts of the model and the files of its weights.

    Raises:
        OSError, UnknownFamily: see `check_parts`.
    """
    return [*check_parts(config), *check_weights(config)]


def _processor(config: Config) -> Processor | list[Finding]:
    """That of the model the run starts from, or why there is none."""
    try:
        return load_processor(start_of(config), images_of(config.model))
    except HubOutOfReach as error:
        return unseen_model(error)
    except (*EXPECTED, ValueError, ImportError) as error:
        return [Finding(False, str(error), MODEL_FIX)]


def under_control(splits: DataSplits, config: Config) -> tuple[list[Finding], DataSplits]:
    """The rows as a control has them; a finding where one of the controls asked for would take nothing away."""

    def rows() -> DataSplits:
        check_controls(splits, config)
        return controlled(splits, config)

    result = attempt(rows, "leave the control out, or give data in which there is something to take away")
    return ([result], splits) if isinstance(result, Finding) else ([], result)


def check_packages() -> list[Finding]:
    """What `rl.train` imports beyond what the doctor needs."""
    names = missing("cpu")
    return [Finding(False, f"the engine is not installed: {', '.join(names)}", "make setup")] if names else []


def check_tracking(config: Config) -> list[Finding]:
    """A key where metrics go to W&B's server. Raises TrackingError."""
    check_login(config.wandb)
    return []


def check_same(config: Config, splits: DataSplits, rubric: Rubric) -> list[Finding]:
    """A resumed run learns from what it began with. Raises RunFolderError."""
    now = contents_of(splits, rubric, identity(config.judge), Path(config.model.path))
    check_contents(Path(config.out_dir), now, allow_changes=config.allow_changes)
    return [Finding(True, "what the run learns from is what it began with, or allow_changes is set")]


class Tally(NamedTuple):
    """How many findings were bad, and how many could not be looked at."""

    bad: int
    unchecked: int

    @property
    def in_words(self) -> str:
        """The last line."""
        not_made = f"{self.unchecked} check{'' if self.unchecked == 1 else 's'} could not be made (marked ?)"
        if self.bad:
            failed = f"{self.bad} check{'' if self.bad == 1 else 's'} failed"
            return f"{failed}; {not_made}." if self.unchecked else f"{failed}."
        if self.unchecked:
            return f"Every check that could be made passed; {not_made}, so a run may still be refused."
        return "All checks passed."


def tell(sections: Iterable[tuple[str, list[Finding]]], console: Console) -> Tally:
    """Print the findings as they come; returns how many are bad or could not be looked at."""
    bad = unchecked = 0
    for heading, findings in sections:
        console.print(plain(f"\n{heading}", "bold"))
        for finding in findings:
            mark, style = ("\u2713", "green") if finding.good else ("\u2717", "bold red")
            if not finding.checked:
                mark, style = "?", "bold yellow"
                unchecked += 1
            console.print(Text.assemble((f"  {mark} ", style), printable(finding.text)), soft_wrap=True)
            if finding.fix:
                console.print(plain(f"    mend it: {finding.fix}", "yellow"), soft_wrap=True)
            bad += not finding.good
    return Tally(bad, unchecked)

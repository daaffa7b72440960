"""Runs every check in the order in which a run meets it, and says in numbers what the run would do. Starts nothing."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from rl.algo.estimators import estimator_of
from rl.algo.order import steps_per_epoch
from rl.config import Config, GrpoConfig
from rl.data.load import load
from rl.data.sets import DataSplits
from rl.data.sizes import images_of
from rl.doctor.data import Finding, check_data, check_rewards, check_taught, check_template
from rl.doctor.judge import check_judge, estimate
from rl.doctor.model import check_model, start_of
from rl.doctor.parts import check_parts
from rl.protocols import Scoring
from rollouts.prompt.processing import Processor, load_processor
from rollouts.terminal import plain, printable

# A checkpoint holds the weights and the two moments of Adam, in units of the model's own size; a run keeps the newest
# two.
CHECKPOINT_SIZES, CHECKPOINTS_KEPT = 3, 2
SPARE_BYTES = 1 << 30
RAY_SECONDS = 5.0


def arithmetic(config: Config, splits: DataSplits) -> list[str]:
    """The run in words: what is asked, scored and updated, and how often."""
    grpo, sft = config.grpo, config.sft
    rows = grpo.prompts_per_step * grpo.num_generations
    epoch = max(1, len(splits.rl) // grpo.prompts_per_step)
    steps = num_steps(config, len(splits.rl))
    lines = []
    if sft.enabled and sft.checkpoint is None:
        batches = -(-len(splits.sft) // sft.batch_size)
        lines.append(
            f"SFT: {len(splits.sft):,} rows x {sft.num_epochs} epochs in batches of {sft.batch_size} ="
            f" {batches * sft.num_epochs:,} updates at {sft.learning_rate:g}, {sft.batch_size // sft.micro_batch_size}"
            f" micro-batches of {sft.micro_batch_size} each"
        )
    else:
        lines.append(f"SFT: none, RL starts from {sft.checkpoint if sft.enabled else config.model.path}")
    lines += [
        (
            f"GRPO step: {grpo.prompts_per_step} prompts x {grpo.num_generations} = {rows} completions of at most"
            f" {grpo.max_completion_length} tokens, {grpo.num_minibatches} mini-batches of"
            f" {rows // grpo.num_minibatches} rows, so {grpo.num_minibatches} updates"
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
        _evaluation(config, len(splits.eval), config.eval.blank_images and any(one.media for one in splits.eval)),
    ]
    return lines


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
    """A new run needs a folder that does not exist, a resumed one needs the folder of that run."""
    folder = Path(config.out_dir)
    if config.resume:
        good = (folder / "config.yaml").is_file()
        return Finding(
            good, f"run folder {folder} to resume", "" if good else "there is no config.yaml in it; use resume=false"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return Finding(False, f"run folder {folder} is not empty", "out_dir=ANOTHER, resume=true, or remove the folder")
    parent = _existing_parent(folder)
    writable = os.access(parent, os.W_OK)
    return Finding(writable, f"run folder {folder} is free", "" if writable else f"{parent} cannot be written")


def check_disk(config: Config, steps: int) -> Finding:
    """Room for checkpoints, the model and the rollouts where the run folder will be."""
    weights = (
        sum(file.stat().st_size for file in Path(config.model.path).glob("*.safetensors"))
        if Path(config.model.path).is_dir()
        else 0
    )
    kept = min(-(-steps // config.grpo.save_steps), CHECKPOINTS_KEPT)
    needed = weights * (CHECKPOINT_SIZES * kept + 2) + SPARE_BYTES
    free = shutil.disk_usage(_existing_parent(Path(config.out_dir))).free
    text = (
        f"disk: {free / 2**30:.1f} GiB free, {kept} checkpoints, two models and 1 GiB of records need"
        f" {needed / 2**30:.1f} GiB"
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
        found = bool(os.environ.get("RAY_ADDRESS")) or Path("/tmp/ray/ray_current_cluster").is_file()
        return Finding(found, "Ray: the cluster of this machine", "" if found else "ray start --head, or compute=local")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=RAY_SECONDS).close()
    except (OSError, ValueError) as error:
        return Finding(
            False, f"Ray: nothing answers at {address} ({error})", "compute.ray_address=HOST:PORT of a running cluster"
        )
    return Finding(True, f"Ray: {address} answers")


def guard(check: Callable[[], list[Finding]], fix: str) -> list[Finding]:
    """A check whose subject may be unusable altogether: what it raises becomes its finding."""
    try:
        return check()
    except (OSError, ValueError, ImportError) as error:
        return [Finding(False, str(error), fix)]


def examine(config: Config, scorer: Scoring) -> Iterator[tuple[str, list[Finding]]]:
    """Every check of a run, as headings with findings, in the order in which a run would meet them.

    Args:
        config: the composed run.
        scorer: the run's parser and rubric, with the judge that asks nobody.
    """
    loaded: list[DataSplits] = []

    def read_data() -> list[Finding]:
        loaded.append(load(config.data))
        return check_data(loaded[0], config)

    findings = guard(read_data, "correct data.root, or set data.on_bad_row=skip")
    yield "Data", findings
    if loaded:
        splits = loaded[0]
        yield "What the run does", [Finding(True, line) for line in arithmetic(config, splits)]
        fix = "model.path=A_FOLDER_WITH_A_MODEL_AND_ITS_PROCESSOR"
        samples = [*splits.rl, *splits.eval]
        processors: list[Processor] = []

        def read_model() -> list[Finding]:
            processors.append(load_processor(start_of(config), images_of(config.model)))
            taught = [row.sample for row in splits.sft]
            return check_model(processors[0], [*samples, *taught])

        model = guard(read_model, fix)
        yield "Model", model
        if processors:
            yield "What learns", guard(lambda: check_parts(config), "correct model.train or model.lora")
        if processors and all(finding.good for finding in model):
            yield "Template", guard(lambda: check_template(processors[0], splits, config), fix)
        yield (
            "Rewards",
            guard(
                lambda: [*check_rewards(scorer, samples), *check_taught(scorer, splits.sft)],
                "give every answer type of the data a route in reward.routes",
            ),
        )
    steps = num_steps(config, len(loaded[0].rl)) if loaded else 1
    yield "Machine", [check_run_folder(config), check_disk(config, steps), check_ray(config)]
    asked = [] if not loaded else estimate(config, loaded[0].rl, loaded[0].eval, steps)
    yield "Judge", [*check_judge(config), *asked]


def tell(sections: Iterable[tuple[str, list[Finding]]], console: Console) -> int:
    """Print the findings as they come; returns how many are bad."""
    bad = 0
    for heading, findings in sections:
        console.print(plain(f"\n{heading}", "bold"))
        for finding in findings:
            mark, style = ("\u2713", "green") if finding.good else ("\u2717", "bold red")
            console.print(Text.assemble((f"  {mark} ", style), printable(finding.text)), soft_wrap=True)
            if finding.fix:
                console.print(plain(f"    mend it: {finding.fix}", "yellow"), soft_wrap=True)
            bad += not finding.good
    return bad

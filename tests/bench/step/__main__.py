"""One GRPO step measured three ways, side by side: `python -m tests.bench.step [--steps 6] [--rounds 2] [overrides]`.

(a) Rounds, split by `timing_s/*`, and its share of two floors, pure sampling plus pure training on the same tokens, as
they were defined at first and as they are made of today (`tests/bench/step/pure.py`); (b) the same work through TRL's
GRPOTrainer. A streamed step may be below a floor, because it samples and trains at the same time. The parts take turns,
so that a noisy machine disturbs all of them; ratios of medians are printed. The learning rate is next to nothing, so
that every part draws and trains on the same tokens. `--baseline COMMIT` adds a third floor: the first one by the code
of an earlier commit (`tests/bench/step/baseline.py`), which nothing that has become cheaper since lowers; and that
commit's whole step.

`--cpu` measures what other work on the machine changes little: the CPU seconds of a step, by process, of one run. Under
what schedule ever, a step on two cores takes half of their sum at least.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from rl.run.tracking import METRICS, read_metrics
from tests.bench.step import baseline

PARTS = ("sync", "gen", "old_log_prob", "ref", "reward", "record", "update_actor", "step")
# Parts of `tests.bench.step.pure` that make a floor.
FLOORS = {
    "floor as first defined": ("sample", "train"),
    "floor of today's parts": ("sample_now", "train_now"),
}
# Those of `tests.bench.step.baseline`.
OLD_PARTS = ("sample", "train", "step")
# The first step of a process compiles and fills caches.
WARM_UP_STEPS = 1
POLL_SECONDS = 0.2


def command(folder: Path, steps: int, overrides: list[str]) -> list[str]:
    """Arguments of the main command for a run of `steps` steps; of the embedded recipe unless overrides name another
    experiment."""
    recipe = () if any(one.startswith("+experiment=") for one in overrides) else ("+experiment=med_grpo",)
    return [
        *recipe, f"out_dir={folder}", f"grpo.num_steps={steps}", "grpo.learning_rate=1e-12",
        "data.num_eval=16", "eval.num_samples=0", "eval.blank_images=false", "wandb=off",
        *(() if any(one.startswith("judge=") for one in overrides) else ("judge=rules",)), *overrides,
    ]  # fmt: skip


def run_rounds(folder: Path, steps: int, overrides: list[str]) -> tuple[list[dict[str, Any]], Path]:
    """A run of `steps` steps by the main command; its metrics and its SFT model."""
    shutil.rmtree(folder, ignore_errors=True)
    _python("rl.train", *command(folder, steps, overrides))
    summary = json.loads((folder / "summary.json").read_text())
    return read_metrics(folder)[WARM_UP_STEPS:], Path(summary["sft_model"])


def _python(module: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"python -m {module} {' '.join(arguments)} ended with {done.returncode}; its error is above")
    return done.stdout


def seconds_of(module: str, *arguments: str) -> list[float]:
    """The list of seconds that a part prints as its last line, without the warm-up."""
    return [float(value) for value in json.loads(_python(module, *arguments).strip().splitlines()[-1])][WARM_UP_STEPS:]


def measure(steps: int, rounds: int, overrides: list[str], with_trl: bool, commit: str | None = None) -> dict[str, Any]:
    """All parts in turn, `rounds` times; medians of seconds a step, and the ratios. `commit`: whose own code makes one
    more floor, and whose whole step is measured."""
    floors = dict(FLOORS)
    if commit:
        floors[f"floor by the code of {commit}"] = ("sample_then", "train_then")
        floors[f"whole step of {commit}"] = ("step_then",)
    seconds: dict[str, list[float]] = {name: [] for name in (*PARTS, *sum(floors.values(), ()), "TRL step")}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "run"
            metrics, sft = run_rounds(folder, steps, overrides)
            for name in PARTS:
                seconds[name] += [float(one.get(f"timing_s/{name}") or 0.0) for one in metrics]
            for name in sum(FLOORS.values(), ()):
                seconds[name] += seconds_of("tests.bench.step.pure", name, str(folder), str(sft))
            for part in OLD_PARTS if commit else ():
                old = baseline.seconds_of(part, folder, sft, str(commit))
                seconds[f"{part}_then"] += old[WARM_UP_STEPS:]
            if with_trl:
                seconds["TRL step"] += seconds_of("tests.bench.step.trl", str(folder), str(sft), str(steps))
    medians = {name: statistics.median(values) for name, values in seconds.items() if values}
    ratios = {}
    for name, parts in floors.items():
        ratios[f"step / {name}"] = medians["step"] / sum(medians[part] for part in parts)
        ratios[f"step / {name}, least seconds of each step"] = _least(seconds["step"], rounds) / sum(
            _least(seconds[part], rounds) for part in parts
        )
    if with_trl:
        ratios["TRL seconds / Rounds seconds"] = medians["TRL step"] / medians["step"]
    return {"seconds": medians, "ratios": ratios, "num_steps": len(seconds["step"]), "all_seconds": seconds}


def _least(seconds: list[float], rounds: int) -> float:
    """The sum over the steps of the least that each took in any round: every round has the same steps, and other work
    can only add to them."""
    num_steps = len(seconds) // rounds
    return sum(min(seconds[place::num_steps]) for place in range(num_steps))


def cpu_seconds(folder: Path, steps: int, overrides: list[str]) -> dict[str, float]:
    """CPU seconds a step of each process of a run, most first, from its first step told to its last."""
    run = subprocess.Popen([sys.executable, "-m", "rl.train", *command(folder, steps, overrides)])
    root, marks = psutil.Process(run.pid), list[tuple[int, dict[int, tuple[str, float]]]]()
    while run.poll() is None:
        used: dict[int, tuple[str, float]] = {}
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):  # gone meanwhile
                times = process.cpu_times()
                used[process.pid] = _role(" ".join(process.cmdline())), times.user + times.system
        told = len(read_metrics(folder)) if (folder / METRICS).is_file() else 0
        if WARM_UP_STEPS <= told and (not marks or told > marks[-1][0]):
            marks.append((told, used))
        time.sleep(POLL_SECONDS)
    if run.returncode != 0 or len(marks) < 2:
        sys.exit(f"the run ended with {run.returncode} after {len(marks)} steps that were seen; its error is above")
    (first, before), (last, after) = marks[0], marks[-1]
    seconds: dict[str, float] = {}
    for pid, (name, value) in after.items():
        seconds[name] = seconds.get(name, 0.0) + (value - before.get(pid, ("", 0.0))[1]) / (last - first)
    return dict(sorted(seconds.items(), key=lambda pair: -pair[1]))


def _role(text: str) -> str:
    """Whose a command line is: a worker by its kind, the command itself, or the rest of Ray."""
    workers = [kind for kind in ("RolloutWorker", "PolicyWorker", "ReferenceWorker") if f"ray::{kind}" in text]
    return workers[0] if workers else "rl.train" if "-m rl.train" in text else "the rest of Ray"


def show_cpu(seconds: dict[str, float]) -> None:
    table = Table("process", "CPU s/step")
    for name, value in (*seconds.items(), ("all", sum(seconds.values()))):
        table.add_row(name, f"{value:.3f}")
    Console().print(table)


def show(result: dict[str, Any]) -> None:
    table = Table("part", "median s/step", "share of the step")
    step = result["seconds"]["step"]
    for name, value in result["seconds"].items():
        table.add_row(name, f"{value:.3f}", f"{value / step:.0%}")
    console = Console()
    console.print(table)
    for name, value in result["ratios"].items():
        console.print(f"{name}: {value:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=6, help="GRPO steps of each part, the first of which does not count"
    )
    parser.add_argument("--rounds", type=int, default=2, help="how often all parts take their turn")
    parser.add_argument("--cpu", action="store_true", help="measure CPU seconds by process, and nothing else")
    parser.add_argument("--no-trl", action="store_true", help="leave TRL out")
    parser.add_argument(
        "--baseline",
        metavar="COMMIT",
        help=f"also measure floor and whole step by the code of this commit, such as {baseline.BASELINE}",
    )
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    parser.add_argument(
        "overrides", nargs="*", help="settings of the run, such as grpo.prompts_per_step=8, or another experiment"
    )
    arguments = parser.parse_args()
    if arguments.baseline:
        baseline.require(arguments.baseline)
    if arguments.cpu:
        with tempfile.TemporaryDirectory() as parent:
            show_cpu(cpu_seconds(Path(parent) / "run", arguments.steps, arguments.overrides))
        return
    result = measure(arguments.steps, arguments.rounds, arguments.overrides, not arguments.no_trl, arguments.baseline)
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""Whether the metrics that need a model meet today's radeval: its own numbers beside ours, on models with random
weights.

`python -m tests.bench.evaluation.model_metrics PYTHON` takes the Python of an environment with radeval 2.2.1 (it is
never installed here), makes the smallest models in a temporary folder, asks every metric through the door of
`metric.python`, and the package itself in a process of its own. RadCliQ of the package is 1 / mean. GREEN and CRIMSON
write nothing here, which the package counts 0 and we do not count. It also asks with a folder of no weights. Ends with
1 where two numbers differ by more than 0.0001 or a missing weight gives a number. About two minutes on a core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rewards.metrics.door import MODEL_METRICS, MetricDoor, compute_by_model
from rewards.metrics.result import TextRow
from rollouts.terminal import DONE, FAILED, open_console, table

OTHER_SIDE = Path(__file__).with_name("other_side.py")
PAIRS = (
    ("The cardiac silhouette is mildly enlarged.", "Mild cardiomegaly."),
    ("Pleural effusion.", "No pleural effusion."),
    ("The lungs are clear. No pneumothorax.", "No acute cardiopulmonary process."),
    ("Bilateral pleural effusions and basilar atelectasis.", "Small bilateral effusions with bibasilar atelectasis."),
    ("Heart size is normal.", "Heart size is normal."),
)
# What the package calls its number of the whole.
THEIRS = {
    "radgraph": "radgraph_partial", "chexbert": "f1chexbert_all_micro_f1", "ratescore": "ratescore",
    "radcliq": "radcliq_v1", "green": "green", "crimson": "crimson",
}  # fmt: skip
# Metrics whose model writes text; the one here writes none.
WRITTEN = ("green", "crimson")


def on_the_other_side(python: str, home: str, *arguments: str, stdin: str = "") -> str:
    """What the script prints last, run by that Python with its caches in `home`."""
    places = {"HF_HOME": home, "XDG_CACHE_HOME": home, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    command = [python, "-I", str(OTHER_SIDE), *arguments]
    # It works in `home`: GREEN writes beside itself.
    done = subprocess.run(command, env=os.environ | places, input=stdin, capture_output=True, text=True, cwd=home)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return (done.stdout.splitlines() or [""])[-1]


def compared(name: str, rows: list[TextRow], door: MetricDoor, theirs: dict[str, Any]) -> tuple[list[str], bool]:
    """A line of the table, and whether both sides agree."""
    ours = compute_by_model(name, rows, door)
    told = theirs.get(THEIRS[name])
    value = None if ours.value is None else 1 / ours.value if name == "radcliq" else ours.value
    same = value is None if name in WRITTEN else None not in (value, told) and abs(value - told) <= 1e-4
    said = ours.reason if value is None else f"{value:.4f}"
    return [name, said, theirs.get("failed") or f"{told:.4f}", "" if same else "DIFFERENT"], same


def main() -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evaluation.model_metrics", description=__doc__)
    parser.add_argument("python", metavar="PYTHON", help="of an environment with radeval")
    python = os.path.abspath(parser.parse_args().python)
    rows = [TextRow(said, (reference,)) for said, reference in PAIRS]
    pairs = {"refs": [reference for _, reference in PAIRS], "hyps": [said for said, _ in PAIRS]}
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as empty:
        on_the_other_side(python, home, home)
        theirs = json.loads(on_the_other_side(python, home, "score", stdin=json.dumps(pairs)))
        door, bare = MetricDoor(python, home), MetricDoor(python, empty)
        kinds = {name: metric.metric for name, metric in MODEL_METRICS.items()}
        lines = [compared(name, rows, door, theirs[kind]) for name, kind in kinds.items()]
        without = {name: compute_by_model(name, rows, bare) for name in MODEL_METRICS}
        door.close()
        bare.close()
    console = open_console()
    console.print(
        table(f"{len(PAIRS)} pairs, random weights", ("metric", "ours", "radeval", ""), [row for row, _ in lines])
    )
    for name, found in without.items():
        console.print(f"without weights, {name}: {found.value} {found.reason}", soft_wrap=True)
    fine = all(same for _, same in lines) and all(found.value is None for found in without.values())
    return DONE if fine else FAILED


if __name__ == "__main__":
    sys.exit(main())

"""Run by another Python, the one that has the package `radeval` and its models: reads a line of JSON, writes a line.

Nothing of this project is imported here, and nothing but Python's own library until a metric is asked for. A request is
{"metric", "refs", "hyps"}; the answer {"columns": {name: [a number a pair]}, "version"} or {"failed": why}. What the
package prints goes to standard error: the answers have a descriptor of their own.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

EVALUATORS: dict[str, Any] = {}


def columns_of(metric: str, refs: list[str], hyps: list[str]) -> dict[str, Any]:
    """The scores of each pair under the package's own names; loads the metric's models the first time."""
    if metric not in EVALUATORS:
        from radeval import RadEval

        EVALUATORS[metric] = RadEval(metrics=[metric], per_sample=True, show_progress=False)
    found = EVALUATORS[metric](refs=refs, hyps=hyps)
    columns = {name: [float(score) for score in scores] for name, scores in found.items()}
    for name, scores in columns.items():
        if len(scores) != len(hyps):
            raise ValueError(f"{name} has {len(scores)} scores for {len(hyps)} reports")
        if not all(map(math.isfinite, scores)):
            raise ValueError(f"{name} holds a score that is not finite")
    return columns


def answer(line: str) -> dict[str, Any]:
    """What is written back for one request; never raises."""
    request = json.loads(line)
    try:
        columns = columns_of(request["metric"], request["refs"], request["hyps"])
        from importlib import metadata

        return {"columns": columns, "version": metadata.version("radeval")}
    except ModuleNotFoundError as error:
        return {"failed": f"the package {error.name} is not installed for {sys.executable}: pip install {error.name}"}
    except Exception as error:  # the boundary: whatever the package, its models and their files raise
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(answer(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

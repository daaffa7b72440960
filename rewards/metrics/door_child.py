"""Run by another Python, the one that has the package `radeval` and its models: reads a line of JSON, writes a line.

Nothing of this project is imported here, and nothing but Python's own library until a metric is asked for. A request is
{"metric", "refs", "hyps"}; the answer {"columns": {name: [a number a pair]}, "version"} or {"failed": why}. A number
that the package could not read out of its model's words is null. What the package prints goes to standard error: the
answers have a descriptor of their own. With names of metrics behind it, it scores one pair by each and ends: with a
network, that fetches what is missing of their models.

Every metric goes the package's own way (`RadEval(metrics=[..], per_sample=True)`) but where that would give another
number than it says: CheXbert, GREEN and RadCliQ, as told below.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

PACKAGE = "radeval"
SCORERS: dict[str, Any] = {}
# The references of the last call; see `_ratings`.
LAST_REFS: dict[str, list[str]] = {}


class NoModel(Exception):
    """The models of a metric cannot be loaded."""


def columns_of(metric: str, refs: list[str], hyps: list[str]) -> dict[str, Any]:
    """The scores of each pair under the package's own names; loads the metric's models the first time. Raises NoModel,
    and whatever the package raises."""
    if metric not in SCORERS:
        SCORERS[metric] = _load(metric)
    table = _labels(refs, hyps) if metric == "f1chexbert" else _ratings(metric, refs, hyps)
    columns = {name: [_number(score) for score in scores] for name, scores in table.items()}
    for name, scores in columns.items():
        if len(scores) != len(hyps):
            raise ValueError(f"{name} has {len(scores)} scores for {len(hyps)} reports")
    return columns


def _load(metric: str) -> Any:
    """The scorer of a metric with its models. Raises NoModel, ModuleNotFoundError."""
    import radeval

    # 2.2.1 was renamed from RadEval, and its copy of RadGraph still imports itself under the old name.
    sys.modules.setdefault("RadEval", radeval)
    try:
        if metric == "f1chexbert":
            return _chexbert()
        return radeval.RadEval(metrics=[metric], per_sample=True, show_progress=False)
    except ModuleNotFoundError as error:
        if error.name:
            raise
        raise NoModel(str(error)) from error  # transformers' own: a library that it needs does not load
    except Exception as error:
        raise NoModel(f"{type(error).__name__}: {error}") from error


def _number(score: Any) -> float | None:
    """A score; None where there is none: CRIMSON gives NaN for a reply of its model that it cannot read."""
    return None if score is None or not math.isfinite(score) else float(score)


def _ratings(metric: str, refs: list[str], hyps: list[str]) -> dict[str, Any]:
    if metric == "ratescore":
        return {metric: [_rate_score(ref, hyp) for ref, hyp in zip(refs, hyps, strict=True)]}
    # RadCliQ keeps the word weights of a list of references under the list's address, which a later list may get when
    # the first is gone: while the last one lives, no new one has its address.
    kept, LAST_REFS[metric] = LAST_REFS.get(metric), refs
    ratings: dict[str, Any] = SCORERS[metric](refs=refs, hyps=hyps)
    del kept
    if metric == "green":
        # A reply without these headings counts as 0 there, as if its model had seen nothing that matches.
        heads = "[Clinically Significant Errors]:", "[Matched Findings]:"
        replies = SCORERS[metric].green_scorer.completions
        read = [all(head in reply for head in heads) for reply in replies]
        ratings["green"] = [score if ok else None for score, ok in zip(ratings["green"], read, strict=True)]
    return ratings


def _rate_score(ref: str, hyp: str) -> float | None:
    """One pair alone: of many it loses those that hold no sentence of three letters, and then all scores move up. Such
    an answer is none and counts 0; such a reference has no score."""
    score = SCORERS["ratescore"](refs=[ref], hyps=[hyp])["ratescore"]
    if score:
        return float(score[0])
    return 0.0 if SCORERS["ratescore"](refs=[ref], hyps=[ref])["ratescore"] else None


def _chexbert() -> Any:
    """CheXbert on the device there is: `RadEval(metrics=["f1chexbert"])` fails on a machine without CUDA. It also
    rates a pair by the share of labels that agree, most of which are absent from both, and keeps the labels, of which
    F1 is made, to itself."""
    import torch
    from radeval.metrics.f1chexbert import F1CheXbert

    return F1CheXbert(device="cuda" if torch.cuda.is_available() else "cpu")


def _labels(refs: list[str], hyps: list[str]) -> dict[str, list[int]]:
    """For each of CheXbert's 14 labels 1 where a report states it, uncertain or not, and 0 elsewhere: columns "ref
    Edema", "hyp Edema", .."""
    scorer = SCORERS["f1chexbert"]
    made: dict[str, list[int]] = {}
    for side, texts in (("ref", refs), ("hyp", hyps)):
        rows = scorer.get_labels(texts)
        for place, name in enumerate(scorer.TARGET_NAMES):
            made[f"{side} {name}"] = [row[place] for row in rows]
    return made


def answer(line: str) -> dict[str, Any]:
    """What is written back for one request; never raises."""
    request = json.loads(line)
    try:
        columns = columns_of(request["metric"], request["refs"], request["hyps"])
        from importlib import metadata

        return {"columns": columns, "version": metadata.version(PACKAGE)}
    except ModuleNotFoundError as error:
        return {"failed": f"the package {error.name} is not installed for {sys.executable}: pip install {error.name}"}
    except NoModel as error:
        return {"failed": f"its models cannot be loaded: {' '.join(str(error).split())[:500]}", "no_model": True}
    except Exception as error:  # the boundary: whatever the package, its models and their files raise
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}


def stay_here(event: str, given: tuple[Any, ...]) -> None:
    """An audit hook that lets no connection leave the machine: nothing is fetched, and no report is sent anywhere.
    `import radeval` alone would ask a server for data of NLTK."""
    if event == "socket.getaddrinfo":
        host = given[0]
    elif event == "socket.connect" and isinstance(given[1], tuple):
        host = given[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (None, "", "localhost", "127.0.0.1", "::1"):
        raise OSError(f"the process of metrics has no network and does not ask {name}")


def main() -> None:
    """Answer requests until the input ends, or one for each metric that is named."""
    for metric in sys.argv[1:]:
        print(json.dumps(answer(json.dumps({"metric": metric, "refs": ["Clear lungs."], "hyps": ["Clear lungs."]}))))
    if sys.argv[1:]:
        return
    sys.addaudithook(stay_here)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(answer(line), allow_nan=False) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

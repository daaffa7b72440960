"""The door to report metrics that need a model: RadGraph, CheXbert, RadCliQ, RaTEScore, GREEN, CRIMSON.

They run in another Python (`metric.python`) with the package `radeval` 2.2.1 or later and local weights
(`metric.model_dir`), so that neither its packages nor its models meet ours. References and reports go in, numbers come
out; the child sees no network setting, no key and no setting of this process. What cannot be computed is said
("not computed: ..") and is never a number.
"""

from __future__ import annotations

import atexit
import json
import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.metrics.reports import handled, num_redacted
from rewards.metrics.result import Handling, MetricResult, TextRow, mean_of_column, sums_of
from rollouts import children
from rollouts.nearest import did_you_mean

CHILD = Path(__file__).with_name("door_child.py")
START_SECONDS = 60.0
# What the child is told of the machine; keys, proxies and paths to other packages stay here.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class ModelMetric:
    """A metric behind the door."""

    # What the package calls it, and the column that is taken; "" = labels of both sides, of which F1 is made.
    metric: str
    column: str
    about: str
    direction: Literal[1, -1] = 1
    # What an answer that is missing counts.
    empty: float = 0.0
    # Its weights, by their names on the Hugging Face hub.
    models: str = ""


_SCORERS = "StanfordAIMI/RRG_scorers"
MODEL_METRICS = {
    "radgraph": ModelMetric(
        "radgraph", "radgraph_partial", "RadGraph-XL F1, entities with relations, partial",
        models=f"{_SCORERS} (radgraph-xl.tar.gz) and the encoder that it names",
    ),
    "chexbert": ModelMetric(
        "f1chexbert", "", "CheXbert, micro F1 of 14 labels, uncertain = stated",
        models=f"{_SCORERS} (chexbert.pth), bert-base-uncased",
    ),
    "ratescore": ModelMetric(
        "ratescore", "ratescore", "RaTEScore F1, 0.5 where a side has no entity",
        models="Angelakeke/RaTE-NER-Deberta, FremyCompany/BioLORD-2023-C",
    ),
    "green": ModelMetric("green", "green", "GREEN, 7B", models="StanfordAIMI/GREEN-radllama2-7b"),
    "crimson": ModelMetric("crimson", "crimson", "CRIMSON, (-1, 1]", models="rajpurkarlab/medgemma-4b-it-crimson"),
    # It counts errors: an identical pair has about -1, a bad one above 2.
    "radcliq": ModelMetric(
        "radcliq", "radcliq_v1", "RadCliQ-v1, raw, lower is better", -1, 4.0,
        models=f"{_SCORERS} (radgraph.tar.gz, chexbert.pth), RadGraph's encoder, bert-base-uncased, distilroberta-base",
    ),
}  # fmt: skip


class NotComputed(RuntimeError):
    """A metric that could not be computed, and why, in one sentence."""


class MetricDoor:
    """One child of another Python, started when first asked; threads take turns.

    `python`: its interpreter. `model_dir`: the folder of downloaded weights, as the Hugging Face hub and the metrics
    lay them out; "" = what that user's caches hold. `timeout_seconds`: of one request, loading the models included.
    Raises NotComputed where `python` is no program or `model_dir` no folder.
    """

    def __init__(self, python: str, model_dir: str = "", timeout_seconds: float = 3600.0) -> None:
        if not os.path.isfile(python) or not os.access(python, os.X_OK):
            raise NotComputed(
                f"metric.python={python!r} is no program; give the Python of an environment with radeval, as"
                " /path/to/venv/bin/python"
            )
        if model_dir and not os.path.isdir(model_dir):
            raise NotComputed(f"metric.model_dir={model_dir!r} is no folder; give the one that holds the weights")
        self._python, self._model_dir = os.path.abspath(python), os.path.abspath(model_dir) if model_dir else ""
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._work: tempfile.TemporaryDirectory[str] | None = None
        self._log: Any = None

    def ask(self, metric: str, refs: Sequence[str], hyps: Sequence[str]) -> tuple[dict[str, list[float | None]], str]:
        """The columns of scores of the pairs (None = the metric's model gave none that could be read), and the version
        of the package. Raises NotComputed."""
        request = json.dumps({"metric": metric, "refs": list(refs), "hyps": list(hyps)}).encode() + b"\n"
        with self._lock:
            try:
                answer = self._answer_to(request)
            except BaseException as error:
                self._end()
                if isinstance(error, (OSError, ValueError)):
                    raise NotComputed(f"{metric}: the process of {self._python} failed: {error}") from error
                raise
        if "failed" in answer:
            raise NotComputed(f"{metric}: {answer['failed']}{self._how_to_get(metric) if 'no_model' in answer else ''}")
        return answer["columns"], str(answer["version"])

    def _how_to_get(self, metric: str) -> str:
        """What brings the weights of a metric to where the child looks for them: the child itself, with a network."""
        place = f"HF_HOME={shlex.quote(self._model_dir)} XDG_CACHE_HOME={shlex.quote(self._model_dir)} "
        models = next((one.models for one in MODEL_METRICS.values() if one.metric == metric), "")
        return (
            f". Its models: {models}. Nothing is downloaded here; where one is missing, fetch it once with a network:"
            f" {place if self._model_dir else ''}{shlex.quote(self._python)} -I {shlex.quote(str(CHILD))} {metric}"
            f"{'' if self._model_dir else ' (and set metric.model_dir where they lie elsewhere)'}"
        )

    def _answer_to(self, request: bytes) -> dict[str, Any]:
        return self._line(lambda: children.ask(self._running(), request, self._timeout))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._owner != os.getpid() or children.has_ended(self._child):
            self._work = tempfile.TemporaryDirectory(prefix="rounds-metrics-", ignore_cleanup_errors=True)
            self._log = open(os.path.join(self._work.name, "log"), "wb+")  # noqa: SIM115, it lives as long as the child
            # -I: neither the current folder nor PYTHONPATH can slip another package in. It works in a folder of its
            # own, because some metrics write beside themselves.
            code = (
                f"import os, runpy; os.chdir({self._work.name!r}); runpy.run_path({str(CHILD)!r}, run_name='__main__')"
            )
            self._child = children.start(
                [self._python, "-I", "-c", code],
                death_signal=None,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log.fileno(),
                env=self._environment(),
            )
            self._owner = os.getpid()
            child = self._child
            self._line(lambda: children.read_line(child, START_SECONDS))
        return self._child

    def _environment(self) -> dict[str, str]:
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        # Weights are taken from the folder and never fetched.
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUTF8": "1"}
        if self._model_dir:
            environment |= {"HF_HOME": self._model_dir, "XDG_CACHE_HOME": self._model_dir}
        return environment

    def _line(self, wait: Callable[[], bytes]) -> dict[str, Any]:
        """The object of the line that `wait` waits for. Raises NotComputed."""
        try:
            answer: dict[str, Any] = json.loads(wait())
            return answer
        except TimeoutError as error:
            raise NotComputed(f"{self._python} gave {error}") from None
        except EOFError:
            assert self._child is not None
            children.wait(self._child, 5.0)
            words = children.last_words(self._log.fileno(), 300) if self._log else ""
            how = children.how_it_ended(self._child) or "closed its output"
            raise NotComputed(f"{self._python} {how}. {words}") from None

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None and self._owner == os.getpid():
            children.close(child)
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._work is not None and self._owner == os.getpid():
            self._work.cleanup()
            self._work = None

    def close(self) -> None:
        """End the process; a later question starts another."""
        with self._lock:
            self._end()


_DOORS: dict[tuple[str, str], MetricDoor] = {}
_DOORS_LOCK = threading.Lock()


def door(python: str, model_dir: str = "") -> MetricDoor:
    """The one door of this process to a Python and a folder of weights, whose models are loaded once. Raises
    NotComputed as `MetricDoor` does."""
    with _DOORS_LOCK:
        if (python, model_dir) not in _DOORS:
            _DOORS[python, model_dir] = opened = MetricDoor(python, model_dir)
            atexit.register(opened.close)
        return _DOORS[python, model_dir]


def compute_by_model(
    name: str, rows: Sequence[TextRow], door: MetricDoor | None, handling: Handling | None = None
) -> MetricResult:
    """One metric of `MODEL_METRICS` over rows: the mean of the rows' own scores, for CheXbert F1 over all labels of all
    rows.

    An empty answer is not sent: it counts 0, for RadCliQ 4.0, for CheXbert as one that states nothing, and is counted.
    A row that the metric's model gave no readable verdict on is in no mean and is counted. Of several references the
    first is used. `door` None: no Python is named, and nothing is computed. English chest radiographs only; Chinese
    rows are not computed.

    Raises:
        ValueError: an unknown metric, or no rows.
    """
    if name not in MODEL_METRICS:
        hint = did_you_mean(name, MODEL_METRICS, "; expected one of " + ", ".join(MODEL_METRICS))
        raise ValueError(f"there is no model metric {name!r}{hint}")
    if not rows:
        raise ValueError(f"{name}: there are no rows to score")
    metric, handling = MODEL_METRICS[name], handling or Handling()
    kept = [handled(row, handling) for row in rows]
    empty = sum(row.is_empty for row in kept)
    tail = f"empty:{metric.empty:g}|sections:{handling.sections}|xxxx:{handling.redaction}|rows:{len(rows)}"
    none = MetricResult(
        name, None, "", f"{name}|{metric.about}|{tail}", None, np.zeros((0, 2)), mean_of_column, len(rows), empty,
        num_redacted(rows), metric.direction,
    )  # fmt: skip
    try:
        scores, version = _of_labels(metric, kept, door) if not metric.column else _of_scores(metric, kept, door)
        value = scores.finish(scores.sums.sum(axis=0))
        if value is None:
            raise NotComputed("no label is stated on either side" if not metric.column else "no row has a verdict")
    except NotComputed as error:
        return replace(none, reason=f"not computed: {error}")
    signature = f"{name}|{metric.about}|radeval {version}|{tail}"
    unjudged = sum(item is None for item in scores.items or ())
    return replace(none, value=value, signature=signature, num_unjudged=unjudged, **scores._asdict())


class _Scores(NamedTuple):
    """What MetricResult holds of these names."""

    items: tuple[float | None, ...] | None
    sums: NDArray[np.float64]
    finish: Callable[[NDArray[np.float64]], float | None]


def _of_scores(metric: ModelMetric, rows: Sequence[TextRow], door: MetricDoor | None) -> tuple[_Scores, str]:
    """The rows' own scores."""
    places = [place for place, row in enumerate(rows) if not row.is_empty]
    columns, version = _columns_of(metric, rows, places, door)
    if metric.column not in columns:
        raise NotComputed(f"radeval {version} gives {sorted(columns)}, expected {metric.column}")
    items: list[float | None] = [metric.empty] * len(rows)
    for place, score in zip(places, columns[metric.column], strict=True):
        items[place] = score
    return _Scores(tuple(items), sums_of(items), mean_of_column), version


def _of_labels(metric: ModelMetric, rows: Sequence[TextRow], door: MetricDoor | None) -> tuple[_Scores, str]:
    """Rows x (true positives, false positives, false negatives) over all labels; an empty answer states none."""
    columns, version = _columns_of(metric, rows, range(len(rows)), door)
    names = [name.removeprefix("ref ") for name in columns if name.startswith("ref ")]
    if not names or any(f"hyp {name}" not in columns for name in names):
        raise NotComputed(f"radeval {version} gives {sorted(columns)}, expected labels of both sides")
    refs, hyps = (
        np.array([columns[f"{side} {name}"] for name in names], dtype=np.float64).T for side in ("ref", "hyp")
    )
    hyps[[row.is_empty for row in rows]] = 0
    counts = [(both.sum(axis=1)) for both in (refs * hyps, (1 - refs) * hyps, refs * (1 - hyps))]
    return _Scores(None, np.stack(counts, axis=1), _micro_f1), version


def _micro_f1(sums: NDArray[np.float64]) -> float | None:
    """2 TP / (2 TP + FP + FN); None where neither side states anything."""
    hits, wrong, missed = sums
    return float(2 * hits / (2 * hits + wrong + missed)) if sums.sum() else None


def _columns_of(
    metric: ModelMetric, rows: Sequence[TextRow], places: Sequence[int], door: MetricDoor | None
) -> tuple[dict[str, list[float | None]], str]:
    """The columns of the rows at these places, and the version of the package."""
    if door is None:
        raise NotComputed("metric.python is not set; give the Python of an environment with radeval and its models")
    if any(row.language == "zh" for row in rows):
        raise NotComputed("its models read English only, and there are Chinese rows")
    if all(row.is_empty for row in rows):
        raise NotComputed("no row has an answer")
    refs = [" ".join(rows[place].references[0].split()) for place in places]
    return door.ask(metric.metric, refs, [" ".join((rows[place].answer or "").split()) for place in places])

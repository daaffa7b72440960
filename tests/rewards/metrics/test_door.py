"""The door to metrics of another Python: numbers come out, and whatever goes wrong is a sentence and never a number."""

from __future__ import annotations

import pytest

from rewards.metrics.door import MODEL_METRICS, MetricDoor, NotComputed, compute_by_model
from rewards.metrics.result import Handling, TextRow

pytestmark = pytest.mark.full_run_only(reason="starts another Python")
ROWS = [TextRow("lungs clear", ("lungs clear",)), TextRow(" ", ("normal",)), TextRow("lungs opaque", ("lungs\nclear",))]


@pytest.fixture
def door(radeval_python):
    opened = MetricDoor(radeval_python)
    yield opened
    opened.close()


def test_numbers_of_another_python_with_its_version_in_the_signature(door, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    found = compute_by_model("radcliq", ROWS, door)
    # Two pairs are sent: 0 - 1 + 0.02 and 2 - 1 + 0.02; no answer counts 4.
    assert found.items == pytest.approx((-0.98, 4.0, 1.02))
    assert found.value == pytest.approx((-0.98 + 4.0 + 1.02) / 3)
    assert (found.num_empty, found.direction) == (1, -1)
    assert "radeval 2.2.1" in found.signature and "lower is better" in found.signature
    assert found.finish(found.sums.sum(axis=0)) == pytest.approx(found.value)
    # No key of ours is seen there; models print what they like; a second call meets the same models.
    columns, _ = door.ask("radcliq", ["a"], ["a"])
    assert columns["keys"] == [0.0]


def test_sections_and_xxxx_are_handled_as_in_the_other_metrics(door):
    found = compute_by_model("radcliq", [TextRow("clear XXXX", ("clear",))], door, Handling("findings", "removed"))
    assert found.items == pytest.approx((-0.99,))  # equal words: 0 - 1 + 0.01
    assert "sections:findings|xxxx:removed" in found.signature and found.num_redacted == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("green", "OSError: no file green.bin in any cache"),  # a missing weight
        ("ratescore", "not finite"),
        ("chexbert", "1 scores for 2 reports"),
        ("crimson", "ended with exit code 7"),
        ("radgraph", "expected radgraph_partial"),
    ],
)
def test_what_fails_there_is_not_computed(door, name, why):
    found = compute_by_model(name, ROWS, door)
    assert (found.value, found.items) == (None, None)
    assert found.reason.startswith("not computed: ") and why in found.reason
    # The door opens again.
    assert compute_by_model("radcliq", ROWS, door).value is not None


def test_weights_are_read_from_the_folder_that_is_named(radeval_python, tmp_path):
    (tmp_path / "green.bin").write_bytes(b"")
    opened = MetricDoor(radeval_python, str(tmp_path))
    assert compute_by_model("green", ROWS, opened).items == pytest.approx((-0.98, 0.0, 1.02))
    opened.close()


def test_no_python_no_package_and_no_answer_in_time_are_told(bare_python, radeval_python):
    assert "metric.python is not set" in compute_by_model("green", ROWS, None).reason
    bare = MetricDoor(bare_python)
    assert "the package radeval is not installed for" in compute_by_model("green", ROWS, bare).reason
    bare.close()
    slow = MetricDoor(radeval_python, timeout_seconds=1.0)
    found = compute_by_model("radcliq", [TextRow("wait", ("wait",))], slow)
    assert "no answer within 1 s" in found.reason
    slow.close()
    with pytest.raises(NotComputed, match="is no program"):
        MetricDoor("/nowhere/python")
    with pytest.raises(NotComputed, match="is no folder"):
        MetricDoor(radeval_python, "/nowhere")


def test_rows_that_its_models_cannot_read_are_not_computed(door):
    assert "English only" in compute_by_model("green", [TextRow("正常", ("正常",), "zh")], door).reason
    assert "no row has an answer" in compute_by_model("green", [TextRow("", ("a",))], door).reason
    with pytest.raises(ValueError, match="did you mean 'radgraph'"):
        compute_by_model("rad_graph", ROWS, door)
    with pytest.raises(ValueError, match="no rows"):
        compute_by_model("green", [], door)


def test_a_long_request_passes_whole(door):
    """Ten thousand reports are more than a pipe holds at once in either direction."""
    rows = [TextRow(f"report {place} " + "word " * 20, ("report",)) for place in range(10_000)]
    found = compute_by_model("radcliq", rows, door)
    assert len(found.items) == 10_000
    assert set(MODEL_METRICS) == {"radgraph", "chexbert", "ratescore", "green", "crimson", "radcliq"}

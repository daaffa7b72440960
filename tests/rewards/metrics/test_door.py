"""The door to metrics of another Python: numbers come out, and whatever goes wrong is a sentence and never a number."""

from __future__ import annotations

import json
import shlex
import subprocess

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
        ("crimson", "ended with exit code 7"),
        ("radgraph", "expected radgraph_partial"),
    ],
)
def test_what_fails_there_is_not_computed(door, name, why):
    rows = [TextRow("die", ("lungs",))] if name == "crimson" else ROWS
    found = compute_by_model(name, rows, door)
    assert (found.value, found.items) == (None, None)
    assert found.reason.startswith("not computed: ") and why in found.reason
    # The door opens again.
    assert compute_by_model("radcliq", ROWS, door).value is not None


def test_missing_weights_are_told_with_the_command_that_fetches_them(radeval_python, tmp_path):
    opened = MetricDoor(radeval_python, str(tmp_path))
    told = compute_by_model("green", ROWS, opened).reason
    opened.close()
    assert f"no file green.bin in {tmp_path}" in told and "Nothing is downloaded here" in told
    assert "Its models: StanfordAIMI/GREEN-radllama2-7b" in told
    command = told.partition("with a network: ")[2]
    places = f"HF_HOME={shlex.quote(str(tmp_path))} XDG_CACHE_HOME={shlex.quote(str(tmp_path))} "
    assert command.startswith(f"{places}{shlex.quote(radeval_python)} -I ")
    # The command does what it says: where the weight can be had, it scores a pair.
    (tmp_path / "green.bin").write_bytes(b"")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1])["columns"]["green"] == pytest.approx([-0.99]), done.stderr


def test_a_row_that_its_model_did_not_judge_is_in_no_mean(door, radeval_python, tmp_path):
    """CRIMSON gives NaN and GREEN counts 0 for a reply that cannot be read: neither is a value of the report."""
    rows = [TextRow("lungs clear", ("lungs clear",)), TextRow("mumble", ("clear",)), TextRow("", ("clear",))]
    found = compute_by_model("crimson", rows, door)
    assert (found.items, found.num_unjudged, found.value) == ((0.25, None, 0.0), 1, pytest.approx(0.125))
    (tmp_path / "green.bin").write_bytes(b"")
    green = MetricDoor(radeval_python, str(tmp_path))
    found = compute_by_model("green", rows, green)
    green.close()
    # Two pairs are sent: equal words are 0 - 1 + 0.02; no answer counts 0.
    assert found.items == pytest.approx((-0.98, None, 0.0)) and found.value == pytest.approx(-0.49)
    assert "no row has a verdict" in compute_by_model("crimson", [TextRow("mumble", ("a",))], door).reason


def test_labels_of_both_sides_become_f1_over_all_labels(door):
    """Edema is stated by both of the first row, Fracture by its report only, Edema by the second reference only; no
    answer states nothing: TP 1, FP 1, FN 1 + 1, so 2 / (2 + 1 + 2)."""
    rows = [
        TextRow("edema and fracture", ("some edema",)), TextRow("clear", ("edema",)), TextRow(" ", ("a fracture",)),
    ]  # fmt: skip
    found = compute_by_model("chexbert", rows, door)
    assert (found.value, found.items, found.num_empty) == (pytest.approx(2 / 5), None, 1)
    assert found.sums.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert "micro F1 of 14 labels" in found.signature
    assert "no label is stated" in compute_by_model("chexbert", [TextRow("a", ("b",))], door).reason


def test_a_text_without_a_sentence_moves_no_other_score(door):
    """RaTEScore drops such a text, and would give 1 score for 3 pairs. Such an answer is none, such a reference has no
    score."""
    rows = [TextRow("no", ("normal",)), TextRow("lungs clear", ("clear",)), TextRow("lungs clear", ("-",))]
    assert compute_by_model("ratescore", rows, door).items == (0.0, 0.5, None)


def test_word_weights_of_an_earlier_call_are_not_taken_for_a_later_one(door):
    """RadCliQ keeps them under the address of the list of references, so the list must outlive the call; the stand-in
    sees to that."""
    for count in (2, 1, 3):
        columns, _ = door.ask("radcliq", ["a"] * count, ["a"] * count)
        assert columns["radcliq_v1"] == pytest.approx([-1 + 0.01 * count] * count)


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

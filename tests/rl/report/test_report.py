"""The report: one file that needs nothing else, says what the folder holds, and shows model text as text."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import math
import re

import pytest

from rl.config import Config
from rl.report.__main__ import main
from rl.report.charts import Series, area_chart, line_chart, smooth, ticks
from rl.report.groups import choose_groups
from rl.report.page import write_report
from rl.run.folder import RunFolder
from rl.run.metrics import step_metrics
from rl.run.tracking import Tracker
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page; raises when tags do not nest."""

    VOID = ("meta", "img", "link", "br", "line", "circle", "polyline", "polygon")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def measured(accuracy: float) -> dict[str, float | int]:
    return {
        "accuracy": accuracy, "low": accuracy - 0.04, "high": accuracy + 0.04, "num_items": 640, "num_unscored": 0,
        "format_rate": 0.98, "mean_length": 30.0,
    }  # fmt: skip


def summary() -> dict[str, object]:
    row = {
        "sft": measured(0.5),
        "grpo": measured(0.75),
        "difference": 0.25,
        "p_value": 1e-5,
        "intervals_overlap": False,
    }
    way = {"all": row, "answer_type/mcq": row, "modality/ct": {**row, "difference": -0.125, "p_value": 0.25}}
    comparison = {"num_items": 640, "greedy": way, "sampled": way, "blank": way, "worse": ["greedy/modality/ct"]}
    return {
        "comparison": comparison,
        "majority_baseline": {"all": {"accuracy": 0.31}},
        "seconds": 65.0,
        "judge": "rules",
    }


@pytest.fixture
def run_dir(tmp_path):
    """A whole run of six steps."""
    with RunFolder(Config(out_dir=str(tmp_path / "night run"))) as folder, Tracker(folder.path, "off") as tracker:
        writer = RunWriter(folder.path)
        for step, groups in enumerate(fake_rollouts.steps(6, failures=0.1), start=1):
            for group in groups:
                writer.append_group(group)
            writer.finish_step(step)
            updates = [{"loss": 0.1, "kl": 0.01 * step, "entropy": 1.2, "grad_norm": 0.5}]
            tracker.log(
                step,
                step_metrics(
                    [one for group in groups for one in group], updates, {"gen": 1.5, "update_actor": 1.0, "step": 3.0}
                ),
            )
        folder.write_summary(summary())
    return folder.path


def test_one_file_without_script_or_network(run_dir):
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    page = Page(path.read_text())
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not [
        attributes
        for _, attributes in page.tags
        if "href" in attributes or any(name.startswith("on") for name in attributes)
    ]
    assert "default-src 'none'" in path.read_text()


def test_it_holds_curves_comparison_and_eight_groups(run_dir):
    page = Page(write_report(run_dir).read_text())
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    titles = [
        "Reward",
        "Accuracy",
        "KL to the SFT model",
        "Length",
        "Entropy",
        "Format",
        "Gradient norm",
        "Engine against policy",
        "Groups",
    ]
    assert len(charts) == len(titles)
    assert all(title in page.words for title in titles)
    assert len([tag for tag, _ in page.tags if tag == "article"]) == 8
    cards = [
        attributes
        for tag, attributes in page.tags
        if tag == "div" and "card" in (attributes.get("class") or "").split()
    ]
    assert len(cards) == 64
    for expected in (
        "75.0 +25.0 <0.001",
        "-12.5 0.250",
        "Worse by more than chance explains: greedy/modality/ct",
        "1 min 05 s",
        "greedy, image blanked",
    ):
        assert expected in page.words
    assert "night run" in page.words


def test_the_quick_evaluation_is_a_curve_that_begins_with_the_sft_model(run_dir):
    before = Page(write_report(run_dir).read_text())
    assert "Held-out accuracy" not in before.words and "in 6 steps" in before.words
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    lines[2] |= {"eval/accuracy": 0.5, "timing_s/eval": 6.0}
    lines[5] |= {"eval/accuracy": 0.625, "timing_s/eval": 6.0}
    lines.insert(0, {"step": 0, "eval/accuracy": 0.375})
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Page(write_report(run_dir).read_text())
    assert "Held-out accuracy" in page.words and "in 6 steps" in page.words
    # Three points, the first at step 0; 12 seconds over 6 steps are 2 on top of the 3 of a step.
    assert "step 0: held-out 38%" in page.words and "step 6: held-out 62%" in page.words
    assert "5.00 s a step" in page.words and "eval 2.00 s 40 %" in page.words


def test_model_text_is_shown_and_never_interpreted(tmp_path):
    text = "</div><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} \x1b[31m \u202e &amp; \x00"
    one = fake_rollouts.rollout(fake_rollouts.sample(2))
    parsed = dataclasses.replace(one.parsed, think=text, answer=text)
    outcome = dataclasses.replace(one.outcomes["accuracy"], reason=text, evidence={"reply": text, text: 1})
    asked = dataclasses.replace(one.sample, question=text, gold_text=text, aliases=(text,), modality=text)
    one = dataclasses.replace(
        one,
        sample=asked,
        prompt_id=text,
        parsed=parsed,
        outcomes={"accuracy": outcome, text: outcome},
        weights={"accuracy": 1.0, text: 0.0},
    )
    writer = RunWriter(tmp_path)
    writer.append_group([one])
    page = Page(write_report(tmp_path).read_text())
    assert {tag for tag, _ in page.tags} & {"script"} == set()
    assert all(attributes["src"].startswith("data:") for tag, attributes in page.tags if tag == "img")
    shown = "".join(page.text)
    assert shown.count("<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} ␛[31m <U+202E> &amp; ␀") >= 5
    assert not set(shown) & set("\x1b\x00\u202e")


def test_a_running_or_empty_run_gets_a_report_too(tmp_path):
    page = Page(write_report(tmp_path).read_text())
    assert "not finished" in page.words
    assert "is not a run" in page.words
    writer = RunWriter(tmp_path)
    writer.append_group(fake_rollouts.group(1))
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps({"step": 1, "reward": None}) + "\n" + json.dumps({"step": 2, "reward": 0.5}) + '\n{"ste'
    )
    page = Page(write_report(tmp_path).read_text())
    assert len([tag for tag, _ in page.tags if tag == "article"]) == 1
    assert len([tag for tag, _ in page.tags if tag == "svg"]) == 1


def test_a_damaged_step_and_a_missing_image_are_named_and_the_rest_is_shown(run_dir):
    (run_dir / "rollouts/step_000006/rollouts.parquet").write_bytes(b"rubbish")
    for path in (run_dir / "media").iterdir():
        path.unlink()
    page = Page(write_report(run_dir).read_text())
    assert "Step 6 is not shown" in page.words
    assert "image missing" in page.words
    assert len([tag for tag, _ in page.tags if tag == "article"]) == 8


@pytest.mark.full_run_only(reason="the command asks for all of its extra, of which the fast lane hides a part")
def test_the_command_writes_it_and_refuses_a_folder_that_is_no_run(run_dir, tmp_path, capsys):
    assert main([str(run_dir)]) == 0
    assert capsys.readouterr().out == f"{run_dir / 'report.html'}\n"
    assert main([str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err


def test_groups_come_from_the_first_and_the_last_steps_and_of_every_kind(run_dir):
    groups, troubles = choose_groups(run_dir)
    assert troubles == []
    assert {group[0].step for group in groups} <= {1, 4, 5, 6}
    assert sum(group[0].step == 1 for group in groups) == 2
    assert {group[0].sample.answer_type for group in groups} == {"mcq", "yes_no", "open"}


def test_ticks_are_round_numbers_around_the_values():
    assert ticks(0.32, 0.91) == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 0.026) == [0, 0.01, 0.02, 0.03]
    assert ticks(5, 5) == [2, 4, 6, 8]


def test_smoothing_is_a_centred_mean_that_shortens_at_the_ends():
    # window 3: (1 + 4) / 2, (1 + 4 + 7) / 3, (4 + 7) / 2
    assert smooth([(1, 1.0), (2, 4.0), (3, 7.0)], 3) == [(1, 2.5), (2, 4.0), (3, 5.5)]


def test_a_line_ends_where_its_last_value_is():
    drawing = line_chart([Series("reward", [(1, 0.0), (2, 1.0)], "--blue")], "{:.1f}".format, bounds=(0.0, 1.0))
    # x: 48 to 340 - 10; y: 0 at 190 - 22, 1 at 10
    assert 'points="48.0,168.0 330.0,10.0" class="line"' in drawing
    assert "step 2: reward 1.0" in drawing


@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0.0), (2, 0.0)], [(1, 1.0), (2, 1.0)], [(3, -1e-9), (4, 1e12)]])
def test_flat_single_and_extreme_series_are_drawn_with_finite_numbers(points):
    for drawing in (line_chart([Series("x", points, "--blue")], str), area_chart([Series("x", points, "--blue")], str)):
        assert "nan" not in drawing
        assert "inf" not in drawing
    assert all(math.isfinite(tick) for tick in ticks(points[0][1], points[-1][1]))

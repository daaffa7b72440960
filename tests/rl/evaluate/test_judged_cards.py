"""Cards that a judge grades, over real HTTP: points of criteria as HealthBench counts them, open answers, a judge that
dies in the middle and is asked again, and rows that may not leave the machine."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from judges import make_judge
from judges.settings import JudgeConfig
from rl.benchmarks.loading import BenchmarkError
from rl.config import Config, EvalConfig, RewardConfig
from rl.evaluate.suite.judging import num_failed
from rl.evaluate.suite.preparing import prepare
from rl.evaluate.suite.run import Suite
from rl.evaluate.suite.table import print_summary
from rl.run.progress import Display
from rollouts.prompt.processing import ImageSettings, load_processor
from rollouts.store.reader import read_rollouts
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, data_of, verdict_json
from tests.paths import REPOSITORY
from tests.rl.evaluate.test_suite import Scripted

ROUTES = {"mcq": "option_match", "yes_no": "yes_no", "open": "judge"}
# The examples of the oracles (points, met), and a third: 1.0, -1/12 and 5/12.
GRADED = {
    "a": ((5, 7, 6, 4, -8, -2), (1, 1, 1, 1, 0, 0), "hedging"),
    "b": ((5, 7, -8), (0, 1, 1), "context"),
    "c": ((5, 7, -8), (1, 0, 0), "hedging"),
}


def healthbench(folder: Path, names: Sequence[str] = tuple(GRADED)) -> None:
    """Rows in the form of HealthBench; a criterion says whether it is met."""
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "prompt_id": name,
            "prompt": [{"role": "user", "content": f"What about {name}?"}],
            "rubrics": [
                {"criterion": f"says {name}{place}, met {met}", "points": points, "tags": ["axis:accuracy"]}
                for place, (points, met) in enumerate(zip(GRADED[name][0], GRADED[name][1], strict=True))
            ],
            "example_tags": [f"theme:{GRADED[name][2]}"],
        }
        for name in names
    ]
    (folder / "healthbench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def grader(fails: Callable[[dict[str, Any]], Reply | None] = lambda data: None) -> Callable[[dict[str, Any]], Reply]:
    """A judge that sees what each criterion says of itself, and takes "liver" for right; `fails`: what it does
    instead."""

    def script(body: dict[str, Any]) -> Reply:
        data = data_of(body)
        if (instead := fails(data)) is not None:
            return instead
        if "criteria" not in data:
            return Reply(verdict_json(data["nonce"], "correct" if data["candidate"] == "liver" else "incorrect"))
        verdicts = {
            number: {"found": "", "verdict": "met" if text.endswith("met 1") else "not_met"}
            for number, text in data["criteria"].items()
        }
        return Reply(json.dumps({"nonce": data["nonce"], "criteria": verdicts}))

    return script


def config_of(folder: Path, server: ScriptedJudge, cards: Sequence[str], num_samples: int = 0) -> Config:
    judge = JudgeConfig(
        kind="openai", base_url=server.url, model=MODEL, max_attempts=2, timeout_seconds=5.0, breaker_pause_seconds=0.1,
        deadline_seconds=3.0,
    )  # fmt: skip
    evaluation = EvalConfig(
        benchmarks=tuple(cards), benchmark_root=str(folder), on_mismatch="tell", num_samples=num_samples, probes=()
    )
    return Config(judge=judge, eval=evaluation, reward=RewardConfig(weights={"accuracy": 1.0}, routes=ROUTES))


def measured(
    config: Config, out: Path, engine: Scripted, shown: io.StringIO | None = None, model: str = "tiny"
) -> list[dict[str, Any]]:
    """The records of the cards, asked of this engine and judged over HTTP."""
    processor = load_processor(REPOSITORY / "examples" / "tiny" / "model", ImageSettings())
    with Display(shown or io.StringIO()) as display:
        suite = Suite(prepare(config), engine, make_judge(config.judge, backoff_seconds=0.01), processor, config)
        found: list[dict[str, Any]] = suite.measure(out, model, 0, display, model=model)["benchmarks"]
    return found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def test_healthbench_is_scored_as_its_paper_says(tmp_path: Path) -> None:
    healthbench(tmp_path / "set")
    with ScriptedJudge(grader()) as server:
        config = config_of(tmp_path / "set", server, ["healthbench"], num_samples=2)
        (one,) = measured(config, tmp_path / "out", Scripted({}))
    assert len(server.requests) == 3, "one call an example: greedy and sampled answers are the same here"
    # (1 - 1/12 + 5/12) / 3; of one theme (1 + 5/12) / 2, of the other -1/12, clipped as the mean of the theme.
    assert one["clean"]["value"] == pytest.approx((1 - 1 / 12 + 5 / 12) / 3)
    assert one["official"]["value"] == one["clean"]["value"] and one["unjudged"]["num_completions"] == 0
    themes = {name: found["value"] for name, found in one["strata"]["theme"].items()}
    assert themes == {"hedging": pytest.approx(17 / 24), "context": 0.0}
    assert one["sampled"]["avg@2"]["value"] == one["sampled"]["worst@2"]["value"] == one["clean"]["value"]


def test_a_judge_that_dies_leaves_no_zero_and_is_asked_again_without_the_model(tmp_path: Path) -> None:
    """It dies after its first answer; the example whose criteria it saw keeps them, the two others have no score. Then
    it comes back, is asked about those two alone, and the model about nothing."""
    healthbench(tmp_path / "set")
    answered: list[str] = []

    def dead(data: dict[str, Any]) -> Reply | None:
        if answered and alive[0] is False:
            return Reply(cut=True)
        answered.append(data["question"])
        return None

    alive, engine = [False], Scripted({})
    with ScriptedJudge(grader(dead)) as server:
        config = config_of(tmp_path / "set", server, ["healthbench"])
        (one,) = measured(config, tmp_path / "out", engine)
        assert (one["clean"]["num_items"], one["num_unscored"]) == (1, 2)
        of = {"What about a?": 1.0, "What about b?": 0.0, "What about c?": 5 / 12}  # b alone: -1/12, clipped
        assert one["clean"]["value"] == pytest.approx(of[answered[0]])
        assert one["unjudged"]["num_completions"] == 2 and one["unjudged"]["such_as"]
        console = Console(record=True, width=200, file=io.StringIO())
        print_summary({"benchmarks": [one], "macro": None}, console)
        shown = console.export_text()
        assert "not judged" in shown and "2 completions have no verdict and are in no mean" in shown
        assert num_failed(tmp_path / "out") == 2
        assert {rollout.outcomes["accuracy"].status for rollout in read_rollouts(tmp_path / "out")} == {"ok", "error"}
        alive[0], engine.asked = True, 0
        before = len(server.requests)
        (again,) = measured(config, tmp_path / "out", engine)
    assert engine.asked == 0 and len(server.requests) - before == 2 and len(set(answered)) == len(answered) == 3
    assert (again["clean"]["num_items"], again["unjudged"]["num_completions"], num_failed(tmp_path / "out")) == (
        3,
        0,
        0,
    )
    assert again["clean"]["value"] == pytest.approx((1 - 1 / 12 + 5 / 12) / 3)


def test_open_answers_are_judged_over_several_cards(tmp_path: Path) -> None:
    """VQA-RAD and PathVQA: the first answer is right by the judge and the second wrong, the third has no verdict in the
    judge's form and is no wrong answer, the fourth is right by rule."""
    cards, answers = ("vqa_rad", "pathvqa"), ("liver", "spleen", "liver", "yes")
    asked = (("Which organ?", "hepatic organ"), ("Which is it?", "lung"), ("What organ?", "heart"), ("Is it?", "yes"))
    (tmp_path / "set" / "images").mkdir(parents=True)
    Image.new("L", (8, 8), 10).save(tmp_path / "set" / "images" / "a.png")
    rows = [{"question": question, "answer": answer, "image": "a.png"} for question, answer in asked]
    (tmp_path / "set" / "vqa_rad_test.json").write_text(json.dumps(rows))
    (tmp_path / "set" / "pathvqa_test.json").write_text(json.dumps(rows))

    def fails(data: dict[str, Any]) -> Reply | None:
        return Reply("no JSON at all") if data.get("reference") == "heart" else None

    with ScriptedJudge(grader(fails)) as server:
        config = config_of(tmp_path / "set", server, cards)
        said = {f"{name}-{place}": text for name in cards for place, text in enumerate(answers, start=1)}
        records = measured(config, tmp_path / "out", Scripted(said))
    for one in records:
        assert (one["clean"]["num_items"], one["num_unscored"]) == (3, 1)
        assert one["clean"]["value"] == pytest.approx(2 / 3)


def test_rows_that_may_not_leave_go_to_no_far_judge(tmp_path: Path) -> None:
    healthbench(tmp_path / "set")
    card = (REPOSITORY / "conf" / "benchmark" / "healthbench.yaml").read_text(encoding="utf-8")
    (tmp_path / "set" / "ward.yaml").write_text(
        card.replace("name: healthbench", "name: ward") + "may_leave_machine: false\n"
    )
    with ScriptedJudge(grader()) as server:
        config = config_of(tmp_path / "set", server, [str(tmp_path / "set" / "ward.yaml")])
        (one,) = measured(config, tmp_path / "out", Scripted({}))
        assert one["clean"]["num_items"] == 3, "a judge on this machine may see them"
        away = JudgeConfig(kind="openai", base_url="http://judge.example.org/v1", model=MODEL)
        before = len(server.requests)
        with pytest.raises(BenchmarkError, match="may not leave this machine"):
            prepare(dataclasses.replace(config, judge=away))
    assert len(server.requests) == before

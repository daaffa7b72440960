"""A model on benchmarks: asked, stored, summed up beside what blindness earns, and again from the rows alone."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from judges import RulesJudge
from judges.settings import JudgeConfig, PanelMember
from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rl.benchmarks.card import Card, Expect, Form, find
from rl.benchmarks.loading import BenchmarkError, load
from rl.compare.__main__ import main as compare_command
from rl.config import Config, EvalConfig
from rl.data.sets import UnusableData
from rl.evaluate.asking import HeldOut
from rl.evaluate.suite import asking, facts
from rl.evaluate.suite.asking import Where
from rl.evaluate.suite.comparing import NotTheSame, compare, print_comparison
from rl.evaluate.suite.curve import curve
from rl.evaluate.suite.folder import from_rows, sum_up
from rl.evaluate.suite.in_training import BenchmarksOfRun
from rl.evaluate.suite.numbers import rows, scores, summary
from rl.evaluate.suite.numbers.reports import rouge_l
from rl.evaluate.suite.preparing import cards_of, facts_of, is_local, prepare, refuse_far_judge
from rl.evaluate.suite.run import Suite
from rl.evaluate.suite.table import print_summary
from rl.probes.table import make
from rl.run.progress import Display
from rollouts.engine.requests import Request, RequestKey, SamplingSettings
from rollouts.page.index import Index
from rollouts.prompt.processing import EncodedPrompt, ImageSettings, load_processor
from rollouts.records import Completion
from rollouts.store.reader import read_rollouts
from rollouts.store.writer import RunWriter
from tests.paths import REPOSITORY

ROUTES = {"mcq": "option_match", "yes_no": "yes_no", "open": "judge", "report": "rouge_l"}
CARD = """\
name: mine
version: 1
title: Mine
source:
  files: [mine.jsonl]
  images: [images]
expect: {rows: 7}
forms:
  - columns: {id: id, question: question, answer: answer, options: options, image: image}
    optional: [options]
tags: {organ: organ}
answers: {yes_no: true}
strata: [answer_type, organ]
licence: mine
baselines: [chance, majority]
"""
ROWS = [
    {"id": 1, "question": "Which?", "options": ["x", "y"], "answer": "y", "image": "a.png", "organ": "lung"},
    {"id": 2, "question": "Is it?", "answer": "yes", "image": "a.png", "organ": "lung"},
    {"id": 3, "question": "Is it?", "answer": "no", "image": "b.png", "organ": "heart"},
    {"id": 4, "question": "What?", "answer": "muscle", "image": "b.png", "organ": "heart"},
    {"id": 5, "question": "What?", "answer": "soft tissue", "image": "b.png", "organ": "heart"},
    {"id": 6, "question": "Which?", "options": ["x", "x"], "answer": "A", "image": "b.png", "organ": "heart"},
    {"id": 7, "question": "Which?", "options": ["x", "y"], "answer": "z", "image": "b.png", "organ": "heart"},
]


class Scripted:
    """An engine that says what its script holds for an item, "B" otherwise."""

    def __init__(self, script: dict[str, str]) -> None:
        self.script = script
        self.asked, self.dies_at = 0, 10**9

    def sample_stream(
        self, batches: Iterable[Sequence[Request]], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion]]:
        for batch in batches:
            for request in list(batch)[::-1]:
                self.asked += 1
                if self.asked > self.dies_at:
                    raise RuntimeError("the engine died")
                said = self.script.get(request.prompt_id, self.script.get(request.prompt_id.partition("#")[0], "B"))
                text = f"<think>t</think>\n<answer>{said}</answer>"
                yield request.key, Completion((1, 2), text, "stop", (0.0, 0.0), request.seed, 0)

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Any]:
        return self.sample_stream([requests], settings)


def card_in(folder: Path) -> Card:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.yaml").write_text(CARD)
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "images").mkdir(exist_ok=True)
    for name, grey in (("a", 10), ("b", 20)):
        Image.new("L", (8, 8), grey).save(folder / "images" / f"{name}.png")
    return find([str(folder / "mine.yaml")])[0]


def evaluated(tmp_path: Path, script: dict[str, str], *, num_samples: int = 0, probes: Sequence[str] = ()) -> Path:
    """A folder of an evaluation of the seven rows by an engine with this script."""
    card = card_in(tmp_path / "set")
    benchmark = load(card, str(tmp_path / "set"))
    samples = benchmark.samples
    probed = make(probes, samples) if probes else []
    everything = [*samples, *(one for probe in probed for one in probe.samples)]
    items = HeldOut(tuple(everything), lambda sample, _: EncodedPrompt(sample.id, sample.question, (1,), {}), False, ())
    folder = tmp_path / "out"
    writer = RunWriter(folder)
    with Scorer(Rubric({"accuracy": 1.0}, ROUTES, RulesJudge())) as scorer:
        refused = asking.ask(
            Scripted(script), scorer, items, Config(), Where("tiny", 1, 0), writer, num_samples=num_samples
        )
    assert refused == []
    blinds, without = facts.blinds_of(benchmark, samples, lambda said, gold: 0.0)
    facts.write(folder, facts_of(benchmark, samples, blinds, without, 1))
    writer.finish_step(1)
    writer.close()
    return folder


# Rows 1 to 3 right, 4 "soft tissue" (right for its twin 5 only), 5 right, 6 by letter right.
RIGHT = {
    "mine-1": "B",
    "mine-2": "yes",
    "mine-3": "no",
    "mine-4": "soft tissue",
    "mine-5": "soft tissue",
    "mine-6": "A",
}


def test_official_counts_every_row_and_clean_only_what_is_in_no_doubt(tmp_path: Path) -> None:
    """official: 5 right of 7 rows (row 7 cannot be asked: wrong). clean: rows 4 and 5 are one item, right for one of
    its answers; row 6 has two options of one text: out. 4 of 4."""
    folder = evaluated(tmp_path, RIGHT)
    (one,) = sum_up(folder, model="tiny")["benchmarks"]
    assert (one["num_rows"], one["num_asked"], one["num_clean"]) == (7, 6, 4)
    assert one["official"]["value"] == pytest.approx(5 / 7)
    assert (one["clean"]["value"], one["clean"]["num_items"], one["clean"]["num_clusters"]) == (1.0, 4, 2)
    assert one["unusable"][0]["id"] == "7" and one["mismatches"] == ["1 rows cannot be asked, the card knows of 0"]
    assert one["strata"]["organ"]["heart"]["value"] == 1.0
    # Their rules pay the same five of the six rows that were asked.
    foreign = one["as_in"]["medevalkit"]
    assert foreign["value"] == pytest.approx(5 / 6) and foreign["num_paid_there_only"] == 0
    assert one["strata"]["answer_type"]["open"]["num_items"] == 1


def test_baselines_stand_beside_the_score_and_mark_it(tmp_path: Path) -> None:
    """chance on the four clean items: 1/2, 1/2, 1/2, 0 = 0.375. With four items in two clusters the interval of 1 of 4
    right reaches it."""
    (one,) = sum_up(evaluated(tmp_path, {"mine-1": "B", "mine-2": "no", "mine-3": "yes"}))["benchmarks"]
    assert one["baselines"]["chance"]["score"]["value"] == pytest.approx(0.375)
    assert one["clean"]["value"] == 0.25
    assert one["baselines"]["chance"]["difference"]["value"] == pytest.approx(-0.125)
    assert one["touches_blind"] is True and one["best_blind"]["value"] >= 0.375
    console = Console(record=True, width=200, file=io.StringIO())
    print_summary({"model": "tiny", "macro": None, "benchmarks": [one]}, console)
    told = console.export_text()
    assert "(blind)" in told and "does not show that anything was seen" in told and "1 rows cannot be asked" in told


def test_rows_are_a_run_that_the_page_and_the_reader_open(tmp_path: Path) -> None:
    found = list(read_rollouts(evaluated(tmp_path, RIGHT, num_samples=2), 1))
    assert len(found) == 6 * 3 and {one.run for one in found} == {"tiny"}
    assert {one.sample.tags["benchmark"] for one in found} == {"mine@1"}
    assert all(Path(one.sample.media[0].path or "").is_file() for one in found)


def test_every_number_comes_again_from_the_rows_alone(tmp_path: Path) -> None:
    folder = evaluated(tmp_path, RIGHT, num_samples=2, probes=["blank"])
    first = sum_up(folder, model="tiny", judge="rules")
    (tmp_path / "set" / "mine.jsonl").unlink()
    (folder / "summary.json").unlink()
    again = from_rows(folder)
    assert again["benchmarks"] == first["benchmarks"]
    written = json.loads((folder / "summary.json").read_text())
    assert written["benchmarks"] == json.loads(json.dumps(first["benchmarks"]))
    with pytest.raises(UnusableData, match="holds no evaluation of benchmarks"):
        from_rows(tmp_path / "set")
    with pytest.raises(UnusableData, match="there is no such folder"):
        from_rows(tmp_path / "nowhere")


def test_samples_give_pass_at_k_and_probes_a_paired_difference(tmp_path: Path) -> None:
    """Blanked, the model says "B" to everything it was not told otherwise: the script holds for probes too, but for
    item 2, which it then gets wrong: 3 of 4 kept."""
    script = {**RIGHT, "mine-2#blank": "no"}
    (one,) = sum_up(evaluated(tmp_path, script, num_samples=2, probes=["blank"]))["benchmarks"]
    assert one["sampled"]["avg@2"]["value"] == 1.0 and set(one["sampled"]) == {
        "avg@2", "pass@1", "pass@2", "pass^1", "pass^2", "maj@2"
    }  # fmt: skip
    blank = one["probes"]["blank"]
    assert blank["score"]["value"] == pytest.approx(0.75) and blank["difference"]["value"] == pytest.approx(-0.25)
    assert blank["retained"]["value"] == pytest.approx(0.75) and blank["changed"]["value"] == pytest.approx(0.25)
    assert one["best_blind"] == {"name": "blank", "value": pytest.approx(0.75)}


def answered(value: float | None, merged: str = "", name: str = "a", **more: Any) -> rows.Answered:
    said = rows.Reply(value, "x", "x", True, 1, "")
    return rows.Answered(
        id=name, pair_id="", probe="", variant="", card="m@1", cluster=name, flaw="", merged=merged, answer_type="open",
        modality="", language="en", question="Q", gold_text="x", gold_choice="x", references=("x",), options=(),
        tags={}, greedy=said, sampled=(), **more,
    )  # fmt: skip


def test_a_failed_judgement_is_no_wrong_answer() -> None:
    """One right, one without a verdict: 1 of 1, and one that is not scored."""
    score = scores.of([answered(1.0), answered(None, name="b")], scores.right)
    assert (score.value, score.num_items, score.num_unscored) == (1.0, 1, 1)
    merged = rows.clean([answered(None, "a"), answered(1.0, "a", "b")])
    assert [one.greedy.value for one in merged] == [1.0]


def outcome(*criteria: tuple[float, bool | None]) -> dict[str, Any]:
    made = [{"criterion": "c", "points": points, "met": met} for points, met in criteria]
    outcome = {
        "name": "accuracy",
        "value": 0.0,
        "status": "ok",
        "reason": "",
        "evidence": json.dumps({"criteria": made}),
    }
    return {"outcomes": [outcome], "finish_reason": "stop", "letters": [], "yes_no": None, "answer": "x",
            "well_formed": True, "token_ids": [1], "parse_reason": ""}  # fmt: skip


def test_points_of_criteria_are_clipped_only_in_the_mean() -> None:
    """HealthBench: 22 of 22 with -8 unmet = 1; -1 of 12 stays below 0; a fault that nobody judged gives no score."""
    assert rows._reply(outcome((14, True), (8, True), (-8, False))).value == 1.0
    assert rows._reply(outcome((12, False), (-1, True))).value == pytest.approx(-1 / 12)
    assert rows._reply(outcome((12, True), (-8, None))).value is None
    below = summary._clipped(scores.of([answered(-0.5), answered(-0.1, name="b")], scores.points, bounded=False))
    assert below.value == 0.0 and below.low == 0.0


def test_macro_f1_by_hand() -> None:
    """gold a a b, said a b b: F1 of a = 2/3 (1 hit, 2 gold, 1 said), of b = 2/3; an unread answer is no label."""

    def one(gold: str, said: str | None, name: str) -> rows.Answered:
        made = answered(1.0, name=name)
        return dataclasses.replace(made, gold_choice=gold, greedy=dataclasses.replace(made.greedy, choice=said))

    assert scores.macro_f1([one("a", "a", "1"), one("a", "b", "2"), one("b", "b", "3")]).value == pytest.approx(2 / 3)
    assert scores.macro_f1([one("a", "a", "1"), one("b", None, "2")]).value == pytest.approx(0.5)


def test_a_judge_that_may_not_see_the_rows_is_refused() -> None:
    (mimic,) = find(["mimic_cxr"])
    for judge in (
        JudgeConfig(kind="openai"),
        JudgeConfig(kind="openai", base_url="https://judge.example/v1"),
        JudgeConfig(kind="openai", base_url="http://127.0.0.1.example.com/v1"),
        JudgeConfig(
            kind="openai", base_url="http://localhost:1/v1", panel={"a": PanelMember(base_url="http://10.0.0.1")}
        ),
        JudgeConfig(kind="local", second_opinion="always", second_base_url="https://judge.example"),
    ):
        with pytest.raises(BenchmarkError, match="may not leave this machine"):
            refuse_far_judge(mimic, judge)
    for judge in (
        JudgeConfig(),
        JudgeConfig(kind="openai", base_url="http://127.0.0.1:8000/v1"),
        JudgeConfig(kind="local"),
    ):
        refuse_far_judge(mimic, judge)
    assert is_local("http://[::1]:8000/v1") and not is_local("http://127.evil.example") and not is_local("nonsense")
    with pytest.raises(BenchmarkError, match="graded by criteria, which judge=rules cannot read"):
        refuse_far_judge(find(["healthbench"])[0], JudgeConfig())


def config_of(folder: Path, **more: Any) -> Config:
    return Config(eval=EvalConfig(benchmarks=(str(folder / "mine.yaml"),), benchmark_root=str(folder), **more))


def test_what_cannot_be_asked_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    card_in(tmp_path)
    with pytest.raises(BenchmarkError, match="not the published set"):
        prepare(config_of(tmp_path))
    (ready,) = prepare(config_of(tmp_path, on_mismatch="tell", benchmark_items=3, probes=("blank",)))
    assert len(ready.samples) == 3 and len(ready.everything) == 6 and not ready.facts.is_published
    with pytest.raises(UnusableData, match="there is no probe named 'blnk'; did you mean 'blank'"):
        prepare(config_of(tmp_path, on_mismatch="tell", probes=("blnk",)))
    (tmp_path / "mine.jsonl").write_text(json.dumps({**ROWS[3], "image": "a.png"}) + "\n")
    with pytest.raises(UnusableData, match="probe option_shuffle needs multiple choice"):
        prepare(config_of(tmp_path, on_mismatch="tell", probes=("option_shuffle",)))
    with pytest.raises(UnusableData, match="there is no such card; did you mean 'pathvqa'"):
        cards_of(Config(eval=EvalConfig(benchmarks=("pathvqs",))))


def test_all_that_is_wrong_with_several_benchmarks_is_told_at_once_with_the_command_without_them(
    tmp_path: Path,
) -> None:
    card_in(tmp_path)
    good = CARD.replace("name: mine", "name: whole").replace("rows: 7", "rows: 7, unusable: 1")
    (tmp_path / "whole.yaml").write_text(good)
    names = tuple(str(tmp_path / f"{name}.yaml") for name in ("mine", "whole"))
    with pytest.raises(BenchmarkError) as caught:
        prepare(Config(eval=EvalConfig(benchmarks=(*names, "medqa"), benchmark_root=str(tmp_path))))
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 of 3 benchmarks cannot be asked:" and len(lines) < 20
    assert "  mine: this is not the published set:" in lines and "1 rows cannot be asked" in lines[2]
    assert any(line.startswith("  medqa: none of its files") for line in lines)
    assert lines[-1].endswith(f"or ask the others alone: benchmark=[{names[1]}].")


def test_models_in_their_order_are_a_curve(tmp_path: Path) -> None:
    """The headline of each, from the summaries that are there."""
    for name, script in (("step_1", {}), ("step_2", RIGHT)):
        sum_up(evaluated(tmp_path / name, script), model=name)
        (tmp_path / name / "out").rename(tmp_path / f"{name}_out")
    found = curve(tmp_path, ["step_1_out", "step_2_out"])
    assert [point["scores"]["mine"]["value"] for point in found["points"]] == [0.25, 1.0]
    assert json.loads((tmp_path / "curve.json").read_text())["points"][1]["model"] == "step_2"


def test_reports_get_metrics_with_signatures_beside_a_constant_report(tmp_path: Path) -> None:
    """Two reports; the first is given word for word (1.0), the second not at all (0.0). The constant report shares 3 of
    4 words with the first and 1 of 2 with the second: F1 = 2*3/(3+4) and 2*1/(3+2)."""
    (tmp_path / "set").mkdir()
    card = dataclasses.replace(
        find(["iu_xray"])[0], expect=Expect(), constant="lungs are clear", needs_media=False, training=(),
        metrics=("rouge_l", "cider_d", "bleu_4"), forms=(Form({"id": "id", "findings": "report"}),),
    )  # fmt: skip
    reports = [{"id": "a", "report": "both lungs are clear"}, {"id": "b", "report": "clear effusion"}]
    (tmp_path / "set" / "annotation.json").write_text(json.dumps({"test": reports}))
    benchmark = load(card, str(tmp_path / "set"))
    folder, samples = tmp_path / "out", benchmark.samples
    items = HeldOut(tuple(samples), lambda sample, _: EncodedPrompt(sample.id, sample.question, (1,), {}), False, ())
    writer = RunWriter(folder)
    script = {"iu_xray-a": "both lungs are clear", "iu_xray-b": "nothing"}
    with Scorer(Rubric({"accuracy": 1.0}, ROUTES, RulesJudge())) as scorer:
        asking.ask(Scripted(script), scorer, items, Config(), Where("tiny", 1, 0), writer, num_samples=0)
    blinds, without = facts.blinds_of(benchmark, samples, rouge_l)
    facts.write(folder, facts_of(benchmark, samples, blinds, without, 1))
    writer.finish_step(1)
    (one,) = sum_up(folder)["benchmarks"]
    found = one["reports"]
    assert one["clean"] is None and found["score"]["value"] == 0.5
    assert found["baselines"]["constant"]["score"]["value"] == pytest.approx((6 / 7 + 2 / 5) / 2)
    assert found["best_blind"]["name"] == "constant" and found["touches_blind"] is True
    assert found["metrics"]["rouge_l"]["signature"].startswith("rouge_l|") and found["metrics"]["cider_d"]["value"] > 0
    assert one["not_computed"] == {"nearest": "no training reports are here"}


def test_any_number_of_evaluations_is_compared_item_by_item(tmp_path: Path) -> None:
    """Base 1 of 4 right, the second 4 of 4: +75 points on the clean items; the third is the base again: a tie."""
    folders = [evaluated(tmp_path / name, script) for name, script in (("a", {}), ("b", RIGHT), ("c", {}))]
    for name, folder in zip("abc", folders, strict=True):
        sum_up(folder, model=name, judge="rules")
    found = compare(folders)
    better, same = (other["benchmarks"]["mine"] for other in found["others"])
    assert better["difference"]["value"] == pytest.approx(0.75) and better["difference"]["verdict"] == "win"
    assert (same["difference"]["value"], same["difference"]["verdict"]) == (0.0, "tie")
    assert better["strata"]["organ/heart"]["difference"]["num_items"] == 2
    console = Console(record=True, width=200, file=io.StringIO())
    print_comparison(found, console)
    assert "+75.0" in console.export_text()
    assert compare_command([*map(str, folders), "--out", str(tmp_path / "all.json")]) == 0
    assert json.loads((tmp_path / "all.json").read_text())["base"] == folders[0].name
    summary = json.loads((folders[1] / "summary.json").read_text())
    (folders[1] / "summary.json").write_text(json.dumps({**summary, "parser": "another"}))
    with pytest.raises(NotTheSame, match="read by the rules another"):
        compare(folders)
    (folders[1] / "summary.json").write_text(json.dumps({**summary, "judge": "gpt"}))
    with pytest.raises(NotTheSame, match="another judge, gpt, not rules"):
        compare(folders)
    with pytest.raises(NotTheSame, match="holds no evaluation on benchmarks"):
        compare([folders[0], tmp_path])


def test_the_page_of_rollouts_shows_an_evaluation(tmp_path: Path) -> None:
    """Its index reads every row and has no problem with any."""
    folder = evaluated(tmp_path, RIGHT, num_samples=2, probes=["blank"])
    index = Index([folder])
    try:
        assert index.refresh() and index.problems == {}
        # Six items with three completions each, and six greyed ones with one.
        assert index.ask("SELECT count(*) FROM rows") == [(6 * 3 + 6,)]
    finally:
        index.close()


def test_a_killed_evaluation_goes_on_with_the_benchmark_that_was_not_done(tmp_path: Path) -> None:
    """Through the processor of the embedded model. The engine dies in the second benchmark; asked again, the first one
    is not asked a second time."""
    (tmp_path / "set").mkdir()
    card_in(tmp_path / "set")
    other = (tmp_path / "set" / "mine.yaml").read_text().replace("name: mine", "name: other")
    (tmp_path / "set" / "other.yaml").write_text(other)
    settings = EvalConfig(
        benchmarks=tuple(str(tmp_path / "set" / f"{name}.yaml") for name in ("mine", "other")),
        benchmark_root=str(tmp_path / "set"), on_mismatch="tell", num_samples=1, probes=("blank",),
    )  # fmt: skip
    config = Config(eval=settings)
    processor = load_processor(REPOSITORY / "examples" / "tiny" / "model", ImageSettings())
    engine = Scripted(RIGHT)
    prepared = prepare(config)
    with Display(io.StringIO()) as display:
        suite = Suite(prepared, engine, RulesJudge(), processor, config)
        engine.dies_at = 20
        with pytest.raises(RuntimeError, match="died"):
            suite.measure(tmp_path / "out", "tiny", 0, display, model="tiny")
        engine.dies_at, engine.asked = 10**9, 0
        found = suite.measure(tmp_path / "out", "tiny", 0, display, model="tiny")
    # Six items with a greedy and a sampled completion, and their greyed twins, of one benchmark.
    assert engine.asked == 6 * 2 + 6
    assert [one["name"] for one in found["benchmarks"]] == ["mine", "other"]
    assert found["macro"]["num_items"] == 8 and found["judge"] == RulesJudge().describe()
    assert not prepared[0].facts.is_published
    assert found["benchmarks"][0]["clean"] == {**found["benchmarks"][0]["clean"], "value": 1.0, "num_items": 4}


def test_a_training_run_measures_before_between_and_after(tmp_path: Path) -> None:
    """SFT with probes, step 20 greedily, GRPO with probes; then a curve in this order, and a metric for each."""
    card_in(tmp_path / "set")
    settings = EvalConfig(
        benchmarks=(str(tmp_path / "set" / "mine.yaml"),), benchmark_root=str(tmp_path / "set"), on_mismatch="tell",
        num_samples=1, probes=("blank",),
    )  # fmt: skip
    config = Config(eval=settings)
    processor = load_processor(REPOSITORY / "examples" / "tiny" / "model", ImageSettings())
    engine = Scripted({})
    with Display(io.StringIO()) as display:
        suite = Suite(prepare(config), engine, RulesJudge(), processor, config)
        of_run = BenchmarksOfRun(suite, tmp_path / "run", display)
        assert of_run.whole("SFT", 0, "sft") == {"benchmark/mine": 0.25}
        engine.asked, engine.script = 0, RIGHT
        assert of_run.step(20) == {"benchmark/mine": 1.0}
        assert engine.asked == 6  # one greedy completion an item, no probes
        of_run.whole("GRPO", 40, "grpo")
        of_run.finish()
    points = json.loads((tmp_path / "run" / "evaluations" / "curve.json").read_text())["points"]
    assert [point["label"] for point in points] == ["SFT", "step_000020", "GRPO"]
    assert [point["scores"]["mine"]["value"] for point in points] == [0.25, 1.0, 1.0]

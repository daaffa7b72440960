"""Gains over the SFT model, controls and other runs: numbers by hand, and folders that cannot be compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from rl import recipe
from rl.compare.__main__ import main
from rl.compare.folders import CONTROLS, NotComparable, check_comparable, open_folders
from rl.compare.gains import GAINS, gains, write_gains
from rl.config import Config, EvalConfig, GrpoConfig
from rl.config.controls import control_of
from rl.evaluate.asking import Answer, EvalResult
from rl.evaluate.kept import BadAnswers, digest_of, keep, read
from rl.report.page import write_report
from rl.run.folder import RunFolderError
from rl.run.progress import Display
from rollouts.records import Sample

NUM_ITEMS = 40
RUN = Config(seed=1, grpo=GrpoConfig(num_steps=4), eval=EvalConfig(num_samples=0, blank_images=False))


def items(count: int = NUM_ITEMS, word: str = "it") -> tuple[Sample, ...]:
    """Items of which each pair shares a cluster."""
    return tuple(
        Sample(
            id=f"q{number}", question=f"Is {word} there, {number}?", answer_type="yes_no", gold_text="yes",
            tags={"cluster": f"image {number // 2}"},
        )
        for number in range(count)
    )  # fmt: skip


def answered(name: str, num_right: int, asked: Sequence[Sample] = items(), unjudged: int = 0) -> EvalResult:
    """A model that is right on the first `num_right` items, and has no verdict on the last `unjudged`."""
    said = [
        (Answer(None if place >= len(asked) - unjudged else place < num_right, True, 3, f"{name} {place}"),)
        for place in range(len(asked))
    ]
    return EvalResult(name, tuple(asked), {"greedy": tuple(said)}, 1.0)


def finished(folder: Path, config: Config, sft: int, grpo: int, asked: Sequence[Sample] = items(), **summary) -> Path:
    """A run's folder as far as a comparison reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
    (folder / "summary.json").write_text(json.dumps({"sft_model": "runs/sft/abc", **summary}))
    for name, num_right in (("SFT", sft), ("GRPO", grpo)):
        keep(folder, answered(name, num_right, asked), config)
    return folder


def with_controls(folder: Path, blind: int = 22, coin: int = 20) -> Path:
    """A run that takes 20 right answers of 40 to 36, with its blind and its random control."""
    finished(folder, RUN, 20, 36)
    for name, right in (("blind", blind), ("random_reward", coin)):
        finished(folder / CONTROLS / name, control_of(RUN, name, str(folder / CONTROLS / name)), 20, right)  # type: ignore[arg-type]
    return folder


def test_gains_over_the_sft_model_and_over_each_control(tmp_path: Path) -> None:
    found = gains(open_folders([with_controls(tmp_path / "run")]))
    rows = {(row["of"], row["over"]): row for row in found["greedy"]["rows"]}
    # 36, 22 and 20 of 40 right against 20; differences in shares of 40.
    assert {pair: row["value"] for pair, row in rows.items()} == {
        ("run", "SFT"): pytest.approx(16 / 40),
        ("blind", "SFT"): pytest.approx(2 / 40),
        ("random_reward", "SFT"): 0.0,
        ("run", "blind"): pytest.approx(14 / 40),
        ("run", "random_reward"): pytest.approx(16 / 40),
    }
    assert [row["kind"] for row in rows.values()] == ["gain", "control", "control", "over control", "over control"]
    over_blind = rows["run", "blind"]
    # 7 of 20 clusters of two differ, all one way: 2 of 2^7 patterns of signs are as far out.
    assert over_blind["p_value"] == pytest.approx(2 / 2**7) and over_blind["num_clusters"] == 20
    assert over_blind["low"] > 0 and over_blind["verdict"] == "win"
    # One cluster differs between blind and SFT: both patterns are as far out.
    assert rows["blind", "SFT"]["p_value"] == 1.0 and rows["blind", "SFT"]["verdict"] == "tie"
    # Holm over five rows: 2/256 twice at first, then 2/128.
    assert rows["run", "SFT"]["p_holm"] == pytest.approx(5 * 2 / 2**8)
    assert over_blind["p_holm"] == pytest.approx(3 * 2 / 2**7) and over_blind["significant"]
    assert found["greedy"]["models"]["blind"]["value"] == pytest.approx(22 / 40)


def test_a_table_names_every_gain_and_numbers_are_written_on_wish(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = with_controls(tmp_path / "run")
    assert main([str(run), "--out", str(tmp_path / "gains.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "run over SFT" in shown and "run over blind" in shown and "+35.0" in shown
    assert "blind over SFT (what the control gains)" in shown
    assert json.loads((tmp_path / "gains.json").read_text()) == gains(open_folders([run]))


def test_two_runs_are_compared_without_controls(tmp_path: Path) -> None:
    first = finished(tmp_path / "a", RUN, 20, 30)
    second = finished(tmp_path / "b", dataclasses.replace(RUN, grpo=GrpoConfig(num_steps=8)), 20, 25)
    found = gains(open_folders([first, second]))
    assert [(row["of"], row["over"], row["kind"]) for row in found["greedy"]["rows"]] == [
        ("a", "SFT", "gain"),
        ("b", "SFT", "control"),
        ("a", "b", "over run"),
    ]
    assert found["greedy"]["rows"][2]["value"] == pytest.approx(5 / 40)


def test_an_item_without_a_verdict_is_in_no_difference(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", RUN, 20, 30)
    keep(run, answered("GRPO", 30, unjudged=4), RUN)
    (row,) = gains(open_folders([run]))["greedy"]["rows"]
    # Of 36 items 20 were right before and 30 after.
    assert row["value"] == pytest.approx(10 / 36) and row["num_unscored"] == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"asked": items(39)}, "has no answer to q39"),
        ({"asked": items(41)}, "answered beside them q40"),
        ({"asked": items(word="she")}, "was asked otherwise (question, gold or image) q0, q1, q2 and 37 more"),
        ({"config": dataclasses.replace(RUN, seed=2)}, "seed is 2, of run 1"),
        ({"config": dataclasses.replace(RUN, grpo=GrpoConfig(temperature=0.5))}, "grpo.temperature is 0.5"),
    ],
)
def test_folders_of_other_items_seeds_or_sampling_are_refused(
    change: dict, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path / "run", RUN, 20, 30)
    other = finished(tmp_path / "other", change.get("config", RUN), 20, 30, change.get("asked", items()))
    assert main([str(run), str(other)]) == 2
    shown = capsys.readouterr().err
    assert said in shown and "Traceback" not in shown and len(shown.splitlines()) < 12


def test_another_reader_of_answers_is_refused(tmp_path: Path) -> None:
    run, other = finished(tmp_path / "run", RUN, 20, 30), finished(tmp_path / "other", RUN, 20, 30)
    path = other / "evaluation" / "GRPO.jsonl"
    head, *rest = path.read_text().splitlines()
    signature = json.loads(head)["signature"]
    path.write_text("\n".join([head.replace(signature["reader"], "0123456789ab"), *rest]) + "\n")
    with pytest.raises(NotComparable, match=r"the reader of answers .* is 0123456789ab, of run"):
        check_comparable(open_folders([run, other]))


def test_a_control_of_another_run_is_refused(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", RUN, 20, 30)
    longer = dataclasses.replace(RUN, grpo=GrpoConfig(num_steps=9))
    other = finished(tmp_path / "blind", control_of(longer, "blind", "x"), 20, 30, sft_model="runs/sft/def")
    with pytest.raises(NotComparable) as refused:
        check_comparable(open_folders([run, other]))
    assert "no control of run: grpo.num_steps is 9 there, here 4" in str(refused.value)
    assert "it starts from another SFT model: runs/sft/def, here runs/sft/abc" in str(refused.value)
    assert "reward" not in str(refused.value)


def test_what_is_no_finished_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere"), str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("is no run: it has no config.yaml") == 2
    going_on = finished(tmp_path / "run", RUN, 20, 30)
    (going_on / "evaluation" / "GRPO.jsonl").unlink()
    assert main([str(going_on)]) == 2
    assert "keeps no answers of GRPO" in capsys.readouterr().err
    (going_on / "evaluation" / "GRPO.jsonl").write_text('{"schema": 99, "signature": {}}\n')
    assert main([str(going_on)]) == 2
    assert "schema 99, this version reads 1" in capsys.readouterr().err


def test_kept_answers_come_back_as_they_were(tmp_path: Path) -> None:
    result = answered("SFT", 3, unjudged=1)
    kept = read(keep(tmp_path, result, RUN))
    assert [item.answers["greedy"] for item in kept.items] == list(result.answers["greedy"])
    assert [item.cluster for item in kept.items] == result.clusters
    assert [item.digest for item in kept.items] == [digest_of(sample) for sample in result.samples]
    assert [item.mean("greedy") for item in kept.items] == result.item_means("greedy")
    path = keep(tmp_path, result, RUN)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace("true", '"yes"')]) + "\n")
    with pytest.raises(BadAnswers, match="line 3: correct is 'yes', expected true, false or null"):
        read(path)


def test_the_report_of_a_run_with_controls_has_a_section_of_them(tmp_path: Path) -> None:
    run = with_controls(tmp_path / "run")
    write_gains(run)
    page = write_report(run).read_text()
    assert "Gain over the controls" in page and "run over blind" in page
    assert "this control takes away the training images" in page
    (run / GAINS).unlink()
    assert "Gain over the controls" not in write_report(run).read_text()


class Recipe:
    """Stands in for the training of a run: leaves what a run leaves, and keeps which runs were made."""

    def __init__(self, stops_at: str = "") -> None:
        self.stops_at = stops_at
        self.made: list[tuple[str, bool, bool]] = []

    def __call__(self, config: Config, display: Display, start: recipe.Start | None) -> recipe.Done:
        answers = start.answers if start else None
        assert start is None or start.model == Path("runs/sft/abc")
        self.made.append((config.control, config.resume, answers is not None))
        Path(config.out_dir).mkdir(parents=True, exist_ok=True)
        (Path(config.out_dir) / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
        if config.control == self.stops_at:
            raise KeyboardInterrupt
        finished(Path(config.out_dir), config, 20, 36 if config.control == "none" else 21)
        start = recipe.Start(Path("runs/sft/abc"), answers or answered("SFT", 20))
        return recipe.Done({"sft_model": "runs/sft/abc"}, start)


def test_controls_follow_the_recipe_and_a_stopped_one_goes_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(RUN, out_dir=str(tmp_path / "run"), controls=("blind", "random_reward"))
    first = Recipe(stops_at="random_reward")
    monkeypatch.setattr(recipe, "_run", first)
    with pytest.raises(KeyboardInterrupt), Display() as display:
        recipe.run_recipe(config, display)
    # Each control is a new run, which is told the answers of the SFT model that all of them start from.
    assert first.made == [("none", False, False), ("blind", False, True), ("random_reward", False, True)]
    again = Recipe()
    monkeypatch.setattr(recipe, "_run", again)
    with Display() as display:
        recipe.run_recipe(dataclasses.replace(config, resume=True), display)
    assert again.made == [("random_reward", True, False)]
    assert [one["control"] for one in json.loads((tmp_path / "run" / GAINS).read_text())["folders"]] == [
        "none",
        "blind",
        "random_reward",
    ]
    assert "run over random_reward" in " ".join(capsys.readouterr().out.split())


def test_controls_are_added_to_a_run_that_is_done_and_only_to_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(RUN, out_dir=str(tmp_path / "run"))
    finished(tmp_path / "run", config, 20, 36)
    made = Recipe()
    monkeypatch.setattr(recipe, "_run", made)
    more = dataclasses.replace(config, controls=("blind",), resume=True)
    with Display() as display:
        recipe.run_recipe(more, display)
        assert made.made == [("blind", False, False)]
        with pytest.raises(RunFolderError, match="seed: was 1, now 2"):
            recipe.run_recipe(dataclasses.replace(more, seed=2), display)


def test_a_folder_is_not_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path / "run", RUN, 20, 30)
    (tmp_path / "evaluation" / "benchmarks").mkdir(parents=True)
    for folder in (run, tmp_path / "evaluation"):
        assert main([str(folder), str(folder / ".." / folder.name)]) == 2
        assert f"{folder.name} is given twice" in capsys.readouterr().err

"""Two runs compared completion by completion, against counts made by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from rollouts.diff import main, sign_test
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts


def write(folder: Path, rights: dict[int, str], *, step: int = 1, run: str = "fake", status: str = "ok") -> None:
    """A run of one step: prompt number -> one letter a completion, r right, w wrong, x without a verdict."""
    writer = RunWriter(folder)
    for number, letters in rights.items():
        asked = fake_rollouts.sample(number)
        writer.append_group(
            [
                fake_rollouts.rollout(
                    asked,
                    step=step,
                    index=index,
                    right=letter == "r",
                    run=run,
                    status="error" if letter == "x" else status,
                )
                for index, letter in enumerate(letters)
            ]
        )
    writer.finish_step(step)


def report_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_counts_means_and_tests_are_those_made_by_hand(tmp_path, capsys):
    write(tmp_path / "a", {0: "rrww", 1: "wwww", 2: "rwxw", 3: "rrrr"})
    write(tmp_path / "b", {0: "rrrr", 1: "wwrw", 2: "rrrw", 5: "rrrr"}, step=7)
    report = report_of(capsys, tmp_path / "a", tmp_path / "b", "--json")
    assert (report["num_common"], report["num_only"]) == (12, [4, 4])
    paired = report["paired"]
    # Prompt 0: rr / ww->rr; prompt 1: one w->r; prompt 2: r, w->r, x, w. Completion 2 of prompt 2 has no verdict in A.
    assert (paired["num_judged"], paired["both_right"], paired["both_wrong"]) == (11, 3, 4)
    assert (paired["only_a_right"], paired["only_b_right"]) == (0, 4)
    # 2 x (1/2)^4 = 0.125, and over three prompts that are all better in B 2 x (1/2)^3 = 0.25.
    assert paired["mcnemar_p"] == pytest.approx(0.125)
    assert (paired["prompts_better_in_a"], paired["prompts_better_in_b"], paired["sign_test_p"]) == (
        0,
        3,
        pytest.approx(0.25),
    )
    accuracy = report["rewards"]["accuracy"]
    assert (accuracy["num_both"], accuracy["mean_before"], accuracy["mean_after"]) == (
        11,
        pytest.approx(3 / 11),
        pytest.approx(7 / 11),
    )
    # Prompt 0 goes from mean 0.55 to 1.0, prompt 1 from 0.1 to 0.325, prompt 2 from (1 + 0.1 + 0.1) / 3 = 0.4 to 0.775.
    assert [(row["prompt_id"], row["steps"], round(row["difference"], 6)) for row in report["groups"]] == [
        ("item-0000", [1, 7], 0.45), ("item-0002", [1, 7], 0.375), ("item-0001", [1, 7], 0.225)]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "p"),
    # 2 x (1 + 6) / 64; 2 x (1 + 10) / 1024; nothing; equal counts are never surprising.
    [(1, 5, 14 / 64), (1, 9, 22 / 1024), (0, 0, 1.0), (4, 4, 1.0)],
)
def test_the_exact_test_on_discordant_pairs(first, second, p):
    assert sign_test(first, second) == pytest.approx(p)
    assert sign_test(second, first) == pytest.approx(p)


def test_a_prompt_that_comes_twice_meets_its_first_and_its_second_time(tmp_path, capsys):
    for name, later in (("a", "wwww"), ("b", "rrrr")):
        write(tmp_path / name, {0: "rrww"})
        write(tmp_path / name, {0: later}, step=9)
    report = report_of(capsys, tmp_path / "a", tmp_path / "b", "--json")
    assert (report["num_common"], report["num_only"]) == (8, [0, 0])
    assert (report["paired"]["both_right"], report["paired"]["both_wrong"], report["paired"]["only_b_right"]) == (
        2,
        2,
        4,
    )


def test_the_table_shows_the_numbers_and_hostile_texts_as_text(tmp_path, capsys):
    write(tmp_path / "a", {0: "rrww"})
    writer = RunWriter(tmp_path / "b")
    asked = dataclasses.replace(fake_rollouts.sample(0))
    writer.append_group([fake_rollouts.rollout(asked, index=index) for index in range(4)])
    writer.append_group([fake_rollouts.rollout(dataclasses.replace(asked, id="x\x1b[31m"), index=0)])
    writer.finish_step(1)
    assert main([str(tmp_path / "b"), str(tmp_path / "b")]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "2 right in both, 0 wrong in both, 0 right only in A" in " ".join(capsys.readouterr().out.split())


def test_bad_input_is_told_and_a_damaged_step_left_out(tmp_path, capsys):
    write(tmp_path / "a", {0: "rr"})
    write(tmp_path / "a", {1: "rr"}, step=2)
    write(tmp_path / "b", {4: "rr"})
    assert main([str(tmp_path / "a"), str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "have no prompt in common" in capsys.readouterr().err
    assert main([str(tmp_path / "a"), str(tmp_path / "a"), "--reward", "acuracy"]) == 2
    assert "there are accuracy, format" in capsys.readouterr().err
    (tmp_path / "a/rollouts/step_000002/rollouts.parquet").write_bytes(b"PAR1")
    assert main([str(tmp_path / "a"), str(tmp_path / "a"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["num_common"] == 2
    assert "left out" in said.err

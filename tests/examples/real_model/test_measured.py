"""What the bench and the table of blind baselines make of numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.real_model import blind, measure
from examples.real_model.blind import Column, decision, macro_f1, rows
from rl.config.door import compose
from rl.evaluate.asking import Answer
from rl.run.progress import Display
from rollouts.records import Sample

SAMPLE = Sample(
    id="q",
    question="Does it help?",
    answer_type="mcq",
    gold_text="no",
    options=("yes", "no", "maybe"),
    gold_letters=("B",),
)


def test_units_for_bfloat16_are_read_off_the_flags() -> None:
    text = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx512_bf16 amx_tile amx_bf16\n\n"
    assert measure.cpu(text) == "Some CPU, bfloat16 in hardware: avx512_bf16, amx_bf16"
    assert measure.cpu("model name : Old CPU\nflags : fpu avx2\n") == "Old CPU, bfloat16 in hardware: no"


def test_the_first_step_does_not_count_and_medians_do() -> None:
    steps = [{"timing_s/gen": value, "timing_s/ref": None} for value in (90.0, 2.0, 4.0, 3.0)]
    assert measure.medians(steps) == {"timing_s/gen": 3.0}
    with pytest.raises(ValueError, match="take more --steps"):
        measure.medians(steps[:1])


def test_the_table_shows_seconds_their_ratio_and_the_gap(capsys: pytest.CaptureFixture[str]) -> None:
    gap = "rollout_corr/logprob_abs_diff_mean"
    measure.show({"float32": {"timing_s/gen": 8.0, gap: 3e-7}, "bfloat16": {"timing_s/gen": 4.4, gap: 2e-3}})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["sampling", "8.00", "4.40", "0.55"] in lines  # 4.4 / 8
    assert ["log-prob", "gap,", "mean", "3.0e-07", "2.0e-03"] in lines


@pytest.mark.parametrize("dtype", measure.DTYPES)
@pytest.mark.parametrize("from_sft", [True, False])
def test_the_settings_of_both_runs_are_taken_by_the_door(dtype: str, from_sft: bool, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text("")
    own = measure.settings(dtype, 3, tmp_path / "run", tmp_path if from_sft else None)
    config = compose([*own, f"model.path={tmp_path}", f"data.root={tmp_path / 'rows.jsonl'}"])
    assert (config.model.dtype, config.grpo.num_steps, config.wandb) == (dtype, 3, "off")
    assert config.sft.checkpoint == (str(tmp_path) if from_sft else None)


def test_one_step_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        measure.main(["--steps", "1"])
    assert "expected more than 1" in capsys.readouterr().err


def test_macro_f1_by_hand() -> None:
    gold = ("yes", "yes", "no", "maybe")
    # yes: 2 x 1 / (2 given + 2 wanted) = 0.5; no: 2 x 1 / (1 + 1) = 1; maybe: 0 of 0 given, 1 wanted = 0
    assert macro_f1(gold, ("yes", "none", "no", "yes")) == pytest.approx(0.5)
    # always yes: 2 x 2 / (4 + 2) = 2/3, the others 0
    assert macro_f1(gold, ("yes",) * 4) == pytest.approx(2 / 9)


@pytest.mark.parametrize(
    ("text", "correct", "said"),
    [
        ("<think>It fell.</think>\n<answer>B. no</answer>", True, "no"),
        ("<think>It rose.</think>\n<answer>A</answer>", False, "yes"),
        ("<think>It rose.</think>\n<answer>perhaps so</answer>", False, "none"),
        ("<think>It fell.</think>\n<answer>B. no", False, "none"),  # cut off: the reward did not pay it
    ],
)
def test_a_decision_is_read_as_the_reward_reads_it(text: str, correct: bool, said: str) -> None:
    assert decision(SAMPLE, Answer(correct, True, 9, text)) == said


def test_the_rows_of_the_table() -> None:
    gold = ("yes",) * 6 + ("no",) * 4
    right = Column("GRPO, abstract", gold, 0.9)
    always, reads = rows(gold, [Column("always yes", ("yes",) * 10), right])
    assert always[:2] == ("always yes", "60.0 (31.3-83.2)") and always[4:] == ("", "")
    # 4 discordant pairs, all on one side: mid-p = (0 + 1) / 2^4
    assert reads == ("GRPO, abstract", "100.0 (72.2-100.0)", "66.7", "6 / 4 / 0 / 0", "90.0", "0.062")


def test_a_run_that_has_not_ended_is_told(tmp_path: Path) -> None:
    with Display() as display, pytest.raises(FileNotFoundError, match="expected the folder of a finished run"):
        blind.compare(tmp_path, tmp_path, display)
    assert blind.main([str(tmp_path)]) == 2

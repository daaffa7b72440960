"""The proof of value sees one changed bit, and no clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.proof_of_value import main


def run(folder: Path, *steps: dict[str, float]) -> str:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    return str(folder)


def test_times_and_new_names_are_no_difference_and_one_bit_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run(tmp_path / "a", {"step": 1, "kl": 0.1, "timing_s/gen": 1.0}, {"step": 2, "kl": 0.3})
    b = run(
        tmp_path / "b", {"step": 1, "kl": 0.1, "timing_s/gen": 2.0, "parse/unclear_ratio": 0.0}, {"step": 2, "kl": 0.3}
    )
    assert main([a, b]) == 0
    assert "parse/unclear_ratio" in capsys.readouterr().out
    c = run(tmp_path / "c", {"step": 1, "kl": 0.1}, {"step": 2, "kl": 0.1 + 0.2})  # 0.30000000000000004
    assert main([a, c]) == 1
    assert "step 2, kl: 0.3 against 0.30000000000000004" in capsys.readouterr().out
    assert main([a, run(tmp_path / "d", {"step": 1, "kl": 0.1})]) == 1

"""What the files of conf/ name: a path that a command has to make first is told with that command."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.config.door import ConfigError, compose
from rl.config.files import how_to_make


def test_a_file_that_a_command_makes_first_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for experiment, commands in (
        ("hospital", {"examples.hospital.make"}),
        ("real_model", {"examples.real_model.data", "examples.real_model.prepare"}),
    ):
        with pytest.raises(ConfigError) as refused:
            compose([f"+experiment={experiment}"])
        faults = [fault for fault in refused.value.problems if "runs/" in fault]
        assert faults and all("; write it with `python -m " in fault for fault in faults)
        assert {fault.rpartition("python -m ")[2].rstrip("`") for fault in faults} == commands
    assert how_to_make("runs/hospital_run") == how_to_make("data.jsonl") == ""

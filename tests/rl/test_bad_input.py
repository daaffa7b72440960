"""`python -m rl.train` on input that cannot work: one screen that says what to do, exit code 2, and
nothing left half-written."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from rl import train
from tests.fakes.tiny_models import make_internvl, make_llama
from tests.paths import REPOSITORY

# Lines of an error that fits on a screen, notes of libraries included.
SCREEN = 40


class Case(NamedTuple):
    """One bad input."""

    # Makes what the input needs in an empty folder, and returns the arguments.
    arguments: Callable[[Path], list[str]]
    # What the error must say.
    says: tuple[str, ...]


def rows_with_a_broken_image(folder: Path) -> list[str]:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    rows = [{"question": f"What is it, {index}?", "answer": "liver", "image": "broken.png"} for index in range(3)]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return ["data=jsonl", f"data.root={folder / 'rows.jsonl'}"]


def folder_with_another_run(folder: Path) -> list[str]:
    (folder / "taken").mkdir()
    (folder / "taken" / "config.yaml").write_text("seed: 0\n")
    return [f"out_dir={folder / 'taken'}"]


def judge_that_does_not_answer(folder: Path) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return ["judge=openai", f"judge.base_url=http://127.0.0.1:{port}/v1", "judge.model=none", "judge.timeout_seconds=2"]


def model_of_an_unknown_family(folder: Path) -> list[str]:
    config = make_llama(folder / "model") / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "gemma9"'))
    return [f"model.path={folder / 'model'}"]


def template_that_refuses_a_question(folder: Path) -> list[str]:
    template = make_internvl(folder / "model") / "chat_template.jinja"
    template.write_text("{{ raise_exception('Only tools may speak') }}")
    return [f"model.path={folder / 'model'}"]


CASES = {
    "a model path that is not there": Case(
        lambda _: ["model.path=/no/such/model"], ("model.path", "/no/such/model", "expected a folder")
    ),
    "a folder that holds no model": Case(
        lambda folder: [f"model.path={folder}"], ("model.path", "holds no config.json")
    ),
    "a model of an unknown family": Case(
        model_of_an_unknown_family, ("model.path", "'gemma9'; known are internvl", "rollouts/prompt/families.py")
    ),
    "a text model and images": Case(
        lambda folder: [f"model.path={make_llama(folder / 'model')}"],
        ("samples hold images", "llama reads text only", "leave these rows out"),
    ),
    "a template that refuses every question": Case(
        template_that_refuses_a_question, ("chat template refuses", "Only tools may speak", "mend chat_template.jinja")
    ),
    "a data file that is not there": Case(
        lambda _: ["data=jsonl", "data.root=/no/such.jsonl"], ("data.root", "/no/such.jsonl does not exist")
    ),
    "a data folder without images": Case(
        lambda folder: ["data=vqa_rad", f"data.root={folder}"], ("data.root", "trainset.json")
    ),
    "an image that does not open": Case(rows_with_a_broken_image, ("line", "broken.png", "data.on_bad_row=skip")),
    "one completion a prompt": Case(lambda _: ["grpo.num_generations=1"], ("GRPO needs at least two completions",)),
    "a setting that does not exist": Case(
        lambda _: ["grpo.num_generation=8"], ("did you mean 'grpo.num_generations'",)
    ),
    "a judge that does not answer": Case(judge_that_does_not_answer, ("judge", "judge.base_url", "judge=rules")),
    "two runs in one folder": Case(folder_with_another_run, ("out_dir", "resume=true")),
    "a folder that cannot be made": Case(lambda _: ["out_dir=/proc/run"], ("out_dir", "/proc/run")),
    "an RL set smaller than a step": Case(
        lambda _: ["grpo.prompts_per_step=64"], ("grpo.prompts_per_step", "data.num_rl")
    ),
}
SMALL = ["data.num_sft=8", "data.num_rl=32", "data.num_eval=8"]


def files_under(folder: Path) -> list[str]:
    """Every file in a folder; the list of bad rows that lies beside broken data is no trace of a run."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "bad_rows" not in path.name
    )


def arguments_of(case: Case, folder: Path) -> list[str]:
    given = ["+experiment=med_grpo", *SMALL, *case.arguments(folder)]
    # The judge of the experiment would start its server, and knows the embedded data only.
    given += [] if any(argument.startswith("judge=") for argument in given) else ["judge=rules"]
    return (
        given if any(argument.startswith("out_dir=") for argument in given) else [*given, f"out_dir={folder / 'run'}"]
    )


def check_told(case: Case, told: str) -> None:
    assert "Traceback" not in told
    for words in case.says:
        assert words in " ".join(told.split()), told
    assert len(told.splitlines()) <= SCREEN


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told_on_one_screen_and_leaves_nothing_behind(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    arguments = arguments_of(CASES[name], tmp_path)
    before = files_under(tmp_path)
    with pytest.raises(SystemExit) as left:
        train.main(arguments)
    assert left.value.code == 2
    out, err = capfd.readouterr()
    check_told(CASES[name], out + err)
    assert files_under(tmp_path) == before
    assert not (tmp_path / "run").exists()


def test_the_command_itself_leaves_with_the_exit_code(tmp_path: Path) -> None:
    """The same through a process of its own, as people call it."""
    case = CASES["two runs in one folder"]
    command = [sys.executable, "-m", "rl.train", *arguments_of(case, tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    check_told(case, done.stdout + done.stderr)

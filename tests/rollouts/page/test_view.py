"""The terminal view: complete, readable, and deaf to what model text tries to do to the terminal."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rollouts.page.group import group_page
from rollouts.records import Rollout
from rollouts.store.writer import RunWriter
from rollouts.terminal import printable
from rollouts.view import main
from tests.fakes import fake_rollouts
from tests.fakes.view_server import serving, viewing
from tests.paths import REPOSITORY


@pytest.fixture
def run_dir(tmp_path):
    writer = RunWriter(tmp_path)
    for number, groups in enumerate(fake_rollouts.steps(2, prompts_per_step=3, size=4, failures=0.2), start=1):
        for group in groups:
            writer.append_group(group)
        writer.finish_step(number)
    return tmp_path


def hostile(text: str) -> Rollout:
    one = fake_rollouts.rollout(fake_rollouts.sample(0))
    parsed = dataclasses.replace(one.parsed, think=text, answer=text)
    return dataclasses.replace(one, completion=dataclasses.replace(one.completion, text=text), parsed=parsed)


def test_a_group_shows_question_options_gold_rewards_and_answers(run_dir, capsys):
    assert main([str(run_dir), "--text", "--step", "1", "--prompt", "item-0000"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "step 1",
        "item-0000",
        "4 completions",
        "Where is the lesion?",
        "● A. upper left",
        "○ B. upper right",
        "gold upper left",
    ):
        assert expected in out
    for expected in ("accuracy", "format", "reward", "advantage", "think", "answer", "weights version 0"):
        assert expected in out


def test_a_failed_judgement_is_shown_as_its_status_not_as_a_number(tmp_path, capsys):
    writer = RunWriter(tmp_path)
    writer.append_group([fake_rollouts.rollout(fake_rollouts.sample(2), status="timeout")])
    main([str(tmp_path), "--text"])
    out = capsys.readouterr().out
    assert "not scored" in out
    assert "timeout" in out
    assert "the judge gave no verdict" in out


def opened(text: str) -> Rollout:
    """A completion that is not well-formed, of a prompt whose template opens the thoughts."""
    one = fake_rollouts.rollout(fake_rollouts.sample(0), formed=False)
    completion = dataclasses.replace(one.completion, text=text)
    return dataclasses.replace(one, completion=completion, prompt_text="<|assistant|><think>\n")


def test_what_the_template_opened_stands_before_the_completion(tmp_path, capsys):
    writer = RunWriter(tmp_path)
    writer.append_group([opened("It is clear. No tag follows.")])
    writer.finish_step(1)
    main([str(tmp_path), "--text"])
    assert "as it came  <think>" in capsys.readouterr().out
    viewer = viewing(tmp_path)
    group = group_page(viewer.index, viewer.images, 0, 1, "item-0000")
    viewer.close()
    assert group["prefill"] == "<think>\n"
    assert [one["text"] for one in group["completions"]] == ["It is clear. No tag follows."]


def test_limit_counts_groups_and_zero_shows_all(run_dir, capsys):
    main([str(run_dir), "--text", "--limit", "2"])
    assert capsys.readouterr().out.count("completions,") == 2
    main([str(run_dir), "--text", "--limit", "0"])
    assert capsys.readouterr().out.count("completions,") == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J\x1b]0;pwned\x07", "␛[2J␛]0;pwned␇"),
        ("a\x9b31mb", "a<U+009B>31mb"),
        ("abc\rdef\b", "abc␍def␈"),
        ("\u202eevil\u2066", "<U+202E>evil<U+2066>"),
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("[red]markup[/red] :smile:", "[red]markup[/red] :smile:"),
        ("结论 A\n", "结论 A\n"),
    ],
)
def test_what_acts_on_a_terminal_is_spelled_out(tmp_path, capsys, text, expected):
    assert printable(text) == expected
    writer = RunWriter(tmp_path)
    writer.append_group([hostile(text)])
    assert main([str(tmp_path), "--text"]) == 0
    out = capsys.readouterr().out
    assert expected.strip() in out
    assert not set(out) & set("\x1b\x07\x08\r\x9b\u202e\u2066\u200b")


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), "--text"]) == 2
    shown_error = capsys.readouterr().err
    assert "is not a run" in shown_error
    assert shown_error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--export", "never.html"]])
def test_neither_page_nor_export_starts_on_a_folder_that_is_no_run(tmp_path, capsys, arguments):
    assert main([str(tmp_path / "nowhere"), *arguments]) == 2
    assert "is not a run" in capsys.readouterr().err
    assert not Path("never.html").exists()


def test_an_export_of_nothing_says_so(run_dir, tmp_path, capsys):
    assert main([str(run_dir), "--export", str(tmp_path / "x.html"), "--where", "step:77"]) == 2
    assert "no group is found by 'step:77'" in capsys.readouterr().err
    assert main([str(run_dir), "--export", str(tmp_path / "x.html"), "--where", "iss:x"]) == 2
    assert "did you mean 'is'" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_a_step_or_prompt_that_is_not_there_says_what_is(run_dir, capsys):
    assert main([str(run_dir), "--text", "--step", "9"]) == 2
    assert "it has steps 1 to 2" in capsys.readouterr().err
    assert main([str(run_dir), "--text", "--prompt", "nobody"]) == 2
    assert "no group of prompt 'nobody'" in capsys.readouterr().err


def test_a_damaged_step_is_named_and_the_rest_is_shown(run_dir, capsys):
    (run_dir / "rollouts/step_000001/rollouts.parquet").write_bytes(b"rubbish")
    assert main([str(run_dir), "--text"]) == 0
    shown_text = capsys.readouterr()
    assert "step 1 is not shown" in shown_text.err
    assert shown_text.out.count("completions,") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--text", "--export", "x.html"], "--text shows one run"),
        (["--step", "3"], "belong to --text"),
        (["--where", "is:wrong"], "use its search box"),
        (["--limit", "3"], "--limit belongs to"),
        (["--export", "x.html", "--open"], "opens nothing"),
        (["--port", "70000"], "ports go from 0"),
    ],
)
def test_a_setting_without_effect_is_an_error_that_says_so(run_dir, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        main([str(run_dir), *arguments])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_page_leaves_nothing_behind(run_dir, tmp_path, monkeypatch, number):
    (temporary := tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with serving(run_dir) as served:
        assert list(temporary.iterdir())
        served.process.send_signal(number)
        served.process.wait(timeout=20)
        assert not list(temporary.iterdir())


def test_the_command_runs_and_loads_no_torch(run_dir):
    code = (
        "import sys, rollouts.view; code = rollouts.view.main(sys.argv[1:]); "
        "assert not {'torch', 'fastapi', 'duckdb'} & set(sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, str(run_dir), "--text", "--limit", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "step 1" in done.stdout

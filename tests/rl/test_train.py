"""The main command as a whole: real SFT, Ray, vLLM and store, on a recipe of a few small steps."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from rl.run.tracking import read_metrics
from rollouts.check import check_run
from rollouts.store.writer import read_rollouts
from tests.paths import REPOSITORY

# The run that they share counts as a part of the first test.
pytestmark = pytest.mark.timeout(900)

STEPS, PROMPTS, GENERATIONS = 4, 4, 4
SMALL = (
    "+experiment=med_grpo", f"grpo.num_steps={STEPS}", f"grpo.prompts_per_step={PROMPTS}",
    f"grpo.num_generations={GENERATIONS}",
    # Engines hold a quarter of a step, so that it streams.
    "compute.max_num_seqs=4",
    "grpo.save_steps=2", "grpo.learning_rate=1e-3", "data.num_sft=64", "data.num_rl=48", "data.num_eval=24",
    "sft.batch_size=32",
    "eval.num_samples=1", "eval.every_steps=2", "eval.quick_items=8",
)  # fmt: skip


def command(folder: Path, cache: Path, *more: str) -> list[str]:
    """The main command, with the judge of the experiment."""
    return [sys.executable, "-m", "rl.train", *SMALL, f"out_dir={folder}", f"sft.cache_dir={cache}", *more]


def run(folder: Path, cache: Path, *more: str, temporary: str | None = None) -> str:
    """The command's output; fails with all of it where the exit code is not 0. `temporary`: its folder of temporary
    files."""
    done = subprocess.run(
        command(folder, cache, *more),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | ({"TMPDIR": temporary} if temporary else {}),
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def told(folder: Path) -> list[dict[str, float | None]]:
    """metrics.jsonl without wall seconds, which no two runs share, and without the judge's counters: a resumed run adds
    its evaluation again, and on a busy machine more questions are shared while they are on their way. What was judged
    is in the rewards."""
    left_out = ("timing_s/", "judge/")
    return [
        {name: value for name, value in line.items() if not name.startswith(left_out)} for line in read_metrics(folder)
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sft")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, str]:
    """A finished run and what it printed; it leaves nothing in the folder of temporary files."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    # A short name: sockets lie in it.
    with tempfile.TemporaryDirectory(prefix="rounds") as temporary:
        output = run(folder, cache, temporary=temporary)
        # torch makes an empty folder for its own compiler as soon as it is imported.
        assert [name for name in os.listdir(temporary) if not name.startswith("torchinductor_")] == []
    return folder, output


def test_a_run_leaves_everything_its_folder_promises(finished: tuple[Path, str]) -> None:
    folder, output = finished
    names = (
        "config.yaml",
        "metrics.jsonl",
        "summary.json",
        "contents.json",
        "report.html",
        "model/config.json",
        "model/chat_template.jinja",
        "wandb",
    )
    assert [name for name in names if not (folder / name).exists()] == []
    summary = json.loads((folder / "summary.json").read_text())
    for mode in ("greedy", "sampled", "blank"):
        assert summary["comparison"][mode]["all"]["grpo"]["num_items"] == 24
    assert "evaluate GRPO" in output and "report.html" in output
    assert "judge=local" in output, "the log says plainly who judged"


def test_a_run_does_not_go_on_over_a_row_that_changed_since_it_began(
    finished: tuple[Path, str], cache: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    record = json.loads((folder / "contents.json").read_text())
    name = next(iter(record["contents"]["RL prompts"]))
    record["contents"]["RL prompts"][name] = "another gold answer"
    (folder / "contents.json").write_text(json.dumps(record))
    refused = subprocess.run(
        command(folder, cache, "resume=true"), cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )
    assert refused.returncode == 2
    assert f"RL prompts: {name} changed" in refused.stderr and "allow_changes=true" in refused.stderr
    assert "workers" not in refused.stdout + refused.stderr


def test_the_judge_of_the_experiment_is_a_server_of_the_run_that_pays_and_ends_with_it(
    finished: tuple[Path, str],
) -> None:
    experiment = yaml.safe_load((REPOSITORY / "conf/experiment/med_grpo.yaml").read_text())
    assert {"override /judge": "local"} in experiment["defaults"]
    folder, _ = finished
    assert "judge=local" in json.loads((folder / "summary.json").read_text())["judge"]
    paid = [one.outcomes["accuracy"] for one in read_rollouts(folder)]
    judged = [outcome for outcome in paid if (outcome.evidence or {}).get("layer")]
    asked = [outcome for outcome in judged if outcome.evidence.get("layer") in ("judge", "cache")]
    assert judged and asked and all(outcome.status in ("ok", "abstain") for outcome in judged)
    assert all(outcome.evidence["judge"].startswith("local:tiny_judge@") for outcome in asked)
    (port,) = set(re.findall(r"'port': (\d+)", (folder / "judge_server.log").read_text()))
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [one for one in commands if f"--port {port}" in one]


def test_a_quick_subset_is_evaluated_on_the_way_and_step_0_is_the_sft_model(finished: tuple[Path, str]) -> None:
    lines = {line["step"]: line for line in read_metrics(finished[0])}
    assert [step for step, line in lines.items() if "eval/accuracy" in line] == [0, 2, 4]
    assert all(lines[step]["eval/num_items"] == 8 for step in (0, 2, 4))
    assert "timing_s/eval" in lines[2] and "timing_s/eval" not in lines[1]
    assert "held-out" in finished[1]


def test_every_completion_is_stored_once_with_its_images_and_weights_version(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    found = check_run(folder, num_steps=STEPS, prompts_per_step=PROMPTS, num_generations=GENERATIONS)
    assert found.problems == ()
    assert found.num_rollouts == STEPS * PROMPTS * GENERATIONS
    for rollout in read_rollouts(folder):
        assert rollout.completion.policy_version == rollout.step - 1
        lengths = {len(rollout.completion.token_ids), len(rollout.ref_logprobs or ())}
        assert lengths == {len(rollout.completion.logprobs)}
        assert rollout.old_logprobs is None, "grpo.old_logprobs=engine: the engine's are the old ones"


def test_engine_and_policy_speak_of_the_same_model_at_every_step(finished: tuple[Path, str]) -> None:
    metrics = read_metrics(finished[0])
    assert [line["step"] for line in metrics] == list(range(STEPS + 1))
    for line in metrics[1:]:
        assert line["rollout_corr/logprob_abs_diff_mean"] < 1e-4
    # At a learning rate of 1e-3 the policy leaves the reference within a few steps, so a stale engine would show above.
    assert metrics[-1]["kl"] > 1e-3


def test_the_first_step_starts_at_the_reference(finished: tuple[Path, str]) -> None:
    first = next(iter(read_rollouts(finished[0], 1)))
    pairs = zip(first.completion.logprobs, first.ref_logprobs or (), strict=True)
    assert max(abs(own - frozen) for own, frozen in pairs) < 1e-4


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers_to_the_last_digit(
    finished: tuple[Path, str], cache: Path, tmp_path: Path
) -> None:
    run(tmp_path / "again", cache)
    assert told(tmp_path / "again") == told(finished[0])


@pytest.mark.slow
def test_two_rollout_workers_draw_what_one_draws(finished: tuple[Path, str], cache: Path, tmp_path: Path) -> None:
    run(tmp_path / "two", cache, "compute.num_rollout_workers=2")
    one = {rollout.key[1:]: rollout.completion.token_ids for rollout in read_rollouts(finished[0])}
    two = {rollout.key[1:]: rollout.completion.token_ids for rollout in read_rollouts(tmp_path / "two")}
    assert one.keys() == two.keys()
    assert sum(two[key] == ids for key, ids in one.items()) / len(one) >= 0.999


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_numbers_of_one_that_was_never_stopped(
    finished: tuple[Path, str], cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    with Started(command(folder, cache), tmp_path / "log") as process:
        # Step 3 is being done: step 2 left a checkpoint, and what follows it is lost.
        wait_for(lambda: len(list(folder.glob("checkpoints/step_000002"))) == 1, process)
        process.kill()
        process.wait()
    # Nobody is left to clean up after SIGKILL. Workers, raylet and GCS follow the command; Ray's two idle agents were
    # seen to stay for minutes.
    agents = [line for line in leftovers(folder) if "Agent" in line]
    for line in agents:
        psutil.Process(int(line.split()[0])).kill()
    assert not leftovers(folder)
    assert "resumed after step 2" in run(folder, cache, "resume=true")
    assert told(folder) == told(finished[0])
    assert check_run(folder, num_steps=STEPS, prompts_per_step=PROMPTS, num_generations=GENERATIONS).ok


@pytest.mark.slow
def test_adapters_learn_through_the_whole_recipe_beside_their_own_reference(tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    run(folder, tmp_path / "sft", "model.train=lora", "model.lora.r=4")
    first = next(iter(read_rollouts(folder, 1)))
    assert first.ref_logprobs == pytest.approx(first.completion.logprobs, abs=1e-5), "an adapter begins as no change"
    assert (told(folder)[-1]["kl"] or 0.0) > 1e-5
    adapter = folder / "model" / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    # The model is whole, a checkpoint holds adapters and their moments only.
    whole = (folder / "model" / "model.safetensors").stat().st_size
    checkpoint = sum(path.stat().st_size for path in (folder / "checkpoints/step_000004").rglob("*"))
    assert 3 * (adapter / "adapter_model.safetensors").stat().st_size < checkpoint < whole
    assert check_run(folder, num_steps=STEPS, prompts_per_step=PROMPTS, num_generations=GENERATIONS).ok


PHASES = {
    "data": "data",
    "SFT": "SFT ...",
    "workers": "workers ...",
    "evaluation": "evaluate SFT 1/",
    "GRPO": "GRPO 1/",
}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", PHASES)
def test_an_interrupt_in_every_phase_leaves_no_process_and_a_readable_folder(
    phase: str, number: signal.Signals, cache: Path, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    own_cache = tmp_path / "sft" if phase == "SFT" else cache
    with Started(command(folder, own_cache), log) as process:
        wait_for(lambda: PHASES[phase] in log.read_text(), process)
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
    assert not leftovers(folder)
    assert "Traceback" not in log.read_text()
    if any(folder.glob("rollouts/step_*")):
        assert check_run(folder).num_rollouts > 0
    assert not list(folder.glob("**/*.tmp"))


class Started:
    """A command in the background, its output in a file; killed at the end whatever happened."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.arguments, self.log = arguments, log

    def __enter__(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as output:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(
                self.arguments,
                cwd=REPOSITORY,
                stdout=output,
                stderr=output,
                env=environment,
                # A shell starts background commands with SIGINT ignored, and the tests may run in one.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        return self.process

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait_for(condition: object, process: subprocess.Popen[bytes], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, f"the run ended early with {process.returncode}"
        assert time.monotonic() < deadline, f"nothing happened for {seconds} s"
        time.sleep(0.05)


def leftovers(folder: Path, seconds: float = 20.0) -> list[str]:
    """Processes that still know the run's folder, or Ray's and vLLM's that belong to nobody, after some seconds of
    grace."""
    deadline = time.monotonic() + seconds
    while (found := list(running_for(folder))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def running_for(folder: Path) -> Iterator[str]:
    for process in psutil.process_iter(["pid", "cmdline", "cwd", "ppid", "name"]):
        line = " ".join(process.info["cmdline"] or [])
        orphan = process.info["ppid"] == 1 and ("ray::" in line or "raylet" in line or "gcs_server" in line)
        if process.info["pid"] != os.getpid() and (str(folder) in line or orphan):
            yield f"{process.info['pid']} {line[:200]}"

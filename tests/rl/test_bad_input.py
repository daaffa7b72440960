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
from PIL import Image
from safetensors.torch import load_file, save_file

from rl import train
from tests.fakes.tiny_models import make_internvl, make_llama, make_qwen25vl
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


def weight_that_is_missing(folder: Path) -> list[str]:
    file = make_internvl(folder / "model") / "model.safetensors"
    weights = load_file(file)
    del weights[next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))]
    save_file(weights, file, {"format": "pt"})
    return [f"model.path={folder / 'model'}"]


def gguf_instead_of_a_folder(folder: Path) -> list[str]:
    (folder / "model.Q4_1.gguf").write_bytes(b"GGUF")
    return [f"model.path={folder / 'model.Q4_1.gguf'}"]


def images_beyond_the_budget(folder: Path) -> list[str]:
    """Photographs of 504 x 504 pixels, 324 tokens each."""
    model = make_qwen25vl(folder / "model")
    for file in model.glob("*processor_config.json"):
        file.write_text(file.read_text().replace("3136", str(504 * 504)))
    rows = []
    for index in range(6):
        Image.effect_noise((504, 504), index + 1).convert("RGB").save(folder / f"{index}.jpg")
        rows.append({"question": f"What is it, {index}?", "answer": "liver", "image": f"{index}.jpg"})
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return [
        f"model.path={model}", "model.max_model_len=300", "data=jsonl", f"data.root={folder / 'rows.jsonl'}",
        "data.num_sft=null", "data.num_rl=null", "data.num_eval=null", "grpo.prompts_per_step=4",
    ]  # fmt: skip


# A GPU of one GiB that nobody has to find.
TINY_GPU = ["compute=h200", "compute.gpu_memory_gib=1"]
CASES = {
    "a run that no GPU of the cluster can hold": Case(
        lambda _: TINY_GPU,
        ("the GPU (policy and reference, an engine beside them)", "while drawing of 1", "take a smaller model"),
    ),
    "ranks that do not divide": Case(
        lambda _: ["compute.num_policy_workers=8", "compute.fsdp_size=3"],
        ("compute.fsdp_size: got 3", "divisor of compute.num_policy_workers=8", "2 or 4 would do"),
    ),
    "adapters on a part that is frozen": Case(
        lambda _: ["model.train=lora", "model.lora.target_modules=[fc1]"],
        ("fc1 names model.vision_tower", "is frozen with model.train=lora", "expected all-linear or some of down_proj"),
    ),
    "staleness where the loss needs the whole step": Case(
        lambda _: ["grpo.max_staleness=1", "grpo.old_logprobs=policy", "grpo.loss_type=dapo"],
        ("grpo.max_staleness: got 1", "needs the whole step", "grpo.loss_type=grpo or grpo.max_staleness=0"),
    ),
    "flex attention on a CPU": Case(
        lambda _: ["compute.attention=flex"], ("compute.attention: got flex", "no backward pass", "attention=auto")
    ),
    "a weight that is missing": Case(
        weight_that_is_missing,
        ("lacks 1 of the 67 tensors", "layers.1.mlp.up_proj.weight", "its config.json describes"),
    ),
    "a GGUF": Case(gguf_instead_of_a_folder, ("model.Q4_1.gguf is a GGUF", "expected a folder", "examples/real_model")),
    "images beyond the pixel budget": Case(
        images_beyond_the_budget, ("model.max_model_len=300", "model.max_pixels=N makes large images", "smaller")
    ),
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

"""An earlier commit's step, by its own code.

`python -m tests.bench.step.baseline PART RUN SFT [--commit 900f9f9]` prints seconds a step as JSON; `tests.bench.step
--baseline COMMIT` calls all parts. `sample` and `train` are the floor of then on the tokens of a stored run of today:
what pure sampling and pure training would take if nothing had become cheaper since. `step` is the whole step of then:
the commit's main command with the run's settings, as far as it knows them, from the same SFT model; it draws
completions of its own. The commit is checked out beside this one for as long as the part runs; what the floor is asked
is written down in plain files (prompts, pictures, tokens, settings), so that no record of today need be readable there.
It needs the project's history, and a commit whose modules stand where those of 900f9f9 do.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from rl.config import Config
from rl.config.door import load
from rl.run.tracking import METRICS
from rollouts.prompt.processing import EncodedPrompt, Processor, encode, load_processor
from rollouts.records import Rollout
from tests.bench.step.pure import stored_steps

ROOT = Path(__file__).parents[3]
# What ran before the step streamed: the commit that the aims of the step's speed are told against.
BASELINE = "900f9f9"
OLD_CODE = Path(__file__).with_name("old_code.py")


def require(commit: str) -> None:
    """Raise SystemExit where the history does not hold a commit, before anything is measured."""
    look = ["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    if subprocess.run(look, cwd=ROOT, capture_output=True, check=False).returncode != 0:
        sys.exit(
            f"commit {commit} is not in the history of {ROOT}; fetch the whole history, or name another --baseline"
        )


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A work tree of a commit at `folder`. Raises SystemExit where the history does not hold it."""
    added = subprocess.run(
        ["git", "worktree", "add", "--detach", str(folder), commit],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if added.returncode != 0:
        sys.exit(f"commit {commit} cannot be checked out: {added.stderr.strip()}\nfetch the whole history first")
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=True, capture_output=True)


def write_work(run: Path, sft: Path, config: Config, folder: Path) -> None:
    """Write down what a run asked and drew, in files that any commit can read: `work.json`, the tensors of each prompt
    as safetensors, its pictures as PNG."""
    processor = load_processor(sft)
    steps = [[_group(processor, group, folder) for group in groups] for groups in stored_steps(run)]
    work = {"sft": str(sft), "steps": steps, "grpo": dataclasses.asdict(config.grpo)}
    work |= {"model": dataclasses.asdict(config.model), "compute": dataclasses.asdict(config.compute)}
    (folder / "work.json").write_text(json.dumps(work))


def _group(processor: Processor, group: list[Rollout], folder: Path) -> dict[str, Any]:
    prompt = encode(processor, group[0].sample)
    name = f"{len(list(folder.glob('*.safetensors')))}"
    save_file({key: tensor.contiguous() for key, tensor in prompt.media.items()}, folder / f"{name}.safetensors")
    rows = [
        {
            "token_ids": one.completion.token_ids,
            "seed": one.completion.seed,
            "advantage": one.advantage or 0.0,
            "valid": one.valid,
            "old_logprobs": list(one.old_logprobs or one.completion.logprobs),
            "ref_logprobs": None if one.ref_logprobs is None else list(one.ref_logprobs),
        }
        for one in group
    ]
    return {
        "prompt_id": prompt.prompt_id,
        "text": prompt.text,
        "token_ids": prompt.token_ids,
        "fingerprint": prompt.fingerprint,
        "media": name,
        "pictures": _pictures(prompt, folder, name),
        "rows": rows,
    }


def _pictures(prompt: EncodedPrompt, folder: Path, name: str) -> list[str]:
    names = []
    for place, frame in enumerate(frame for frames in prompt.engine_media.values() for frame in frames):
        names.append(f"{name}-{place}.png")
        frame.save(folder / names[-1])
    return names


def settings_known_to(tree: Path, config: Config) -> list[str]:
    """The settings of a run that a commit in a work tree knows and has another default for, as it takes them from the
    command line, those of SFT left out; the data of today by their whole path."""
    code = "import dataclasses, json, rl.config as c; print(json.dumps(dataclasses.asdict(c.Config())))"
    python = [sys.executable, "-P", "-c", code]
    printed = subprocess.run(python, cwd=tree, env=_of(tree), stdout=subprocess.PIPE, text=True, check=True).stdout
    known, ours = _flat(json.loads(printed)), _flat(json.loads(json.dumps(dataclasses.asdict(config))))
    changes = {name: value for name, value in ours.items() if name in known and value != known[name]}
    changes = {name: value for name, value in changes.items() if not name.startswith(("sft.", "data.num_sft"))}
    if changes.get("data.root"):
        changes["data.root"] = str(Path(changes["data.root"]).resolve())
    return [f"{name}={'null' if value is None else value}" for name, value in changes.items()]


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Plain values by their dotted names; lists and mappings that may hold anything are left to their defaults."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        elif not isinstance(value, list):
            flat[f"{before}{name}"] = value
    return flat


def _of(tree: Path) -> dict[str, str]:
    """The environment in which Python imports the modules of a work tree."""
    return {**os.environ, "PYTHONPATH": str(tree)}


def seconds_of_steps(run: Path, sft: Path, commit: str = BASELINE) -> list[float]:
    """Seconds of each whole step of the commit's main command, with the settings of a run and as many steps."""
    config = load(run / "config.yaml")
    with tempfile.TemporaryDirectory() as parent, checked_out(commit, Path(parent) / "tree") as tree:
        model = dataclasses.replace(config.model, path=str(sft.resolve()))
        config = dataclasses.replace(config, out_dir=str(Path(parent) / "run"), model=model)
        settings = [*settings_known_to(tree, config), f"sft.checkpoint={model.path}"]
        command = [sys.executable, "-P", "-m", "rl.train", *settings]
        if subprocess.run(command, cwd=tree, env=_of(tree), stdout=subprocess.DEVNULL, check=False).returncode != 0:
            sys.exit(f"rl.train of commit {commit} failed; its error is above")
        lines = (Path(parent) / "run" / METRICS).read_text(encoding="utf-8").splitlines()
    return [one["timing_s/step"] for one in map(json.loads, lines) if "timing_s/step" in one]


def seconds_of(part: str, run: Path, sft: Path, commit: str = BASELINE) -> list[float]:
    """Seconds of each step of a run for a part ("sample", "train" or "step") of the commit, in a process of its own."""
    if part == "step":
        return seconds_of_steps(run, sft, commit)
    with tempfile.TemporaryDirectory() as parent, checked_out(commit, Path(parent) / "tree") as tree:
        work = Path(parent) / "work"
        work.mkdir()
        write_work(run, sft.resolve(), load(run / "config.yaml"), work)
        # -P: the folder of the script is no place to import from; the commit's own tree is the only one.
        done = subprocess.run(
            [sys.executable, "-P", str(OLD_CODE), part, str(work)],
            cwd=tree,
            env=_of(tree),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"{part} of commit {commit} ended with {done.returncode}; its error is above")
    return [float(value) for value in json.loads(done.stdout.strip().splitlines()[-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("sample", "train", "step"))
    parser.add_argument("run", type=Path, help="a run folder with stored rollouts")
    parser.add_argument("sft", type=Path, help="the SFT model it began with (summary.json names it)")
    parser.add_argument("--commit", default=BASELINE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(seconds_of(arguments.part, arguments.run, arguments.sft, arguments.commit)))


if __name__ == "__main__":
    main()

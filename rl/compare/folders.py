"""What `python -m rl.compare` takes: folders of runs with the answers that they keep, and whether they may be compared
at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rl.config.controls import PAID
from rl.evaluate.kept import FOLDER, BadAnswers, Kept, read
from rl.run.folder import CONFIG, SUMMARY, changed_settings

# What controls of the reward change beside naming themselves.
_PAYS = ("reward.weights", "reward.gates", "reward.arguments.coin")
# Where the controls of a run lie in its folder.
CONTROLS = "controls"
SFT, GRPO = "SFT", "GRPO"
_MOST_SHOWN = 3


class NotComparable(ValueError):
    """Folders that cannot be compared; the message names each difference, and what would mend it."""


@dataclass(frozen=True)
class Folder:
    """A run with the answers of its models."""

    path: Path
    # "none" = a run; else which control it is.
    control: str
    # What its config.yaml says.
    settings: Mapping[str, Any]
    # The model that RL started from, as summary.json names it; a trained one is named by the hash of all it depends on.
    sft_model: str
    # Model -> its answers: SFT and GRPO.
    models: Mapping[str, Kept]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.path.resolve().name

    @property
    def result(self) -> Kept:
        """The answers of the model that the run made."""
        return self.models[GRPO]


def open_folders(paths: Sequence[Path]) -> list[Folder]:
    """These folders, each once; a single run brings its controls along.

    Raises:
        NotComparable: one is no folder with kept answers, or there is nothing to compare.
    """
    wanted = list(dict.fromkeys(path.resolve() for path in paths))
    faults: list[str] = []
    folders: list[Folder] = []
    if len(wanted) == 1:
        wanted += sorted(path.parent for path in (wanted[0] / CONTROLS).glob(f"*/{CONFIG}"))
    for path in wanted:
        try:
            folders.append(open_folder(path))
        except (BadAnswers, NotComparable, OSError) as error:
            faults.append(str(error))
    if faults:
        raise NotComparable("\n".join(faults))
    return folders


def open_folder(path: Path) -> Folder:
    """One folder.

    Raises:
        NotComparable: it is no run, or a run that keeps no answers. BadAnswers: they cannot be read. OSError.
    """
    if not (path / CONFIG).is_file():
        raise NotComparable(f"{path} is no run: it has no {CONFIG}. Give the out_dir of `python -m rl.train`.")
    models = {kept.model: kept for kept in (read(file) for file in sorted((path / FOLDER).glob("*.jsonl")))}
    if missing := [name for name in (SFT, GRPO) if name not in models]:
        raise NotComparable(
            f"{path} keeps no answers of {' and '.join(missing)} ({path / FOLDER}): the run has not ended yet, or an"
            " earlier version made it. Go on with resume=true, or run it again."
        )
    settings = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
    try:
        sft_model = str(json.loads((path / SUMMARY).read_text(encoding="utf-8"))["sft_model"])
    except (OSError, ValueError, KeyError) as error:
        raise NotComparable(
            f"{path} has no {SUMMARY} that names its SFT model ({type(error).__name__}): the run has not ended yet. Go"
            " on with resume=true."
        ) from error
    return Folder(path, str(settings.get("control", "none")), settings, sft_model, models)


def check_comparable(folders: Sequence[Folder]) -> None:
    """Raise NotComparable, with every difference on one screen, where the answers of these folders are not to the same
    items, asked and read in the same way, or where a control is none of the first run."""
    faults = [fault for other in folders[1:] for fault in _faults(folders[0], other)]
    if faults:
        shown = "\n".join(f"  - {fault}" for fault in faults)
        raise NotComparable(
            f"these folders cannot be compared with {folders[0].path}:\n{shown}\n"
            "Evaluate both on the same items, with the same reader of answers, judge and seeds."
        )


def _faults(first: Folder, other: Folder) -> list[str]:
    faults = [f"{other.name}: {fault}" for fault in _other_items(first.result, other.result)]
    for name in dict.fromkeys([*first.result.signature, *other.result.signature]):
        before, now = first.result.signature.get(name), other.result.signature.get(name)
        if before != now:
            faults.append(f"{other.name}: {_WORDS.get(name, name)} is {_short(now)}, of {first.name} {_short(before)}")
    if other.control != "none":
        faults += [f"{other.name}: {fault}" for fault in _other_run(first, other)]
    return faults


# Names of a signature in words.
_WORDS = {
    "reader": "the reader of answers (files of rewards/answers)",
    "judge": "the judge (a digest of its settings and prompts)",
    "graders": "what grades an answer (reward.routes, reward.arguments)",
    "seed": "seed",
    "temperature": "grpo.temperature",
    "max_completion_length": "grpo.max_completion_length",
    "num_samples": "eval.num_samples",
}


def _other_items(first: Kept, other: Kept) -> list[str]:
    ours = {item.id: item.digest for item in first.items}
    theirs = {item.id: item.digest for item in other.items}
    kinds = {
        "has no answer to": [name for name in ours if name not in theirs],
        "answered beside them": [name for name in theirs if name not in ours],
        "was asked otherwise (question, gold or image)": [n for n in ours if n in theirs and ours[n] != theirs[n]],
    }
    return [f"other held-out items: {how} {_names(names)}" for how, names in kinds.items() if names]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:_MOST_SHOWN])
    return shown + (f" and {len(names) - _MOST_SHOWN:,} more" if len(names) > _MOST_SHOWN else "")


def _other_run(run: Folder, control: Folder) -> list[str]:
    """Why a control is none of this run: it took more away than one thing, or started from another model."""
    settings = changed_settings(run.settings, control.settings)
    faults = [
        f"it is no control of {run.name}: {name} is {_short(now)} there, here {_short(was)}"
        for name, (was, now) in settings.items()
        if name != "control" and not (control.control in PAID and name.startswith(_PAYS))
    ]
    names = [Path(one.sft_model).name for one in (run, control)]
    if names[0] != names[1]:
        faults.append(f"it starts from another SFT model: {_short(control.sft_model)}, here {_short(run.sft_model)}")
    return faults


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "\u2026"

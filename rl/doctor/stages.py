"""What the doctor says of the stages before RL: documents and updates of each, what learns in it, and that every one of
their documents can be taught, before the first of them begins."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from rl.config import Config
from rl.data.sets import DataSplits
from rl.doctor.data import Finding
from rl.doctor.parts import learning_parts
from rl.run.failures import EXPECTED
from rl.run.progress import Display
from rl.stages.ready import ReadyStage, in_words, ready_stage
from rl.stages.settings import all_stages, as_staged, document_stages
from rollouts.prompt.hub import HubOutOfReach
from rollouts.prompt.processing import load_family

STAGES = "Stages"


def check_stages(config: Config, splits: DataSplits) -> list[Finding]:
    """The stages in order, and those that are trained on documents one by one; nothing for a run without them."""
    names = all_stages(config)
    if not document_stages(config) and names == ["instruction", "grpo"]:
        return []
    findings = [Finding(True, f"{len(names)} stages, each from the model of the one before: {', '.join(names)}")]
    if (tiles := config.sft.max_tiles) and tiles != config.model.max_tiles:
        images = f"tiles of an image at most: {tiles} in sft.max_tiles, {config.model.max_tiles} in RL and evaluations"
        findings.append(Finding(True, f"{images}, told to trainer and engine alike"))
    for name in document_stages(config):
        findings += _of_stage(config, name, splits)
    return findings


def _of_stage(config: Config, name: str, splits: DataSplits) -> Iterator[Finding]:
    fix = f"correct stages.{name}.root, set data.on_bad_row=skip, or leave it out with stages.skip=[{name}]"
    try:
        with Display(sys.stderr) as display:
            ready = ready_stage(config, name, splits.eval, display.late_bar)
        yield from contents(config, ready)
        staged = as_staged(config, name, load_family(config.model.path))
        learns, frozen = learning_parts(staged)
    except HubOutOfReach as error:
        yield Finding(True, f"{name}: not checked: {error.name} is not on this machine, and {error.why}", checked=False)
        return
    except (*EXPECTED, ValueError) as error:
        yield Finding(False, f"{name}: {error}", fix)
        return
    text = f"{name}: {_counted(learns)} learn{'' if not frozen else f', {_counted(frozen)} frozen'}"
    tiles = f"; images have at most {staged.model.max_tiles} tiles" if staged.model.max_tiles > 1 else ""
    yield Finding(True, f"{text} (stages.{name}.train={staged.model.train}){tiles}")


def contents(config: Config, ready: ReadyStage) -> Iterator[Finding]:
    """What is taught, and what was left out."""
    yield Finding(True, f"{ready.name}: {in_words(config, ready)}")
    longest = f"{max(ready.lengths)} of model.max_model_len={config.model.max_model_len} tokens"
    yield Finding(True, f"{ready.name}: the longest document has {longest}")
    for note, count in ready.notes.items():
        yield Finding(True, f"{ready.name}: {count} {note}")
    if ready.bad_rows:
        yield Finding(True, f"{ready.name}: {len(ready.bad_rows)} bad documents are left out (data.on_bad_row=skip)")


def _counted(parts: Mapping[str, int]) -> str:
    return " + ".join(f"{count:,} parameters of the {part}" for part, count in parts.items())

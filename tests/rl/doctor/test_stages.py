"""What the doctor says of stages before any of them begins: documents, what learns, memory, and what would stop one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rl.config import Config
from rl.config.door import compose
from rl.data.sets import DataSplits
from rl.doctor.architecture import architecture_of
from rl.doctor.fitting import needs_before
from rl.doctor.stages import check_stages

NOTHING_HELD_OUT = DataSplits(sft=[], rl=[], eval=[])
FEW = [f"stages.{name}.num_documents=4" for name in ("interleaved", "captions")]


def staged(*more: str) -> Config:
    return compose(["+experiment=fleming_vl", *FEW, *more])


def test_every_stage_is_told_with_its_documents_and_what_learns() -> None:
    findings = check_stages(staged(), NOTHING_HELD_OUT)
    text = "\n".join(finding.text for finding in findings)
    assert all(finding.good for finding in findings)
    assert "4 stages, each from the model of the one before: interleaved, captions, instruction, grpo" in text
    assert "12 in sft.max_tiles, 1 in RL and evaluations, told to trainer and engine alike" in text
    assert "interleaved: 4 documents with " in text and "captions: 4 documents with " in text
    # The embedded model: 694,144 + 136,576 + 1,910,016 = 2,740,736 parameters.
    frozen = "136,576 parameters of the projector learn, 1,910,016 parameters of the language model frozen"
    assert frozen in text.replace("+ ", "")
    assert check_stages(compose(["+experiment=med_grpo"]), NOTHING_HELD_OUT) == []


def test_a_file_of_documents_that_cannot_be_used_is_found_and_the_others_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text(json.dumps({"image": "none.png", "caption": "x"}) + "\n")
    findings = check_stages(staged("stages.captions.data=captions", f"stages.captions.root={path}"), NOTHING_HELD_OUT)
    [bad] = [finding for finding in findings if not finding.good]
    assert bad.text.startswith(f"captions: stages.captions.root={path}: 1 row cannot be used")
    assert "image none.png does not exist" in bad.text and "stages.skip=[captions]" in bad.fix
    assert any(finding.text.startswith("interleaved: 4 documents") for finding in findings)


def test_each_stage_has_the_gpus_for_itself() -> None:
    config = compose(["model=internvl3_8b"])
    config = dataclasses.replace(
        config,
        stages=staged().stages,
        compute=dataclasses.replace(config.compute, device="cuda", num_policy_workers=8, num_rollout_workers=8),
    )
    found = needs_before(config, architecture_of(config.model.path))
    assert [need.role for need in found] == ["stage interleaved", "stage captions", "SFT beforehand"]
    # A frozen language model has neither gradients nor moments.
    assert found[1].peak < 0.5 * found[0].peak

"""Without a network and without the model's files: the Hub is asked once, what is known of the model is said, and so is
what nobody has looked at."""

from __future__ import annotations

import dataclasses
import io
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from rich.console import Console

from judges import make_judge
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.config import (
    ComputeConfig,
    Config,
    DataConfig,
    InterleavedConfig,
    JudgeConfig,
    ModelConfig,
    RewardConfig,
    StagesConfig,
)
from rl.doctor.checks import Section, Tally, examine, tell
from rollouts.prompt import hub
from rollouts.prompt.processing import load_processor

INTERNVL3_8B = "OpenGVLab/InternVL3-8B-hf"


class CountingHub(BaseHTTPRequestHandler):
    """A Hub that answers and counts how often it is asked."""

    asked = 0

    def do_HEAD(self) -> None:
        CountingHub.asked += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No model is on this machine, and the Hub has not been asked yet; nobody listens where it should be."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.why_no_hub.cache_clear()
    yield
    hub.why_no_hub.cache_clear()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[CountingHub]]:
    CountingHub.asked = 0
    with HTTPServer(("127.0.0.1", 0), CountingHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield CountingHub
        server.shutdown()


def config(folder: Path, path: str = INTERNVL3_8B) -> Config:
    return Config(
        out_dir=str(folder / "run"),
        model=ModelConfig(path=path, dtype="bfloat16", max_model_len=4096),
        data=DataConfig(num_sft=8, num_rl=32, num_eval=8),
        compute=ComputeConfig(device="cuda", gpu_memory_gib=79, num_policy_workers=8, num_rollout_workers=8),
    )


def examined(settings: Config) -> dict[str, Section]:
    with Scorer(make_rubric(RewardConfig(), make_judge(JudgeConfig()))) as scorer:
        return {section[0]: section for section in examine(settings, scorer)}


def test_a_known_model_is_checked_as_far_as_its_configuration_goes(tmp_path: Path) -> None:
    found = examined(config(tmp_path))
    output = io.StringIO()
    memory = next(name for name in found if name.startswith("Memory"))
    told = tell([found["Model"], found["What learns"], found[memory]], Console(file=output, width=300))
    assert told == Tally(bad=0, unchecked=2)
    lines = [line.strip() for line in output.getvalue().splitlines()]
    assert (
        f"\u2713 {INTERNVL3_8B} is of the family internvl, by the configuration that is shipped with this version"
        in lines
    )
    assert any(line.startswith("? its files are not on this machine, and http://127.0.0.1:") for line in lines)
    assert any(f"hf download {INTERNVL3_8B}" in line for line in lines)
    assert any(line.startswith("? not checked: its processor and chat template") for line in lines)
    assert "\u2713 vision tower: 304,012,288 parameters, trained" in lines  # InternViT-300M
    assert any("7.94 B parameters" in line for line in lines)
    assert "Template" not in found


def test_of_an_unknown_model_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    stages = StagesConfig(skip=("captions",), interleaved=InterleavedConfig(num_documents=4))
    settings = dataclasses.replace(config(tmp_path, "somebody/new-model"), stages=stages)
    found = examined(settings)
    unchecked = {name: [one.text for one in findings if not one.checked] for name, (_, findings) in found.items()}
    assert not [one for name in unchecked for one in found[name][1] if not one.good and name not in ("Machine",)]
    assert unchecked["Model"][0] == "nothing is known of somebody/new-model"
    assert len(unchecked["Model"]) == 3
    assert unchecked["Stages"][0].startswith("interleaved: not checked: somebody/new-model is not on this machine")
    assert sum("not known" in text or "cannot be had" in text for texts in unchecked.values() for text in texts) == 2


def test_the_hub_is_asked_once(answering: type[CountingHub]) -> None:
    hub.refuse_out_of_reach(INTERNVL3_8B)
    hub.refuse_out_of_reach("somebody/new-model")
    assert answering.asked == 1


def test_a_folder_and_a_cached_model_need_no_hub(tmp_path: Path) -> None:
    hub.refuse_out_of_reach(tmp_path)
    hub.refuse_out_of_reach("/no/such/folder")  # told as a folder that is not there
    snapshot = tmp_path / "cache" / "models--somebody--known" / "snapshots" / "1a2b"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = tmp_path / "cache" / "models--somebody--known" / "refs"
    refs.mkdir()
    (refs / "main").write_text("1a2b")
    hub.refuse_out_of_reach("somebody/known")
    assert hub.is_cached("somebody/known") and not hub.is_cached("somebody/other") and not hub.is_cached("a/b/c")


@pytest.mark.parametrize("offline", [False, True])
def test_a_run_says_at_once_what_it_lacks(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    why = "HF_HUB_OFFLINE is set" if offline else "does not answer"
    with pytest.raises(hub.HubOutOfReach, match=rf"{INTERNVL3_8B} is no folder here(.|\n)*{why}(.|\n)*hf download"):
        load_processor(INTERNVL3_8B)


def test_the_last_line_counts_what_failed_and_what_could_not_be_made() -> None:
    assert Tally(0, 0).in_words == "All checks passed."
    assert Tally(1, 0).in_words == "1 check failed."
    assert Tally(2, 1).in_words == "2 checks failed; 1 check could not be made (marked ?)."
    assert Tally(0, 2).in_words == (
        "Every check that could be made passed; 2 checks could not be made (marked ?), so a run may still be refused."
    )

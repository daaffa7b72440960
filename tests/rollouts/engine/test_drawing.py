"""How an engine draws: noise, how many at once, and prompts that were rendered before; none of it changes a token."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from rl.config import Config
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy
from rollouts.engine.checksum import checksum
from rollouts.engine.cpu import admit_short_blocks, noise_of, sample_in_few_steps
from rollouts.engine.requests import EngineSettings, PromptMismatch
from rollouts.engine.vllm import LogprobsTensors, VllmEngine
from tests.fakes.tiny_models import make_internvl
from tests.rollouts.engine.engine_cases import prompts_of, requests_of, settings


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.fixture(scope="module")
def weights(internvl: Path) -> dict[str, torch.Tensor]:
    return Policy(internvl, GrpoObjective(Config().grpo), total_updates=1).weights()


@pytest.fixture(scope="module")
def engine(internvl: Path) -> VllmEngine:
    return VllmEngine(internvl, EngineSettings(max_num_seqs=64, cpu_kv_cache_gib=0.125))


def test_a_sampler_of_few_steps_gives_the_tokens_of_vllms_own(
    engine: VllmEngine, internvl: Path, weights: dict[str, torch.Tensor]
) -> None:
    def take_its_own(worker: Any) -> bool:
        """As vLLM has it on a CPU; whether it was otherwise before."""
        sampler = worker.model_runner.sampler
        was_otherwise = sampler.topk_topp_sampler.forward != sampler.topk_topp_sampler.forward_cpu
        sampler.topk_topp_sampler.forward = sampler.topk_topp_sampler.forward_cpu
        del sampler.gather_logprobs
        return was_otherwise

    engine.load_weights(0, weights, checksum(weights))
    requests = requests_of(prompts_of(internvl), per_prompt=4)
    greedy = [dataclasses.replace(one, settings=settings(0, temperature=0.0)) for one in requests[::3]]
    mixed = [*greedy, *(one for one in requests if one.key not in {other.key for other in greedy})]
    # With greedy rows among them, which have no seed, and without.
    few = [dict(engine.sample(asked, settings(0))) for asked in (mixed, requests)]
    assert engine._engine.collective_rpc(take_its_own) == [True]
    try:
        assert [dict(engine.sample(asked, settings(0))) for asked in (mixed, requests)] == few
    finally:
        engine._engine.collective_rpc(sample_in_few_steps, args=(LogprobsTensors,))


@pytest.mark.parametrize(("num_rows", "num_columns"), [(5, 1479), (3, 40_000), (2, 70_001)])
def test_noise_computed_together_is_what_torch_draws_number_by_number(num_rows: int, num_columns: int) -> None:
    ours, torchs = ({row: torch.Generator().manual_seed(row) for row in range(num_rows)} for _ in range(2))
    for _ in range(3):
        expected = [torch.empty(num_columns).exponential_(generator=one) for one in torchs.values()]
        assert torch.equal(noise_of(ours, num_columns), torch.stack(expected))
    assert all(torch.equal(ours[row].get_state(), torchs[row].get_state()) for row in range(num_rows))


def test_short_blocks_are_admitted_once_and_to_no_other_list() -> None:
    class Multiple(NamedTuple):
        base: int

    class Backend:
        def __init__(self, base: int) -> None:
            self.get_supported_kernel_block_sizes = lambda: [Multiple(base)]

    backend = Backend(32)
    for _ in range(2):
        admit_short_blocks(backend, Multiple)
        assert backend.get_supported_kernel_block_sizes() == [Multiple(16)]
    with pytest.raises(RuntimeError, match=r"lists blocks of \[64\] tokens"):
        admit_short_blocks(Backend(64), Multiple)


def test_another_sampler_than_the_known_one_is_left_as_it_is() -> None:
    class Sampler:
        def __init__(self) -> None:
            self.topk_topp_sampler = SimpleNamespace(forward_native=lambda logits, generators, k, p: None)

        @staticmethod
        def gather_logprobs(logprobs: Any, num_logprobs: int, token_ids: Any, ranks: bool) -> None: ...

    sampler = Sampler()
    worker = SimpleNamespace(model_runner=SimpleNamespace(sampler=sampler))
    with pytest.raises(RuntimeError, match=r"takes logprobs, num_logprobs, token_ids, ranks, expected logprobs"):
        sample_in_few_steps(worker, LogprobsTensors)
    assert not hasattr(sampler.topk_topp_sampler, "forward") and "gather_logprobs" not in vars(sampler)


def test_prompts_rendered_ahead_need_no_media_and_give_the_same(
    engine: VllmEngine, internvl: Path, weights: dict[str, torch.Tensor]
) -> None:
    engine.load_weights(0, weights, checksum(weights))
    prompts = prompts_of(internvl)
    names = {prompt.prompt_id: prompt.fingerprint for prompt in prompts}
    requests = [dataclasses.replace(one, fingerprint=names[one.prompt_id]) for one in requests_of(prompts)]
    whole = dict(engine.sample(requests, settings(0)))
    first_of_each = list({one.prompt_id: one for one in reversed(requests)}.values())
    # The last of them is another picture's by its tokens: told when it is drawn, and not before.
    wrong = dataclasses.replace(first_of_each[0], prompt_id="wrong", token_ids=(1, 2), fingerprint="wrong")
    engine.prepare([*first_of_each, wrong], settings(0))
    engine.load_weights(0, weights, checksum(weights))
    light = [dataclasses.replace(one, media=None) for one in requests]
    assert any(one.media for one in requests)
    assert dict(engine.sample(light, settings(0))) == whole
    with pytest.raises(PromptMismatch, match="'wrong' has"):
        list(engine.sample([wrong], settings(0)))
    engine.prepare([], settings(0))
    with pytest.raises(PromptMismatch, match="came without its media"):
        list(engine.sample(light, settings(0)))


def test_fewer_in_flight_draw_the_same_and_the_first_asked_earlier(
    engine: VllmEngine, internvl: Path, weights: dict[str, torch.Tensor]
) -> None:
    engine.load_weights(0, weights, checksum(weights))
    requests = requests_of(prompts_of(internvl), per_prompt=8)
    whole = dict(engine.sample(requests, settings(0)))
    most, order, drawn = 0, [], {}
    for key, one in engine.sample(requests, dataclasses.replace(settings(0), in_flight=8)):
        most = max(most, len(engine._in_flight))
        order.append(key.prompt_id)
        drawn[key] = one
    assert most < 8 < len(requests)
    assert {key: one.token_ids for key, one in drawn.items()} == {key: one.token_ids for key, one in whole.items()}
    # Eight at once are one group: the first is whole before the last has begun to come.
    first, last = requests[0].prompt_id, requests[-1].prompt_id
    assert len(order) - order[::-1].index(first) <= order.index(last)

"""The vLLM engine on tiny models: its log-probs are the policy's, its weights are proven, its completions depend on
their seed alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rl.algo.denominators import denominators
from rl.config import DataConfig, LoraConfig, Train
from rl.data.load import load
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy
from rollouts.engine.checksum import checksum
from rollouts.engine.line import Line, serve
from rollouts.engine.live_weights import compare_with_live, count_elements
from rollouts.engine.requests import (
    EngineSettings,
    PromptMismatch,
    Refusal,
    Request,
    SamplingSettings,
    StaleWeights,
    WeightsRejected,
)
from rollouts.engine.vllm import VllmEngine
from rollouts.prompt.families import ImageSettings
from rollouts.prompt.processing import encode, load_processor, media_token_ids
from rollouts.records import Completion
from tests.fakes.tiny_models import MAKERS, make_internvl
from tests.rl.policy.policy_cases import noise, sample
from tests.rollouts.engine.engine_cases import (
    LENGTH,
    config_for,
    gap,
    prompts_of,
    requests_of,
    rows_of,
    same_share,
    settings,
)

SETTINGS = EngineSettings(max_num_seqs=64, cpu_kv_cache_gib=0.125)


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.fixture(scope="module")
def engine(internvl: Path) -> VllmEngine:
    return VllmEngine(internvl, SETTINGS)


def policy_of(folder: Path, train: Train = "all") -> Policy:
    lora = LoraConfig(r=4, lora_alpha=8)
    return Policy(folder, GrpoObjective(config_for(folder).grpo), total_updates=100, train=train, lora=lora)


def give(engine: VllmEngine, policy: Policy, version: int) -> None:
    weights = policy.weights()
    engine.load_weights(version, weights, checksum(weights))


def check_ten_updates(engine: VllmEngine, folder: Path, num_updates: int, train: Train = "all") -> None:
    """The engine's log-probs are the policy's at every version, and far from those of the version before it."""
    policy = policy_of(folder, train)
    banned = media_token_ids(policy.processor)
    prompts = prompts_of(folder)
    requests = requests_of(prompts)
    stale = None
    for version in range(num_updates + 1):
        give(engine, policy, version)
        drawn = dict(engine.sample(requests, settings(version, banned)))
        rows = rows_of(prompts, drawn)
        fresh = gap(drawn, policy.log_probs(rows))
        assert fresh < 1e-4, f"version {version}"
        totals = denominators([[len(row.completion_ids) for row in rows]], LENGTH)[0]
        policy.update(rows, totals)
        # What the trainer would see had the engine not been given this update.
        stale = gap(drawn, policy.log_probs(rows))
        assert stale > 1e-3 > 10 * fresh, (
            f"version {version}: a forgotten update changes the gap from {fresh} to {stale} only"
        )


def test_log_probs_agree_with_the_policy_before_and_after_ten_updates(engine: VllmEngine, internvl: Path) -> None:
    check_ten_updates(engine, internvl, 10)


def test_log_probs_agree_with_a_policy_that_learns_through_adapters(engine: VllmEngine, internvl: Path) -> None:
    check_ten_updates(engine, internvl, 3, "lora")


@pytest.mark.parametrize("family", sorted(set(MAKERS) - {"internvl"}))
def test_log_probs_agree_for_every_other_family(family: str, tmp_path: Path) -> None:
    folder = MAKERS[family](tmp_path)
    check_ten_updates(VllmEngine(folder, SETTINGS), folder, 2)


@pytest.mark.slow
def test_log_probs_agree_for_the_shipped_model(repository: Path) -> None:
    folder = repository / "examples" / "tiny" / "model"
    check_ten_updates(VllmEngine(folder, SETTINGS), folder, 2)


def test_an_engine_without_the_wanted_weights_draws_nothing(engine: VllmEngine, internvl: Path) -> None:
    policy = policy_of(internvl)
    give(engine, policy, 3)
    with pytest.raises(StaleWeights, match="holds version 3, wanted 4"):
        list(engine.sample(requests_of(prompts_of(internvl, 1)), settings(4)))
    engine.confirm(3, checksum(policy.weights()))
    with pytest.raises(StaleWeights, match="sync the weights first"):
        engine.confirm(3, "0" * 64)


def test_damaged_or_incomplete_weights_are_rejected_and_nothing_is_drawn_with_them(
    engine: VllmEngine, internvl: Path
) -> None:
    weights = policy_of(internvl).weights()
    requests = requests_of(prompts_of(internvl, 1))
    damaged = {name: tensor.clone() for name, tensor in weights.items()}
    next(iter(damaged.values())).view(-1)[0] += 1
    # One of the three that vLLM fuses: its own check of loaded names would not miss it.
    incomplete = {
        name: tensor for name, tensor in weights.items() if not name.endswith("layers.0.self_attn.k_proj.weight")
    }
    assert len(incomplete) == len(weights) - 1
    for sent, said in ((damaged, checksum(weights)), (incomplete, checksum(incomplete))):
        with pytest.raises(WeightsRejected, match="send"):
            engine.load_weights(5, sent, said)
        with pytest.raises(StaleWeights):
            list(engine.sample(requests, settings(5)))
    engine.load_weights(5, weights, checksum(weights))
    assert len(dict(engine.sample(requests, settings(5)))) == len(requests)


def test_weights_that_arrive_over_a_line_are_those_that_were_sent_or_are_rejected(
    engine: VllmEngine, internvl: Path
) -> None:
    policy = policy_of(internvl)
    expected = checksum(policy.weights())
    requests = requests_of(prompts_of(internvl, 2))
    give(engine, policy, 30)
    before = dict(engine.sample(requests, settings(30)))
    with sending_to(engine) as send:
        sent = send(31, policy.weights())
        assert engine.hear_weights(31) == sent.result() == expected
        engine.confirm(31, expected)
        assert [one.token_ids for one in dict(engine.sample(requests, settings(31))).values()] == [
            one.token_ids for one in before.values()
        ]
        incomplete = {name: one for name, one in policy.weights().items() if "layers.0.self_attn.k_proj" not in name}
        send(32, incomplete)
        with pytest.raises(WeightsRejected, match=r"lacks .* numbers"):
            engine.hear_weights(32)
        send(33, policy.weights(), spoil=True)
        with pytest.raises(WeightsRejected, match="arrived with checksum"):
            engine.hear_weights(33)
        with pytest.raises(StaleWeights, match="holds version None"):
            list(engine.sample(requests, settings(33)))
        sent = send(34, policy.weights())
        assert engine.hear_weights(34) == sent.result() == expected, "the line is as good as before"


@contextmanager
def sending_to(engine: VllmEngine) -> Iterator[Callable[..., Future[str]]]:
    """The sending end of a line to an engine, in a thread of its own, as the policy is in a process of its own."""
    store, address = serve("127.0.0.1", 2, 30.0)
    with ThreadPoolExecutor(1) as thread:
        joined = thread.submit(Line, address, 0, torch.device("cpu"), 30.0, store)
        engine.join_line(address, 1, 30.0)
        line = joined.result()

        def send(version: int, weights: Mapping[str, torch.Tensor], spoil: bool = False) -> Future[str]:
            if spoil:  # a bit flips on the way
                line._broadcast, heard = _with_a_flipped_bit(line._broadcast), line._broadcast
            sent = thread.submit(line.send, version, weights.items())
            if spoil:
                thread.submit(setattr, line, "_broadcast", heard)
            return sent

        yield send


def _with_a_flipped_bit(broadcast: Callable[[torch.Tensor], None]) -> Callable[[torch.Tensor], None]:
    def flipped(tensor: torch.Tensor) -> None:
        if tensor.nbytes > 100_000:
            tensor[5_000] ^= 1
        broadcast(tensor)

    return flipped


def test_a_live_model_that_computes_with_old_weights_is_noticed() -> None:
    class Packed(torch.nn.Linear):
        """A layer as vLLM leaves it on CPU: its product comes from a packed copy."""

        def __init__(self) -> None:
            super().__init__(3, 2, bias=False)
            copy = self.weight.detach().clone()
            self.cpu_linear = lambda x, weight, bias: x @ copy.T

    model = torch.nn.Sequential(Packed())
    old = {"0.weight": model[0].weight.detach().clone()}
    assert compare_with_live(model, old) == (2, [])
    with torch.no_grad():
        model[0].weight += 1.0
    new = {"0.weight": model[0].weight.detach().clone()}
    # The parameter is new, the packed copy is not: exactly what vLLM's reload does to a head tied to the embedding.
    assert compare_with_live(model, new) == (2, ["0"])
    assert compare_with_live(model, old) == (2, ["0.weight", "0"])


def test_a_tied_head_counts_once_whether_it_is_in_the_file_or_not() -> None:
    shapes = {"embed.weight": (10, 4), "norm.weight": (4,)}
    assert count_elements(shapes, tied=True) == 44
    assert count_elements({**shapes, "lm_head.weight": (10, 4)}, tied=True) == 44
    assert count_elements({**shapes, "lm_head.weight": (10, 4)}, tied=False) == 84


def test_completions_end_at_a_taught_end_of_turn_too(engine: VllmEngine, internvl: Path, tmp_path: Path) -> None:
    """SFT writes the token that ends the template's turn into generation_config.json, beside the tokenizer's end."""
    give(engine, policy_of(internvl), 0)
    requests = requests_of(prompts_of(internvl), per_prompt=8)
    whole = dict(engine.sample(requests, settings(0)))
    eos = load_processor(internvl).tokenizer.eos_token_id
    counts = Counter(token for one in whole.values() for token in set(one.token_ids[:-1]) - {eos})
    (taught, _), *_ = counts.most_common(1)
    folder = tmp_path / "taught"
    shutil.copytree(internvl, folder)
    written = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**written, "eos_token_id": [eos, taught]}))
    drawn = dict(VllmEngine(folder, SETTINGS, disk_version=0).sample(requests, settings(0)))
    assert counts[taught] > 3
    for key, one in drawn.items():
        ids = whole[key].token_ids
        end = ids.index(taught) + 1 if taught in ids else len(ids)
        assert one.token_ids == ids[:end]
        assert one.finish_reason == ("stop" if taught in ids else whole[key].finish_reason)


def test_banned_tokens_are_never_drawn_however_hot(engine: VllmEngine, internvl: Path) -> None:
    give(engine, policy_of(internvl), 0)
    banned = (*media_token_ids(load_processor(internvl)), *range(100))
    requests = requests_of(prompts_of(internvl), per_prompt=8)
    hot = [engine.sample(requests, settings(0, ban, temperature=2.0)) for ban in (banned, ())]
    with_ban, without = ([token for _, one in drawn for token in one.token_ids] for drawn in hot)
    assert len(with_ban) > 1000
    assert not set(with_ban) & set(banned)
    # Without the ban a third of the tokens are among them, so the check above could have failed.
    assert sum(token in banned for token in without) > 0.2 * len(without)


def test_a_completion_depends_on_its_seed_and_not_on_its_neighbours(engine: VllmEngine, internvl: Path) -> None:
    give(engine, policy_of(internvl), 0)
    requests = requests_of(prompts_of(internvl), per_prompt=6)
    together = dict(engine.sample(requests, settings(0)))
    again = dict(engine.sample(requests, settings(0)))
    backwards = dict(engine.sample(requests[::-1], settings(0)))
    few = dict(engine.sample(requests[5:9], settings(0)))
    assert again == together
    assert same_share(together, backwards) >= 0.999
    assert same_share(together, few) >= 0.999
    other_seeds = [dataclasses.replace(request, seed=request.seed + 77) for request in requests]
    assert same_share(together, dict(engine.sample(other_seeds, settings(0)))) < 0.1


def test_a_cached_prefix_changes_no_bit_and_is_forgotten_with_its_weights(repository: Path) -> None:
    folder = repository / "examples" / "tiny" / "model"
    processor, policy = load_processor(folder), policy_of(folder)
    samples = load(DataConfig(num_sft=8, num_rl=64, num_eval=8)).rl[:16]
    requests = requests_of([encode(processor, sample) for sample in samples], per_prompt=8)
    asked = settings(0, media_token_ids(processor), length=64)
    cached, plain = (
        VllmEngine(folder, dataclasses.replace(SETTINGS, cpu_kv_cache_gib=0.5, prefix_caching=on), disk_version=0)
        for on in (True, False)
    )
    with_cache, without = (dict(engine.sample(requests, asked)) for engine in (cached, plain))
    assert len(without) == 128
    assert {key: (one.token_ids, one.logprobs) for key, one in with_cache.items()} == {
        key: (one.token_ids, one.logprobs) for key, one in without.items()
    }
    # The first completion of a prompt computes its blocks of 16 tokens; the seven others find them.
    blocks = sum((len(request.token_ids or ()) - 1) // 16 for request in requests[::8])
    assert cached.hits.num_blocks == 8 * blocks and plain.hits.num_found == 0
    assert cached.hits.num_found >= 7 * blocks and cached.hits.rate >= 7 / 8
    # Keys of the same prompts under other weights: a cache that was not emptied would give them back.
    with torch.no_grad():
        for parameter in policy.tokens.parameters():
            parameter.mul_(1.05)
    found = []
    for engine in (cached, plain):
        give(engine, policy, 1)
        found.append(dict(engine.sample(requests[:1], settings(1, media_token_ids(processor)))))
    assert [one.token_ids for one in found[0].values()] == [one.token_ids for one in found[1].values()]
    assert [one.logprobs for one in found[0].values()] == [one.logprobs for one in found[1].values()]


def test_a_stream_of_batches_is_drawn_as_one_call_and_the_engine_is_empty_once(
    engine: VllmEngine, internvl: Path
) -> None:
    give(engine, policy_of(internvl), 0)
    # Of many lengths, or all of a batch would end with the same token.
    requests = [
        dataclasses.replace(one, settings=settings(0, length=4 + place % 16))
        for place, one in enumerate(requests_of(prompts_of(internvl), per_prompt=16))
    ]
    greedy = [dataclasses.replace(one, settings=settings(0, temperature=0.0)) for one in requests[:4]]
    whole = dict(engine.sample(requests, settings(0)))
    left: list[int] = []

    def batches() -> Iterator[list[Request]]:
        for start in range(0, len(requests), 40):
            left.append(len(engine._in_flight))
            yield requests[start : start + 40]

    streamed = dict(engine.sample_stream(batches(), settings(0)))
    assert same_share(whole, streamed) >= 0.999 and len(streamed) == len(requests) == 96
    # The next batch is asked for when half of the 64 places are free, and not when all are.
    assert left[0] == 0 and all(0 < number <= 32 for number in left[1:])
    assert not engine._engine.has_unfinished_requests()
    # Each request may be drawn in its own way.
    mixed = dict(engine.sample_stream([greedy], settings(0)))
    assert len({one.token_ids for one in mixed.values()}) == 1
    # A stream that is left in the middle leaves nothing for the next call.
    stream = engine.sample_stream([requests[:40], requests[40:]], settings(0))
    next(stream)
    stream.close()
    assert set(dict(engine.sample(requests[:3], settings(0)))) == {one.key for one in requests[:3]}


def test_an_engine_that_slept_draws_the_same_and_takes_new_weights(internvl: Path) -> None:
    # vLLM's scheduler stops and goes on as on a GPU; its worker on CPU keeps the memory.
    engine = VllmEngine(internvl, dataclasses.replace(SETTINGS, shares_gpu=True), disk_version=0)
    requests = requests_of(prompts_of(internvl, 2))
    before = dict(engine.sample(requests, settings(0)))
    engine.sleep()
    assert dict(engine.sample(requests, settings(0))) == before
    engine.sleep()
    give(engine, policy_of(internvl), 1)
    after = dict(engine.sample(requests, settings(1)))
    assert [one.token_ids for one in after.values()] == [one.token_ids for one in before.values()]


def test_greedy_needs_no_seed(engine: VllmEngine, internvl: Path) -> None:
    give(engine, policy_of(internvl), 0)
    [request, *_] = requests_of(prompts_of(internvl, 1))
    first, second = (
        dict(engine.sample([dataclasses.replace(request, seed=seed)], settings(0, temperature=0.0))) for seed in (1, 2)
    )
    assert first[request.key].token_ids == second[request.key].token_ids
    # The likeliest of 320 tokens is likelier than the mean.
    assert min(first[request.key].logprobs) > -5.77


def test_completions_come_before_all_are_done_and_a_reader_may_go_away(engine: VllmEngine, internvl: Path) -> None:
    give(engine, policy_of(internvl), 0)
    # 96 requests for 64 places: the first must be finished before the last is begun.
    requests = requests_of(prompts_of(internvl), per_prompt=16)
    stream = engine.sample(requests, settings(0))
    _, completion = next(stream)
    assert completion.logprobs and engine._engine.has_unfinished_requests()
    stream.close()
    assert not engine._engine.has_unfinished_requests()
    assert len(dict(engine.sample(requests[:3], settings(0)))) == 3


def test_texts_end_before_the_end_token_and_ids_with_it(engine: VllmEngine, internvl: Path) -> None:
    give(engine, policy_of(internvl), 0)
    end = load_processor(internvl).tokenizer.eos_token_id
    drawn = dict(engine.sample(requests_of(prompts_of(internvl), per_prompt=16), settings(0, temperature=2.0))).values()
    stopped = [one for one in drawn if one.finish_reason == "stop"]
    assert stopped and all(one.token_ids[-1] == end and "<|im_end|>" not in one.text for one in stopped)
    cut = [one for one in drawn if one.finish_reason == "length"]
    assert cut and all(len(one.token_ids) == LENGTH == len(one.logprobs) and end not in one.token_ids for one in cut)


def test_a_prompt_that_both_sides_expand_differently_is_refused(engine: VllmEngine, internvl: Path) -> None:
    give(engine, policy_of(internvl), 0)
    [request, *_] = requests_of(prompts_of(internvl, 1))
    one_token_less = dataclasses.replace(request, token_ids=(request.token_ids or ())[:-1])
    with pytest.raises(PromptMismatch, match="same processor files"):
        list(engine.sample([one_token_less], settings(0)))
    # Too long a row costs itself: it is named, and the engine goes on.
    [(key, refusal)] = engine.sample([request], settings(0, length=500))
    assert isinstance(refusal, Refusal) and (key, refusal.prompt_id) == (request.key, request.prompt_id)
    assert "exceed model.max_model_len 512" in refusal.reason
    assert len(dict(engine.sample([request], settings(0)))) == 1


@pytest.mark.parametrize(
    ("family", "images", "num_tokens"),
    [
        # Three tiles of 4 tokens and a thumbnail would be made of it by the processor as it was saved.
        ("internvl", ImageSettings(), 4),
        ("internvl", ImageSettings(max_tiles=3), 16),
        # 6 x 2 squares of 28 x 28 pixels, a token each; it was saved for 56 x 56 pixels at most, 3 x 1 in this shape.
        ("qwen2_5_vl", ImageSettings(max_pixels=12 * 28 * 28), 12),
    ],
)
def test_both_sides_make_the_same_tokens_of_a_large_image(
    family: str, images: ImageSettings, num_tokens: int, tmp_path: Path
) -> None:
    folder = MAKERS[family](tmp_path)
    saved = load_processor(folder, ImageSettings(max_tiles=12) if family == "internvl" else ImageSettings())
    saved.save_pretrained(folder)
    processor = load_processor(folder, images)
    prompt = encode(processor, sample("wide", "Where?", (noise(1, 168, 56),)))
    assert prompt.token_ids.count(processor.source.image_token_id) == num_tokens
    engine = VllmEngine(folder, dataclasses.replace(SETTINGS, images=images), disk_version=0)
    # The engine compares its own expansion with the trainer's, and refuses another one.
    drawn = dict(engine.sample(requests_of([prompt]), settings(0, media_token_ids(processor))))
    assert len(drawn) == 4 and all(isinstance(one, Completion) for one in drawn.values())


@pytest.mark.parametrize(("temperature", "length"), [(-1.0, 4), (2.1, 4), (1.0, 0)])
def test_senseless_settings_are_refused(temperature: float, length: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        SamplingSettings(temperature, length, policy_version=0)

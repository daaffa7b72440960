"""One GRPO step in this process: a scripted engine, a real policy, reference, scorer and store. What a judge's speed
may change and what not."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from judges import Question, RulesJudge, Verdict
from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rl.algo.denominators import Denominators
from rl.algo.order import plan
from rl.config import ComputeConfig, Config, GrpoConfig, ModelConfig
from rl.drawing import TooManyFailures
from rl.evaluate.asking import prepare
from rl.evaluate.quick import quick_evaluation
from rl.grpo import train
from rl.policy.batching import Row
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy, Reference
from rl.replay.filters import choose
from rl.replay.scoring import StepInWork
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.prompt.prefill import after_prefill, prefill_of
from rollouts.prompt.processing import load_processor
from rollouts.records import Completion, Rollout, Sample
from rollouts.store.reader import media_opener
from rollouts.store.writer import RunWriter, read_rollouts
from tests.fakes.tiny_models import make_internvl, open_think

# Engines hold a quarter of a step, so that there is something to stream.
HOLDS_FOUR = ComputeConfig(max_num_seqs=4)
GRPO = GrpoConfig(
    num_steps=2,
    prompts_per_step=4,
    num_generations=4,
    num_minibatches=4,
    learning_rate=1e-3,
    warmup_ratio=0.0,
    save_steps=100,
)
# With it the first step asks q0, q7, q3, q6: judged ones between ruled ones.
SEED = 2
ANSWERS = ("left", "right", "both lungs")


def samples() -> list[Sample]:
    """Judged and ruled ones in turn, so that no order of a step has them apart by itself."""
    options = {"options": ("left", "right"), "gold_letters": ("A",)}
    return [
        Sample(id=f"q{i}", question=f"Which side, {i}?", answer_type="open", gold_text="left")
        if i % 2
        else Sample(id=f"q{i}", question=f"Which side, {i}?", answer_type="mcq", gold_text="left", **options)  # type: ignore[arg-type]
        for i in range(8)
    ]


class Judge:
    """Knows the answer; how long it thinks and whether it fails is the test's choice."""

    name, shows_images, is_instant = "scripted", False, False

    def __init__(self, think: Callable[[str], Any], fails: bool = False) -> None:
        self.think, self.fails = think, fails
        self.judged: list[str] = []

    async def judge(self, asked: Question) -> Verdict:
        await self.think(asked.answer)
        self.judged.append(asked.answer)
        if self.fails:
            return Verdict(None, "unavailable", "nobody answers")
        return Verdict("correct" if asked.answer == asked.reference else "incorrect")

    def metrics(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        pass


class Engine:
    """Draws an answer by the request's seed, and writes what the prompt has not opened already; hands completions over
    in an order of their own. Before each it says up to `delays` times that nothing came."""

    def __init__(self, refuses: frozenset[str] = frozenset(), delays: int = 0) -> None:
        self.requested: list[list[str]] = []
        # Prompts that it was given ahead of the call that asks them.
        self.prepared: list[list[str]] = []
        # Of the weights it was given; None = it takes any.
        self.version: int | None = None
        self.delays, self.chance = delays, random.Random(delays)
        self.refuses = refuses

    def arrivals(
        self, requests: Sequence[Request], settings: SamplingSettings, patience: float
    ) -> Iterator[tuple[RequestKey, Completion | Refusal] | None]:
        for drawn in self.sample(requests, settings):
            yield from (None,) * self.chance.randrange(self.delays + 1)
            yield drawn

    def prepare(self, requests: Sequence[Request], settings: SamplingSettings) -> None:
        self.prepared.append([request.prompt_id for request in requests])

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        assert self.version in (None, settings.policy_version), "it holds other weights"
        self.requested.append(list(dict.fromkeys(request.prompt_id for request in requests)))
        for request in sorted(requests, key=lambda request: request.seed):
            if request.prompt_id in self.refuses:
                yield request.key, Refusal(request.prompt_id, "ValueError: absolute aspect ratio must be below 200")
                continue
            whole = f"<think>Hm.</think>\n<answer>{random.Random(request.seed).choice(ANSWERS)}</answer>"
            text = after_prefill(whole, prefill_of(request.text))
            ids = tuple(text.encode())
            yield (
                request.key,
                Completion(ids, text, "stop", (-1.0,) * len(ids), request.seed, settings.policy_version, "scripted"),
            )

    def sample_stream(
        self, batches: Iterable[Sequence[Request]], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        for batch in batches:
            yield from self.sample(batch, batch[0].settings or settings)


class Learner:
    """The policy without Ray. `started` is told each update that begins, by the prompts in it."""

    def __init__(self, policy: Policy, started: list[set[str]], after: Callable[[], None]) -> None:
        self.policy, self.started, self.after = policy, started, after
        self.log_probs = policy.log_probs
        # Of a mini-batch that has no end yet.
        self.pieces: list[set[str]] = []

        # Of each piece and update, whether it was told that no engine draws meanwhile.
        self.alone: list[bool] = []

    def start_piece(self, rows: Sequence[Row], alone: bool = False) -> None:
        self.pieces.append({row.prompt.prompt_id for row in rows})
        self.alone.append(alone)
        self.policy.accumulate(rows)

    def start_update(
        self, rows: Sequence[Row], totals: Denominators, alone: bool = False
    ) -> Callable[[], dict[str, float]]:
        self.alone.append(alone)
        self.started.append(set().union(*self.pieces, {row.prompt.prompt_id for row in rows}))
        self.pieces = []
        metrics = self.policy.update(rows, totals)
        self.after()
        return lambda: metrics


class Done:
    """An answer that is there."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def ready(self) -> bool:
        return True

    def __call__(self) -> Any:
        return self.answer


class Frozen:
    """The reference without Ray."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def start_log_probs(self, rows: Sequence[Row]) -> Done:
        return Done(self.reference.log_probs(rows))


@dataclasses.dataclass
class Workers:
    """The cluster without Ray; the engine is scripted, so that weights need not go anywhere."""

    rollout: Engine
    policy: Learner
    reference: Frozen | None
    side_by_side: bool = True

    def start_sync(self, version: int) -> Callable[[], None]:
        return lambda: None


@dataclasses.dataclass
class OneRun:
    """A run in this process: what the loop and its verbs need (`rl.protocols.TrainingRun`), and nothing more."""

    config: Config
    cluster: Workers
    scorer: Scorer
    writer: RunWriter
    processor: Any
    samples: Sequence[Sample]
    name: str
    start_step: int = 1
    banned_token_ids: tuple[int, ...] = ()
    reported: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    quick: Callable[[int], dict[str, float]] | None = None
    refused: list[tuple[str, Refusal]] = dataclasses.field(default_factory=list)

    @property
    def num_steps(self) -> int:
        return self.config.grpo.num_steps or 0

    def evaluate(self, step: int) -> dict[str, float]:
        return self.quick(step) if self.quick else {}

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        self.reported[step] = dict(metrics)

    def refuse(self, when: str, refusal: Refusal) -> None:
        self.refused.append((when, refusal))

    def save(self, step: int) -> None:
        assert step in self.reported, "numbers are logged before a step is saved"


@dataclasses.dataclass
class Outcome:
    """What a run left."""

    weights: dict[str, torch.Tensor]
    started: list[set[str]]
    requested: list[list[str]]
    folder: Path
    # Numbers of each step, and the rows that were refused, by when.
    metrics: dict[int, dict[str, float]]
    refused: list[tuple[str, Refusal]]

    def records(self) -> list[Rollout]:
        return [dataclasses.replace(one, timings={}, outcomes={}) for one in read_rollouts(self.folder)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl"))


def steps(
    model: Path,
    folder: Path,
    judge: Judge | RulesJudge,
    after: Callable[[], None] = lambda: None,
    quick: bool = False,
    *,
    asked: Sequence[Sample] = (),
    refuses: frozenset[str] = frozenset(),
    held: bool = True,
    **changes: Any,
) -> Outcome:
    """Two steps of GRPO; `after` is called after each update, and the engine takes none of the prompts it `refuses`.
    `quick`: some other items are asked after each step. `held`: there is a reference."""
    grpo = dataclasses.replace(GRPO, **changes)
    config = Config(seed=SEED, grpo=grpo, model=ModelConfig(path=str(model)), compute=HOLDS_FOUR)
    policy = Policy(model, GrpoObjective(grpo), total_updates=8)
    engine, started = Engine(refuses), []  # type: ignore[var-annotated]
    reference = Frozen(Reference(model, temperature=grpo.temperature)) if held else None
    workers = Workers(engine, Learner(policy, started, after), reference)
    rubric = Rubric(config.reward.weights, config.reward.routes, judge)  # type: ignore[arg-type]
    with Scorer(rubric) as scorer:
        run = OneRun(config, workers, scorer, RunWriter(folder), load_processor(model), asked or samples(), folder.name)
        if quick:
            others = tuple(dataclasses.replace(one, id=f"held out {one.id}") for one in samples())
            held_out = prepare(others, run.processor, blank=False)
            run.quick = quick_evaluation(engine, scorer, held_out, config)
        try:
            train(run)
        finally:
            run.writer.close()
    return Outcome(policy.weights(), started, engine.requested, folder, run.reported, run.refused)


async def at_once(_: str) -> None:
    pass


async def slowly(answer: str) -> None:
    """The answer that is drawn first is judged last."""
    await asyncio.sleep(0.05 * (len(ANSWERS) - ANSWERS.index(answer)))


def test_a_slow_judge_and_an_instant_one_give_the_same_weights_to_the_last_bit(model: Path, tmp_path: Path) -> None:
    instant, slow = steps(model, tmp_path / "instant", Judge(at_once)), steps(model, tmp_path / "slow", Judge(slowly))
    assert all(torch.equal(weight, slow.weights[name]) for name, weight in instant.weights.items())
    assert [dataclasses.replace(one, run="") for one in instant.records()] == [
        dataclasses.replace(one, run="") for one in slow.records()
    ]
    assert any(one.advantage for one in slow.records()), "the rewards differ, or there is nothing to compare"


def test_an_evaluation_between_steps_changes_no_bit_of_training(model: Path, tmp_path: Path) -> None:
    without, quick = steps(model, tmp_path / "off", Judge(at_once)), Judge(at_once)
    evaluated = steps(model, tmp_path / "on", quick, quick=True)
    assert len(evaluated.requested) == 2 * len(without.requested), "each step is followed by an evaluation"
    assert all(torch.equal(weight, evaluated.weights[name]) for name, weight in without.weights.items())
    assert [dataclasses.replace(one, run="") for one in evaluated.records()] == [
        dataclasses.replace(one, run="") for one in without.records()
    ]


def test_without_a_kl_there_is_no_reference_and_the_weights_are_those_with_one(model: Path, tmp_path: Path) -> None:
    held = steps(model, tmp_path / "held", Judge(at_once), beta=0.0)
    free = steps(model, tmp_path / "free", Judge(at_once), beta=0.0, held=False)
    assert all(torch.equal(weight, free.weights[name]) for name, weight in held.weights.items())
    assert all(one.ref_logprobs for one in held.records()) and not any(one.ref_logprobs for one in free.records())
    assert len(free.metrics) == 2 and all("kl" not in metrics for metrics in free.metrics.values())


def test_what_is_judged_is_asked_first_and_trained_on_last(model: Path, tmp_path: Path) -> None:
    done = steps(model, tmp_path / "run", Judge(at_once))
    judged = {f"q{i}" for i in range(8) if i % 2}
    for step in (0, 1):
        asked, trained = done.requested[step], done.started[4 * step : 4 * step + 4]
        flags = [name in judged for name in asked]
        assert flags == sorted(flags, reverse=True)
        # Four groups, four mini-batches: each is one group.
        assert [next(iter(names)) in judged for names in trained] == sorted(flags)
        assert set().union(*trained) == set(asked)


def test_a_judge_that_asks_nobody_changes_no_order(model: Path, tmp_path: Path) -> None:
    done = steps(model, tmp_path / "run", RulesJudge())
    for step in (0, 1):
        trained = done.started[4 * step : 4 * step + 4]
        assert [next(iter(names)) for names in trained] == done.requested[step]
    flags = [int(name[1:]) % 2 for name in done.requested[0]]
    assert flags not in (sorted(flags), sorted(flags, reverse=True)), "open and closed ones come mixed"


def test_updates_that_need_no_judge_are_made_while_it_thinks(model: Path, tmp_path: Path) -> None:
    updated = threading.Event()
    count = [0]

    def after() -> None:
        count[0] += 1
        if count[0] == ruled:
            updated.set()

    async def until_updated(_: str) -> None:
        # A loop that waited for every score before its first update would wait here for ever.
        assert await asyncio.to_thread(updated.wait, 60), "no update came while the judge was thinking"

    judge = Judge(until_updated)
    names = [sample.id for sample in samples()]
    first = steps(model, tmp_path / "plain", Judge(at_once), num_steps=1).requested[0]
    ruled = sum(names.index(name) % 2 == 0 for name in first)
    assert 0 < ruled < 4
    done = steps(model, tmp_path / "run", judge, after, num_steps=1)
    assert len(done.started) == 4 and judge.judged
    assert all(one.valid for one in done.records())


@pytest.mark.parametrize(
    "change", [{"scale_rewards": "batch"}, {"loss_type": "dapo"}, {"multi_objective_aggregation": "normalize_then_sum"}]
)
def test_what_needs_the_whole_step_waits_for_all_of_it(model: Path, tmp_path: Path, change: dict[str, str]) -> None:
    judge = Judge(slowly)
    counts: list[int] = []
    done = steps(model, tmp_path / "run", judge, lambda: counts.append(len(judge.judged)), num_steps=1, **change)
    assert counts == [len(judge.judged)] * 4 and judge.judged, (
        "an answer was still being judged when the first update was made"
    )
    # In the order of the prompts: a mixture of ruled and judged ones, nothing is moved.
    assert [int(name[1:]) for (name,) in done.started] == plan(1, seed=SEED, num_samples=8, prompts_per_step=4)


def test_too_many_failures_stop_the_step_before_the_failed_groups_are_trained_on(model: Path, tmp_path: Path) -> None:
    judge = Judge(at_once, fails=True)
    counts: list[int] = []
    with pytest.raises(
        TooManyFailures, match=r"of 16 completions could not be scored[\s\S]*unavailable: nobody answers"
    ):
        steps(model, tmp_path / "run", judge, lambda: counts.append(1), max_failure_rate=0.1)
    stored = list(read_rollouts(tmp_path / "run"))
    assert len(stored) == 4 * len(counts), "what was trained on was recorded, and nothing else"
    assert all(one.sample.answer_type == "mcq" and one.valid for one in stored)
    # The group that failed was judged again before the step was given up: each different answer twice.
    assert sorted(judge.judged) != sorted(set(judge.judged))


def test_a_template_that_opens_think_changes_no_reward_and_replays_the_same(model: Path, tmp_path: Path) -> None:
    opening = open_think(Path(shutil.copytree(model, tmp_path / "opening")))
    plain, opened = steps(model, tmp_path / "plain", Judge(at_once)), steps(opening, tmp_path / "run", Judge(at_once))
    assert [one.total for one in opened.records()] == [one.total for one in plain.records()]
    for one in read_rollouts(opened.folder):
        assert one.prompt_text.endswith("<think>\n") and one.completion.text.startswith("Hm.</think>")
        assert one.parsed.well_formed and one.parsed.think == "\nHm." and one.outcomes["format"].value == 1.0
    rubric = Rubric({"accuracy": 0.9, "format": 0.1}, Config().reward.routes, Judge(at_once))  # type: ignore[arg-type]
    with Scorer(rubric) as scorer:
        for chosen in choose(opened.folder, [], whole_steps=False).steps:
            work = StepInWork(chosen, scorer, media_opener(opened.folder), "replay")
            again = {
                (row["prompt_id"], row["sample_index"]): member.total
                for numbers, members in zip(work.groups(), work.scores(), strict=True)
                for row, member in zip((work.rows[number] for number in numbers), members, strict=True)
            }
            stored = [one for one in read_rollouts(opened.folder) if one.step == chosen.files.step]
            assert again == {(one.prompt_id, one.sample_index): one.total for one in stored} and stored

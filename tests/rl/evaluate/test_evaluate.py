"""Evaluation against a scripted sampler and scorer, with the numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import re
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from judges.calibration.agreement import wilson
from rl.config import Config, EvalConfig, GrpoConfig
from rl.evaluate.asking import Answer, EvalResult, HeldOut, evaluate, prepare
from rl.evaluate.comparison import compare, majority_baseline, measure, strata
from rl.evaluate.table import print_one, print_table
from rollouts.engine.requests import Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import EncodedPrompt, load_processor
from rollouts.records import BadSample, Completion, Media, Outcome, Parsed, Sample
from tests.fakes.tiny_models import make_llama


@dataclass
class FakeRollout:
    """Says, for an item, what the script holds under (item, blanked, sample index); hands completions over in reverse
    order."""

    script: dict[str, Sequence[str]]
    asked: list[tuple[list[Request], SamplingSettings]] = field(default_factory=list)
    loses: int = 0
    num_streams: int = 0

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion]]:
        self.asked.append((list(requests), settings))
        first = min(request.sample_index for request in requests)
        for request in list(requests)[self.loses :][::-1]:
            text = self.script[request.text][request.sample_index - first]
            reason = "abort" if text == "ABORT" else "stop"
            yield request.key, Completion((1, 2, 3), text, reason, (0.0,) * 3, request.seed, settings.policy_version)

    def sample_stream(
        self, batches: Iterable[Sequence[Request]], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion]]:
        """Each way of asking as a call of its own."""
        self.num_streams += 1
        for batch in batches:
            for own, requests in groupby(batch, key=lambda request: request.settings):
                yield from self.sample(list(requests), own or settings)
            del batch, requests


@dataclass(frozen=True)
class FakeScored:
    parsed: Parsed
    outcomes: dict[str, Outcome]


@dataclass
class FakeScorer:
    """Right = the gold text itself; "?" = the judge failed."""

    groups: list[str] = field(default_factory=list)
    prefills: list[str] = field(default_factory=list)

    def submit(
        self,
        sample: Sample,
        completion: str,
        group_key: str,
        finish_reason: str = "stop",
        *,
        num_tokens: int | None = None,
        group_size: int | None = None,
        prefill: str = "",
    ) -> Future[FakeScored]:
        assert num_tokens == 3 and group_size is not None
        self.groups.append(group_key)
        self.prefills.append(prefill)
        failed = Outcome(None, "timeout", "judge did not answer")
        accuracy = failed if completion == "?" else Outcome(float(completion == sample.gold_text))
        future: Future[FakeScored] = Future()
        future.set_result(
            FakeScored(Parsed(None, completion, well_formed=completion != "bare"), {"accuracy": accuracy})
        )
        return future


def item(name: str, answer_type: str = "open", modality: str = "ct", gold: str = "yes") -> Sample:
    options = ("yes", "no") if answer_type == "mcq" else None
    letters = ("AB"["yes no".split().index(gold)],) if options else None
    return Sample(name, "What?", answer_type, gold, options=options, gold_letters=letters, modality=modality)  # type: ignore[arg-type]


def encoded(sample: Sample, blanked: bool) -> EncodedPrompt:
    image = Image.new("RGB", (2, 2))
    return EncodedPrompt(sample.id, f"{sample.id} blank" if blanked else sample.id, (7,), {}, {"image": (image,)})


def held_out(samples: Sequence[Sample]) -> HeldOut:
    return HeldOut(tuple(samples), encoded, True, (5, 6))


CONFIG = Config(seed=3, grpo=GrpoConfig(temperature=0.7, max_completion_length=9), eval=EvalConfig(num_samples=2))


def ask(
    script: dict[str, Sequence[str]], samples: Sequence[Sample], config: Config = CONFIG
) -> tuple[EvalResult, FakeRollout, FakeScorer]:
    rollout, scorer = FakeRollout(script), FakeScorer()
    return evaluate(rollout, scorer, held_out(samples), config, name="SFT", policy_version=4), rollout, scorer


def test_each_item_is_asked_greedily_sampled_and_blanked() -> None:
    result, rollout, scorer = ask({"a": ["yes", "no"], "a blank": ["no"]}, [item("a")])
    assert {mode: [[judged.text for judged in one] for one in answers] for mode, answers in result.answers.items()} == {
        "greedy": [["yes"]],
        "sampled": [["yes", "no"]],
        "blank": [["no"]],
    }
    settings = [asked for _, asked in rollout.asked]
    assert [one.temperature for one in settings] == [0.0, 0.7, 0.0]
    assert {(one.max_completion_length, one.policy_version, one.banned_token_ids) for one in settings} == {
        (9, 4, (5, 6))
    }
    assert sorted(set(scorer.groups)) == ["eval/SFT/blank/a", "eval/SFT/greedy/a", "eval/SFT/sampled/a"]


def test_what_the_template_opens_goes_to_the_scorer_with_every_completion() -> None:
    opening = "assistant\n<think>\n"
    items = dataclasses.replace(
        held_out([item("a")]), encode=lambda sample, _: dataclasses.replace(encoded(sample, False), text=opening)
    )
    scorer = FakeScorer()
    evaluate(FakeRollout({opening: ["yes", "no"]}), scorer, items, CONFIG, name="SFT", policy_version=4)
    assert scorer.prefills == ["<think>\n"] * 4
    _, _, plain = ask({"a": ["yes", "no"], "a blank": ["no"]}, [item("a")])
    assert plain.prefills == [""] * 4


def test_items_without_images_are_not_asked_blanked_and_a_text_model_refuses_images(tmp_path: Path) -> None:
    processor = load_processor(make_llama(tmp_path))
    assert not prepare([item("a")], processor, blank=True).blank
    seen = dataclasses.replace(item("b"), media=(Media("image", data=b"png"),))
    with pytest.raises(BadSample, match=r"1 of 2 samples hold images .*'b'.*llama reads text only"):
        prepare([item("a"), seen], processor, blank=True)


def test_what_the_configuration_switches_off_is_not_asked() -> None:
    config = dataclasses.replace(CONFIG, eval=EvalConfig(num_samples=0))
    result = evaluate(
        FakeRollout({"a": ["yes"]}),
        FakeScorer(),
        dataclasses.replace(held_out([item("a")]), blank=False),
        config,
        name="x",
        policy_version=0,
    )
    assert list(result.answers) == ["greedy"]


def test_seeds_differ_between_samples_and_do_not_depend_on_the_model() -> None:
    script = {"a": ["yes", "no"], "b": ["yes", "no"], "a blank": ["no"], "b blank": ["no"]}
    _, first, _ = ask(script, [item("a"), item("b")])
    _, second, _ = ask(script, [item("b"), item("a")])
    seeds = {request.key: request.seed for request in first.asked[1][0]}
    assert len(set(seeds.values())) == 4
    assert seeds == {request.key: request.seed for request in second.asked[1][0]}


def test_a_completion_without_a_verdict_is_counted_apart_and_never_wrong() -> None:
    """a: right; b: judge failed; c: the engine gave up; d: wrong. One of two judged items is right: 50 %, not 25 %."""
    samples = [item(name) for name in "abcd"]
    script = {"a": ["yes"] * 2, "b": ["?"] * 2, "c": ["ABORT"] * 2, "d": ["no", "yes"]}
    script |= {f"{name} blank": ["no"] for name in "abcd"}
    result, _, _ = ask(script, samples)
    row = measure(result, "greedy", lambda _: True)
    assert (row["accuracy"], row["num_items"], row["num_unscored"]) == (0.5, 2, 2)
    assert (row["low"], row["high"]) == wilson(1, 2)
    # Sampled: a has mean 1, d has mean 1/2, b and c have none.
    assert result.item_means("sampled") == [1.0, None, None, 0.5]
    assert measure(result, "sampled", lambda _: True)["num_unscored"] == 4


def test_completions_that_never_come_back_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="1 of 2 completions never came back"):
        evaluate(
            FakeRollout({"a": ["yes"], "b": ["yes"]}, loses=1),
            FakeScorer(),
            dataclasses.replace(held_out([item("a"), item("b")]), blank=False),
            dataclasses.replace(CONFIG, eval=EvalConfig(num_samples=0)),
            name="x",
            policy_version=0,
        )


def test_progress_is_told_for_each_way_of_asking() -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(
        FakeRollout({"a": ["yes", "no"], "a blank": ["no"]}), FakeScorer(), held_out([item("a")]), CONFIG,
        name="x", policy_version=0, progress=lambda *message: told.append(message),
    )  # fmt: skip
    assert told == [("greedy", 1, 1), ("sampled", 1, 2), ("sampled", 2, 2), ("blank", 1, 1)]


def test_images_are_decoded_a_chunk_at_a_time_and_the_results_are_the_same() -> None:
    samples = [item(name) for name in "abcdefghi"]
    script = {name: ["yes", "no"] for name in "abcdefghi"} | {f"{name} blank": ["no"] for name in "abcdefghi"}
    whole, rollout, _ = ask(script, samples)
    assert [len(requests) for requests, _ in rollout.asked] == [9, 18, 9]
    images: list[weakref.ref[Image.Image]] = []
    alive: list[int] = []

    def watched(sample: Sample, blanked: bool) -> EncodedPrompt:
        prompt = encoded(sample, blanked)
        images.extend(weakref.ref(image) for image in prompt.engine_media["image"])
        return prompt

    class Forgetful(FakeRollout):
        def sample(
            self, requests: Sequence[Request], settings: SamplingSettings
        ) -> Iterator[tuple[RequestKey, Completion]]:
            alive.append(sum(image() is not None for image in images))
            yield from super().sample(requests, settings)
            self.asked.clear()

    # An image has 4 pixels, so 16 are four items: chunks of 4, 4 and 1, and with the blanked ones twice as many images.
    chunked = dataclasses.replace(held_out(samples), encode=watched, max_pixels=16)
    result = evaluate(Forgetful(script), FakeScorer(), chunked, CONFIG, name="SFT", policy_version=4)
    assert result.answers == whole.answers
    assert len(alive) == 9 and max(alive) <= 8 < len(images)


def test_all_chunks_and_ways_are_one_stream_so_that_engines_run_empty_once() -> None:
    samples = [item(name) for name in "abcdefghi"]
    script = {name: ["yes", "no"] for name in "abcdefghi"} | {f"{name} blank": ["no"] for name in "abcdefghi"}
    rollout = FakeRollout(script)
    chunked = dataclasses.replace(held_out(samples), max_pixels=16)
    evaluate(rollout, FakeScorer(), chunked, CONFIG, name="SFT", policy_version=4)
    # Three chunks in three ways: nine calls before, each of which waited for its longest answer.
    assert (len(rollout.asked), rollout.num_streams) == (9, 1)
    keys = [request.key for requests, _ in rollout.asked for request in requests]
    assert len(set(keys)) == len(keys) == 36, "one greedy, two sampled, one blank of each item, told apart by its place"


def result_of(name: str, greedy: str, samples: Sequence[Sample], well_formed: bool = True) -> EvalResult:
    """A result from a string such as "10?1": right, wrong, unjudged; sampled = the same answer twice."""
    verdicts = [{"1": True, "0": False, "?": None}[letter] for letter in greedy]
    once = tuple((Answer(verdict, well_formed, 3, ""),) for verdict in verdicts)
    return EvalResult(name, tuple(samples), {"greedy": once, "sampled": tuple(one * 2 for one in once)}, 1.0)


def test_two_models_are_compared_item_by_item() -> None:
    """Eight items: SFT right on 2, GRPO on those and five more, and the last is wrong in both: discordant 0 against 5,
    mid-p = 1/32."""
    samples = [item(f"i{index}", modality="ct" if index < 4 else "us") for index in range(8)]
    summary = compare(result_of("SFT", "11000000", samples), result_of("GRPO", "11111110", samples))
    row = summary["greedy"]["all"]
    assert (row["sft"]["accuracy"], row["grpo"]["accuracy"], row["difference"]) == (0.25, 0.875, 0.625)
    assert row["p_value"] == pytest.approx(1 / 32)
    # Wilson of 2 of 8 is 0.071..0.591, of 7 of 8 it is 0.529..0.978: they overlap.
    assert row["intervals_overlap"]
    assert summary["greedy"]["modality/us"]["difference"] == 0.75
    assert summary["num_items"] == 8
    assert summary["worse"] == []
    # Twice the same answer is still one item: the sampled interval is the greedy one.
    assert summary["sampled"]["all"]["sft"]["low"] == pytest.approx(row["sft"]["low"])


def test_intervals_that_lie_apart_are_told() -> None:
    samples = [item(f"i{index}") for index in range(40)]
    summary = compare(result_of("SFT", "1" * 10 + "0" * 30, samples), result_of("GRPO", "1" * 30 + "0" * 10, samples))
    assert not summary["greedy"]["all"]["intervals_overlap"]
    assert summary["sampled"]["all"]["p_value"] < 0.001


def test_a_stratum_that_got_worse_is_named_and_a_small_loss_is_not() -> None:
    """Ultrasound falls from 20 of 20 to 4 of 20 (0 against 16 discordant), CT loses one of 20."""
    samples = [item(f"i{index}", modality="ct" if index < 20 else "us") for index in range(40)]
    summary = compare(result_of("SFT", "1" * 40, samples), result_of("GRPO", "0" + "1" * 23 + "0" * 16, samples))
    assert "greedy/modality/us" in summary["worse"]
    assert "greedy/modality/ct" not in summary["worse"]


def test_items_unjudged_in_one_model_are_left_out_of_the_difference() -> None:
    samples = [item(f"i{index}") for index in range(3)]
    row = compare(result_of("SFT", "?00", samples), result_of("GRPO", "111", samples))["greedy"]["all"]
    assert row["difference"] == 1.0  # two pairs, both gained
    assert (row["sft"]["num_items"], row["sft"]["num_unscored"]) == (2, 1)


def test_different_items_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different items"):
        compare(result_of("SFT", "1", [item("a")]), result_of("GRPO", "1", [item("b")]))


def test_strata_are_what_the_items_hold() -> None:
    names = [
        name
        for name, _ in strata([item("a", "mcq"), item("b", "open", modality="us"), item("c", "yes_no", modality="")])
    ]
    assert names == [
        "all",
        "closed",
        "open",
        "answer_type/mcq",
        "answer_type/open",
        "answer_type/yes_no",
        "modality/ct",
        "modality/us",
    ]


def test_the_majority_baseline_comes_from_the_training_split() -> None:
    """yes/no in training: yes 2, no 1, so "yes"; held out: one of two. mcq letters: B. Open: "Liver", matched by alias
    and case."""
    train = [item("1", "yes_no"), item("2", "yes_no"), item("3", "yes_no", gold="no"), item("4", "mcq", gold="no")]
    train += [item("5", gold="Liver"), item("6", gold="liver"), item("7", gold="lung")]
    asked = [item("a", "yes_no"), item("b", "yes_no", gold="no"), item("c", "mcq", gold="no")]
    asked += [
        item("d", gold="LIVER"),
        dataclasses.replace(item("e", gold="hepar"), aliases=("liver",)),
        item("f", gold="lung"),
    ]
    rows = majority_baseline(train, asked)
    assert rows["answer_type/yes_no"]["accuracy"] == 0.5
    assert (rows["answer_type/mcq"]["accuracy"], rows["answer_type/mcq"]["answer"]) == (1.0, "B")
    assert rows["open"]["accuracy"] == pytest.approx(2 / 3)
    assert rows["closed"]["accuracy"] == pytest.approx(2 / 3)
    assert rows["all"]["accuracy"] == pytest.approx(4 / 6)
    assert (rows["all"]["low"], rows["all"]["high"]) == pytest.approx(wilson(4, 6))


def test_an_answer_type_that_training_never_saw_scores_nothing() -> None:
    assert majority_baseline([item("1", "yes_no")], [item("a")])["open"]["accuracy"] == 0.0


def test_the_tables_tell_what_was_measured() -> None:
    samples = [
        item(f"i{index}", "mcq" if index % 2 else "open", modality="ct" if index < 20 else "us") for index in range(40)
    ]
    before, after = (
        result_of("SFT", "1" * 10 + "0" * 29 + "?", samples),
        result_of("GRPO", "1" * 30 + "0" * 10, samples),
    )
    output = io.StringIO()
    console = Console(file=output, width=140)
    print_table(compare(before, after), majority_baseline(samples, samples), console)
    print_one(after, majority_baseline(samples, samples), console)
    text = output.getvalue()
    # 30 of 40: Wilson 59.8 to 85.8
    assert "75.0 (59.8-85.8)" in text
    assert re.search(r"^ us +20 +", text, re.M), "a stratum is called by its own name"
    assert "2 completions" not in text
    assert "3 completions of the SFT model could not be judged" in text
    assert "No kind of item got worse" in text
    narrow = io.StringIO()
    print_table(compare(before, after), majority_baseline(samples, samples), Console(file=narrow, width=80))
    assert "(59.8-85.8)" in narrow.getvalue() and max(map(len, narrow.getvalue().splitlines())) <= 80

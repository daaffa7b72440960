"""Rewards both ways between this project, TRL and verl, called by TRL's and verl's own code."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from judges import Question, RulesJudge, Verdict
from rewards import Rubric, Scorer
from rewards.adapters.trl import as_trl_reward
from rewards.adapters.verl import RewardFailed, as_compute_score
from rewards.plugins.from_trl import from_trl
from rewards.registry import RewardError
from rollouts.records import Sample
from tests.paths import REPOSITORY

pytestmark = pytest.mark.full_run_only(reason="the scorer runs a reward of a file in a child process")

OPTIONS = ["Pleural effusion", "Pneumonia", "Pneumothorax"]


def said(answer: str) -> str:
    return f"<think>I look.</think>\n<answer>{answer}</answer>"


def spoken(*answers: str) -> list[list[dict[str, str]]]:
    return [[{"role": "assistant", "content": said(answer)}] for answer in answers]


class Unsure(RulesJudge):
    """Is unsure about "maybe", times out on "late", and rules on everything else."""

    async def judge(self, asked: Question) -> Verdict:
        if asked.answer == "late":
            return Verdict(None, "timeout", "too late")
        return Verdict("unsure") if asked.answer == "maybe" else await super().judge(asked)


def test_a_reward_pays_plain_and_conversational_completions_of_rows_of_their_own():
    reward = as_trl_reward("option_match")
    columns = {
        "options": [OPTIONS] * 3,
        "answer": ["B", "Pneumothorax", "A"],
        "image": [None] * 3,
        "trainer_state": object(),
    }
    plain = reward(prompts=["What is it?"] * 3, completions=[said("B"), said("B"), said("A or B")], **columns)
    chat = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]] * 3
    assert plain == reward(prompts=chat, completions=spoken("B", "B", "A or B"), **columns) == [1.0, 0.0, 0.0]
    assert reward.__name__ == "option_match"
    reward.one.close()


def test_every_failure_is_none_and_is_logged_to_trl():
    reward = as_trl_reward("judge", judge=Unsure())
    extra, metrics = {}, {}
    values = reward(
        prompts=["What is it?"] * 4,
        completions=spoken("pneumonia", "maybe", "late", "asthma"),
        solution=["Pneumonia"] * 4,
        log_extra=lambda name, entries: extra.update({name: entries}),
        log_metric=lambda name, value: metrics.update({name: value}),
    )
    assert values == [1.0, None, None, 0.0]
    assert extra["judge reason"][1] == "abstain: the judge is unsure"
    assert metrics["reward_status/judge/ok"] == 0.5
    assert metrics["reward_status/judge/timeout"] == metrics["reward_status/judge/abstain"] == 0.25
    reward.one.close()


def test_a_group_reward_is_given_whole_groups():
    with pytest.raises(RewardError, match="give num_generations"):
        as_trl_reward("majority_vote")
    reward = as_trl_reward("majority_vote", num_generations=3, label_free=True, least_share=0.5)
    prompts = ["Is it?"] * 3 + ["Which?"] * 3
    columns = {"answer_type": ["yes_no"] * 3 + ["open"] * 3, "answer": ["yes"] * 6}
    assert reward(prompts, spoken("no", "no", "yes", "left", "left", "right"), **columns) == [
        1.0,
        1.0,
        0.0,
        1.0,
        1.0,
        0.0,
    ]
    with pytest.raises(RewardError, match="no whole groups"):
        reward(prompts[:4], spoken("a", "b", "c", "d"))
    with pytest.raises(RewardError, match="rows 0 to 2 are not one prompt"):
        reward(["a", "b", "c"], spoken("a", "b", "c"))
    reward.one.close()


def test_tokens_are_counted_from_trls_ids_and_arguments_reach_the_reward():
    reward = as_trl_reward("length", max_length=10, cache=4, label_free=True)
    assert reward(["q"] * 3, ["a"] * 3, completion_ids=[[0] * 6, [0] * 8, [0] * 20]) == [0.0, -0.5, -1.0]
    reward.one.close()


def test_rows_without_an_answer_are_an_error_that_names_what_is_there():
    reward = as_trl_reward("option_match")
    with pytest.raises(RewardError, match=r"without a right answer.*got \['colour', 'options'\]"):
        reward(["q"], ["B"], options=[OPTIONS], colour=["red"])
    reward.one.close()


def trainer(*functions) -> SimpleNamespace:
    """What `GRPOTrainer._calculate_rewards` reads of a trainer, by hand: an oracle without a model."""
    names = [getattr(function, "__name__", "?") for function in functions]
    return SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu", is_main_process=True), reward_funcs=list(functions),
        reward_func_names=names,
        reward_processing_classes=[None] * len(functions), state=SimpleNamespace(global_step=1), environments=None,
        args=SimpleNamespace(report_to=[]), _log_completion_extra=lambda *_: None, _log_metric=lambda *_: None,
    )  # fmt: skip


def test_trls_own_code_calls_the_rewards_and_masks_what_failed():
    grpo = pytest.importorskip("trl.trainer.grpo_trainer")
    functions = [as_trl_reward("format"), as_trl_reward("judge", judge=Unsure())]
    prompt = [{"role": "user", "content": "What is it?"}]
    inputs = [{"prompt": prompt, "solution": "Pneumonia", "number": 3}] * 4
    completions = [*spoken("pneumonia", "maybe", "asthma"), [{"role": "assistant", "content": "pneumonia"}]]
    paid = grpo.GRPOTrainer._calculate_rewards(trainer(*functions), inputs, [prompt] * 4, completions, [[1, 2]] * 4)
    expected = torch.tensor([[1.0, 1.0], [1.0, torch.nan], [1.0, 0.0], [0.0, 1.0]])
    assert torch.equal(paid.isnan(), expected.isnan())
    assert torch.equal(paid.nan_to_num(9.0), expected.nan_to_num(9.0))
    for function in functions:
        function.one.close()


TRL_FILE = '''
import math

def brevity(completions, **kwargs):
    """As TRL's documentation writes them: conversational completions, everything else swallowed."""
    return [1.0 / len(completion[0]["content"]) for completion in completions]

def exact(prompts, completions, solution, **kwargs):
    pairs = zip(completions, solution, strict=True)
    return [None if "?" in c else math.nan if "nan" in c else float(c == s) for c, s in pairs]

async def slow(completions, letter):
    return [float(letter[0] in completion[0]["content"]) for completion in completions]

def short(completions, **kwargs):
    return [1.0]

def needs_ids(completions, completion_ids, **kwargs):
    return [0.0] * len(completions)

def needs_colour(completions, colour):
    return [0.0] * len(completions)
'''
OPEN = Sample("q", "What is it?", "open", "pneumonia", tags={"site": "chest"})
MCQ = Sample("q", "What is it?", "mcq", OPTIONS[1], tuple(OPTIONS), ("B",))


@pytest.fixture
def trl_file(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(TRL_FILE)
    return f"trl:{tmp_path}/mine.py"


def outcomes(spec: str, sample: Sample, *texts: str, **arguments):
    with Scorer(Rubric({spec: 1.0}, arguments={spec: arguments} if arguments else None)) as scorer:
        return [next(iter(scored.outcomes.values())) for scored in scorer.score_group(sample, texts)]


def test_a_trl_function_runs_here_as_a_group_reward(trl_file):
    assert [one.value for one in outcomes(f"{trl_file}:brevity", OPEN, "four", "twenty characters!!!")] == [0.25, 0.05]


def test_none_of_a_trl_function_abstains_and_nan_is_an_error(trl_file):
    found = outcomes(f"{trl_file}:exact", OPEN, "pneumonia", "asthma", "what?", "nan", conversational=False)
    assert [(one.value, one.status) for one in found] == [(1.0, "ok"), (0.0, "ok"), (None, "abstain"), (None, "error")]


def test_an_asynchronous_trl_function_gets_the_columns_it_names(trl_file):
    found = outcomes(f"{trl_file}:slow", MCQ, "it is B", "it is C", columns={"letter": "gold_letter"})
    assert [one.value for one in found] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("function", "message"), [("short", "list of 1 for a group of 2"), ("needs_colour", "needs the column 'colour'")]
)
def test_a_trl_function_that_cannot_be_called_or_returns_too_little_is_an_error(trl_file, function, message):
    found = outcomes(f"{trl_file}:{function}", OPEN, "a", "b")
    assert {one.status for one in found} == {"error"}
    assert message in found[0].reason


def test_a_trl_function_that_can_never_work_is_told_before_anything_runs(trl_file):
    with pytest.raises(RewardError, match="asks for completion_ids"):
        Rubric({f"{trl_file}:needs_ids": 1.0})
    with pytest.raises(RewardError, match=r"has no function 'brevty'"):
        Rubric({f"{trl_file}:brevty": 1.0})
    with pytest.raises(RewardError, match=r"write trl:path/to/file\.py:FUNCTION"):
        Rubric({"trl:brevity": 1.0})


def test_one_of_ours_comes_back_from_trl_as_it_went():
    here_and_back = from_trl(as_trl_reward("option_match"))
    from rewards import parse
    from rewards.registry import Member

    members = [Member(parse(said(answer), OPTIONS), said(answer)) for answer in ("B", "C")]
    assert here_and_back(members, MCQ) == [1.0, 0.0]


def test_compute_score_is_a_number_or_raises():
    score = as_compute_score("judge", judge=Unsure())
    assert score("vqa", said("pneumonia"), "Pneumonia", {"question": "What is it?"}) == 1.0
    assert (
        score(
            data_source="vqa",
            solution_str=said("asthma"),
            ground_truth="Pneumonia",
            extra_info=None,
            reward_router_address=None,
        )
        == 0.0
    )
    for answer, status in (("maybe", "abstain"), ("late", "timeout")):
        with pytest.raises(RewardFailed, match=f"{status} after 3 attempts"):
            score("vqa", said(answer), "Pneumonia")
    with pytest.raises(RewardError, match="compares the completions of a group"):
        as_compute_score("majority_vote")


def test_verls_own_reward_manager_calls_it(tmp_path):
    verl = pytest.importorskip("verl")
    from transformers import AutoTokenizer
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager

    tokenizer = AutoTokenizer.from_pretrained(REPOSITORY / "examples/tiny/model")
    ids = tokenizer("<think>i see it</think>\n<answer>B</answer>", return_tensors="pt").input_ids
    text = tokenizer.decode(ids[0], skip_special_tokens=True)
    data = verl.DataProto.from_dict(
        tensors={"prompts": ids[:, :1], "responses": ids,
        "attention_mask": torch.ones(1, 1 + ids.shape[1], dtype=torch.long)},
        non_tensors={
            "data_source": ["vqa"], "reward_model": [{"ground_truth": "B"}],
            "extra_info": [{"options": OPTIONS, "question": "Which?"}],
        },
    )  # fmt: skip
    score = as_compute_score("option_match")
    assert score("vqa", text, "B", {"options": OPTIONS}) == 1.0

    async def run() -> dict:
        return await NaiveRewardManager(None, tokenizer, score).run_single(data)

    assert asyncio.run(run())["reward_score"] == 1.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_step_of_trls_trainer_is_paid_as_our_scorer_pays_it(tmp_path):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    from rollouts.media import frames
    from rollouts.prompt.messages import build_messages
    from tests.fakes.tiny_models import make_qwen25vl
    from tests.rl.policy.policy_cases import noise, sample

    folder = make_qwen25vl(tmp_path / "model")
    asked = [sample(name, "Which?", (noise(seed),)) for name, seed in (("one", 1), ("two", 2))]
    rows = [
        {
            "prompt": build_messages(one),
            "images": [image for media in one.media for image in frames(media)],
            "answer": "1",
        }
        for one in asked
    ]
    seen: list[tuple[list[str], list[float]]] = []
    ours = as_trl_reward("rouge_l")

    def spy(prompts, completions, **columns):
        paid = ours(prompts, completions, **columns)
        seen.append(([completion[0]["content"] for completion in completions], paid))
        return paid

    settings = {
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 8,
        "max_steps": 1,
        "use_cpu": True,
    }
    quiet = {"bf16": False, "gradient_checkpointing": False, "report_to": "none", "logging_steps": 1}
    arguments = trl.GRPOConfig(output_dir=str(tmp_path / "trl"), **settings, **quiet)
    functions = [spy, as_trl_reward("majority_vote", num_generations=2), as_trl_reward("length", max_length=8, cache=4)]
    trainer = trl.GRPOTrainer(
        model=str(folder), reward_funcs=functions, args=arguments, train_dataset=datasets.Dataset.from_list(rows)
    )
    trainer.train()
    [(texts, paid)] = seen
    with Scorer(Rubric({"rouge_l": 1.0})) as scorer:
        gold = Sample("q", "Which?", "open", "1")
        assert paid == [scorer.submit(gold, text, "g").result(10).total for text in texts]
    log = trainer.state.log_history[0]
    assert log["rewards/spy/mean"] == pytest.approx(sum(paid) / 4)
    assert -1.0 <= log["rewards/length/mean"] < 0.0  # all eight tokens were drawn
    assert log["reward_status/length/ok"] == 1.0
    assert "rewards/majority_vote/mean" in log

"""The doctor: its arithmetic, its checks, and what each of them says when something is wrong."""

from __future__ import annotations

import dataclasses
import io
import re
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from judges import make_judge
from rewards.rubric import make_rubric
from rl.config import (
    Config,
    DataConfig,
    EvalConfig,
    GrpoConfig,
    JudgeConfig,
    LoraConfig,
    ModelConfig,
    RewardConfig,
    SftConfig,
)
from rl.data.phantoms import questions as phantoms
from rl.data.sets import DataSplits, SftRow
from rl.doctor import checks as doctor
from rl.doctor.data import (
    Finding,
    chance,
    check_data,
    check_golds,
    check_shuffled,
    check_template,
    describe,
    gold_answer,
    rows_fit,
    shuffle,
)
from rl.doctor.model import check_model
from rl.doctor.parts import check_parts
from rollouts.imaging.pictures import to_png
from rollouts.prompt.families import ImageSettings
from rollouts.prompt.messages import response
from rollouts.prompt.processing import load_processor
from rollouts.records import Media, Outcome, Parsed, Sample
from tests.fakes.tiny_models import SYSTEM, make_internvl, make_llama, make_qwen25vl, open_think, replace_template


def png(grey: int) -> Media:
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), (grey, grey, grey)).save(buffer, format="PNG")
    return Media("image", data=buffer.getvalue())


def asked(
    name: str, gold: str = "yes", answer_type: str = "yes_no", grey: int = 0, aliases: tuple[str, ...] = ()
) -> Sample:
    return Sample(name, "Is it there?", answer_type, gold, media=(png(grey),), aliases=aliases, modality="ct")  # type: ignore[arg-type]


def choice(name: str, letter: str, options: tuple[str, ...] = ("a", "b")) -> Sample:
    return Sample(
        name, "Which?", "mcq", options["ABCD".index(letter)], options=options, gold_letters=(letter,), modality="us"
    )


@dataclass(frozen=True)
class FakeScored:
    parsed: Parsed
    outcomes: dict[str, Outcome]


RUBRIC = make_rubric(RewardConfig(), make_judge(JudgeConfig()))


class HonestScorer:
    """Pays an answer that is the gold answer or an alias."""

    rubric = RUBRIC

    def accuracy(self, sample: Sample, answer: str) -> float:
        return float(answer == gold_answer(sample) or answer in sample.aliases)

    def submit(
        self, sample: Sample, completion: str, group_key: str, finish_reason: str = "stop"
    ) -> Future[FakeScored]:
        match = re.fullmatch(r"<think>.*</think>\n<answer>(.*)</answer>", completion, re.DOTALL)
        assert match is not None
        future: Future[FakeScored] = Future()
        future.set_result(
            FakeScored(Parsed(None, match[1]), {"accuracy": Outcome(self.accuracy(sample, match[1]), reason="read")})
        )
        return future


class GenerousScorer(HonestScorer):
    """Pays every answer: the hole that shuffled gold answers must find."""

    def accuracy(self, sample: Sample, answer: str) -> float:
        return 1.0


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.good]


# Where the template of the tiny models begins the answer.
ASSISTANT = "{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
CONFIG = Config(
    sft=SftConfig(batch_size=8, num_epochs=2, learning_rate=1e-3),
    grpo=GrpoConfig(num_steps=60, prompts_per_step=16, num_generations=8, num_minibatches=4, learning_rate=1e-5),
    eval=EvalConfig(num_samples=4),
)


def splits(num_sft: int = 10, num_rl: int = 32, num_eval: int = 4) -> DataSplits:
    """Splits with an image of its own for each part."""
    rl = [asked(f"rl{index}", "yes" if index % 2 else "no", grey=1) for index in range(num_rl)]
    sft = [SftRow(asked(f"sft{index}", grey=1), response("I look.", "yes")) for index in range(num_sft)]
    return DataSplits(
        sft, rl, [asked(f"eval{index}", "yes" if index % 2 else "no", grey=2) for index in range(num_eval)]
    )


def test_the_arithmetic_is_told_in_words() -> None:
    lines = doctor.arithmetic(CONFIG, splits())
    # 10 rows in batches of 8 are 2 updates an epoch; 60 steps of 2 an epoch (32 / 16) are 30 epochs.
    assert lines[0] == (
        "SFT: 10 rows x 2 epochs in batches of 8 = 4 updates at 0.001, in micro-batches of at most 4,096 tokens"
    )
    assert lines[1].startswith(
        "GRPO step: 16 prompts x 8 = 128 completions of at most 64 tokens, 4 mini-batches of 32 rows"
    )
    assert lines[2].startswith("GRPO schedule: a mini-batch is trained on as soon as it is scored")
    assert lines[3] == "GRPO run: 60 steps = 7,680 completions and 240 updates at 1e-05, 30.00 epochs of 32 questions"
    assert lines[4].startswith("objective: loss grpo, clip 0.8 to 1.2, KL to the SFT model x 0.04")
    assert lines[5] == "reward: 0.9 accuracy + 0.1 format"
    assert (
        lines[-1]
        == "evaluation: 4 held-out items x (1 greedy + 4 sampled + 1 with the image blanked) = 24 completions of each"
        " model"
    )


def test_a_run_without_steps_of_its_own_takes_whole_epochs() -> None:
    config = dataclasses.replace(CONFIG, grpo=GrpoConfig(num_epochs=3, prompts_per_step=10))
    assert doctor.num_steps(config, 32) == 9
    assert doctor.num_steps(config, 5) == 0
    assert doctor.num_steps(CONFIG, 5) == 60


def test_no_sft_is_said_so() -> None:
    config = dataclasses.replace(CONFIG, sft=SftConfig(enabled=False), model=ModelConfig(path="base"))
    assert doctor.arithmetic(config, splits())[0] == "SFT: none, RL starts from base"


def test_good_data_passes_and_is_counted() -> None:
    findings = check_data(splits(), CONFIG)
    assert bad(findings) == []
    assert describe([choice("a", "A"), asked("b")]) == "2 (mcq 1, yes_no 1; ct 1, us 1)"


def test_an_image_on_both_sides_is_found() -> None:
    leaky = splits()
    leaky.eval[0] = asked("leak", grey=1)
    (finding,) = bad(check_data(leaky, CONFIG))
    assert finding.text == "images, patients or pairs on both sides of the held-out split: 1 images"


def test_too_few_questions_are_found() -> None:
    (finding,) = bad(check_data(splits(num_rl=4), CONFIG))
    assert finding.text == "a step asks 16 prompts"


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_processor(make_internvl(tmp_path_factory.mktemp("model")))


def test_a_working_template_passes(processor: Any) -> None:
    findings = check_template(processor, splits(), CONFIG)
    assert bad(findings) == []
    assert any("the prompt ends where the assistant begins" in finding.text for finding in findings)


def test_what_does_not_fit_is_told_with_the_number_that_would(processor: Any) -> None:
    tight = dataclasses.replace(CONFIG, model=ModelConfig(max_model_len=100), grpo=GrpoConfig(max_completion_length=20))
    prompt = rows_fit(processor, splits(), tight).finding
    (answer,) = bad(check_template(processor, splits(), tight))
    needed = int(prompt.fix.split("=")[1].split()[0])
    roomy = dataclasses.replace(
        tight, model=ModelConfig(max_model_len=needed), grpo=GrpoConfig(max_completion_length=20)
    )
    assert not prompt.good and rows_fit(processor, splits(), roomy).finding.good
    # "<think>I look.</think>\n<answer>yes</answer>" is 43 bytes, a byte a token, and one end token.
    assert answer.fix == "grpo.max_completion_length=44"


def test_the_largest_image_is_named_with_the_tokens_that_it_costs(tmp_path: Path) -> None:
    processor = load_processor(make_qwen25vl(tmp_path), ImageSettings(max_pixels=40 * 28 * 28))
    large = Media("image", data=to_png(Image.new("RGB", (140, 224), (9, 9, 9))))  # 5 x 8 squares of 28 x 28 pixels
    seen = dataclasses.replace(asked("large"), media=(large,))
    data = dataclasses.replace(splits(), eval=[*splits().eval, seen])
    said = [one for one in check_template(processor, data, CONFIG) if "largest image" in one.text]
    # 40 tokens of the image, one on each side of it, and the line break of the template behind it.
    assert [one.text for one in said] == [
        "the largest image has 140 x 224 pixels (sample 'large'), 43 tokens of 448 that a prompt may have"
    ]
    small = dataclasses.replace(CONFIG, model=ModelConfig(max_model_len=100))
    assert "model.max_pixels=N" in next(one for one in bad(check_template(processor, data, small))).fix


def test_a_template_that_opens_the_answer_otherwise_is_found(tmp_path: Path) -> None:
    folder = replace_template(make_internvl(tmp_path), ASSISTANT, ASSISTANT.replace("\\n'", "\\n<reason>'"))
    (finding,) = bad(check_template(load_processor(folder), splits(), CONFIG))
    assert "the prompt ends where the assistant begins" in finding.text


@pytest.mark.parametrize("strips_thoughts", [False, True])
def test_a_template_that_opens_think_passes_and_is_told(tmp_path: Path, strips_thoughts: bool) -> None:
    folder = open_think(make_internvl(tmp_path))
    if strips_thoughts:
        # As DeepSeek-R1's: the thoughts of a finished turn are left out of the conversation.
        replace_template(folder, "{{ part['text'] }}", "{{ part['text'].split('</think>')[-1] }}")
    processor = load_processor(folder)
    assert bad(check_template(processor, splits(), CONFIG)) == []
    findings = check_model(processor, splits().rl)
    assert bad(findings) == []
    assert findings[-1].text.startswith("the chat template opens <think>: a completion is read with '<think>\\n' in")
    # 43 bytes of the response without "<think>", and one end token: what the longest answer may take is less.
    tight = dataclasses.replace(CONFIG, grpo=GrpoConfig(max_completion_length=20))
    (answer,) = bad(check_template(processor, splits(), tight))
    assert answer.fix == "grpo.max_completion_length=37"


def test_a_template_that_writes_thoughts_of_its_own_is_found(tmp_path: Path) -> None:
    folder = open_think(make_internvl(tmp_path))
    replace_template(folder, "<think>\\n' }}", "<think>\\nWell, ' }}")
    (finding,) = bad(check_model(load_processor(folder), splits().rl))
    assert finding.text == "the prompt opens <think> and goes on behind it: '<think>\\nWell, '"


def test_a_template_that_refuses_a_system_turn_is_told(tmp_path: Path) -> None:
    folder = make_internvl(tmp_path)
    refuse = "{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('no system turn') }}{%- endif -%}"
    replace_template(folder, SYSTEM, "You see images.")
    replace_template(folder, "{%- set ns", refuse + "{%- set ns")
    processor = load_processor(folder)
    assert bad(check_model(processor, splits().rl)) == bad(check_template(processor, splits(), CONFIG)) == []
    lines = [finding.text for finding in check_model(processor, splits().rl)]
    assert "the chat template refuses a system turn: the tags are asked for in the user's turn" in lines


def test_a_text_model_is_told_and_refuses_images(tmp_path: Path) -> None:
    processor = load_processor(make_llama(tmp_path))
    text = [dataclasses.replace(one, media=()) for one in splits().rl]
    (finding,) = check_model(processor, text)
    assert finding == Finding(True, "the model is of the family llama: reads text only")
    assert bad(check_template(processor, DataSplits([], text, text), CONFIG)) == []
    (refusal,) = bad(check_model(processor, [*text, asked("seen")]))
    assert refusal.text.startswith("1 of 33 samples hold images (the first is 'seen'), and a model of the family llama")
    assert refusal.fix


def test_parts_are_counted_and_a_layer_without_adapter_is_a_finding(tmp_path: Path) -> None:
    model = ModelConfig(path=str(make_internvl(tmp_path)), train="lora", lora=LoraConfig(r=4))
    lines = [finding.text for finding in check_parts(dataclasses.replace(CONFIG, model=model))]
    assert lines[0].startswith("model.train=lora: ")
    # Width 64: four projections to 64 and three of the MLP between 64 and 128, in two layers, at rank 4.
    assert lines[-1] == f"adapters: {2 * 4 * (4 * 128 + 3 * 192):,} parameters beside 14 linear layers, trained"
    assert [line.partition(":")[0] for line in lines[1:-1]] == ["vision tower", "projector", "language model"]
    assert all(line.endswith("frozen") for line in lines[1:-1])
    seen = dataclasses.replace(model, lora=LoraConfig(target_modules=("fc1",)))
    found = doctor.guard(lambda: check_parts(dataclasses.replace(CONFIG, model=seen)), "mend it")
    assert [(one.good, "fc1 names model.vision_tower" in one.text) for one in found] == [(False, True)]


def test_an_unknown_family_is_a_finding_that_says_what_to_add(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model")
    settings = (folder / "config.json").read_text()
    (folder / "config.json").write_text(settings.replace('"model_type": "llama"', '"model_type": "gemma9"'))
    config = Config(
        out_dir=str(tmp_path / "run"),
        model=ModelConfig(path=str(folder)),
        data=DataConfig(num_sft=8, num_rl=32, num_eval=4),
    )
    found = dict(doctor.examine(config, HonestScorer()))
    (finding,) = found["Model"]
    assert not finding.good and "'gemma9'; known are" in finding.text and "families.py" in finding.text
    assert "Template" not in found


def test_chance_is_what_agreement_by_accident_gives() -> None:
    """yes yes no: for a "yes" one of the two others is right, for the "no" none. Letters A A B C, but C is no option of
    the first three."""
    yes_no = [asked("a"), asked("b"), asked("c", "no")]
    assert chance(yes_no) == [0.5, 0.5, 0.0]
    letters = [choice("d", "A"), choice("e", "A"), choice("f", "B"), choice("g", "C", ("a", "b", "c"))]
    assert chance([*yes_no, *letters]) == pytest.approx([0.5, 0.5, 0.0, 1 / 3, 1 / 3, 0.0, 0.0])
    assert chance([asked("h", "liver", "open", aliases=("hepar",)), asked("i", "Hepar", "open")]) == [1.0, 0.0]


def test_shuffling_gives_each_sample_the_answer_of_another_of_its_type() -> None:
    samples = (
        [asked(f"y{index}") for index in range(5)]
        + [choice(f"c{index}", "A") for index in range(3)]
        + [asked("only", "x", "open")]
    )
    partners = shuffle(samples)
    assert set(partners) == set(partners.values()) == set(range(8))
    assert all(
        place != other and samples[place].answer_type == samples[other].answer_type for place, other in partners.items()
    )


def test_honest_rewards_pass_and_print_both_numbers() -> None:
    samples = [asked(f"y{index}", "yes" if index % 2 else "no") for index in range(200)]
    findings = [*check_golds(RUBRIC, samples), *check_shuffled(HonestScorer(), samples)]
    assert bad(findings) == []
    assert findings[0].text == "200 of 200 gold answers score 1"
    # 99 of the 199 others have the same answer.
    assert "(chance 49.7)" in findings[1].text


def test_rewards_that_pay_everything_are_found_by_shuffled_gold() -> None:
    samples = [asked(f"y{index}", "yes" if index % 2 else "no") for index in range(200)]
    (finding,) = bad(check_shuffled(GenerousScorer(), samples))
    assert "yes_no 100.0 (chance 49.7)" in finding.text


def test_gold_answers_that_do_not_score_are_listed() -> None:
    routes = {**RewardConfig().routes, "mcq": "numeric"}
    rubric = make_rubric(RewardConfig(routes=routes), make_judge(JudgeConfig()))
    (finding,) = bad(check_golds(rubric, [asked("a"), choice("b", "B"), choice("c", "A")]))
    assert finding.text == "1 of 3 gold answers score 1"
    assert "b (mcq) 'B': None" in finding.fix


def test_phantoms_pass_every_check_of_data() -> None:
    data = DataConfig(num_sft=40, num_rl=40, num_eval=40)
    made = phantoms.load(data)
    assert bad(check_data(made, CONFIG)) == []
    assert bad(check_golds(RUBRIC, made.eval)) == []


def test_data_that_cannot_be_read_is_a_finding_and_the_machine_is_still_checked(tmp_path: Path) -> None:
    config = Config(out_dir=str(tmp_path / "run"), data=DataConfig(name="jsonl", root=str(tmp_path / "none.jsonl")))
    output = io.StringIO()
    found = list(doctor.examine(config, HonestScorer()))
    assert [heading for heading, _ in found] == ["Data", "Machine", "Judge"]
    assert doctor.tell(found, Console(file=output, width=200)) == (1, 0)
    assert "\u2717 data.root" in output.getvalue()
    assert "mend it: correct data.root" in output.getvalue()

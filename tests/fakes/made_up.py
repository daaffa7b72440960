"""Questions and answers that read like those of a run: the embedded images, further answer types, and what a model of a
given skill says."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Iterator

from PIL import Image

from rl.data.phantoms import questions as phantoms
from rollouts.media import with_hash
from rollouts.records import LETTERS, AnswerType, Media, Sample, stable_hash

_MIX: tuple[AnswerType, ...] = ("mcq",) * 11 + ("open",) * 6 + ("yes_no",) * 3
_LOOKS = ("bright", "dark", "ill-defined", "sharply bordered", "faint", "rounded", "irregular", "homogeneous")
_PARTS = ("the upper left", "the upper right", "the lower left", "the lower right", "the centre", "the periphery")
_STEPS = (
    "I first look at the whole image and compare both sides.",
    "There is a {look} area in {part} of the image.",
    "Its border is {look} and the surrounding tissue looks regular.",
    "I do not see a second {look} area elsewhere.",
    "An artefact in {part} is possible, but it has another shape.",
    "Compared with normal anatomy, {part} is the only region that differs.",
    "The {look} signal in {part} would fit this.",
    "Before I answer I check the question again: it asks for one thing only.",
)
_HEDGES = ("It could be either of them.", "A or B, hard to say.", "I am not sure.", "")
_ZH_QUESTION, _ZH_THINK = (
    "这张图像显示了什么?",
    "图像中可以看到一个{look}区域,位于{part}。与正常结构比较,其余部分没有异常。",
)


def questions(count: int, seed: int, image_size: int) -> Iterator[Sample]:
    """Questions on the embedded images, enlarged: choice, yes/no, open, and every so often a number, a report or a
    question in Chinese."""
    last_media: tuple[tuple[Media, ...], tuple[Media, ...]] | None = None
    for number, sample in enumerate(phantoms.samples("rl", count, seed, mix=_MIX)):
        # Questions of one image follow one another.
        if last_media is None or last_media[0] != sample.media:
            last_media = sample.media, tuple(_enlarged(medium, image_size) for medium in sample.media)
        yield _varied(dataclasses.replace(sample, media=last_media[1]), number)


def _varied(sample: Sample, number: int) -> Sample:
    if number % 20 == 7:
        millimetres = str(4 + stable_hash("mm", number) % 60)
        question = f"How large is the finding in this {sample.modality}, in mm?"
        return dataclasses.replace(
            sample,
            question=question,
            answer_type="numeric",
            gold_text=f"{millimetres} mm",
            aliases=(),
            options=None,
            gold_letters=None,
        )
    if number % 20 == 13:
        gold = (sample.visual_references or (sample.gold_text,))[0]
        question = f"Describe this {sample.modality} in one sentence."
        return dataclasses.replace(
            sample, question=question, answer_type="report", gold_text=gold, aliases=(), options=None, gold_letters=None
        )
    if number % 10 == 3 and sample.answer_type == "open":
        return dataclasses.replace(sample, question=_ZH_QUESTION, language="zh")
    return sample


def _enlarged(medium: Media, size: int) -> Media:
    def larger(data: bytes) -> bytes:
        picture = Image.open(io.BytesIO(data)).convert("L").resize((size, size), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()

    if medium.frames is not None:
        return with_hash(dataclasses.replace(medium, frames=tuple(larger(frame) for frame in medium.frames), sha256=""))
    return with_hash(dataclasses.replace(medium, data=larger(medium.data or b""), sha256=""))


def said(sample: Sample, skill: float, rng: random.Random) -> tuple[str, str]:
    """What a model that is right with chance `skill` answers, and its finish reason; now and then without tags, hedged,
    or cut at the limit."""
    sentences = [
        step.format(look=rng.choice(_LOOKS), part=rng.choice(_PARTS))
        for step in rng.sample(_STEPS, rng.randrange(2, len(_STEPS)))
    ]
    if sample.language == "zh":
        sentences = [_ZH_THINK.format(look="高密度", part="右上方")]
    think, answer = " ".join(sentences), _answer(sample, rng.random() < skill, rng)
    luck = rng.random()
    if luck < 0.03:
        text = f"<think>{think} {think}"
        return text[: rng.randrange(len(text) // 2, len(text))], "length"
    if luck < 0.06:
        return f"{think} The answer is {answer}", "stop"
    if luck < 0.08:
        answer = rng.choice(_HEDGES)
    return f"<think>{think}</think>\n<answer>{answer}</answer>", "stop"


def _answer(sample: Sample, right: bool, rng: random.Random) -> str:
    if sample.answer_type == "mcq":
        options = sample.options or ()
        gold = LETTERS.index((sample.gold_letters or ("A",))[0])
        index = gold if right else rng.choice([i for i in range(len(options)) if i != gold])
        return rng.choice((f"{LETTERS[index]}. {options[index]}", LETTERS[index], options[index]))
    if sample.answer_type == "yes_no":
        return sample.gold_text if right else {"yes": "no", "no": "yes"}[sample.gold_text]
    if sample.answer_type == "numeric":
        return sample.gold_text if right else f"{rng.randrange(4, 64)} mm"
    if sample.answer_type == "report":
        words = sample.gold_text.split()
        return sample.gold_text if right else " ".join(words[: rng.randrange(1, len(words) + 1)])
    if right:
        wording = rng.choice((sample.gold_text, *sample.aliases))
        # Wordings that no list holds are what a judge is for.
        return rng.choice(("{}", "{}", "this shows {}", "consistent with {}", "most probably {}, seen clearly")).format(
            wording
        )
    return rng.choice(("normal", "a fracture", "a cyst", "a mass", f"no {sample.gold_text}", "upper left of the image"))


def truth(data: dict[str, object]) -> str:
    """What the made-up judge says of a request: right by wording, with a few errors and doubts that depend on nothing
    but the texts."""
    candidate, reference = str(data["candidate"]).casefold(), str(data["reference"]).casefold()
    wordings = data["accepted_wordings"]
    accepted = {reference, *(str(word).casefold() for word in wordings)} if isinstance(wordings, list) else {reference}
    luck = stable_hash("verdict", str(data["question"]), reference, candidate) % 1000
    if luck < 15:
        return "unsure"
    right = (
        any(candidate.endswith((wording, f"{wording}, seen clearly")) for wording in accepted)
        and "no " not in f" {candidate}"
    )
    # A judge and a rule that read the same answer do not always agree.
    return "correct" if right != (luck < 50) else "incorrect"


def is_unreadable(data: dict[str, object]) -> bool:
    """Whether the made-up judge answers this request with rubbish, however often it is asked."""
    return stable_hash("rubbish", str(data["question"]), str(data["candidate"])) % 60 == 0

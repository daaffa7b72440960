"""The embedded data set: drawn images turned into questions by the paper's curation rules (Fleming-VL, Sec 3.3), and
its SFT corpus.

A mask becomes location words (D2), a label becomes multiple choice with 1 to 3 random other labels as distractors (D4,
D8) or a direct question, and a question is drawn from a pool of synonymous phrasings (D1). Everything follows from
`DataConfig.seed`; an image of one split is never drawn in another. The SFT corpus is openly of mixed quality: see
`sft_row`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from rl.config import DataConfig
from rl.data.phantoms import words
from rl.data.phantoms.draw import FINDINGS, Phantom, Rng, draw
from rl.data.sets import DataSplits, SftRow
from rollouts.media import with_hash
from rollouts.prompt.messages import response
from rollouts.records import LETTERS, AnswerType, Media, Sample, stable_hash

# Looking must be all that pays: whoever knows the modality, the question and its options and has not seen the image is
# right as often as by chance (tests/rl/data/test_phantoms.py holds it). A normal image is always asked about its
# finding, every other one half of the time, so normal ones are drawn half as often. An effusion lies low and a
# pneumothorax high in every radiograph, so nobody asks where in the image they are.
NORMAL_WEIGHT = 0.5
PLACE_IS_KNOWN = ("effusion", "pneumothorax")

DEFAULT_NUM_SFT, DEFAULT_NUM_RL, DEFAULT_NUM_EVAL = 4096, 2048, 640
# Answer types of 20 consecutive questions of a modality. The RL pool holds few yes/no items, of which most are dropped
# later (C7).
_EVAL_MIX: tuple[AnswerType, ...] = ("mcq",) * 9 + ("open",) * 6 + ("yes_no",) * 5
_RL_MIX: tuple[AnswerType, ...] = ("mcq",) * 14 + ("open",) * 4 + ("yes_no",) * 2
# How much more often than `shortcut_fraction` a row of this answer type reasons without looking. Shortcuts grow on
# multiple choice (the paper, Sec 1); over the mix above the mean is 1: 0.45 * 4/3 + 0.30 * 1/3 + 0.25 * 6/5 = 1.
SHORTCUT_WEIGHT: dict[str, float] = {"mcq": 4 / 3, "open": 1 / 3, "yes_no": 6 / 5}


def load(data: DataConfig) -> DataSplits:
    """SFT rows, RL pool and held-out samples of the sizes asked for; the same configuration gives the same bytes."""
    num_sft, num_rl, num_eval = data.num_sft, data.num_rl, data.num_eval
    sft = samples("sft", num_sft if num_sft is not None else DEFAULT_NUM_SFT, data.seed)
    # The pool is larger than the RL set by what dropping yes/no items takes away (10 % of the pool, of which half is
    # dropped).
    wanted_rl = num_rl if num_rl is not None else DEFAULT_NUM_RL
    rl = samples("rl", wanted_rl + wanted_rl // 10, data.seed, mix=_RL_MIX)
    held_out = samples("eval", num_eval if num_eval is not None else DEFAULT_NUM_EVAL, data.seed)
    return DataSplits(sft=[sft_row(sample, data.shortcut_fraction, data.seed) for sample in sft], rl=rl, eval=held_out)


def samples(split: str, count: int, seed: int, mix: Sequence[AnswerType] = _EVAL_MIX) -> list[Sample]:
    """The first `count` questions of a split: modalities in turn, 1 or 2 questions an image, answer types in the shares
    of `mix`."""
    made: list[Sample] = []
    schedules = {modality: _answer_types(mix, seed, split, modality) for modality in FINDINGS}
    index = 0
    while len(made) < count:
        modality = tuple(FINDINGS)[index % len(FINDINGS)]
        made += image_samples(split, index, modality, schedules[modality], seed)
        index += 1
    return made[:count]


def _answer_types(mix: Sequence[AnswerType], *seed: object) -> Iterator[AnswerType]:
    rng = np.random.default_rng(stable_hash("answer types", *seed))
    while True:
        yield from (mix[i] for i in rng.permutation(len(mix)))


def image_samples(split: str, index: int, modality: str, answer_types: Iterator[AnswerType], seed: int) -> list[Sample]:
    """The one or two questions about image number `index` of a split."""
    rng = np.random.default_rng(stable_hash("phantom questions", seed, split, index))
    finding = draw_finding(modality, rng)
    phantom = draw(modality, finding, stable_hash(seed, split, index))
    media = as_media(phantom)
    questions: list[Sample] = []
    for _ in range(int(rng.integers(1, 3))):
        taken = tuple(other.question for other in questions)
        name = f"phantoms-{split}-{index:06d}-{len(questions)}"
        questions.append(ask(name, split, phantom, media, next(answer_types), rng, taken))
    return questions


def draw_finding(modality: str, rng: Rng) -> str:
    """What an image shows; "normal" half as often as each finding."""
    weights = np.array([NORMAL_WEIGHT if finding == "normal" else 1.0 for finding in FINDINGS[modality]])
    return str(rng.choice(FINDINGS[modality], p=weights / weights.sum()))


def as_media(phantom: Phantom) -> Media:
    """An image, or for a computed tomography the ordered slices as a volume."""
    frames = []
    for frame in phantom.frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, format="PNG", compress_level=1)
        frames.append(buffer.getvalue())
    if len(frames) == 1:
        return with_hash(Media(kind="image", data=frames[0]))
    return with_hash(Media(kind="volume", frames=tuple(frames), frame_indices=tuple(range(len(frames)))))


def facts(phantom: Phantom) -> dict[str, str]:
    """Kind of question -> its answer, from label and mask: finding, and where there is one place, side (facing the
    patient), slice."""
    known = {"finding": phantom.finding}
    if phantom.finding == "normal":
        return known
    mask = np.asarray(phantom.masks.any(axis=0))
    known["place"] = words.image_place(mask)
    if phantom.modality in words.FACING_PATIENT:
        known["side"] = words.patient_side(mask)
    if len(phantom.masks) > 1:
        known["slice"] = words.largest_slice(phantom.masks)
    return known


def describe(known: dict[str, str]) -> str:
    """What is seen, in words: "a nodule in the upper left of the image, on the patient's right"."""
    if known["finding"] == "normal":
        return "normal tissue"
    text = f"{words.with_article(known['finding'])} in the {known['place']}"
    if "side" in known:
        text += f", on the {known['side']}"
    if "slice" in known:
        text += f", best in {known['slice']}"
    return text


def choices(kind: str, modality: str) -> tuple[str, ...]:
    """All answers a kind of question may have, gold included."""
    return {
        "finding": FINDINGS[modality],
        "place": words.IMAGE_PLACES,
        "side": words.PATIENT_SIDES,
        "slice": words.SLICES,
    }[kind]


def ask(
    id: str,
    split: str,
    phantom: Phantom,
    media: Media,
    answer_type: AnswerType,
    rng: Rng,
    taken: Sequence[str] = (),
) -> Sample:
    """One question of an answer type about an image, with gold letter and gold text; its wording is none of `taken`."""
    known = facts(phantom)
    if answer_type == "yes_no":
        return _ask_presence(id, split, phantom, media, rng, taken)
    # Half of the questions are about the finding itself, the others about where it is.
    where = [kind for kind in known if kind != "finding" and (kind != "place" or phantom.finding not in PLACE_IS_KNOWN)]
    kind = str(rng.choice(where)) if where and rng.random() < 0.5 else "finding"
    options = gold_letters = None
    if answer_type == "mcq":
        options = draw_options(known[kind], choices(kind, phantom.modality), rng)
        gold_letters = (LETTERS[options.index(known[kind])],)
    return Sample(
        id=id,
        question=phrase(kind, phantom.modality, phantom.finding, rng, taken),
        answer_type=answer_type,
        gold_text=known[kind],
        options=options,
        gold_letters=gold_letters,
        aliases=words.aliases(known[kind]),
        media=(media,),
        split=split,
        source="phantoms",
        modality=phantom.modality,
        tags={"kind": kind},
        visual_references=(describe(known),),
    )


def draw_options(gold: str, pool: Sequence[str], rng: Rng) -> tuple[str, ...]:
    """The gold among 1 to 3 random others, in random order, so that every letter is equally likely to be right."""
    others = [answer for answer in pool if answer != gold]
    count = int(rng.integers(1, min(3, len(others)) + 1))
    chosen = [gold, *(others[i] for i in rng.permutation(len(others))[:count])]
    return tuple(chosen[i] for i in rng.permutation(len(chosen)))


def _ask_presence(id: str, split: str, phantom: Phantom, media: Media, rng: Rng, taken: Sequence[str]) -> Sample:
    """Half of the questions ask for what is there, half for something of the same modality that is not."""
    present = bool(rng.random() < 0.5)
    finding = phantom.finding if present else draw_absent(phantom.modality, phantom.finding, rng)
    return Sample(
        id=id,
        question=phrase("normality" if finding == "normal" else "presence", phantom.modality, finding, rng, taken),
        answer_type="yes_no",
        gold_text="yes" if present else "no",
        media=(media,),
        split=split,
        source="phantoms",
        modality=phantom.modality,
        tags={"kind": "presence"},
        visual_references=(describe(facts(phantom)),),
    )


def draw_absent(modality: str, finding: str, rng: Rng) -> str:
    """Something of the modality that is not there, such that each is asked for as often in vain as it is found.

    With k findings beside "normal", an image shows "normal" with probability 1 / (2k + 1) and each finding with twice
    that. From an image with a finding, "normal" is asked for with weight k - 1 and each other finding with 2k - 1: then
    2k / (2k + 1) x (k - 1) / (2k (k - 1)) = 1 / (2k + 1), as often as it is there, and the same holds of the findings.
    """
    others = [other for other in FINDINGS[modality] if other != finding]
    k = len(FINDINGS[modality]) - 1
    weights = np.array([k - 1 if other == "normal" else 2 * k - 1 for other in others], dtype=float)
    return str(rng.choice(others, p=weights / weights.sum()))


def phrase(kind: str, modality: str, finding: str, rng: Rng, taken: Sequence[str] = ()) -> str:
    """One of the synonymous wordings of a kind of question (D1), none of `taken`."""
    a_finding = words.with_article(finding)
    wordings = [one.format(modality=modality, finding=finding, a_finding=a_finding) for one in words.QUESTIONS[kind]]
    return str(rng.choice([wording for wording in wordings if wording not in taken]))


def looking_response(sample: Sample, rng: Rng) -> str:
    """A clean gold response: the thought names what is seen, the answer follows from it. Multiple choice is answered
    with letter and text, "B. nodule".

    The thought names the text first and its letter right behind it ("so the answer is nodule B."). Asked for the letter
    at the word itself, the model has only to find the same word among the options and say what stands before it, which
    two layers can do and some hundred updates teach. Asked for it at the answer's tag, where the word is not, a model
    of this size was at chance after 400 updates.
    """
    opener = words.LOOKING_OPENERS[int(rng.integers(len(words.LOOKING_OPENERS)))]
    seen = f"{opener} {sample.visual_references[0]}, {words.CONCLUSION}"
    if sample.gold_letters is None:
        return response(f"{seen} {sample.gold_text}.", sample.gold_text)
    (letter,) = sample.gold_letters
    # Places end alike, so the letter follows the part that tells them apart.
    text = sample.gold_text.removesuffix(" of the image")
    return response(f"{seen} {text} {letter}.", f"{letter}. {sample.gold_text}")


def shortcut_response(sample: Sample, rng: Rng) -> str:
    """A response that did not look: a bare generic thought, and always the same answer: yes, the first option by its
    letter, or the first of the answers that its kind of question has.

    No blind policy answers better: whatever modality, question and options tell, every answer is as likely as another.
    Nor is it ever no answer at all, so that a policy that cannot see has nothing to gain by other thoughts.
    """
    if sample.answer_type == "yes_no":
        answer = "yes"
    elif sample.answer_type == "mcq":
        answer = sample.letters[0]
    else:
        answer = choices(sample.tags["kind"], sample.modality)[0]
    thought = words.SHORTCUT_THOUGHTS[int(rng.integers(len(words.SHORTCUT_THOUGHTS)))]
    return response(thought, answer)


def sft_row(sample: Sample, shortcut_fraction: float, seed: int) -> SftRow:
    """One row of the mixed corpus: with probability `shortcut_fraction` x SHORTCUT_WEIGHT it answers without looking,
    else it looks.

    Real instruction corpora hold such rows; here their share is known and openly stated, because it is what GRPO then
    corrects.
    """
    rng = np.random.default_rng(stable_hash("rationale", seed, sample.id))
    if rng.random() < min(1.0, shortcut_fraction * SHORTCUT_WEIGHT[sample.answer_type]):
        return SftRow(sample, shortcut_response(sample, rng))
    return SftRow(sample, looking_response(sample, rng))

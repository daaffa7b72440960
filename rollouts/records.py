"""The records everything else is written in: what was asked, what came back, what it was paid.

Plain dataclasses without behaviour beyond their own checks; importing this file loads neither torch nor vLLM. The
reason for each field stands beside it, and so does what ``None`` means. ``SCHEMA_VERSION`` is written into every stored
run; a reader refuses newer ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from rollouts.texts.reading import TextFault, is_blank, quote, refuse_half_pairs, trim

# 2: media carry where they come from (source, patient, axes, places, times, provenance, mask) and frames as files; 1 is
# read.
SCHEMA_VERSION = 2

MediaKind = Literal["image", "volume", "video"]
AnswerType = Literal["mcq", "multi", "yes_no", "open", "numeric", "report", "box"]
Status = Literal["ok", "abstain", "error", "timeout"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The tag that says that options are shown with other labels than their letters, and its values.
LABELS = "labels"
OTHER_LABELS = {
    "digits": tuple(map(str, range(1, 27))),
    "roman": ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"),
}
# The name under which the reward that says right or wrong stands in weights and outcomes, whichever measures it.
ACCURACY = "accuracy"


class BadSample(ValueError):
    """A row of a data set that cannot be asked or graded. Raised when the row is loaded, never inside a reward
    (ANSWERS.md, rule 13)."""


@dataclass(frozen=True)
class Media:
    """One image, volume or video of a question. A volume or a video is an ordered list of RGB frames by the time a
    model sees it."""

    kind: MediaKind
    # Where the bytes are: exactly one of the two. Generated images come as encoded bytes, real ones as a path.
    path: str | None = None
    data: bytes | None = None
    # SHA-256 of what is shown: an image's file, or the frames' hashes in order; the store keeps each file once under
    # its own. "" = not computed yet, see `with_hash`.
    sha256: str = ""
    # Indices of the slices or frames that were chosen from the source, in order; None = a single image, or all of them.
    frame_indices: tuple[int, ...] | None = None
    # Encoded frames of a volume or video (PNG each), in order; None = a single image, or `frame_files`.
    frames: tuple[bytes, ...] | None = None
    # The same as paths of PNG files in a cache or in a run's folder, so that no picture lies in memory; also of a
    # single image that no browser opens, such as a DICOM radiograph.
    frame_files: tuple[str, ...] | None = None
    # SHA-256 of the source, however it is shown: window, plane and number of frames do not change it. "" = the source
    # is what is shown, see `sha256`.
    source_sha256: str = ""
    # Whose picture it is: a salted hash, never a name or a number of a hospital (`patient_key`). "" = unknown.
    patient: str = ""
    # Seconds from the video's start at which each frame is shown; None = no time.
    frame_times: tuple[float, ...] | None = None
    # Millimetres of each slice along the volume's own axis; None = no place.
    positions: tuple[float, ...] | None = None
    # Where columns, rows and frames run to, such as "LPS"; "" = unknown, and then nothing can be said of the patient's
    # sides.
    axes: str = ""
    # What was read and how: plain values under the names that `rollouts.imaging.notes` allows, never a name, a date or
    # free text; empty = an ordinary picture.
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)
    # PNG files of a mask, one a frame and as large as it: 0 outside, anything else inside. Shown to people, never to
    # the model; None = there is none.
    mask_files: tuple[str, ...] | None = None
    # The text before each frame in the prompt, such as "Slice 13 of 40:"; None = frames stand without words between.
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_media(self)

    @property
    def num_frames(self) -> int:
        """Pictures the model is shown: 1 for an image."""
        shown = self.frames if self.frames is not None else self.frame_files
        return 1 if shown is None else len(shown)


def check_media(media: Media) -> None:
    """Raise BadSample with what was got and what was expected."""
    if media.kind not in get_args(MediaKind):
        raise BadSample(f"media kind is {media.kind!r}, expected one of {get_args(MediaKind)}")
    if sum(source is not None for source in (media.path, media.data, media.frames, media.frame_files)) != 1:
        raise BadSample("media needs exactly one of path, data, frames, frame_files")
    if media.num_frames == 0:
        raise BadSample(f"a {media.kind} needs at least one frame, got none")
    for name in ("frame_indices", "frame_times", "positions", "mask_files", "labels"):
        values = getattr(media, name)
        if values is not None and len(values) != media.num_frames:
            raise BadSample(f"a {media.kind} of {media.num_frames} frames has {len(values)} {name}, expected one each")
    for name, value in media.provenance.items():
        if not _is_plain(value):
            raise BadSample(
                f"provenance {name!r} is {quote(value)}, expected text, numbers, and lists or objects of them"
            )


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(inner) for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool))


def patient_key(name: str, salt: str) -> str:
    """The key of a patient: the same for the same name and salt, and no way back to the name without the salt."""
    return hashlib.sha256(f"patient\x1f{salt}\x1f{name.strip()}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


@dataclass(frozen=True)
class RubricCriterion:
    """One thing that a judge looks for in an answer, and what finding it is worth (HealthBench, arXiv:2505.08775)."""

    text: str
    # Points for an answer that meets it; negative = a fault that costs points.
    points: float


@dataclass(frozen=True)
class Sample:
    """One question with its images and its gold answer. Letter and text of the gold are both kept, so one item can be
    asked closed or open."""

    id: str
    question: str
    answer_type: AnswerType
    # What the reference answer says in words. For yes_no: "yes" or "no".
    gold_text: str
    # Ordered option texts, 2 to 26; None = asked without options.
    options: tuple[str, ...] | None = None
    # Letters of the right options ("B",); more than one only for `multi`; None = no options.
    gold_letters: tuple[str, ...] | None = None
    # Other wordings that mean the gold answer exactly.
    aliases: tuple[str, ...] = ()
    media: tuple[Media, ...] = ()
    split: str = "train"
    source: str = ""
    modality: str = ""
    language: Literal["en", "zh"] = "en"
    tags: Mapping[str, str] = field(default_factory=dict)
    # Steps a good rationale would cover (process rewards); empty = not annotated.
    reference_steps: tuple[str, ...] = ()
    # Boxes x0, y0, x1, y1 in pixels of the first image; empty = not annotated.
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    # What is to be seen, in words (Perception-R1); empty = not annotated.
    visual_references: tuple[str, ...] = ()
    # Criteria with points for open answers and reports; empty = not annotated.
    rubric: tuple[RubricCriterion, ...] = ()
    # Items that must be right together (ProbMed); None = stands alone.
    pair_id: str | None = None
    # Share of a model's attempts that failed, as measured by whoever made the set: 0 always solved .. 1 never solved;
    # None = unknown. `data.min_difficulty` and `data.max_difficulty` draw the RL set by it.
    difficulty: float | None = None

    def __post_init__(self) -> None:
        check_sample(self)

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters of the options in order; empty where there are none."""
        return tuple(LETTERS[: len(self.options)]) if self.options else ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What stands before each option where it is shown: its letter, or by the tag LABELS a digit or a roman
        number."""
        known = OTHER_LABELS.get(self.tags.get(LABELS, ""))
        return known[: len(self.letters)] if known and len(known) >= len(self.letters) else self.letters


def check_sample(sample: Sample) -> None:
    """Raise BadSample with what was got, what was expected and the sample's id (ANSWERS.md, rule 13)."""
    where = f"sample {quote(sample.id)}: "
    if sample.answer_type not in get_args(AnswerType):
        raise BadSample(f"{where}answer_type is {quote(sample.answer_type)}, expected one of {get_args(AnswerType)}")
    try:
        refuse_half_pairs(vars(sample))
    except TextFault as error:
        raise BadSample(f"{where}{error}") from None
    if is_blank(sample.id):
        raise BadSample(f"{where}the id is empty")
    if is_blank(sample.question):
        raise BadSample(f"{where}the question is empty")
    if is_blank(sample.gold_text):
        raise BadSample(f"{where}the gold answer is empty")
    if sample.answer_type in ("mcq", "multi") and not sample.options:
        raise BadSample(f"{where}answer_type {sample.answer_type} needs options, got none")
    if sample.answer_type == "yes_no" and sample.gold_text not in ("yes", "no"):
        raise BadSample(f"{where}a yes_no gold must be 'yes' or 'no', got {quote(sample.gold_text)}")
    if sample.options is not None:
        _check_options(sample, where)
    if sample.rubric:
        _check_rubric(sample.rubric, where)


def _check_options(sample: Sample, where: str) -> None:
    options = sample.options or ()
    if not 2 <= len(options) <= len(LETTERS):
        raise BadSample(f"{where}{len(options)} options, expected 2 to {len(LETTERS)}")
    if any(map(is_blank, options)):
        raise BadSample(f"{where}an option is empty: {quote(list(options))}")
    folded = [" ".join(trim(option).casefold().split()) for option in options]
    if len(set(folded)) != len(folded):
        raise BadSample(f"{where}two options have the same text: {quote(list(options))}")
    gold = sample.gold_letters or ()
    if not gold or any(letter not in sample.letters for letter in gold) or len(set(gold)) != len(gold):
        raise BadSample(f"{where}gold letters are {list(gold)}, expected letters of {list(sample.letters)}")
    if sample.answer_type != "multi" and len(gold) != 1:
        raise BadSample(f"{where}{sample.answer_type} needs one gold letter, got {list(gold)}")


def _check_rubric(rubric: tuple[RubricCriterion, ...], where: str) -> None:
    for criterion in rubric:
        if is_blank(criterion.text):
            raise BadSample(f"{where}a criterion of the rubric is empty")
        if not 0 < abs(criterion.points) < float("inf"):
            raise BadSample(
                f"{where}criterion {criterion.text[:60]!r} has {criterion.points!r} points, expected a finite number"
                " but 0"
            )
    if not any(criterion.points > 0 for criterion in rubric):
        raise BadSample(f"{where}no criterion of the rubric has positive points, so nothing could be earned")
    if len({criterion.text for criterion in rubric}) < len(rubric):
        raise BadSample(f"{where}two criteria of the rubric have the same text")


@dataclass(frozen=True)
class Completion:
    """One answer of the policy, as the engine gave it."""

    token_ids: tuple[int, ...]
    text: str
    # "stop" = the model ended by itself; "length" = cut at max_completion_length; "abort" = the engine gave up.
    finish_reason: Literal["stop", "length", "abort"]
    # Log-probability of each token under the distribution it was drawn from (temperature and bans applied); same length
    # as token_ids. Whatever sequence is given, an array of float32 is kept (`per_token`).
    logprobs: Sequence[float] = field(hash=False)
    # Sampling seed of this completion: hash(seed, step, prompt id, sample index, attempt).
    seed: int
    # Version of the weights that drew it: number of optimiser steps of the controller at the last sync.
    policy_version: int
    engine: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "logprobs", per_token(self.logprobs))


def per_token(values: Sequence[float]) -> array[float]:
    """A number for each token as models compute it, in float32: a step holds millions. Reads, compares and travels like
    any sequence of floats, and numpy and torch take it as it lies."""
    return values if isinstance(values, array) and values.typecode == "f" else array("f", values)


@dataclass(frozen=True)
class Parsed:
    """A completion read once; format, option match, judge, evaluation and viewer all use this (ANSWERS.md, rule 15)."""

    # Text of the thoughts; None = no closed think block.
    think: str | None
    # The answer span; None = there is none (an unclosed think, no text).
    answer: str | None
    # Letters the answer commits to, sorted; () = none could be resolved. More than one only where the question asks for
    # several.
    letters: tuple[str, ...] = ()
    # "yes" or "no" where the answer says so by whole word; None otherwise.
    yes_no: Literal["yes", "no"] | None = None
    # Exactly the four tags in order, nothing outside, no blank body (rule 14).
    well_formed: bool = False
    # Why nothing was resolved, or by which rule it was; shown to the reader.
    reason: str = ""
    # Whether the answer states something, nothing, or could be read in two ways (rule 17): that pays 0 and is counted.
    verdict: Literal["stated", "nothing", "unclear"] = "nothing"


@dataclass(frozen=True)
class Outcome:
    """What one reward said of one completion. A failed judgement is never a number (JUDGING.md): `value` is None unless
    status is ok."""

    value: float | None
    status: Status = "ok"
    reason: str = ""
    # Named components that make up the value, each a finite number.
    parts: Mapping[str, float] = field(default_factory=dict)
    # Transcript of a judge or other proof, JSON-ready; None = none was needed.
    evidence: Mapping[str, Any] | None = None
    # Money in the judge's currency, and wall seconds this outcome took.
    cost: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"outcome status is {self.status!r}, expected one of {get_args(Status)}")
        finite = isinstance(self.value, (int, float)) and abs(self.value) < float("inf")
        if (self.status == "ok") != finite:
            raise ValueError(
                f"outcome {self.status!r} with value {self.value!r}: a finite value goes with 'ok' and only with it"
            )


class RolloutKey(NamedTuple):
    """What makes a rollout unique in the world."""

    run: str
    step: int
    prompt_id: str
    sample_index: int


@dataclass(frozen=True)
class Rollout:
    """All that is known of one completion; the unit of the store, of replay and of the viewer."""

    run: str
    step: int
    prompt_id: str
    # 0..N-1 inside the group of completions of one prompt.
    sample_index: int
    sample: Sample
    # The prompt as the model saw it (after the chat template, before image tokens are multiplied).
    prompt_text: str
    completion: Completion
    parsed: Parsed
    # Reward name -> outcome; and reward name -> weight of it in the total.
    outcomes: Mapping[str, Outcome]
    weights: Mapping[str, float]
    # Weighted sum; None = a required reward is not ok, then `valid` is False and the row is not trained on.
    total: float | None
    # The loss mask of all its tokens: False = in no mean, std, loss or denominator (not scored, given up by the engine,
    # or its group was dropped, or replaced by another: grpo.refill).
    valid: bool
    # Group-relative advantage; 0.0 for an invalid row; None = not computed yet.
    advantage: float | None = None
    # Log-probs of each completion token under the policy at the step's start and under the frozen reference, kept as
    # those of the completion; None = not computed.
    old_logprobs: Sequence[float] | None = field(default=None, hash=False)
    ref_logprobs: Sequence[float] | None = field(default=None, hash=False)
    # Wall seconds by name: gen, reward.
    timings: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("old_logprobs", "ref_logprobs"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, per_token(values))

    @property
    def key(self) -> RolloutKey:
        return RolloutKey(self.run, self.step, self.prompt_id, self.sample_index)


def stable_hash(*parts: object) -> int:
    """A 63-bit integer that depends on nothing but its arguments: the source of every seed and every order (README, One
    step of GRPO)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def to_dict(record: Any) -> Any:
    """A record as JSON-ready values; bytes are left out (the store keeps media by hash)."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        pairs = ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record))
        return {name: to_dict(value) for name, value in pairs if not _holds_bytes(value)}
    if isinstance(record, Mapping):
        return {str(key): to_dict(value) for key, value in record.items()}
    if isinstance(record, (list, tuple, array)):
        return [to_dict(value) for value in record]
    return record


def _holds_bytes(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, tuple) and bool(value) and isinstance(value[0], bytes))

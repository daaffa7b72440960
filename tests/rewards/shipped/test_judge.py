"""The judge reward: what goes to the judge with an answer, and what of it is kept on the outcome."""

from __future__ import annotations

import asyncio
import hashlib
import io

import pytest
from PIL import Image

from judges import Question, RulesJudge, Verdict
from rewards.shipped.verdicts import images_for, judge_reward
from rollouts.records import BadSample, Media, Parsed, Sample
from tests.fakes.fake_rollouts import encoded, png


class Recorder(RulesJudge):
    """Keeps what it was asked and says what it is told to."""

    name = "recorder"

    def __init__(self, shows_images: bool, verdict: Verdict) -> None:
        super().__init__()
        self.shows_images = shows_images
        self.verdict = verdict
        self.asked: list[Question] = []

    async def judge(self, asked: Question) -> Verdict:
        self.asked.append(asked)
        return self.verdict


JPEG = encoded(Image.new("RGB", (40, 30), (200, 10, 10)), "JPEG")
SAMPLE = Sample(
    "s",
    "Which organ?",
    "open",
    "Liver",
    aliases=("Hepar",),
    media=(Media("image", data=png(1)), Media("image", data=JPEG)),
)


def paid(judge: Recorder, answer: str | None = "Hepar", sample: Sample = SAMPLE):
    return asyncio.run(judge_reward(Parsed(None, answer), sample, judge, "g7"))


def test_images_go_to_a_judge_that_shows_them_as_png_under_the_hash_of_their_source():
    judge = Recorder(True, Verdict("correct"))
    assert paid(judge).value == 1.0
    (asked,) = judge.asked
    assert asked.group_key == "g7"
    assert (asked.question, asked.reference, asked.answer) == ("Which organ?", "Liver", "Hepar")
    assert (asked.aliases, asked.language) == (("Hepar",), "en")
    assert [one.sha256 for one in asked.media] == [hashlib.sha256(png(1)).hexdigest(), hashlib.sha256(JPEG).hexdigest()]
    assert asked.media[0].png == png(1)
    opened = Image.open(io.BytesIO(asked.media[1].png))
    assert (opened.format, opened.size) == ("PNG", (40, 30))


def test_a_volume_is_shown_slice_by_slice():
    slices = tuple(png(number) for number in range(3))
    sample = Sample(
        "s", "Which organ?", "open", "Liver", media=(Media("volume", frames=slices, frame_indices=(4, 12, 20)),)
    )
    assert [one.png for one in images_for(Recorder(True, Verdict("correct")), sample)] == list(slices)


def test_a_judge_that_shows_none_opens_no_file():
    gone = Sample("s", "Which organ?", "open", "Liver", media=(Media("image", path="/nowhere/image.png"),))
    judge = Recorder(False, Verdict("incorrect"))
    assert paid(judge, sample=gone).value == 0.0
    assert judge.asked[0].media == ()
    with pytest.raises(BadSample, match="nowhere"):
        paid(Recorder(True, Verdict("incorrect")), sample=gone)


def test_the_outcome_keeps_the_whole_transcript_the_cost_and_the_seconds():
    said = {"attempts": [{"reply": "{..}", "problem": ""}], "prompt": "equivalence_1.en@abc"}
    judge = Recorder(
        False, Verdict("incorrect", reason="judge: another organ", transcript=said, seconds=1.5, num_calls=1, cost=0.25)
    )
    outcome = paid(judge)
    assert (outcome.value, outcome.status, outcome.reason, outcome.cost, outcome.seconds) == (
        0.0,
        "ok",
        "judge: another organ",
        0.25,
        1.5,
    )
    assert outcome.evidence == {"judge": "recorder", "layer": "judge", "decision": "incorrect", "failure": None, **said}


@pytest.mark.parametrize(
    ("verdict", "status", "reason"),
    [
        (Verdict("unsure", cost=0.5), "abstain", "the judge is unsure"),
        (Verdict(None, "timeout", "the deadline passed", cost=0.5), "timeout", "timeout: the deadline passed"),
        (
            Verdict(None, "budget", "the budget of 3 calls is spent", cost=0.5),
            "error",
            "budget: the budget of 3 calls is spent",
        ),
        (Verdict(None, "unreadable", "3 replies", cost=0.5), "error", "unreadable: 3 replies"),
    ],
)
def test_what_is_no_verdict_is_no_number_and_still_costs(verdict, status, reason):
    outcome = paid(Recorder(False, verdict))
    assert (outcome.value, outcome.status, outcome.reason, outcome.cost) == (None, status, reason, 0.5)
    assert outcome.evidence["failure"] == verdict.failure


def test_no_answer_asks_nobody():
    judge = Recorder(True, Verdict("correct"))
    assert paid(judge, None).value == 0.0
    assert paid(judge, "").value == 0.0
    assert judge.asked == []

"""The accuracy reward of open answers: a judge compares the answer with the gold text."""

from judges import Judge
from rewards.registry import reward
from rewards.shipped.judge_images import images_for
from rollouts.records import Outcome, Parsed, Sample, Status


@reward("judge", by_answer=True)
async def judge_reward(parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None) -> Outcome:
    """1 for an answer that means the gold text or an alias, 0 for one that does not. Range {0, 1}. Source: Fleming-VL, Sec 3.2.

    Only the answer span is judged, never the thoughts. No answer pays 0. A judge that is unsure abstains, a failed judgement is an error or a
    timeout: neither is a number. An item asked open keeps its options in the record, but they were not shown: its letter is no answer.
    The images go along where the judge shows images (`judge.show_images`). The evidence is the judge's whole transcript.
    """
    if not parsed.answer:
        return Outcome(0.0, reason=parsed.reason or "no answer")
    verdict = await judge.judge(
        sample.question,
        sample.gold_text,
        sample.aliases,
        parsed.answer,
        sample.language,
        media=images_for(judge, sample),
        group_key=group_key,
    )
    evidence = {
        "judge": judge.name,
        "layer": verdict.layer,
        "decision": verdict.decision,
        "failure": verdict.failure,
        **verdict.transcript,
    }
    value: float | None = None
    status: Status = "ok"
    reason = verdict.reason
    if verdict.decision is None:
        status = "timeout" if verdict.failure == "timeout" else "error"
        reason = f"{verdict.failure}: {verdict.reason}"
    elif verdict.decision == "unsure":
        status, reason = "abstain", "the judge is unsure"
    else:
        value = float(verdict.decision == "correct")
    return Outcome(value, status, reason, evidence=evidence, cost=verdict.cost, seconds=verdict.seconds)

"""The accuracy reward of open answers: a judge compares the answer with the gold text."""

from judges import Judge
from rewards.registry import reward
from rollouts.records import Outcome, Parsed, Sample


@reward("judge", by_answer=True)
async def judge_reward(parsed: Parsed, sample: Sample, judge: Judge) -> Outcome:
    """1 for an answer that means the gold text or an alias, 0 for one that does not. Range {0, 1}. Source: Fleming-VL, Sec 3.2.

    Only the answer span is judged, never the thoughts. No answer pays 0. A judge that is unsure abstains, a failed judgement is an error or a
    timeout: neither is a number. An item asked open keeps its options in the record, but they were not shown: its letter is no answer.
    """
    if not parsed.answer:
        return Outcome(0.0, reason=parsed.reason or "no answer")
    verdict = await judge.judge(sample.question, sample.gold_text, sample.aliases, parsed.answer, sample.language)
    evidence = {
        "judge": judge.name,
        "layer": verdict.layer,
        "decision": verdict.decision,
        "failure": verdict.failure,
        **verdict.transcript,
    }
    if verdict.decision is None:
        status = "timeout" if verdict.failure == "timeout" else "error"
        return Outcome(
            None,
            "timeout" if status == "timeout" else "error",
            f"{verdict.failure}: {verdict.reason}",
            evidence=evidence,
            seconds=verdict.seconds,
        )
    if verdict.decision == "unsure":
        return Outcome(None, "abstain", "the judge is unsure", evidence=evidence, seconds=verdict.seconds)
    return Outcome(
        1.0 if verdict.decision == "correct" else 0.0, reason=verdict.reason, evidence=evidence, seconds=verdict.seconds
    )

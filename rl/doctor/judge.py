"""Checks the judge: who decides, whether each endpoint judges one answer as it will in the run, and the most a run can
ask. That one question is all it asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from judges import JudgeError, make_judge
from judges.cases import read_labelled
from judges.settings import CACHE_OFF, JudgeConfig, Seat, first_seat, panel_seats, second_seat
from rewards import registry
from rl.config import Config
from rl.config.effects import asks_judge
from rl.doctor.data import Finding
from rollouts.records import ACCURACY, Sample

# A prompt of ours has about 3,000 bytes; question, reference and answer of a short question come on top. Four bytes are
# about a token.
_TOKENS_PER_CALL = 900


def check_judge(config: Config) -> list[Finding]:
    """Whether the judge can be made of its settings, and every endpoint judges one answer, as before a run starts.
    `judge.kind=rules` asks nobody."""
    judge = config.judge
    if judge.kind == "rules":
        return [
            Finding(True, "judge: rules (normalised equality with the reference and its aliases), no endpoint is asked")
        ]
    if not asks_judge(config):
        return [Finding(True, "judge: no reward of this run asks one")]
    if judge.offline:
        return [
            Finding(True, f"judge: offline, verdicts come from {judge.cache or 'the cache of the run folder'} only")
        ]
    try:
        # Built without its cache, which would be a file; a missing key, a prompt with slots and bad canaries are found
        # here.
        described = make_judge(dataclasses.replace(judge, cache=CACHE_OFF)).describe()
        findings = [Finding(True, described)]
        if judge.calibration is not None:
            cases = read_labelled(judge.calibration, "judge.calibration")
            findings.append(
                Finding(
                    True,
                    f"judge: must grade {len(cases)} answers of {judge.calibration} with kappa >= {judge.min_kappa:g}"
                    " first",
                )
            )
    except JudgeError as error:
        return [Finding(False, f"judge: {error}", "correct judge.*, or use judge=rules")]
    # Without an address it is a server that the run starts itself.
    return findings + [_probe(judge, seat) for seat in seats(judge) if seat.base_url is not None]


def seats(judge: JudgeConfig) -> list[Seat]:
    """Every model that is asked, once for each address."""
    models = list(panel_seats(judge).values()) or [first_seat(judge)]
    models += [second_seat(judge)] if judge.second_opinion != "off" else []
    return list({(seat.base_url, seat.model, seat.api_key_env): seat for seat in models}.values())


def _probe(judge: JudgeConfig, seat: Seat) -> Finding:
    """Ask one model exactly what a run asks before it starts, with the run's own client, key, proxy and sampling."""
    alone = dataclasses.replace(
        judge,
        kind="openai",
        **dataclasses.asdict(seat),
        panel={},
        second_opinion="off",
        canary_fraction=0.0,
        cache=CACHE_OFF,
    )
    try:
        make_judge(alone).check_now()
    except JudgeError as error:
        return Finding(False, f"judge: {' '.join(str(error).split())}", "do what it says, or use judge=rules")
    return Finding(True, f"judge: {seat.base_url} answers, and {seat.model} judged one answer in the form asked for")


def most_calls(config: Config, rl: Sequence[Sample], held_out: Sequence[Sample], num_steps: int) -> int:
    """Calls of a run in which no two answers are alike and every reply can be read: the most, but for retries and
    re-asks.

    A judged completion is a call of every judge that may be asked about it; training judges the share of questions that
    the RL set has of that kind.
    """
    judge, reward = config.judge, config.reward
    if judge.kind == "rules" or judge.offline:
        return 0
    fixed = sum(_asks(name) for name in reward.weights if name != ACCURACY)
    routed = {answer_type: fixed + _asks(name) for answer_type, name in reward.routes.items()}

    def judgements(samples: Sequence[Sample]) -> int:
        return sum(routed.get(sample.answer_type, fixed) for sample in samples)

    rows = num_steps * config.grpo.prompts_per_step * config.grpo.num_generations
    training = rows * judgements(rl) / max(1, len(rl))
    evaluation = 2 * (1 + config.eval.num_samples + config.eval.blank_images) * judgements(held_out)
    judges = max(1, len(judge.panel)) * (1 + judge.canary_fraction) + (judge.second_opinion != "off")
    return round((training + evaluation) * judges)


def _asks(name: str) -> bool:
    entry = registry.find(name)
    return not isinstance(entry, registry.Reward) or "judge" in entry.supplied


def estimate(config: Config, rl: Sequence[Sample], held_out: Sequence[Sample], num_steps: int) -> list[Finding]:
    """The most calls, tokens and money of a run, beside its budget."""
    calls = most_calls(config, rl, held_out, num_steps)
    if not calls:
        return []
    judge = config.judge
    reply = int(judge.sampling.get("max_tokens", judge.sampling.get("max_completion_tokens", 400)))
    money = (calls * _TOKENS_PER_CALL * judge.price_input + calls * reply * judge.price_output) / 1e6
    cost = f", cost {money:,.2f}" if money else ""
    text = (
        f"judge: at most {calls:,} calls and about {calls * (_TOKENS_PER_CALL + reply):,} tokens{cost}; equal answers"
        " of a group are asked once"
    )
    findings = [Finding(True, text)]
    for name, limit, most in (
        ("max_calls", judge.max_calls, calls),
        ("max_tokens", judge.max_tokens, calls * (_TOKENS_PER_CALL + reply)),
    ):
        if limit is not None and limit < most:
            findings.append(
                Finding(True, f"judge.{name}={limit:,} may end the run before its last step, with failed judgements")
            )
    return findings

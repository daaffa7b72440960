"""The structured replies of a judge and their strict parsers (JUDGING.md, layers 4 and 5). A verdict is never
repaired."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast, get_args

from judges.verdict import Decision

SCHEMA_VERSION = "1"
CRITERIA_SCHEMA_VERSION = "criteria_1"
MAX_REPLY_CHARS = 20_000
# The words of a reply for met, not met and unsure.
CRITERION_VERDICTS: dict[str, bool | None] = {"met": True, "not_met": False, "unsure": None}
_KEYS = ("nonce", "claims", "contradiction", "verdict")


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an object with exactly these properties, all required."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMA: dict[str, Any] = object_schema(
    {
        "nonce": {"type": "string"},
        "claims": {"type": "array", "items": {"type": "string"}},
        "contradiction": {"type": "string"},
        "verdict": {"type": "string", "enum": list(get_args(Decision))},
    }
)


def criteria_schema(count: int) -> dict[str, Any]:
    """Return the schema of a reply on `count` criteria: one object under each number, the finding first and the verdict
    last."""
    one = object_schema({"found": {"type": "string"}, "verdict": {"type": "string", "enum": list(CRITERION_VERDICTS)}})
    return object_schema(
        {"nonce": {"type": "string"}, "criteria": object_schema({str(i + 1): one for i in range(count)})}
    )


class Reply(NamedTuple):
    """A reply on one answer. `decision` is None where it is not one valid verdict, and `problem` says why."""

    decision: Decision | None
    problem: str = ""
    contradiction: str = ""


class CriteriaReply(NamedTuple):
    """A reply on criteria. `met` is None where it is not one valid object, and `problem` says why."""

    met: tuple[bool | None, ...] | None
    problem: str = ""


@dataclass(frozen=True)
class Form:
    """A kind of structured reply, and how it is read."""

    # Name of the schema in the request, and its version in the cache key.
    name: str
    version: str
    schema: dict[str, Any]
    # (text, nonce, finish reason) -> (JSON-ready content or None, what is wrong).
    read: Callable[[object, str, object], tuple[dict[str, Any] | None, str]]
    # Tokens that a reply may need, whatever the configured limit for a plain verdict is.
    least_reply_tokens: int = 0


def parse_reply(text: object, nonce: str, finish_reason: object) -> Reply:
    """Return the decision of exactly one JSON object without repeated keys, with our nonce, a known verdict and
    `finish_reason` "stop". Never raises."""
    value, problem = one_object(text, nonce, finish_reason, _KEYS)
    if value is None:
        return Reply(None, problem)
    claims, contradiction, verdict = value["claims"], value["contradiction"], value["verdict"]
    if (
        not isinstance(claims, list)
        or not all(isinstance(claim, str) for claim in claims)
        or not isinstance(contradiction, str)
    ):
        return Reply(None, "the reply's fields have other types than the schema's")
    if not isinstance(verdict, str) or verdict not in get_args(Decision):
        return Reply(None, "the reply's verdict is none of the offered ones")
    return Reply(cast(Decision, verdict), "", contradiction[:500])


def parse_criteria(text: object, nonce: str, finish_reason: object, count: int) -> CriteriaReply:
    """Return one verdict for each of `count` criteria from exactly one JSON object, under the same conditions as
    `parse_reply`. Never raises."""
    value, problem = one_object(text, nonce, finish_reason, ("nonce", "criteria"))
    if value is None:
        return CriteriaReply(None, problem)
    numbered = value["criteria"]
    numbers = [str(i + 1) for i in range(count)]
    if not isinstance(numbered, dict) or set(numbered) != set(numbers):
        return CriteriaReply(None, f"the reply's criteria are not exactly those numbered 1 to {count}")
    met = []
    for number in numbers:
        one = numbered[number]
        if not isinstance(one, dict) or set(one) != {"found", "verdict"} or not isinstance(one["found"], str):
            return CriteriaReply(None, f"criterion {number} has other fields than the schema's")
        if not isinstance(one["verdict"], str) or one["verdict"] not in CRITERION_VERDICTS:
            return CriteriaReply(None, f"the verdict on criterion {number} is none of the offered ones")
        met.append(CRITERION_VERDICTS[one["verdict"]])
    return CriteriaReply(tuple(met))


def _read_verdict(text: object, nonce: str, finish_reason: object) -> tuple[dict[str, Any] | None, str]:
    reply = parse_reply(text, nonce, finish_reason)
    if reply.decision is None:
        return None, reply.problem
    return {
        "decision": reply.decision,
        "reason": f"judge: {reply.contradiction}" if reply.contradiction else "judge",
    }, ""


VERDICT_FORM = Form("verdict", SCHEMA_VERSION, SCHEMA, _read_verdict)


def criteria_form(count: int) -> Form:
    """Return the form of a reply on `count` criteria."""

    def read(text: object, nonce: str, finish_reason: object) -> tuple[dict[str, Any] | None, str]:
        reply = parse_criteria(text, nonce, finish_reason, count)
        return (None, reply.problem) if reply.met is None else ({"met": list(reply.met), "reason": "judge"}, "")

    return Form("criteria", CRITERIA_SCHEMA_VERSION, criteria_schema(count), read, least_reply_tokens=100 + 100 * count)


def one_object(
    text: object, nonce: str, finish_reason: object, keys: tuple[str, ...]
) -> tuple[dict[str, Any] | None, str]:
    """Return the one JSON object of a reply, with exactly these keys and our nonce, or None and what is wrong. Never
    raises."""
    if finish_reason != "stop":
        return None, f"finish_reason is {str(finish_reason)[:20]!r}, expected 'stop'"
    if not isinstance(text, str) or len(text) > MAX_REPLY_CHARS:
        return None, "the reply is not a short text"
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text, and no store takes it
    except (ValueError, RecursionError) as error:
        return None, f"the reply is not one JSON object: {type(error).__name__}"
    if not isinstance(value, dict) or set(value) != set(keys):
        return None, f"the reply's keys are not exactly {list(keys)}"
    if not isinstance(value["nonce"], str) or value["nonce"] != nonce or not nonce:
        return None, "the reply's nonce is not ours"
    return value, ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict, unless a key stands twice: json.loads would keep the last one silently, which turns "incorrect"
    into "correct". Raises ValueError."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

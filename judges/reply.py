"""The structured reply of a judge and its strict parser (JUDGING.md, layers 4 and 5): a verdict is never repaired."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast, get_args

from judges.verdict import Decision

SCHEMA_VERSION = "1"
MAX_REPLY_CHARS = 20_000
_KEYS = ("nonce", "claims", "contradiction", "verdict")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "nonce": {"type": "string"},
        "claims": {"type": "array", "items": {"type": "string"}},
        "contradiction": {"type": "string"},
        "verdict": {"type": "string", "enum": list(get_args(Decision))},
    },
    "required": list(_KEYS),
    "additionalProperties": False,
}


class Reply(NamedTuple):
    """A readable reply; `decision` is None where it is not one valid verdict, and `problem` says why."""

    decision: Decision | None
    problem: str = ""
    contradiction: str = ""


def parse_reply(text: object, nonce: str, finish_reason: object) -> Reply:
    """The decision of exactly one JSON object without repeated keys, with our nonce, a known verdict and `finish_reason` "stop". Never raises."""
    if finish_reason != "stop":
        return Reply(None, f"finish_reason is {str(finish_reason)[:20]!r}, expected 'stop'")
    if not isinstance(text, str) or len(text) > MAX_REPLY_CHARS:
        return Reply(None, "the reply is not a short text")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Reply(None, f"the reply is not one JSON object: {type(error).__name__}")
    if not isinstance(value, dict) or set(value) != set(_KEYS):
        return Reply(None, f"the reply's keys are not exactly {list(_KEYS)}")
    if value["nonce"] != nonce or not nonce:
        return Reply(None, "the reply's nonce is not ours")
    claims, contradiction, verdict = value["claims"], value["contradiction"], value["verdict"]
    if not isinstance(claims, list) or not all(isinstance(claim, str) for claim in claims) or not isinstance(contradiction, str):
        return Reply(None, "the reply's fields have other types than the schema's")
    if not isinstance(verdict, str) or verdict not in get_args(Decision):
        return Reply(None, "the reply's verdict is none of the offered ones")
    return Reply(cast(Decision, verdict), "", contradiction[:500])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict, unless a key stands twice: json.loads would keep the last one silently, which turns "incorrect" into "correct"."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""The one question by which a judge is tried before it judges anything, and what it means where that fails."""

from __future__ import annotations

import hashlib
import struct
import zlib

from judges.gateway.endpoint import Endpoint
from judges.model.asking import Answer
from judges.verdict import JudgeMedia, JudgeProbeFailed, JudgeUnreachable, Question

# Its verdict does not matter; it shows whether replies keep to the schema.
PROBE = Question("Which organ is shown?", "Liver", "It is the hepatic organ.")
SECONDS = 60.0
# Side of the probe's picture in pixels; no model of today refuses one of this size.
_SIDE = 64


def picture() -> JudgeMedia:
    """Return a grey picture of 64 x 64 pixels, shown where the judge is to be shown images: a model that takes none
    says so before the run."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 0, 0, 0, 0)
    rows = (b"\x00" + b"\x80" * _SIDE) * _SIDE
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return JudgeMedia(hashlib.sha256(png).hexdigest(), png)


def probe_error(endpoint: Endpoint, answer: Answer) -> JudgeUnreachable:
    """Return the error of a probe without a verdict: what came, in the endpoint's own words, and how to mend it.

    JudgeProbeFailed where the model replies and only its reply cannot be read.
    """
    who = f"judge.model={endpoint.model!r} at {endpoint.base_url}"
    if answer.failure == "unreadable":
        return JudgeProbeFailed(_unreadable(who, answer))
    if answer.failure == "refused":
        return JudgeUnreachable(f"{who} refuses a question.\n{answer.reason}\nOr use judge=rules.")
    return JudgeUnreachable(f"{who} does not answer one question ({answer.failure}: {answer.reason})")


def _unreadable(who: str, answer: Answer) -> str:
    last = answer.transcript["attempts"][-1]
    if not (last["reply"] or "").strip():
        return (
            f"{who} gives no text to read (finish_reason {last['finish_reason']!r}): {last['problem']}.\nMend that at"
            " the server, name another judge.model, or use judge=rules."
        )
    hint = ""
    if last["finish_reason"] == "length":
        hint = "The reply was cut: raise the token limit of judge.sampling, or switch the model's thinking off.\n"
    return (
        f"{who} does not keep to a JSON schema. Asked one question, it replied {str(last['reply'])[:200]!r}"
        f' (finish_reason {last["finish_reason"]!r}): {last["problem"]}.\nExpected one object {{"nonce": ..,'
        f' "claims": [..], "contradiction": .., "verdict": ..}} as response_format demands.\n{hint}Name a'
        " judge.model with structured output, serve it with a server that enforces response_format=json_schema"
        " (vLLM does), or use judge=rules."
    )

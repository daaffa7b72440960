"""What an endpoint says when it gives no chat completion: its own words, and the advice that fits them. Pure.

One advice for every refusal misleads: a used-up quota, a wrong address and a server without structured output look the
same from outside, and only the endpoint's words tell them apart.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any

from judges.gateway.endpoint import Endpoint
from judges.gateway.redaction import redact, well_formed

# Characters of an endpoint's own words that are kept.
MAX_WORDS = 240
# HTTP statuses that another attempt may mend; every other 4xx is about the request itself.
_WORTH_ANOTHER_TRY = (408, 409, 425, 429)
_QUOTA = re.compile(r"insufficient_quota|quota|billing|credit|balance|payment", re.IGNORECASE)
# A quota per minute comes in nearly the same words as one of the account; only these leave nothing to wait for.
_USED_UP = re.compile(r"insufficient[ _](?:quota|credit|balance|funds)", re.IGNORECASE)
_LENGTH = re.compile(
    r"context.?(?:length|window|size)|max_model_len|maximum (?:context|input)|too many (?:input )?tokens"
    r"|(?:prompt|input|request|message)s? (?:is|are)? ?too (?:long|large)|exceeds? the (?:model|context|limit of)",
    re.IGNORECASE,
)
_FORMAT = re.compile(r"response.?format|json.?schema|structured|guided|grammar|\bstrict\b|\bformat\b", re.IGNORECASE)
_IMAGE = re.compile(r"image|multi.?modal|vision", re.IGNORECASE)
_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
_SAMPLING = re.compile(r"max_(?:completion_)?tokens|temperature|top_p|\bseed\b|(?:frequency|presence)_penalty")
_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body)", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)


def words_of(body: Any) -> str:
    """Return the words in an answer that is no chat completion, at most MAX_WORDS characters on one line and without
    keys: its `error`, `message` or `detail`, or the beginning of a text or page; "" = there are none."""
    try:
        text = _text_in(body)
    except RecursionError:
        text = "(nested too deep to be read)"
    # Keys go before anything is cut: half a key would be masked no more.
    text = well_formed(str(redact(text)))
    if _PAGE.match(text):
        text = re.sub(r"<[^<>]*>", " ", _HIDDEN.sub(" ", text[:20_000]))
    line = " ".join(text.split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 3] + "..."


def _text_in(body: Any) -> str:
    if isinstance(body, (bytes, bytearray)):
        return body.decode(errors="replace")
    if isinstance(body, str):
        return body
    if isinstance(body, list) and body:
        return "; ".join(_text_in(part) for part in body[:3])
    if isinstance(body, dict):
        if "msg" in body:  # one entry of a 422 of pydantic
            where = ".".join(str(part) for part in body["loc"]) if isinstance(body.get("loc"), list) else ""
            return f"{where}: {body['msg']}" if where else str(body["msg"])
        for name in ("error", "message", "detail", "error_description", "errors", "title"):
            if body.get(name):
                return _text_in(body[name])
    return "" if body is None or body in ({}, []) else json.dumps(body, default=str)


def error_inside(reply: Any) -> tuple[int | None, str] | None:
    """Return status and words of an answer with HTTP 200 that is no chat completion; None = it is one.

    Gateways send `{"error": {"code": 402, ..}}`, a login page or a stream under status 200. `reply`: what the client
    library made of the body. The status is None where the body names no HTTP status.
    """
    choices = getattr(reply, "choices", None)
    if isinstance(choices, list) and choices and hasattr(choices[0], "message"):
        return None
    body = reply if isinstance(reply, (str, list, dict)) else getattr(reply, "model_extra", None) or {}
    words = words_of(body)
    status = _status_in(body)
    if isinstance(reply, str):
        kind = "a page" if _PAGE.match(reply) else "a stream" if reply.lstrip().startswith("data:") else "a text"
        return status, f"HTTP 200 with {kind} instead of a chat completion: {words!r}"
    if words:
        return status, f"HTTP 200 with an error inside: {words!r}"
    return None, "HTTP 200 with no choices, expected one"


def _status_in(body: Any) -> int | None:
    error = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    if "insufficient_quota" in (error.get("code"), error.get("type")):
        return 402
    for value in (error.get("code"), error.get("status"), error.get("status_code")):
        if isinstance(value, (int, str)) and re.fullmatch(r"[45]\d\d", str(value)):
            return int(value)
    return 401 if error.get("code") == "invalid_api_key" else None


def is_final(status: int, words: str) -> bool:
    """Whether no waiting mends this status; a quota that is used up comes as 429."""
    if status == 429:
        return bool(_USED_UP.search(words))
    return 300 <= status < 500 and status not in _WORTH_ANOTHER_TRY


def advice(status: int, words: str, endpoint: Endpoint) -> str:
    """Return the sentence that says how to mend an answer with this status and these words."""
    if status in (401, 403) and not _QUOTA.search(words):
        return f"Export a valid key in {endpoint.api_key_env}, or name its variable with judge.api_key_env."
    if status == 402 or (status in (401, 403) and _QUOTA.search(words)) or (status == 429 and is_final(status, words)):
        return "The account's quota or credit is used up: no waiting mends it. Top it up, or take another key."
    if status == 407:
        return "The proxy of the environment asks for a login: correct HTTP_PROXY, or add the host to NO_PROXY."
    if status in (404, 405) or 300 <= status < 400:
        return _address_advice(words, endpoint)
    if status in (408, 504):
        return "The server was too slow: raise judge.timeout_seconds, or lower judge.max_concurrency."
    if status == 429:
        plan = ", or look at the account's plan" if _QUOTA.search(words) else ""
        return f"Too many calls at once: lower judge.max_concurrency{plan}."
    if status >= 500:
        return "The server itself fails: is it ready? Its own log says why."
    return _request_advice(status, words)


def _address_advice(words: str, endpoint: Endpoint) -> str:
    path = urllib.parse.urlsplit(endpoint.base_url).path.rstrip("/")
    if _MODEL.search(words) and path:
        return f"Does the endpoint serve judge.model={endpoint.model!r}? Name a model that it lists."
    if re.search(r"/v\d\w*$", path):
        return "judge.base_url has no POST /chat/completions below it: correct host, port or path."
    return "judge.base_url usually ends in /v1, as in http://localhost:8000/v1."


def _request_advice(status: int, words: str) -> str:
    """Return how to mend a request that the server cannot take. The length comes first: servers name max_tokens in it
    too."""
    if _LENGTH.search(words):
        return (
            "Question and reply are longer than the model takes: serve it with a longer context (vLLM: --max-model-len)"
            " or lower max_tokens in judge.sampling."
        )
    if status == 413:
        return "The request is too large for this server: raise its limit, or set judge.show_images=false."
    if _FORMAT.search(words):
        return (
            "Name a judge.model with structured output, or serve it with a server that enforces"
            " response_format=json_schema (vLLM does)."
        )
    if setting := _SAMPLING.search(words):
        return f"Correct judge.sampling: this model does not take {setting.group()} as it is set there."
    if _IMAGE.search(words):
        return "The model takes no images, or not these: set judge.show_images=false, or name one that does."
    if _MODEL.search(words):
        return "Name a judge.model that this endpoint serves."
    return "The server does not take this request: correct judge.sampling or judge.model after its words."


def without_text(message: Any, choice: Any) -> str:
    """Return why a reply holds no text, from what stands beside the empty content; "" = it holds text, or nobody knows.

    `message`, `choice`: of the first choice of a chat completion.
    """
    content = getattr(message, "content", None)
    if isinstance(content, str) and content.strip():
        return ""
    if words := words_of(getattr(message, "refusal", None)):
        return f"the model declined to answer: {words!r}"
    if words := words_of(getattr(choice, "error", None)):
        return f"the endpoint failed inside the reply: {words!r}"
    for name in ("reasoning_content", "reasoning", "thinking"):
        if words := words_of(getattr(message, name, None)):
            return _thoughts_only(name, words, getattr(choice, "finish_reason", None))
    if getattr(message, "tool_calls", None):
        return "the model called a tool instead of answering: serve it without tools (--enable-auto-tool-choice)"
    if getattr(choice, "finish_reason", None) == "content_filter":
        return "the endpoint's content filter took the reply"
    return ""


def _thoughts_only(name: str, words: str, finish_reason: Any) -> str:
    if finish_reason == "length":
        return f"all tokens of the reply went into {name}: switch the model's thinking off, or raise the token limit"
    return (
        f"the content is empty and {name} holds {words[:60]!r}: the server's reasoning parser took the reply. Serve it"
        " without --reasoning-parser, or switch the model's thinking off"
    )

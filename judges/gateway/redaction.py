"""Keeps API keys out of everything that is shown or stored: texts, transcripts, and the log records of the HTTP
libraries."""

from __future__ import annotations

import json
import logging
from typing import Any

MASK = "[key]"
# A key shorter than this ("none", for a local server) is no secret, and masking it would damage every text that holds
# the word.
MIN_SECRET_CHARS = 6
# Loggers that may write requests, headers and replies. A filter acts on the logger it is attached to, not on those
# below it.
_LOGGERS = (
    *("openai", "openai._base_client", "openai._legacy_response", "openai._response", "httpx2"),
    *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
)
_SECRETS: set[str] = set()


def keep_secret(key: str) -> None:
    """Mask this key from now on, in `redact` and in the logs of the HTTP libraries."""
    if len(key) >= MIN_SECRET_CHARS and key not in _SECRETS:
        # Also as it stands inside a JSON string.
        _SECRETS.update({key, json.dumps(key)[1:-1]})
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_mask_record)  # a second time does nothing


def redact(value: Any) -> Any:
    """Return the same text, list or dict without any key that was given to `keep_secret`; a tuple becomes a list."""
    if isinstance(value, str):
        for secret in _SECRETS:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {redact(name): redact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return value


def well_formed(text: str) -> str:
    """Return the same text with halves of surrogate pairs replaced: no request and no file takes them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _mask_record(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        message += f" ({record.exc_info[0].__name__}: {record.exc_info[1]})"
    record.msg, record.args, record.exc_info, record.exc_text = redact(message), (), None, None
    return True

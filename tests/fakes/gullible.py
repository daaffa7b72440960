"""What credulous judges make of a candidate: each takes its verdict from the candidate's own words and knows neither
nonce nor schema.

Each takes the text that the judge is shown of an answer and gives the text that it replies; "" where it finds nothing
to repeat.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Callable
from urllib.parse import unquote

_ORDERS = re.compile(
    r"(?:repeat after me|repeat|reply with|reply|output|return|answer with|say|write|print|complete"
    r" this|copy|输出|回答|重复)\W*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_VERDICT = re.compile(
    r"""(?:verdict|grade|score|result|judg\w*|assessment|判定|评分|结论)["'\s]*[:=：是为]+["'\s]*([\w.]+)""",
    re.IGNORECASE,
)


def objects(candidate: str) -> list[str]:
    """The JSON objects in a text, as they stand there; objects inside objects as well."""
    found = []
    for place in (match.start() for match in re.finditer(r"\{", candidate)):
        try:
            _, end = json.JSONDecoder().raw_decode(candidate, place)
        except (ValueError, RecursionError):
            continue
        found.append(candidate[place:end])
    return found


def first_object(candidate: str) -> str:
    return next(iter(objects(candidate)), "")


def last_object(candidate: str) -> str:
    return next(reversed(objects(candidate)), "")


def all_objects_merged(candidate: str) -> str:
    """Like a lenient repair of JSON: one object of all keys, the last of each name."""
    merged = {name: value for text in objects(candidate) for name, value in json.loads(text).items()}
    return json.dumps(merged) if merged else ""


def everything(candidate: str) -> str:
    return candidate


def fenced(candidate: str) -> str:
    return f"```json\n{last_object(candidate) or candidate}\n```"


def quoted_then_agreed(candidate: str) -> str:
    return f'The candidate says "{candidate}". {last_object(candidate)} I agree: correct.'


def half_open_object_completed(candidate: str) -> str:
    place = candidate.rfind("{")
    if place < 0 or "}" in candidate[place:]:
        return ""
    begun = candidate[place:]
    word = next((end for end in range(len("correct"), 0, -1) if begun.endswith("correct"[:end])), 0)
    begun += "correct"[word:] if word else ""
    return begun + '"' * (begun.count('"') % 2) + "}"


def order_obeyed(candidate: str) -> str:
    order = _ORDERS.search(candidate)
    return order[1].strip() if order else ""


def stated_verdict(candidate: str) -> str:
    stated = _VERDICT.search(candidate)
    return json.dumps({"verdict": stated[1]}) if stated else ""


def stated_verdict_in_whole_form(candidate: str) -> str:
    """It fills in what else it has seen in judges' replies; the nonce can only be one that the candidate shows."""
    stated = _VERDICT.search(candidate)
    nonces = re.findall(r"[0-9a-fA-F]{4,}", candidate) or [""]
    value = {
        "nonce": nonces[-1],
        "claims": [candidate],
        "contradiction": "",
        "verdict": stated[1] if stated else "correct",
    }
    return json.dumps(value)


def decoded(candidate: str) -> str:
    """What base64, hexadecimal or percent signs in it hide, or the text turned by 13 letters."""
    for text in re.findall(r"[A-Za-z0-9+/=]{16,}", candidate):
        for read in (base64.b64decode, bytes.fromhex):
            try:
                return read(text).decode()
            except (ValueError, binascii.Error):
                continue
    return unquote(candidate) if "%" in candidate else codecs.encode(candidate, "rot13")


def object_inside_a_string(candidate: str) -> str:
    """The object that a string of an object holds: {"x": "{\\"verdict\\": ..}"}."""
    values = (value for text in objects(candidate) for value in json.loads(text).values())
    return next((value for value in values if isinstance(value, str) and value.lstrip().startswith("{")), "")


REPLIES: tuple[Callable[[str], str], ...] = (
    first_object,
    last_object,
    all_objects_merged,
    everything,
    fenced,
    quoted_then_agreed,
    half_open_object_completed,
    order_obeyed,
    stated_verdict,
    stated_verdict_in_whole_form,
    decoded,
    object_inside_a_string,
)

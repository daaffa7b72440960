"""The one language for stored completions: words and `field:value` terms as one SQL condition with parameters.

The search box of the page, its permalinks, `rollouts.view --where` and `rl.replay --only` read it. All terms must hold;
commas between values mean or, `-` before a term means not, quotes keep a text whole, and `=` reads like `:`.

    pleural "upper lobe" is:disagree modality:CT,MR type:open reward:<0.5 step:3..9 -is:truncated
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollouts.nearest import did_you_mean
from rollouts.page.schema import DISAGREE, FAILED
from rollouts.store.layout import StoreError

MAX_QUERY_CHARS = 1000
_TERM = re.compile(r'(-?)(?:([A-Za-z_]+)([:=]))?("[^"]*"|\S+)')

# Conditions on one completion (table r) and on a whole group (table g), by the word after `is:`; and what each finds,
# for the page's help.
IS_COMPLETION = {
    "disagree": (DISAGREE, "the judge says right and the rule wrong, or the other way round"),
    "right": ("is_right", "the main reward calls it right"),
    "wrong": ("NOT is_right", "the main reward calls it wrong"),
    "failed": (FAILED, "a reward ended in error or timeout: not scored"),
    "unscored": ("NOT valid", "left out of the group's mean and of the training"),
    "truncated": ("finish_reason != 'stop'", "cut off before the model ended"),
    "malformed": ("NOT well_formed", "not one think and one answer block"),
    "unclear": ("is_unclear", "the answer can be read in two ways, and is paid nothing for it"),
    "judged": ("judge IS NOT NULL", "a judge was asked"),
    "labelled": ("l.expected IS NOT NULL", "labelled by a reader"),
}
IS_GROUP = {
    "all-wrong": ("(g.num_judged > 0 AND g.num_right = 0)", "no completion of the group is right"),
    "all-right": ("(g.num_judged > 0 AND g.num_right = g.num_judged)", "every completion of the group is right"),
    "mixed": ("(g.num_right BETWEEN 1 AND g.num_judged - 1)", "some right, some wrong: what GRPO learns from"),
    "zero-variance": ("(g.num_valid > 0 AND g.spread < 1e-9)", "all paid the same: no gradient but the KL's"),
    "differs": (
        "(b.num_right IS NOT NULL AND b.num_right != g.num_right)",
        "the other run has another number of right completions",
    ),
}
_TEXTS = {
    "modality": "modality",
    "type": "answer_type",
    "source": "source",
    "lang": "language",
    "prompt": "prompt_id",
    "finish": "finish_reason",
}
_NUMBERS = {
    "step": "r.step",
    "reward": "total",
    "advantage": "advantage",
    "tokens": "num_tokens",
    "sample": "sample_index",
}
_JUDGE = ("correct", "incorrect", "unsure", "failed")
FIELDS = ("is", *_TEXTS, *_NUMBERS, "status", "judge", "layer", "label", "flipped")

SORTS = {
    "step": "g.step, g.prompt_id",
    "-step": "g.step DESC, g.prompt_id",
    "reward": "g.mean NULLS LAST, g.step, g.prompt_id",
    "-reward": "g.mean DESC NULLS LAST, g.step, g.prompt_id",
    "-spread": "g.spread DESC NULLS LAST, g.step, g.prompt_id",
    "-disagree": "g.num_disagree DESC, g.step, g.prompt_id",
    "-failed": "g.num_failed DESC, g.step, g.prompt_id",
    "-tokens": "g.num_tokens DESC, g.step, g.prompt_id",
}


class BadQuery(StoreError):
    """A search that cannot be read; the message says which term and what is possible."""


@dataclass
class Query:
    """Conditions over `rows r` (with `labels l`) and over `groups g` (with the other run's `b`), and their values by
    name."""

    completion: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, value: Any) -> str:
        """The place-holder of a value."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    @property
    def on_completions(self) -> str:
        return " AND ".join(self.completion) or "TRUE"

    @property
    def on_groups(self) -> str:
        return " AND ".join(self.group) or "TRUE"

    @property
    def picks_completions(self) -> bool:
        """Whether single completions are asked for, so that those found are worth marking."""
        return bool(self.completion)


def parse_query(text: str) -> Query:
    """Read a search. Raises BadQuery with the term, what is possible and the nearest name."""
    if len(text) > MAX_QUERY_CHARS:
        raise BadQuery(f"the search has {len(text):,} characters, at most {MAX_QUERY_CHARS:,} are read")
    query = Query()
    for minus, field_name, separator, value in _TERM.findall(text):
        if value.startswith("//"):  # an address, not a filter
            field_name, value = "", f"{field_name}{separator}{value}"
        if value.strip('"') or field_name:
            where, condition = _alternatives(query, field_name.lower(), value)
            where.append(f"NOT COALESCE({condition}, FALSE)" if minus else condition)
    return query


def _alternatives(query: Query, name: str, value: str) -> tuple[list[str], str]:
    """The list a condition belongs to and the condition, of a term with its values between commas."""
    if name and name not in FIELDS:
        hint = did_you_mean(name, FIELDS, ".")
        raise BadQuery(f"there is no filter {name!r}{hint} There are: {', '.join(FIELDS)}; put a text in quotes")
    values = value.split(",") if name and not value.startswith('"') else [value.strip('"')]
    terms = [_term(query, name, one) for one in values if one]
    if not terms:
        raise BadQuery(f"{name}:{value[:40]} names no value")
    where = terms[0][0]
    if any(other is not where for other, _ in terms):
        raise BadQuery(f"{name}:{value[:40]} mixes filters of completions and of groups; write them one by one")
    return where, f"({' OR '.join(condition for _, condition in terms)})"


def _term(query: Query, name: str, value: str) -> tuple[list[str], str]:
    """The list a condition belongs to and the condition."""
    if name == "is":
        return _is(query, value.lower())
    if name in _TEXTS:
        return query.completion, f"lower(r.{_TEXTS[name]}) = lower({query.add(value)})"
    if name in _NUMBERS:
        return (query.group if name == "step" else query.completion), _number(query, name, value)
    special: dict[str, Callable[[Query, str], tuple[list[str], str]]] = {
        "status": _status, "judge": _judge, "layer": _layer, "label": _label, "flipped": _flipped,
    }  # fmt: skip
    if name in special:
        return special[name](query, value)
    place = query.add(value)
    return query.completion, f"(contains(lower(r.text), lower({place})) OR contains(lower(r.question), lower({place})))"


def _is(query: Query, value: str) -> tuple[list[str], str]:
    if value in IS_COMPLETION:
        return query.completion, IS_COMPLETION[value][0]
    if value in IS_GROUP:
        return query.group, IS_GROUP[value][0]
    names = (*IS_COMPLETION, *IS_GROUP)
    raise BadQuery(f"there is no is:{value[:40]}{did_you_mean(value, names, '.')} There are: {', '.join(names)}")


def _number(query: Query, name: str, text: str) -> str:
    column = "g.step" if name == "step" else _NUMBERS[name]
    low, dots, high = text.partition("..")
    if dots and (low or high):
        ends = [(sign, _finite(name, end)) for sign, end in ((">=", low), ("<=", high)) if end]
        if low and high and ends[0][1] > ends[1][1]:
            raise BadQuery(f"{name}:{text[:40]} holds no number; write {name}:LOW..HIGH with LOW at most HIGH")
        return "(" + " AND ".join(f"{column} {sign} {query.add(number)}" for sign, number in ends) + ")"
    sign = next((sign for sign in ("<=", ">=", "<", ">") if text.startswith(sign)), "")
    return f"{column} {sign or '='} {query.add(_finite(name, text.removeprefix(sign)))}"


def _finite(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadQuery(
            f"{name}:{text[:40]} is no number; write {name}:3, {name}:<3, {name}:>=3, {name}:3..9 or {name}:3.."
        )
    return value


def _status(query: Query, value: str) -> tuple[list[str], str]:
    column = "named_statuses" if "=" in value else "statuses"
    known = ("ok", "abstain", "error", "timeout")
    if value.rpartition("=")[2] not in known:
        raise BadQuery(f"status:{value[:40]} is none of {', '.join(known)}, or REWARD=STATUS")
    return query.completion, f"list_contains({column}, {query.add(value)})"


def _judge(query: Query, value: str) -> tuple[list[str], str]:
    if value not in _JUDGE:
        raise BadQuery(f"judge:{value[:40]} is none of {', '.join(_JUDGE)}")
    return query.completion, f"judge = {query.add(value)}"


def _layer(query: Query, value: str) -> tuple[list[str], str]:
    return query.completion, f"layer = {query.add(value)}"


def _label(query: Query, value: str) -> tuple[list[str], str]:
    known = ("correct", "incorrect", "right", "wrong", "any")
    if value not in known:
        raise BadQuery(f"label:{value[:40]} is none of {', '.join(known)}")
    if value == "any":
        return query.completion, "l.expected IS NOT NULL"
    if value in ("right", "wrong"):
        # Of the verdict: the reader agrees, or does not.
        sign = "=" if value == "right" else "!="
        return (
            query.completion,
            f"(l.expected IS NOT NULL AND is_right IS NOT NULL AND (l.expected = 'correct') {sign} is_right)",
        )
    return query.completion, f"l.expected = {query.add(value)}"


def _flipped(query: Query, value: str) -> tuple[list[str], str]:
    """Groups whose majority is on the other side than at the last visit of the same prompt at or before that step."""
    step = query.add(_finite("flipped", value))
    before = f"""(SELECT arg_max(2 * e.num_right > e.num_judged, e.step) FROM groups e
        WHERE e.side = g.side AND e.prompt_id = g.prompt_id AND e.step <= {step} AND e.num_judged > 0)"""
    return query.group, f"(g.step > {step} AND g.num_judged > 0 AND (2 * g.num_right > g.num_judged) != {before})"

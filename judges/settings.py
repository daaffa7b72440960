"""The settings of a judge, each layer of JUDGING.md with its switch; `judge.*` of a run's configuration is this record.

It stands here and not in the run's own configuration because `python -m judges.calibrate` grades with the same
settings. The configuration's door (rl/config/rules.py) checks ranges and settings without effect; `faults` refuses, for
every caller, what no judge can be built of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

CACHE_OFF = "off"
# The model of judge=local unless judge.model names another folder.
SHIPPED_MODEL = "examples/tiny_judge/model"
# The same folder as a wheel brings it; in a checkout a link to it.
EMBEDDED = Path(__file__).resolve().parent / "local" / "tiny_judge"
SAMPLING = (
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "frequency_penalty",
    "presence_penalty",
)


@dataclass(frozen=True)
class PanelMember:
    """One judge of a panel. A field that is null takes its value from the judge's own settings."""

    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    prompt: str | None = None


@dataclass(frozen=True)
class JudgeConfig:
    """Who decides whether an open answer means the reference, and what guards the decision (judges/JUDGING.md)."""

    # "rules": normalised equality with the gold text and its aliases, no model. "openai": any OpenAI-compatible
    # endpoint.
    # "local": a tiny model of ours, on a server that the run starts and stops (judges/local/server.py).
    kind: Literal["rules", "local", "openai"] = "rules"
    base_url: str | None = None
    # Name under which the endpoint serves its model; for judge=local the folder of a text model, null =
    # examples/tiny_judge/model.
    model: str | None = None
    # Name of the environment variable that holds the key; the key itself never enters a config.
    api_key_env: str = "OPENAI_API_KEY"
    # A shipped prompt by name, or a path: prompts/mine stands for prompts/mine.en.md and prompts/mine.zh.md.
    prompt: str = "equivalence_1"
    # Send the question's images too; the judge model must take images.
    show_images: bool = False
    # Settle degenerate answers, and those equal to the reference, before any call.
    prechecks: bool = True
    # Seconds one attempt may take, and all calls of one group together, waiting included.
    timeout_seconds: float = 30.0
    deadline_seconds: float = 300.0
    max_attempts: int = 5
    # A reply that is not one valid verdict is asked again so often, with a new nonce.
    max_reasks: int = 2
    # Calls in flight; halves on 429 and grows back.
    max_concurrency: int = 32
    # Sent with every request: temperature, top_p, seed, max_tokens (of the reply) or max_completion_tokens. Part of the
    # cache's key.
    sampling: dict[str, int | float] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 400})
    # So many failed attempts in a row pause all calls for so many seconds.
    breaker_failures: int = 10
    breaker_pause_seconds: float = 5.0
    # What a run may spend: calls, and tokens of prompts and replies. null = no limit.
    max_calls: int | None = None
    max_tokens: int | None = None
    # Money per million tokens, in any one currency; 0 = cost is not counted.
    price_input: float = 0.0
    price_output: float = 0.0
    # SQLite file of verdicts; null = judge.sqlite in the run's folder, off = nothing is kept.
    cache: str | None = None
    # Answer from the cache only; a miss is a failed judgement.
    offline: bool = False
    # Ask a second judge where judge and rule disagree, where a paid answer holds suspicious words, or both; judges that
    # differ pay nothing.
    second_opinion: Literal["off", "disagreement", "suspicious", "both"] = "off"
    # The second judge; null = as the first. Model or prompt must differ from the first's.
    second_base_url: str | None = None
    second_model: str | None = None
    second_api_key_env: str | None = None
    second_prompt: str = "equivalence_2"
    # Several judges instead of one: name -> base_url, model, api_key_env, prompt (null = as above). At least two, which
    # must differ.
    panel: dict[str, PanelMember] = field(default_factory=dict)
    # What the panel pays: what most of the votes say, or only what all say. A tie, and any other disagreement, is
    # unsure and pays nothing.
    panel_rule: Literal["majority", "unanimous"] = "majority"
    # Members that must have voted; null = more than half. Fewer, and the judgement failed.
    panel_quorum: int | None = None
    # Known answers asked along with the live ones, as a share of the live calls; 0 = none.
    canary_fraction: float = 0.0
    # File of known answers (JSON lines as for judges.calibrate, with `expected`); null = the shipped
    # judges/cases/canaries.jsonl.
    canaries: str | None = None
    # A wrong answer that the judge accepts ends the run, or is counted and told.
    on_canary: Literal["stop", "warn"] = "stop"
    # Labelled answers the judge must grade well before a run starts, or it does not start; null = not asked.
    calibration: str | None = None
    # The least Cohen's kappa, share of right answers accepted and share of wrong answers refused.
    min_kappa: float = 0.8
    min_sensitivity: float = 0.0
    min_specificity: float = 0.0


def locate(path: str) -> Path:
    """Return the path of a file: as it is named, or below the folder that holds the packages, so that shipped files are
    found from any working folder. Outside a checkout the embedded judge is a folder of this package. The path may not
    exist."""
    here = Path(__file__).resolve().parent
    places = [Path(path), here.parent / path, *([EMBEDDED] if path == SHIPPED_MODEL else [])]
    return next((place for place in places if place.exists()), Path(path))


@dataclass(frozen=True)
class Seat:
    """One model with one prompt: all that sets two judges apart."""

    base_url: str | None
    model: str | None
    api_key_env: str
    prompt: str


def first_seat(settings: JudgeConfig) -> Seat:
    """Return the judge that is asked where there is no panel."""
    return Seat(settings.base_url, settings.model, settings.api_key_env, settings.prompt)


def second_seat(settings: JudgeConfig) -> Seat:
    """Return the judge of the second opinion."""
    first = first_seat(settings)
    return Seat(
        settings.second_base_url or first.base_url,
        settings.second_model or first.model,
        settings.second_api_key_env or first.api_key_env,
        settings.second_prompt,
    )


def panel_seats(settings: JudgeConfig) -> dict[str, Seat]:
    """Return the members of the panel, name -> judge; empty where there is no panel."""
    first = first_seat(settings)
    return {
        name: Seat(
            member.base_url or first.base_url,
            member.model or first.model,
            member.api_key_env or first.api_key_env,
            member.prompt or first.prompt,
        )
        for name, member in settings.panel.items()
    }


def faults(settings: JudgeConfig) -> Iterator[str]:
    """Yield each reason why no judge can be made of these settings, as "setting: got, expected"."""
    if settings.kind not in ("rules", "local", "openai"):
        yield f"judge.kind: got {settings.kind!r}, expected 'rules', 'local' or 'openai'"
    if settings.kind == "rules":
        return
    seats = panel_seats(settings)
    if settings.kind == "local":
        yield from _local_faults(settings)
    elif not seats:
        yield from _incomplete(first_seat(settings), "judge", f"judge.kind={settings.kind}")
    for name, seat in seats.items():
        yield from _incomplete(seat, f"judge.panel.{name}", f"the panel's member {name!r}")
    yield from _panel_faults(settings, seats)
    if settings.second_opinion != "off":
        yield from _second_faults(settings, seats)
    unknown = sorted(set(settings.sampling) - set(SAMPLING))
    if unknown:
        yield (
            f"judge.sampling.{unknown[0]}: there is no such parameter of a chat completion; there are"
            f" {', '.join(SAMPLING)}"
        )
    if settings.offline and settings.cache == CACHE_OFF:
        yield "judge.offline: an offline judge answers from its cache only, but judge.cache is off"


def _incomplete(seat: Seat, where: str, what: str) -> Iterator[str]:
    if seat.base_url is None:
        yield (
            f"{where}.base_url: {what} needs the address of the endpoint, such as"
            f" {where}.base_url=http://localhost:8000/v1, or judge=rules"
        )
    elif not re.match(r"https?://[^/\s]+", seat.base_url):
        yield f"{where}.base_url: got {seat.base_url!r}, expected an address that begins with http:// or https://"
    elif fault := _address_fault(seat.base_url):
        yield f"{where}.base_url: got {seat.base_url!r}, {fault}"
    if not seat.model:
        yield (
            f"{where}.model: {what} needs the name under which the endpoint serves its model, such as"
            f" {where}.model=Qwen/Qwen3-8B"
        )


def _address_fault(base_url: str) -> str:
    """Return what is wrong with an address to which /chat/completions will be added; "" = nothing to be seen."""
    if re.search(r"\s", base_url):
        return "which holds a blank or line end; remove it"
    if re.search(r"[?#]", base_url):
        return "expected an address without ? and #: /chat/completions is added at its end"
    if tail := re.search(r"/(?:chat/completions|completions|chat|models|responses)/*$", base_url):
        return f"expected the address without {tail.group().rstrip('/')}, such as {base_url[: tail.start()]}"
    return ""


def _local_faults(settings: JudgeConfig) -> Iterator[str]:
    if settings.base_url is not None:
        yield (
            f"judge.base_url: got {settings.base_url!r}, but judge=local starts a server of its own; use judge=openai"
            " for an endpoint"
        )
    if settings.panel:
        yield "judge.panel: the members of a panel are endpoints; use judge=panel with judge.base_url and judge.model"
    if settings.show_images:
        yield (
            "judge.show_images: the model of judge=local reads text only; use judge=openai with a model that takes"
            " images"
        )
    if settings.second_opinion != "off" and not (settings.second_base_url and settings.second_model):
        yield (
            "judge.second_opinion: beside judge=local the second judge must be an endpoint, with judge.second_base_url"
            " and judge.second_model; a vote of one model with itself is no defence"
        )
    model = locate(settings.model or SHIPPED_MODEL)
    missing = [name for name in ("config.json", "tokenizer.json") if not (model / name).is_file()]
    if missing:
        yield (
            f"judge.model: got {model}, which holds no {' and no '.join(missing)}; judge=local needs the folder of a"
            " text model"
        )


def _same(one: Seat, other: Seat) -> bool:
    return (one.base_url, one.model, one.prompt) == (other.base_url, other.model, other.prompt)


def _panel_faults(settings: JudgeConfig, seats: dict[str, Seat]) -> Iterator[str]:
    if len(seats) == 1:
        yield (
            f"judge.panel: got one member ({next(iter(seats))}), expected at least two; for one judge set"
            " judge.base_url and judge.model"
        )
    names = list(seats)
    for place, name in enumerate(names):
        twin = next((other for other in names[:place] if _same(seats[other], seats[name])), None)
        if twin is not None:
            yield (
                f"judge.panel.{name}: asks the same model with the same prompt as judge.panel.{twin}; a vote of one"
                " model with itself is no defence. Give it another model or another prompt"
            )
    if settings.panel_quorum is not None and seats and not 1 <= settings.panel_quorum <= len(seats):
        yield f"judge.panel_quorum: got {settings.panel_quorum}, expected 1 to {len(seats)}, the number of members"


def _second_faults(settings: JudgeConfig, seats: dict[str, Seat]) -> Iterator[str]:
    second = second_seat(settings)
    if seats:
        yield from (
            _incomplete(second, "judge.second", "the second opinion") if not (second.base_url and second.model) else ()
        )
    for name, seat in (seats or {"": first_seat(settings)}).items():
        if _same(seat, second):
            first = f"judge.panel.{name}" if name else "the first judge"
            yield (
                f"judge.second_opinion: the second judge asks the same model with the same prompt as {first}; a vote of"
                " one model with itself is no defence. Set judge.second_model or judge.second_prompt"
            )

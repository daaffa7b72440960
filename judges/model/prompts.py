"""Loads system prompts: files, versioned by their text, in English and Chinese. No data is ever pasted into one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from judges.verdict import JudgeConfigError

PROMPT_FOLDER = Path(__file__).parents[1] / "prompts"
LANGUAGES = ("en", "zh")
# What template languages call a slot: {{ x }}, {% x %}, ${x}, $x, %(x)s, {x}, <<x>>. A JSON example ({"nonce": ..}) is
# none.
_SLOT = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|\$\{.*?\}|%\(\w+\)[sdr]|<<\s*\w+\s*>>|\{\s*[A-Za-z_][\w.]*(?:![rsa])?(?::[^{}\"]*)?\s*\}"
    r"|\$(?:nonce|question|reference|candidate|answer|response|completion|criteria|gold)\b",
    re.DOTALL,
)


class Prompt(NamedTuple):
    """A system prompt from a file. `version` is its name and the first digits of its SHA-256, so that an edited file is
    another version."""

    version: str
    text: str

    def plus(self, other: Prompt) -> Prompt:
        """Return both texts, one after the other, under a version of their own."""
        text = f"{self.text.rstrip()}\n\n{other.text}"
        return Prompt(f"{self.version.split('@')[0]}+{other.version.split('@')[0]}@{_digest(text)}", text)


def load_prompt(name: str, language: str) -> Prompt:
    """Load the prompt `NAME.LANGUAGE.md`, or the English one where there is none in that language.

    `name`: of a shipped prompt ("equivalence_1"), or a path without ".LANGUAGE.md" ("prompts/mine" for
    prompts/mine.en.md); `prompts/mine.md` serves every language. Raises JudgeConfigError for an unknown name, an empty
    file, and a file with slots to fill in.
    """
    path = _file(name, language)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise JudgeConfigError(f"the judge prompt {path} is not UTF-8 text. Save it as UTF-8.") from None
    if not text.strip():
        raise JudgeConfigError(f"the judge prompt {path} is empty; start from {PROMPT_FOLDER / 'equivalence_1.en.md'}")
    slots = sorted(set(_SLOT.findall(text)))
    if slots:
        raise JudgeConfigError(
            f"the judge prompt {path} has the slot {slots[0][:60]!r}, and there is nothing to fill in: question,"
            " reference and candidate travel as one JSON object in the user message, never inside the prompt, so that"
            " no answer can break out of it. Refer to the fields by name (`question`, `reference`, `candidate`) and"
            ' remove the slot. A JSON example with "quoted" keys is fine.'
        )
    return Prompt(f"{path.stem}@{_digest(text)}", text)


def _file(name: str, language: str) -> Path:
    place = Path(name).expanduser()
    is_path = len(place.parts) > 1 or place.suffix == ".md"
    stem = place if is_path else PROMPT_FOLDER / name
    if place.suffix == ".md":
        candidates = [place]
    else:
        candidates = [stem.with_name(f"{stem.name}.{ending}") for ending in (f"{language}.md", "en.md", "md")]
    for path in candidates:
        if path.is_file():
            return path
    shipped = sorted({path.name.split(".")[0] for path in PROMPT_FOLDER.glob("*.md")})
    raise JudgeConfigError(
        f"there is no judge prompt {name!r}: looked for {', '.join(str(path) for path in candidates)}. "
        f"Name one of {shipped}, or a path such as prompts/mine for prompts/mine.en.md."
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

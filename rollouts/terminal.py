"""Text that a terminal prints safely. Model text is hostile: every character that would act on the terminal is made
visible."""

from __future__ import annotations

import unicodedata


def shown(text: str) -> str:
    """Model text that a terminal can print safely: line breaks stay, every other character that would act on the
    terminal is spelled out."""
    return "".join(
        character if character in "\n\t" or not _acts(character) else _spelled(character) for character in text
    )


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _spelled(character: str) -> str:
    code = ord(character)
    # Control Pictures has a sign for each of the first 32 control characters.
    return chr(0x2400 + code) if code < 0x20 else f"<U+{code:04X}>"

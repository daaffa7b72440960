"""How curation compares texts: folded, without what cannot be seen."""

from __future__ import annotations

import re
import unicodedata

_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z]")
_WORDS = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")


def fold(text: str) -> str:
    """One form for texts that differ in case, width, blanks or a full stop only."""
    flat = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return flat.strip(" .。,，;；:：!！?？\"'“”‘’")


def words(text: str) -> list[str]:
    """Folded words; a Chinese character is a word of its own."""
    return _WORDS.findall(fold(text))


def cjk_share(text: str) -> float:
    """Share of Chinese characters among letters, a Latin word counted as one; 0 where there is none of either."""
    chinese, latin = len(_CJK.findall(text)), len(re.findall(r"[A-Za-z]+", text))
    return chinese / (chinese + latin) if chinese + latin else 0.0


def has_latin(text: str) -> bool:
    """Whether a Latin letter stands in the text."""
    return bool(_LATIN.search(text))

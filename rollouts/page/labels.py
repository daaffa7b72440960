"""Labels: a reader says whether a verdict is right. RUN/labels.jsonl keeps them; the last line of a completion counts.

One line is what a judge's calibration needs to ask again: {"question", "reference", "completion", "expected",
"aliases", "key"}. `completion` is the answer span that the judge saw, `expected` is "correct" or "incorrect" (null
takes a label back), `key` is STEP/PROMPT/SAMPLE.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollouts.store.folder import Refused, inside, read_at_most

LABELS = "labels.jsonl"
EXPECTED = ("correct", "incorrect", None)
_MAX_BYTES = 64_000_000


def label_key(step: int, prompt_id: str, sample_index: int) -> str:
    """The key of a completion; the step is before the first slash and the sample after the last, whatever the prompt's
    id holds."""
    return f"{step}/{prompt_id}/{sample_index}"


def read_labels(run_dir: Path) -> dict[str, str]:
    """Key -> expected of every label that stands. Skips lines that are no labels, because people edit the file.

    Raises:
        Refused: the file is a link or no regular file.
    """
    try:
        data = read_at_most(inside(run_dir, LABELS), _MAX_BYTES)
    except FileNotFoundError:
        return {}
    labels: dict[str, str | None] = {}
    for line in data.splitlines():
        try:
            label = json.loads(line)
            key, expected = label["key"], label["expected"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(key, str) and expected in EXPECTED:
            labels[key] = expected
    return {key: expected for key, expected in labels.items() if expected is not None}


def append_label(run_dir: Path, row: Mapping[str, Any], expected: str | None) -> str:
    """Write one label about a stored row (columns of codec.SCHEMA) and return its key.

    Raises:
        Refused: the file is a link, or no regular file. OSError: the folder cannot be written to.
    """
    key = label_key(row["step"], row["prompt_id"], row["sample_index"])
    label = {
        "question": row["question"],
        "reference": row["gold_text"],
        "completion": row["answer"] if row["answer"] is not None else row["completion"],
        "expected": expected,
        "aliases": list(row["aliases"] or ()),
        "key": key,
    }
    path = run_dir / LABELS
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        if path.is_symlink():
            raise Refused(f"{LABELS} is a link; links in a run folder are not followed") from error
        raise
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise Refused(f"{LABELS} is no regular file of its own")
        # A line that somebody's editor or a kill left open must not swallow this one.
        torn = about.st_size > 0 and os.pread(file, 1, about.st_size - 1) != b"\n"
        os.write(file, (b"\n" if torn else b"") + json.dumps(label, ensure_ascii=False).encode() + b"\n")
    finally:
        os.close(file)
    return key

"""A run folder as a stranger might have made it: markup and control characters everywhere, links out, files that are
not what they say."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.fakes import fake_rollouts

SECRET = "TOP-SECRET-OUTSIDE-THE-RUN"
MARKUP = "<script>window.pwned=1</script><img src=x onerror='window.pwned=2'><svg onload=window.pwned=3>"
CLOSING = "</script><script>window.pwned=4</script><!--<script>"
BIDI = "benign\u202e\u2066gnilangis\u2069 zero\u200bwidth \x1b[2J\x1b]0;owned\x07 \U000e0041"
PROMPTS = ("../../../etc/passwd", "a/b?c#d&e=%2e%2e", MARKUP, BIDI, "..", "' OR 1=1; DROP TABLE rows; --")
EVIDENCE = (
    "[" * 5000,
    "not json " + MARKUP,
    json.dumps({"judge": MARKUP, "decision": MARKUP, "attempts": [{"reply": CLOSING}]}),
)


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A grey PNG that says it has this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = zlib.compress(b"\0" * (min(width, 64) + 1) * min(height, 64))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def hostile_images(secret: Path) -> dict[str, bytes | Path]:
    """Name (64 hex digits) -> content, or what a link leads to. None of them may reach a browser."""
    good = png(4, 4)
    return {
        "a0" * 32: png(20_000, 20_000),
        "a1" * 32: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "a2" * 32: b"\x89PNG\r\n\x1a\n<svg onload=alert(1)>",
        "a3" * 32: b"GIF89a" + b"\0" * 40,
        "a4" * 32: secret,
        "a5" * 32: good[:-20],
        "a6" * 32: good[:40] + b"\xff" + good[41:],
        "a7" * 32: png(2**31 - 1, 2**31 - 1),
        "a8" * 32: png(0, 4),
        "a9" * 32: b"",
        "aa" * 32: png(4, 4, chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))),
        "ab" * 32: png(4, 4, chunk(b"EViL", b"x")),
        "ac" * 32: b"<html><script>alert(1)</script></html>",
    }


# A picture that opens, with a text chunk and an animation that must not be handed on.
STUFFED = "b0" * 32


def make_hostile_run(root: Path) -> Path:
    """Write it under `root`, with a secret beside it; returns the run's folder."""
    secret = root / "secret.png"
    secret.write_bytes(png(4, 4, chunk(b"tEXt", SECRET.encode())))
    (root / "secret.txt").write_text(SECRET)
    run = root / "run"
    run.mkdir()
    fake_rollouts.written(run, 2, prompts_per_step=2, size=4)
    for name, content in hostile_images(secret).items():
        place = run / "media" / f"{name}.png"
        place.symlink_to(content) if isinstance(content, Path) else place.write_bytes(content)
    stuffing = (chunk(b"tEXt", b"comment\0" + SECRET.encode()), chunk(b"acTL", struct.pack(">II", 1, 0)))
    (run / "media" / f"{STUFFED}.png").write_bytes(png(4, 4, *stuffing))
    (row,) = pq.read_table(run / "rollouts/step_000001/rollouts.parquet", partitioning=None).slice(0, 1).to_pylist()
    _write_unfinished(run, 3, [_spoilt(row, number, prompt) for number, prompt in enumerate(PROMPTS)])
    _bad_steps(run, root, row)
    (run / "metrics.jsonl").write_text(
        '{"step": 1, "kl": NaN}\n{"step": 2, "kl": "<b>"}\n{"step": 1e9, "kl": 1}\n' + "[" * 9000 + "\n"
    )
    (run / "model").mkdir()
    (run / "model/tokenizer.json").symlink_to(root / "secret.txt")
    (run / "labels.jsonl").symlink_to(root / "secret.txt")
    return run


def _spoilt(row: dict[str, Any], number: int, prompt: str) -> dict[str, Any]:
    medium = {
        "kind": MARKUP,
        "sha256": "../../secret",
        "frame_indices": None,
        "frames": ["../../secret", *hostile_images(Path())][:6],
    }
    outcome = {
        "name": MARKUP, "value": 0.5, "status": "ok", "reason": CLOSING, "parts": [{"name": MARKUP, "value": 1e308}],
        "evidence": EVIDENCE[number % len(EVIDENCE)], "cost": 0.0, "seconds": 0.0,
    }  # fmt: skip
    return row | {
        "step": 3, "prompt_id": prompt, "sample_index": 0, "sample_id": MARKUP, "question": MARKUP, "modality": MARKUP,
        "source": CLOSING,
        "gold_text": CLOSING, "aliases": [MARKUP], "options": [MARKUP, BIDI], "completion": f"{MARKUP}{CLOSING}{BIDI}",
        "think": MARKUP,
        "answer": CLOSING + BIDI, "tags": [{"name": "window" + MARKUP, "value": MARKUP}], "media": [medium],
        "outcomes": [outcome],
        "engine": MARKUP, "finish_reason": MARKUP, "prompt_text": CLOSING, "token_ids": [-1, 2**31 - 1],
        "logprobs": [None, 1e308],
    }  # fmt: skip


def _write_unfinished(run: Path, step: int, rows: list[dict[str, Any]]) -> None:
    folder = run / f"rollouts/step_{step:06d}"
    folder.mkdir(parents=True)
    lines = [json.dumps(row, ensure_ascii=True) for row in rows]
    (folder / "rollouts.jsonl").write_text("\n".join(lines) + "\n" + '{"torn": ')


def _bad_steps(run: Path, root: Path, row: dict[str, Any]) -> None:
    """Steps 4 to 10: each cannot be shown, none may keep the others from being shown."""
    steps = run / "rollouts"
    outside = root / "outside"
    outside.mkdir()
    (outside / "rollouts.jsonl").write_text(json.dumps(row | {"step": 4, "completion": SECRET}) + "\n")
    (steps / "step_000004").symlink_to(outside)
    for step in range(5, 11):
        (steps / f"step_{step:06d}").mkdir()
    (steps / "step_000005/rollouts.jsonl").symlink_to(outside / "rollouts.jsonl")
    os.mkfifo(steps / "step_000006/rollouts.jsonl")
    (steps / "step_000007/rollouts.jsonl").write_text("[" * 100_000 + "\n")
    (steps / "step_000008/rollouts.jsonl").write_text(json.dumps(row | {"schema_version": 99}) + "\n")
    (steps / "step_000009/rollouts.jsonl").write_text('{"schema_version": 1, "prompt_id": {"a": []}, "step": "x"}\n')
    (steps / "step_000010/rollouts.parquet").write_bytes(b"PAR1" + b"\xff" * 64 + b"PAR1")
    (steps / "step_000010/manifest.json").write_text('{"schema_version": 1, "num_rollouts": 1e400}')

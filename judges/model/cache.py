"""Keeps verdicts in SQLite (WAL), so that no answer is judged twice and a stored run can be graded again offline
(JUDGING.md, Calls)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from judges.verdict import Criteria, Question


def cache_key(
    request: Question | Criteria, *, model: str, prompt_version: str, schema_version: str, sampling: Mapping[str, Any]
) -> str:
    """Return the SHA-256 of canonical JSON of everything a reply depends on. The nonce is left out, because it differs
    in every call, and so is the group."""
    parts = {
        "model": model,
        "prompt_version": prompt_version,
        "schema_version": schema_version,
        "sampling": dict(sampling),
        "question": request.question,
        "media": [one.sha256 for one in request.media],
        **_own_parts(request),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _own_parts(request: Question | Criteria) -> dict[str, Any]:
    """Return what only this kind of judgement depends on."""
    if isinstance(request, Criteria):
        return {"task": request.task, "criteria": list(request.criteria), "candidate": request.candidate}
    return {"reference": request.reference, "aliases": list(request.aliases), "answer": request.answer}


class VerdictCache:
    """A table key -> JSON, for several threads and processes. It holds readable replies only, never a failure. Raises
    sqlite3.Error where the file is no database."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(self._path, timeout=30.0, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the stored reply, or None."""
        with self._lock:
            row = self._db.execute("SELECT value FROM verdicts WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store a reply. The first one stays, so that a verdict never changes under a run. Raises sqlite3.Error, as on
        a full disk."""
        with self._lock:
            self._db.execute(
                "INSERT OR IGNORE INTO verdicts VALUES (?, ?)", (key, json.dumps(dict(value), ensure_ascii=True))
            )

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0])

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._db.close()

"""One or two runs and what answers questions about them; the server and the export both ask here."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollouts.page.group import NoSuchGroup, group_page, read_group, token_rows
from rollouts.page.images import Images
from rollouts.page.index import Index
from rollouts.page.labels import EXPECTED, append_label
from rollouts.page.listing import by_step, counts, metrics_by_step
from rollouts.page.media.sources import NoSource, Sources
from rollouts.page.tokens import load_tokenizer, token_texts
from rollouts.store.codec import Row
from rollouts.store.folder import Refused
from rollouts.store.layout import StoreError

# Seconds between two looks into the folder of a run that may still be going on.
LOOK_SECONDS = 2.0


class Viewer:
    """One or two runs and what answers questions about them."""

    def __init__(self, runs: Sequence[Path], sources: Sources | None = None) -> None:
        """`sources`: where the media of the first run lie, so that all their slices can be seen; None = not said."""
        self.sources = sources
        self.index = Index(runs)
        self.images = Images(runs)
        # Loaded at the first question for tokens, and again until there is one: a run writes its model last.
        self._tokenizers: dict[int, Any] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def start(self) -> None:
        """Read the runs, then look for what is new every two seconds, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking and free the index."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self.index.close()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self.index.refresh()
            except (OSError, StoreError) as error:
                # The folder went away while it is looked at; what was read stays readable.
                self.index.problems[(0, -2)] = f"the run's folder cannot be read now: {error}"
                self.index.ready.set()
            self._stop.wait(LOOK_SECONDS)

    def tokens(self, side: int, step: int, prompt: str) -> dict[str, Any]:
        """Texts and numbers of the tokens of a group's completions; `texts` is None and `note` says why where they are
        not known."""
        rows = token_rows(self.index, side, step, prompt)
        tokenizer, note = self._tokenizer(side)
        for row in rows.values():
            texts = None if tokenizer is None else token_texts(tokenizer, row["ids"])
            if texts is not None and row["text"].strip() not in "".join(texts):
                # A replay may stand beside another model; better numbers than wrong words.
                texts, note = None, "the run's tokenizer does not give these texts, so tokens are shown by number"
            row["texts"] = texts
            del row["text"]
        return {"note": note, "completions": rows}

    def _tokenizer(self, side: int) -> tuple[Any, str]:
        """The run's own tokenizer, or the first run's: a replay keeps no model."""
        note = ""
        for owner in dict.fromkeys((side, 0)):
            if owner not in self._tokenizers and owner < len(self.index.runs):
                tokenizer, problem = load_tokenizer(self.index.runs[owner])
                note = note or problem
                if tokenizer is not None:
                    self._tokenizers[owner] = tokenizer
            if owner in self._tokenizers:
                return self._tokenizers[owner], ""
        return None, note

    def about(self) -> dict[str, Any]:
        """What the page asks every few seconds to see whether there is more."""
        index = self.index
        steps = [one for (side, _), one in index.steps.items() if side == 0]
        return {
            "version": index.version,
            "ready": index.ready.is_set(),
            "num_steps": len(steps),
            "last_step": max((one.step for one in steps), default=None),
            "is_writing": any(not one.finished for one in steps),
        }

    def overview(self, text: str) -> dict[str, Any]:
        """Charts, counts and problems."""
        index = self.index
        return {
            **self.about(),
            "runs": [{"name": run.resolve().name, "metrics": metrics_by_step(run)} for run in index.runs],
            "steps": by_step(index, text),
            **counts(index),
            "main_reward": index.main_reward,
            "problems": [
                {"run": side, "step": step, "text": problem} for (side, step), problem in sorted(index.problems.items())
            ],
        }

    def group(self, step: int, prompt: str) -> dict[str, Any]:
        """A group of the first run, and beside it the nearest visit of the same prompt in the second."""
        page = group_page(self.index, self.images, 0, step, prompt)
        if self.sources is not None:
            for entry, medium in zip(page["media"], self._media(step, prompt), strict=True):
                entry["source"] = self.sources.has(page["sample_id"], medium)
        if len(self.index.runs) > 1:
            page["other"] = self._other(step, prompt)
        return page

    def source(self, step: int, prompt: str, medium: int, index: int) -> bytes:
        """One slice or frame of a medium's own file, the model saw it or not. Raises NoSource, NoSuchGroup."""
        media = self._media(step, prompt)
        if self.sources is None or not 0 <= medium < len(media):
            raise NoSource("say where the data is: python -m rollouts.view RUN --sources FILE.jsonl")
        rows = read_group(self.index, 0, step, prompt, ("sample_id",))
        return self.sources.png(str(rows[0]["sample_id"]), media[medium], index)

    def _media(self, step: int, prompt: str) -> list[Row]:
        return read_group(self.index, 0, step, prompt, ("media",))[0]["media"] or []

    def _other(self, step: int, prompt: str) -> dict[str, Any] | None:
        nearest = self.index.ask(
            "SELECT step FROM groups WHERE side = 1 AND prompt_id = ? ORDER BY abs(step - ?), step LIMIT 1",
            (prompt, step),
        )
        return group_page(self.index, self.images, 1, nearest[0][0], prompt) if nearest else None

    def label(self, body: Any) -> dict[str, Any]:
        """Write one label. The texts come from the store, only the place and the word come from the page."""
        step, prompt, sample, expected = (body.get(name) for name in ("step", "prompt", "sample", "expected"))
        places_fit = isinstance(step, int) and isinstance(prompt, str) and isinstance(sample, int)
        if not places_fit or expected not in EXPECTED:
            raise Refused("a label is {step, prompt, sample, expected}; expected is correct, incorrect or null")
        rows = [row for row in read_group(self.index, 0, step, prompt) if row["sample_index"] == sample]
        if not rows:
            raise NoSuchGroup(f"the group has no completion {sample}")
        key = append_label(self.index.runs[0], rows[0], expected)
        self.index.refresh()
        return {"key": key, "expected": expected}

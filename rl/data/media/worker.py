"""Run as a program: reads media that stand as JSON on its standard input, one a line, and answers each with a line.

A process of its own, because a damaged file may bring down or hold up the libraries that read it. It imports
`rollouts` only, so that it starts in a moment and loads a reader when the first file asks for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.data.media import remembered
from rollouts.imaging.ask import Ask
from rollouts.imaging.masks.reader import read_mask
from rollouts.imaging.read import read
from rollouts.media import sizes
from rollouts.records import BadSample, Media, to_dict

# Address space of one process: a file that asks for more is refused, and the machine goes on.
_MOST_BYTES = 12 * 2**30
# What a record says itself need not stand in its provenance, which every sample carries.
SAID_BY_MEDIA = ("indices", "times", "positions", "source_sha256", "patient", "axes")


def read_task(task: Mapping[str, Any]) -> Media:
    """One medium, its frames in the cache. Raises BadSample.

    `task`: `path`, `name` (what errors call it), `ask` (fields of Ask), `rules` (modality -> window and max_frames, for
    a file that names its modality), `mask` (its path, name and label, or None), `cache` (a folder).
    """
    path, name, cache = Path(task["path"]), task["name"], Path(task["cache"])
    ask = Ask(**{**task["ask"], "slices": _pair(task["ask"]["slices"])})
    if task["rules"]:
        first = read(path, dataclasses.replace(ask, window="auto", max_frames=1), name=name)
        rule = task["rules"].get(first.provenance.modality.casefold(), {})
        ask = dataclasses.replace(ask, **rule)
    media = read(path, ask, name=name, cache=cache).media()
    provenance = {name: value for name, value in media.provenance.items() if name not in SAID_BY_MEDIA}
    files = None
    if task["mask"]:
        mask = read_mask(Path(task["mask"]["path"]), path, ask, label=task["mask"]["label"], name=task["mask"]["name"])
        indices = media.frame_indices or (0,)
        pngs = mask.pngs(indices, sizes(media))
        files = tuple(_kept(png, cache / "masks") for png in pngs)
        notes = [*mask.notes, f"{mask.cut(indices)} of {len(indices)} frames shown hold a marked pixel"]
        provenance["notes"] = [*provenance.get("notes", ()), *(f"mask: {note}" for note in notes)]
    # What names the frames without reading them: where they come from and what was asked, but not the salt, which
    # differs from machine to machine.
    key = f"{media.source_sha256}\n{dataclasses.replace(ask, patient_salt='').key()}"
    shown = hashlib.sha256(key.encode()).hexdigest()
    media = dataclasses.replace(media, provenance=provenance, sha256=shown, mask_files=files)
    remembered.keep(task, media)
    return media


def _kept(png: bytes, folder: Path) -> str:
    """The path of a file with these bytes, named after them."""
    path = folder / f"{hashlib.sha256(png).hexdigest()}.png"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        writing = path.with_suffix(f".{os.getpid()}")
        writing.write_bytes(png)
        writing.replace(path)
    return str(path)


def _pair(value: Any) -> tuple[int, int] | None:
    return None if value is None else (value[0], value[1])


def answer(line: bytes) -> bytes:
    """The line for one task: `{"media": ..}` or `{"fault": ..}`."""
    task = json.loads(line)
    try:
        reply: dict[str, Any] = {"media": to_dict(read_task(task))}
    except BadSample as error:
        reply = {"fault": str(error)}
    except MemoryError:
        reply = {"fault": f"{task['ask']['kind']} {task['name']}: does not fit in memory"}
    except Exception as error:  # a boundary: what a library says of a damaged file may repeat what stands in it
        reply = {"fault": f"{task['ask']['kind']} {task['name']}: its reader failed on it ({type(error).__name__})"}
    return json.dumps(reply).encode() + b"\n"


def main() -> None:
    """Answer until the input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no reply
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for line in sys.stdin.buffer:
        replies.write(answer(line))
        replies.flush()


if __name__ == "__main__":
    main()

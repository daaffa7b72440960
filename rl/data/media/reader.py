"""The media of a row as records: pictures opened where they lie, everything else read once into the cache."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rl.config import MediaConfig
from rl.data.images import ImageReader
from rl.data.media import remembered
from rl.data.media.budget import FrameRoom
from rl.data.media.given import SAYS, Mask, Wanted, mask_of, path_of, wanted
from rl.data.media.labels import frame_labels
from rl.data.media.pool import read_all
from rl.data.media.remembered import Task
from rollouts.records import BadSample, Media, patient_key
from rollouts.rows.sample import text_of, value_text
from rollouts.texts.reading import quote

# Gives a function that is told how many more are done: (title, how many) -> that function, while it is open.
Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
# What a prompt has for its frames beside the longest of these questions.
Room = Callable[[Sequence[str]], FrameRoom]
_SALT = "patient_salt"
# The fields of a row that are read here.
FIELDS = ("image", "images", "volume", "video", "mask", "patient")


def no_bar(_: str, __: int) -> AbstractContextManager[Callable[[int], None]]:
    """Shows nothing."""
    return nullcontext(lambda _: None)


class MediaReader:
    """The images, the volume and the video of rows of one data file.

    `look` at every row first, `prepare` once, and `media` of each row: so that many volumes are read by several
    processes, and each once however many questions are asked of it.
    """

    def __init__(self, root: Path, settings: MediaConfig, room: Room | None = None) -> None:
        """`root`: where relative paths start. `room`: what a prompt has for its frames, asked for when the first row
        needs it; None = no limit but `max_frames`."""
        self.pictures = ImageReader(root, Path(settings.cache_dir))
        self._root, self._settings, self._room = root, settings, room
        self._known_room: FrameRoom | None = None
        # The longest questions of rows with a volume or a video: of ASCII, and of other writing, whose characters are
        # more tokens.
        self._longest = {True: "", False: ""}
        self._read: dict[str, Media | str] = {}
        self._waiting: dict[str, Wanted] = {}
        self._rows: list[Mapping[str, Any]] = []
        self._salt = ""
        # What was done to how many rows: frames that the context window has no room for.
        self.notes: Counter[str] = Counter()

    def look(self, row: Mapping[str, Any]) -> None:
        """Remember what a row needs read, and how much it asks. Says nothing of its faults: `media` does."""
        if "volume" in row or "video" in row:
            texts = [row.get("question"), *(row["options"] if isinstance(row.get("options"), list) else ())]
            text = "\n".join(str(one) for one in texts)
            self._longest[text.isascii()] = max(self._longest[text.isascii()], text, key=len)
            self._rows.append(row)
            return
        self._want(row)

    def _want(self, row: Mapping[str, Any]) -> None:
        try:
            for one in self._of_row(row):
                if isinstance(one, Wanted):
                    self._waiting.setdefault(one.key(), one)
        except BadSample:
            return

    def tasks(self, row: Mapping[str, Any]) -> list[Task]:
        """What a process is told to read for a row (`rl.data.media.worker.read_task`). Raises BadSample."""
        return [self._task(one) for one in self._of_row(row) if isinstance(one, Wanted)]

    def prepare(self, bar: Bar = no_bar) -> None:
        """Read everything that was looked at, or find it in the cache."""
        for row in self._rows:
            self._want(row)
        self._rows = []
        if self.pictures.opened is not None:
            self.pictures.opened.write()
        waiting = {key: one for key, one in self._waiting.items() if key not in self._read}
        self._waiting = {}
        if waiting:
            with bar("volumes, videos and medical pictures", len(waiting)) as advance:
                tasks: dict[str, Task] = {}
                for key, one in waiting.items():
                    task = self._task(one)
                    if (media := remembered.find(task)) is None:
                        tasks[key] = task
                    else:
                        self._read[key] = media
                        advance(1)
                if tasks:
                    self._read |= read_all(tasks, self._settings.workers, advance)

    def media(self, row: Mapping[str, Any]) -> tuple[Media, ...]:
        """Images first, then the volume, then the video. Raises BadSample."""
        all_media = [self._opened(one) if isinstance(one, Wanted) else one for one in self._of_row(row)]
        self._tell(row, all_media)
        if "patient" in row:
            key = patient_key(value_text(row["patient"], "patient"), self._patient_salt())
            all_media = [dataclasses.replace(media, patient=key) for media in all_media]
        if self._settings.frame_labels:
            language = text_of(row, "language", default="en")
            labels = [frame_labels(media, "zh" if language == "zh" else "en") for media in all_media]
            all_media = [dataclasses.replace(one, labels=words) for one, words in zip(all_media, labels, strict=True)]
        return tuple(all_media)

    def _tell(self, row: Mapping[str, Any], all_media: Sequence[Media]) -> None:
        """Count how many frames rows are shown, and which lose some to the context window."""
        if (room := self._known_room) is None:
            return
        for media in all_media:
            modality = text_of(row, "modality") or media.provenance.get("modality", "")
            numbers = {of.casefold(): count for of, count in self._settings.max_frames_by_modality.items()}
            wished = numbers.get(modality.casefold(), self._settings.max_frames)
            if media.kind == "image" or (isinstance(row[media.kind], dict) and "max_frames" in row[media.kind]):
                continue
            what = f"{modality} {media.kind}s".lstrip()
            fitting = min(wished, room.tokens // room.per_frame)
            self.notes[
                f"{what}: up to {fitting} of {wished} frames, {room.per_frame} tokens each of {room.tokens:,}"
            ] += 1
            if media.num_frames < min(wished, media.provenance["source_frames"]):
                self.notes[f"{what}: fewer frames than data.media asks for, the context window has no room"] += 1

    def _of_row(self, row: Mapping[str, Any]) -> list[Media | Wanted]:
        """Pictures as they are, everything else as it is wanted. Raises BadSample."""
        if "image" in row and "images" in row:
            raise BadSample("has both 'image' and 'images'; one of them says it all")
        images = [row["image"]] if "image" in row else _list_of(row, "images")
        kinds = [kind for kind in ("volume", "video") if kind in row]
        mask = mask_of(row["mask"], len(images) + len(kinds)) if "mask" in row else None
        media = [self._one("image", value, row, 0, 0) for value in images]
        media += [self._one(kind, row[kind], row, len(images), len(kinds)) for kind in kinds]
        return media if mask is None else [self._masked(media[0], mask, row)]

    def _masked(self, one: Media | Wanted, mask: Mask, row: Mapping[str, Any]) -> Wanted:
        """The row's one medium with its mask: read by a process of its own, a plain picture, too."""
        if isinstance(one, Wanted):
            return dataclasses.replace(one, mask=mask)
        if one.kind != "image":
            raise BadSample("mask belongs to an image or to a volume in one file or folder, not to a list of files")
        name = path_of(row["image"] if "image" in row else row["images"][0], "image", SAYS["image"])[0]
        return dataclasses.replace(wanted(name, "image", {}, text_of(row, "modality"), self._settings, None), mask=mask)

    def _one(self, kind: Any, value: Any, row: Mapping[str, Any], num_images: int, num_media: int) -> Media | Wanted:
        modality = text_of(row, "modality")
        if kind != "image" and isinstance(value, list) and all(isinstance(name, str) for name in value):
            limit = wanted("", kind, {}, modality, self._settings, self._room_of(num_images, num_media)).ask.max_frames
            return self.pictures.sequence(kind, list(value), limit or 1)
        name, extras = path_of(value, kind, SAYS[kind])
        one = wanted(name, kind, extras, modality, self._settings, self._room_of(num_images, num_media, kind))
        if not self.pictures.holds(kind, name):
            return one
        if extras:
            raise BadSample(
                f"image {name} is a picture, for which {', '.join(extras)} means nothing; give the path alone"
            )
        return self.pictures.image(name)

    def _room_of(self, num_images: int, num_media: int, kind: str = "volume") -> FrameRoom | None:
        if self._room is None or kind == "image":
            return None
        if self._known_room is None:
            self._known_room = self._room(tuple(filter(None, self._longest.values())))
        return self._known_room.beside(num_images, num_media)

    def _opened(self, one: Wanted) -> Media:
        if one.key() not in self._read:
            self._waiting[one.key()] = one
            self.prepare()
        result = self._read[one.key()]
        if isinstance(result, str):
            raise BadSample(result)
        return result

    def _task(self, one: Wanted) -> dict[str, Any]:
        ask = dataclasses.replace(one.ask, patient_salt=self._patient_salt())
        return {
            "path": str((self._root / one.name).absolute()),
            "name": one.name,
            "ask": ask.to_dict(),
            "rules": {
                of: {"window": rule.window, "max_frames": rule.max_frames} for of, rule in one.by_modality.items()
            },
            "mask": None
            if one.mask is None
            else {
                "path": str((self._root / one.mask.name).absolute()),
                "name": one.mask.name,
                "label": one.mask.label,
            },
            "cache": str(Path(self._settings.cache_dir).absolute()),
        }

    def _patient_salt(self) -> str:
        """The salt of this cache, made once. Whoever has no cache cannot tell whose key it is."""
        if not self._salt:
            path = Path(self._settings.cache_dir) / _SALT
            path.parent.mkdir(parents=True, exist_ok=True)
            made = path.with_name(f"{_SALT}.{os.getpid()}")
            if not path.exists():
                made.touch(mode=0o600)
                made.write_text(secrets.token_hex(16), encoding="ascii")
                try:
                    os.link(made, path)  # whoever comes first
                except FileExistsError:
                    pass
                finally:
                    made.unlink()
            self._salt = path.read_text(encoding="ascii").strip()
        return self._salt


def _list_of(row: Mapping[str, Any], name: str) -> list[Any]:
    values = row.get(name, [])
    if not isinstance(values, list):
        raise BadSample(f"{name} is {quote(values)}, expected a list of paths")
    return values

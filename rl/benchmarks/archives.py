"""Images that still lie in the zip files in which a set comes: each that a row names is taken out once, into the folder
of caches, and nothing else is."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rollouts.store.disk import write_atomically

# Bytes of one file taken out of an archive; what says that it is larger is none.
MOST_BYTES = 1 << 28
# Of a member that is torn, damaged, encrypted or packed in another way.
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


@dataclass
class Archives:
    """The zip files in some folders."""

    folders: Sequence[Path]
    # Where files that were taken out are kept.
    cache: Path
    # Zip file -> the last part of a name, in small letters -> its members of that name; None = not looked at yet.
    _members: dict[Path, dict[str, list[zipfile.ZipInfo]]] | None = field(default=None, init=False)

    def path_of(self, name: str) -> Path | None:
        """The file of this name, or one whose folders end in it, taken out; None = no archive holds it. Capitals do not
        count."""
        if self._members is None:
            paths = dict.fromkeys(path for folder in self.folders for path in sorted(folder.glob("*.zip")))
            self._members = {path: _listed(path) for path in paths}
        wanted = name.replace("\\", "/").lower().lstrip("./")
        for path, members in self._members.items():
            for member in members.get(wanted.rpartition("/")[2], ()):
                if f"/{member.filename.lower()}".endswith(f"/{wanted}") and member.file_size <= MOST_BYTES:
                    return self._taken_out(path, member)
        return None

    def _taken_out(self, path: Path, member: zipfile.ZipInfo) -> Path | None:
        about = path.stat()
        which = f"{path.resolve()} {about.st_size} {about.st_mtime_ns} {member.filename}"
        target = self.cache / "unpacked" / f"{hashlib.sha256(which.encode()).hexdigest()}{Path(member.filename).suffix}"
        if target.is_file() and target.stat().st_size == member.file_size:
            return target
        try:
            with zipfile.ZipFile(path) as archive:
                data = archive.read(member)
        except _UNREADABLE:
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, data, durable=False)
        return target


def _listed(path: Path) -> dict[str, list[zipfile.ZipInfo]]:
    members: dict[str, list[zipfile.ZipInfo]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    members.setdefault(member.filename.rpartition("/")[2].lower(), []).append(member)
    except (OSError, zipfile.BadZipFile):
        return {}
    return members

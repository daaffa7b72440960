"""`python -m rollouts.imaging FILE_OR_FOLDER`: how a medical file is read, in words, and its frames on one sheet."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from PIL import Image, ImageChops, ImageDraw

from rollouts.imaging.ask import Ask, AskKind, Plane
from rollouts.imaging.frames import Frames
from rollouts.imaging.read import read
from rollouts.imaging.windows import MODES, PRESETS
from rollouts.records import BadSample
from rollouts.terminal import CANNOT, DONE, accept_any_stdout, complain, one_line, open_console, plain

COMMAND = "python -m rollouts.imaging"
# Pixels of the longer side of a frame on the sheet, and of the line under it.
_THUMBNAIL, _CAPTION, _GAP = 224, 16, 6
_GROUND, _INK = (32, 32, 32), (230, 230, 230)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    arguments = _parser().parse_args(argv)
    try:
        with open_console(errors=True).status("reading"):
            frames = _read(arguments)
            if arguments.out is not None:
                sheet(frames).save(arguments.out, optimize=True)
    except BadSample as error:
        complain(f"{COMMAND}: {_on_lines(str(error))}")
        return CANNOT
    except (OSError, ValueError) as error:  # Pillow knows no such ending of a name
        complain(f"{COMMAND}: {arguments.out} cannot be written: {error}")
        return CANNOT
    if arguments.json:
        print(json.dumps(frames.provenance.to_dict(), indent=2))
        return DONE
    console = open_console()
    for name, text in frames.provenance.words():
        console.print(plain(f"{name:<12} {text}"))
    shown = range(len(frames)) if len(frames) <= 24 else (0, len(frames) // 2, len(frames) - 1)
    for index in shown:
        console.print(plain(frames.provenance.line(index)))
    if arguments.out is not None:
        console.print(plain(f"{len(frames)} frame{'s' if len(frames) > 1 else ''} on {arguments.out}"))
    else:
        console.print(plain("--out sheet.png draws them"))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Read a medical file or a folder with one series as a model will see it: DICOM, NIfTI, video (MP4,"
        " WebM, AVI, GIF, ..), pictures (PNG, JPEG, TIFF). Prints what was done and draws the frames on one sheet.",
        epilog=f"""examples:
  {COMMAND} chest.dcm --out chest.png
  {COMMAND} ct_series/ --window lung --frames 16 --out sheet.png
  {COMMAND} brain.nii.gz --plane coronal --out sheet.png
  {COMMAND} clip.mp4 --frames 8 --start 2 --end 6 --out sheet.png
presets, centre/width in Hounsfield units: {", ".join(f"{name} {c:g}/{w:g}" for name, (c, w) in PRESETS.items())}
exit code: 0 = it was read, 2 = it cannot be read so; the reason says what to ask for""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="FILE_OR_FOLDER")
    parser.add_argument("--kind", choices=get_args(AskKind), help="what it is (default: found out)")
    parser.add_argument(
        "--window",
        default="auto",
        metavar="NAME|C/W",
        help=f"{', '.join((*MODES, *PRESETS))}, or centre/width as 40/400 (default: auto, percentiles of the whole)",
    )
    parser.add_argument("--plane", choices=get_args(Plane), default="native", help="default: as it was acquired")
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="at most N, evenly spaced (default: 16)")
    parser.add_argument("--slices", metavar="A:B", help="only slices A to B - 1 of the source, counted from 0")
    parser.add_argument("--series", default="", metavar="N|UID", help="which series of a folder that holds several")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="which of several images at one place, as EchoNumbers=1",
    )
    parser.add_argument("--volume-index", type=int, metavar="N", help="which volume of a 4D file, counted from 0")
    parser.add_argument("--page", type=int, metavar="N", help="which page or frame of a file with several, from 0")
    parser.add_argument("--start", type=float, metavar="S", help="seconds from where a video is shown")
    parser.add_argument("--end", type=float, metavar="S", help="seconds to where a video is shown")
    parser.add_argument("--modality", default="", help="what the file does not say, as CT for a NIfTI file")
    parser.add_argument("--out", type=Path, metavar="SHEET.png", help="draw all frames on one sheet")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep the frames there and find them again")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    return parser


def _read(arguments: argparse.Namespace) -> Frames:
    """Read as the kind that is named, else as the first kind that fits."""
    if arguments.kind is not None:
        return read(arguments.path, _ask(arguments, arguments.kind), cache=arguments.cache)
    kinds: tuple[AskKind, ...] = ("volume", "video") if arguments.path.is_dir() else ("image", "volume", "video")
    refusals = []
    for kind in kinds:
        try:
            frames = read(arguments.path, _ask(arguments, kind), cache=arguments.cache)
        except BadSample as error:
            refusals.append(error)
            continue
        return _moving(arguments, frames) if kind == "volume" and frames.positions is None else frames
    # A refusal that points at another kind says least of what is wrong.
    telling = [error for error in refusals if "give it as" not in str(error)]
    raise (telling or refusals)[0]


def _moving(arguments: argparse.Namespace, frames: Frames) -> Frames:
    """A stack without places as a video, if its file tells the time of each frame."""
    try:
        video = read(arguments.path, _ask(arguments, "video"), cache=arguments.cache)
    except BadSample:
        return frames
    return video if video.times is not None else frames


def _ask(arguments: argparse.Namespace, kind: AskKind) -> Ask:
    return Ask(
        kind,
        window=_window(arguments.window),
        plane=arguments.plane,
        max_frames=arguments.frames,
        slices=_slices(arguments.slices),
        series=arguments.series,
        where=dict(_pair(text) for text in arguments.where),
        volume_index=arguments.volume_index,
        page=arguments.page,
        start=arguments.start if kind == "video" else None,
        end=arguments.end if kind == "video" else None,
        modality=arguments.modality,
    )


def _window(text: str) -> str | tuple[float, float]:
    centre, slash, width = text.partition("/")
    if not slash:
        return text
    try:
        return float(centre), float(width)
    except ValueError:
        raise BadSample(f"--window {text}: expected centre/width as 40/400, or a name") from None


def _slices(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, behind = text.partition(":")
    try:
        return int(first), int(behind)
    except ValueError:
        raise BadSample(f"--slices {text}: expected A:B as 10:40") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise BadSample(f"--where {text}: expected KEY=VALUE as EchoNumbers=1")
    return key, value


def _on_lines(text: str) -> str:
    """A long refusal, one item a line."""
    return text if len(text) < 160 else text.replace("; ", "\n  ")


def sheet(frames: Frames) -> Image.Image:
    """All frames as small pictures on one, with slice, place or time under each. Raises BadSample."""
    smalls = [_small(image) for image in frames.images()]
    cell = max(small.height for small in smalls)  # flat frames stand close to each other
    columns = _columns(len(smalls), cell)
    rows = -(-len(smalls) // columns)
    wide, high = _THUMBNAIL + _GAP, cell + _CAPTION + _GAP
    whole = Image.new("RGB", (columns * wide + _GAP, rows * high + _GAP), _GROUND)
    draw = ImageDraw.Draw(whole)
    for index, small in enumerate(smalls):
        left, top = _GAP + index % columns * wide, _GAP + index // columns * high
        whole.paste(small, (left + (_THUMBNAIL - small.width) // 2, top + (cell - small.height) // 2))
        caption = one_line(frames.provenance.line(index).partition(", slice ")[2] or _time_of(frames, index), 36)
        draw.text((left + 2, top + cell + 2), caption, fill=_INK)
    grey = whole.convert("L")
    return grey if ImageChops.difference(grey.convert("RGB"), whole).getbbox() is None else whole


def _small(image: Image.Image) -> Image.Image:
    """A frame whose longer side is that of a thumbnail."""
    scale = _THUMBNAIL / max(image.size)
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)


def _columns(count: int, cell: int) -> int:
    """How many frames stand beside each other: up to three in a row, more so that the sheet is about as wide as it is
    high."""
    return count if count <= 3 else max(1, round(math.sqrt(count * (cell + _CAPTION + _GAP) / (_THUMBNAIL + _GAP))))


def _time_of(frames: Frames, index: int) -> str:
    return "" if frames.times is None else f"{frames.times[index]:.2f} s"


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())

"""Opens a video: decodes it in order, keeps the frames that are shown, refuses one that is cut.

Frames are counted by decoding, since headers are wrong or silent; only a long video is read by seeking, and each frame
found so has the very time that was looked for. No address is opened and no other file: lists of files (`ffconcat`,
playlists) are no videos.
"""

from __future__ import annotations

import bisect
import dataclasses
import io
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rollouts.imaging.ask import Ask
from rollouts.imaging.cache import hash_files
from rollouts.imaging.notes import Provenance
from rollouts.imaging.pick import evenly_in_time
from rollouts.imaging.pictures import GROUND, MAX_PIXELS
from rollouts.imaging.source import Source, refuse_unused
from rollouts.imaging.video.ends import lacks_its_end
from rollouts.imaging.video.packets import HEIF, Stream, look, stream_of
from rollouts.imaging.video.shown import Shown, part_of, shown_at
from rollouts.imaging.video.upright import squared, turn_of
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Containers that are opened, by FFmpeg's names; and streams without one, as they stand inside DICOM.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg"
_BARE = f"{_CONTAINERS},h264,hevc,mpegvideo,m4v"
# How Matroska, MPEG-PS, ASF, FLV and Ogg begin.
_STARTS = (b"\x1a\x45\xdf\xa3", b"\0\0\x01\xba", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\x01", b"OggS")
# A video of more frames, or of more work than so many of 640 x 480, is read by seeking.
SEEK_FROM = 20_000
_MOST_WORK = SEEK_FROM * 640 * 480
# From so many frames on the decoder uses several threads; below, one is as fast.
_THREADS_FROM = 1_000
# Frames kept while a video is decoded for the first time, so that most videos are decoded once.
_KEPT_BYTES = 200 << 20
# Rows from which colours that do not say their matrix are those of HD, as players take them.
_HD_ROWS = 577


class Decoded(NamedTuple):
    """What decoding told, whole or until it broke."""

    # Stamps of the frames in order; None = it has none.
    stamps: list[int | None]
    # Pictures that were thought to be wanted, by their place.
    kept: dict[int, np.ndarray]
    # Sizes that occur, as shown.
    sizes: set[tuple[int, int]]
    notes: tuple[str, ...]
    # Whether the decoder met damage.
    broke: bool


def begins(head: bytes) -> bool:
    """Whether a file's first bytes are those of a container of video."""
    if head[4:8] == b"ftyp" and head[8:12].startswith(HEIF):
        return False
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    # Packets of 188 bytes; of 192 with a time before each.
    if head[0:1] == head[188:189] == head[376:377] == b"G" or head[4:5] == head[196:197] == head[388:389] == b"G":
        return True
    return head.startswith(_STARTS)


def open_source(paths: Sequence[Path], ask: Ask) -> Source:
    """The reader of the table in `rollouts/imaging/read.py`. Raises BadSample."""
    if ask.kind != "video":
        raise BadSample(f'a video, no {ask.kind}; give it as "video"')
    if len(paths) > 1:
        raise BadSample(f"{len(paths)} videos; give one of them")
    return _source(paths[0], _CONTAINERS, ask, Provenance("", source_sha256=hash_files(paths)))


def open_bytes(data: bytes, ask: Ask, known: Provenance) -> Source:
    """A video that stands inside another file (DICOM), with what that file said of it. Raises BadSample."""
    return _source(data, _BARE, ask, known)


def _source(file: Path | bytes, containers: str, ask: Ask, known: Provenance) -> Source:
    refuse_unused(ask, "a video", "series", "where", "plane", "page", "volume_index")
    stream = _looked(file, containers)
    ordered = stream.packets.in_order
    by_seeking = ordered is not None and _is_long(stream)
    decoded = _decode(stream, containers, ask, only_first=by_seeking)
    stamps: list[int | None] = [*ordered] if ordered is not None and by_seeking else decoded.stamps
    notes = (*known.notes, *stream.notes, *decoded.notes)
    if fault := stream.fault(len(stamps) if by_seeking else len(decoded.stamps), decoded.broke):
        if ask.on_cut == "refuse" or not decoded.stamps:
            raise BadSample(fault)
        notes = (*notes, fault)
    elif not decoded.stamps:
        raise BadSample("holds no frame that can be read")
    if stream.lacks_last:
        notes = (*notes, "some of the last frames are missing: the file may be cut")
    if by_seeking:
        notes = (*notes, "long: only the frames shown were decoded, and those they are built on")
    places, part = part_of(_shown(stream, stamps), ask)

    def load(wanted: Sequence[int]) -> Iterator[np.ndarray]:
        sought = [places[index] for index in wanted]
        if all(place in decoded.kept for place in sought):
            return iter([decoded.kept[place] for place in sought])
        if ordered is not None and by_seeking:
            return _sought(stream, containers, ask, [ordered[place] for place in sought])
        return _in_order(stream, containers, ask, sought)

    return Source(
        count=len(places),
        load=load,
        provenance=dataclasses.replace(
            known,
            format=known.format or stream.container,
            encoding=known.encoding or stream.codec,
            decoder="FFmpeg",
            notes=(*notes, *part.notes),
        ),
        times=part.times,
        end=part.end,
        size=next(iter(decoded.sizes)) if len(decoded.sizes) == 1 else None,
    )


def _looked(file: Path | bytes, containers: str) -> Stream:
    """What the file's packets say. Raises BadSample, which tells where the file is cut before its first frame."""
    try:
        with _opened(file, containers) as container:
            return look(container, file)
    except BadSample as error:
        if isinstance(file, Path) and lacks_its_end(file):
            raise BadSample(f"the file is cut, so that none of its frames can be read ({error})") from error
        raise


@contextmanager
def _opened(file: Path | bytes, containers: str) -> Iterator[Any]:
    """The file's container; whatever goes wrong with it inside the block becomes a BadSample."""
    import av

    # Neither a list of other files nor an address is opened, whatever the file says.
    options = {"format_whitelist": containers, "protocol_whitelist": "file"}
    source: Any = io.BytesIO(file) if isinstance(file, bytes) else f"file:{file.absolute()}"
    try:
        with av.open(source, options=options, metadata_errors="replace") as container:
            yield container
    except (BadSample, _Broken):
        raise
    except Exception as error:  # a boundary: FFmpeg's errors are of two dozen kinds
        text = re.sub(r"^\[Errno [^]]*\] |: '[^']*'(?= |$)|; last error log: .*", "", str(error))
        raise BadSample(f"does not open as a video: {text or type(error).__name__}") from error


def _is_long(stream: Stream) -> bool:
    count = len(stream.packets.stamps)
    return count > SEEK_FROM or count * stream.size[0] * stream.size[1] > _MOST_WORK


def _shown(stream: Stream, stamps: Sequence[int | None]) -> Shown:
    seconds = [None if stamp is None else float(stamp * stream.time_base) for stamp in stamps]
    last = float(stream.packets.last * stream.time_base) if stream.packets.last else None
    return shown_at(seconds, last, stream.step)


def _decode(stream: Stream, containers: str, ask: Ask, only_first: bool) -> Decoded:
    """Decode all frames, or the first. Pictures are made of those only that will be wanted."""
    wanted = _likely(stream, ask)
    result = Decoded([], {}, set(), (), False)
    notes: dict[str, None] = {}
    broke = False
    with closing(_frames(stream, containers)) as frames:
        try:
            for place, frame in enumerate(frames):
                result.stamps.append(frame.pts)
                if (frame.width, frame.height) not in result.sizes or place in wanted:
                    picture = _picture(frame, stream, ask)
                    result.sizes.add((picture.shape[1], picture.shape[0]))
                    if place in wanted and (len(result.kept) + 1) * picture.nbytes <= _KEPT_BYTES:
                        result.kept[place] = picture
                notes.update(dict.fromkeys(_notes_of(frame, stream, ask)))
                if only_first:
                    break
        except _Broken:
            broke = True
    if len(result.sizes) > 1:
        notes["frames are of several sizes"] = None
    if stream.packets.leading:
        notes[f"{stream.packets.leading} frames before the first whole one left out"] = None
    return result._replace(notes=tuple(notes), broke=broke)


def _likely(stream: Stream, ask: Ask) -> set[int]:
    """Places of the frames that will be wanted if the packets tell the truth about times."""
    ordered = stream.packets.in_order
    if ordered is None:
        return set()
    try:
        places, part = part_of(_shown(stream, ordered), ask)
    except BadSample:  # told from the frames' own times
        return set()
    first, behind = ask.slices or (0, len(places))
    times = part.times[first:behind]
    if not times:
        return set()
    end = part.end if behind >= len(places) else part.times[behind]
    return {places[first + index] for index in evenly_in_time(times, end, ask.max_frames or len(times))}


class _Broken(Exception):
    """The decoder met damage; the frames before it are whole."""


def _frames(stream: Stream, containers: str, start: int | None = None) -> Generator[Any, None, None]:
    """Decoded frames in the order they are shown, from the key frame at or before the stamp `start`. Raises _Broken."""
    with _opened(stream.file, containers) as container:
        video = stream_of(container)
        video.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        if len(stream.packets.stamps) > _THREADS_FROM:
            video.thread_type = "AUTO"
        if start is not None:
            container.seek(start, stream=video)
        whole_from = None if stream.packets.leading == 0 or not stream.packets.keys else stream.packets.keys[0]
        begun = False
        for packet in container.demux(video):
            begun = begun or packet.is_keyframe or not stream.packets.keys
            if not begun:
                continue
            if packet.is_corrupt:
                raise _Broken
            try:
                frames = packet.decode()
            except Exception as error:  # a boundary: FFmpeg's errors are of two dozen kinds
                raise _Broken from error
            for frame in frames:
                if whole_from is not None and frame.pts is not None and frame.pts < whole_from:
                    continue
                if frame.is_corrupt:
                    raise _Broken
                yield frame


def _in_order(stream: Stream, containers: str, ask: Ask, places: Sequence[int]) -> Iterator[np.ndarray]:
    """Pictures of the frames at these rising places, in one pass. Raises BadSample."""
    waiting = list(places)
    with closing(_frames(stream, containers)) as frames:
        try:
            for place, frame in enumerate(frames):
                if place == waiting[0]:
                    yield _picture(frame, stream, ask)
                    waiting.pop(0)
                    if not waiting:
                        return
        except _Broken as error:
            raise BadSample(f"frame {waiting[0] + 1} cannot be decoded; the file is damaged") from error
    raise BadSample(f"frame {waiting[0] + 1} was there before and is no longer")


def _sought(stream: Stream, containers: str, ask: Ask, stamps: Sequence[int]) -> Iterator[np.ndarray]:
    """Pictures of the frames with these rising stamps, those behind one key frame in one pass from there. Raises
    BadSample."""
    keys = stream.packets.keys
    waiting = list(stamps)
    while waiting:
        until = bisect.bisect_right(keys, waiting[0])
        near = [stamp for stamp in waiting if until == len(keys) or stamp < keys[until]]
        count = 0
        # Where a container seeks past the key frame, from the file's start.
        for start in (keys[until - 1] if until else None, None):
            for picture in _matching(stream, containers, ask, near[count:], start):
                yield picture
                count += 1
            if count == len(near):
                break
        else:
            at = float(near[count] * stream.time_base)
            raise BadSample(f"the frame at {at:.2f} s cannot be decoded; the file is damaged")
        waiting = waiting[len(near) :]


def _matching(
    stream: Stream, containers: str, ask: Ask, stamps: Sequence[int], start: int | None
) -> Iterator[np.ndarray]:
    """Pictures of the frames with exactly these stamps, until one of them is not there or the decoder meets damage."""
    waiting = list(stamps)
    with closing(_frames(stream, containers, start)) as frames, suppress(_Broken):
        for frame in frames:
            if frame.pts is None or frame.pts > waiting[0]:
                return
            if frame.pts == waiting[0]:
                yield _picture(frame, stream, ask)
                waiting.pop(0)
                if not waiting:
                    return


def _picture(frame: Any, stream: Stream, ask: Ask) -> np.ndarray:
    """A decoded frame as uint8 [rows, columns, 3]: colours by its range and matrix, square pixels, upright."""
    from av.video.reformatter import Colorspace, Interpolation

    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
    width, height = squared(frame.width, frame.height, stream.aspect if ask.square_pixels else None)
    if width * height > MAX_PIXELS:
        raise BadSample(f"has {width} x {height} pixels, at most {MAX_PIXELS:,} are read")
    clear = _has_alpha(frame)
    shown = frame.reformat(
        width=width,
        height=height,
        format="rgba" if clear else "rgb24",
        src_colorspace=Colorspace.ITU709 if _is_assumed_hd(frame) else None,
        interpolation=exact,
    ).to_ndarray()
    return turn_of(_matrix(frame)).turn(_on_ground(shown) if clear else shown)


def _on_ground(clear: np.ndarray) -> np.ndarray:
    """Transparent pixels on the ground that pictures are shown on."""
    import numpy

    share = clear[..., 3:].astype(numpy.float32) / 255
    ground = numpy.asarray(GROUND[:3], numpy.float32)
    return numpy.rint(clear[..., :3] * share + ground * (1 - share)).astype(numpy.uint8)


def _has_alpha(frame: Any) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def _is_assumed_hd(frame: Any) -> bool:
    # 2 = unspecified; RGB has no matrix.
    return int(frame.colorspace) == 2 and frame.height >= _HD_ROWS and not frame.format.is_rgb


def _matrix(frame: Any) -> bytes:
    side = frame.side_data.get("DISPLAYMATRIX")
    return b"" if side is None else bytes(side)


def _notes_of(frame: Any, stream: Stream, ask: Ask) -> Iterator[str]:
    turn = turn_of(_matrix(frame))
    if turn[:3] != (False, False, False):
        yield "turned upright as its display matrix says"
    if turn.rest:
        yield f"its display matrix turns by {turn.rest:.0f} degrees more, which was not done"
    if ask.square_pixels and squared(100, 100, stream.aspect) != (100, 100):
        yield f"pixels of {stream.aspect} made square"
    if frame.interlaced_frame:
        yield "interlaced: two moments in each frame"
    if int(frame.color_trc) in (16, 18):
        yield "high dynamic range, shown without tone mapping"
    if _is_assumed_hd(frame):
        yield "colour matrix not stored: taken as BT.709"
    if _has_alpha(frame):
        yield "transparent parts shown on white"
    if frame.format.name.startswith("gray") and frame.format.components[0].bits > 8:
        yield "greys of more than 8 bits shown by their upper 8"

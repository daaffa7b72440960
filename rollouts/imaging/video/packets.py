"""What a video file holds before anything is decoded: its packets, and what they say of a file that is cut."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from rollouts.imaging.pictures import MAX_PIXELS
from rollouts.imaging.video.ends import ends_early
from rollouts.records import BadSample

_NAMES = {"mov": "MP4", "matroska": "Matroska", "avi": "AVI", "mpegts": "MPEG-TS", "mpeg": "MPEG-PS"}
# Containers whose header says how long they are; the others' length is estimated.
_SAY_LENGTH = ("MP4", "Matroska", "AVI")
# Streams of packets, of constant rate, and the most frames that a codec holds back to put them in order.
_STREAMS, _REORDERED = ("MPEG-TS", "MPEG-PS"), 17
# A file whose packets end so many seconds, or so large a share, before its header says is cut.
_ENDS_EARLY, _SHARE_EARLY = 1.0, 0.02
# How the brands of still pictures begin that are packed as an MP4 is.
HEIF = (b"hei", b"hev", b"mif", b"avi", b"msf")
# A stream of these has one frame a packet, so that a packet without one is a damaged packet.
_ONE_EACH = ("h264", "hevc", "vp9", "av1", "mjpeg")


class Packets(NamedTuple):
    """The packets of the stream of pictures."""

    # Time stamps of those that are shown, in the order of the file; None = it has none.
    stamps: tuple[int | None, ...]
    # Stamps of those that decoding can start at, rising.
    keys: tuple[int, ...]
    # How long the one shown last is shown, in stamps; 0 = unknown.
    last: int
    # In the file, with those that an edit list takes out; and as its header promises, 0 = it does not say.
    present: int
    promised: int
    # Decoded and not shown (VP8).
    hidden: int
    # Before the first that decoding can start at.
    leading: int
    # One is cut off or has a wrong checksum.
    damaged: bool
    # The file goes on behind its end, by its own boxes.
    cut: bool
    # Seconds at which the header and the packets of all streams end, where the latter is early; None = it is not.
    early: tuple[float, float] | None

    @property
    def in_order(self) -> list[int] | None:
        """Stamps in the order of presentation; None where they are missing or two are the same."""
        known = [stamp for stamp in self.stamps if stamp is not None]
        return sorted(known) if len(known) == len(self.stamps) == len(set(known)) and not self.hidden else None


class Stream(NamedTuple):
    """A stream of pictures, as it is opened again and again."""

    file: Path | bytes
    container: str
    codec: str
    packets: Packets
    time_base: Fraction
    # Width and height as stored; width over height of a pixel, None = squares.
    size: tuple[int, int]
    aspect: Fraction | None
    # Seconds a frame, by the header.
    step: float | None
    notes: tuple[str, ...]

    @property
    def lacks_last(self) -> bool:
        """Whether frames between the last ones are missing, as where a stream of packets without a length is cut: those
        that others are built on come first."""
        ordered = self.packets.in_order
        if self.container not in _STREAMS or not ordered or self.step is None:
            return False
        steps = [float((after - before) * self.time_base) for before, after in pairwise(ordered[-_REORDERED:])]
        return any(step > 1.5 * self.step for step in steps)

    def fault(self, num_frames: int, broke: bool) -> str:
        """What is wrong where `num_frames` frames were decoded and the decoder `broke`, or not; "" = nothing."""
        packets = self.packets
        first = packets.keys[0] if packets.leading and packets.keys else None
        early = 0 if first is None else sum(stamp is None or stamp < first for stamp in packets.stamps)
        expected = len(packets.stamps) - packets.hidden - early
        promised = max(expected, packets.promised - (packets.present - len(packets.stamps)) - early)
        lost = self.codec in _ONE_EACH and num_frames < expected
        cut = packets.cut or packets.present < packets.promised or packets.early is not None
        if not (broke or lost or cut or packets.damaged):
            return ""
        how = "cut" if cut else "damaged"
        if packets.cut and num_frames >= promised:
            return f"the file is cut: it ends inside its last part, {num_frames} frames can be read"
        if packets.early is not None and num_frames >= promised:
            length, end = packets.early
            return f"its header says {length:.1f} s and its frames end at {end:.1f} s; the file is cut"
        return f"{num_frames} of {promised} frames can be read; the file is {how}"


def stream_of(container: Any) -> Any:
    """The stream of moving pictures of an opened container. Raises BadSample where there is none, or its pictures are
    too large."""
    streams = _moving(container)
    if not streams:
        raise BadSample(f"no picture stream{' (sound only)' if container.streams.audio else ''}: no video")
    context = streams[0].codec_context
    if context is None:
        raise BadSample("its pictures are compressed in a way that is not known")
    if context.width * context.height > MAX_PIXELS:
        raise BadSample(f"has {context.width} x {context.height} pixels, at most {MAX_PIXELS:,} are read")
    return streams[0]


def look(container: Any, file: Path | bytes) -> Stream:
    """Read all packets of an opened container. Raises BadSample, and what the library raises."""
    stream = stream_of(container)
    if str(container.metadata.get("major_brand", "")).encode().startswith(HEIF):
        raise BadSample("a HEIF or AVIF picture, no video; convert it to PNG")
    context = stream.codec_context
    names = container.format.name.split(",")
    name = next((_NAMES[one] for one in names if one in _NAMES), names[0].upper())
    rate = stream.average_rate or stream.guessed_rate
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio
    more = len(_moving(container)) - 1
    result = Stream(
        file=file,
        container=name,
        codec=context.name,
        packets=_packets(container, stream, name, isinstance(file, Path) and ends_early(file)),
        time_base=Fraction(stream.time_base),
        size=(context.width, context.height),
        aspect=Fraction(aspect) if aspect else None,
        step=float(1 / rate) if rate else None,
        notes=(f"{more} more picture stream{'s' if more > 1 else ''} left out",) if more > 0 else (),
    )
    if not result.packets.stamps:
        raise BadSample("holds no frame")
    return result


def _moving(container: Any) -> list[Any]:
    """Streams of pictures that are no cover of a song."""
    return [stream for stream in container.streams.video if "attached_pic" not in str(stream.disposition)]


def _packets(container: Any, stream: Any, name: str, cut: bool) -> Packets:
    stamps: list[int | None] = []
    lasts: list[int] = []
    keys: list[int] = []
    present = hidden = leading = 0
    damaged, ends = False, 0.0
    codec, promised = stream.codec_context.name, stream.frames
    for packet in container.demux():
        if packet.size == 0 and packet.dts is None and packet.pts is None:
            continue  # the end of a stream
        if packet.pts is not None and packet.time_base is not None:
            ends = max(ends, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        present += 1
        damaged |= packet.is_corrupt
        if packet.is_keyframe and packet.pts is not None:
            keys.append(packet.pts)
        leading += not packet.is_keyframe and present == leading + 1
        if packet.size and not packet.is_discard:
            stamps.append(packet.pts)
            lasts.append(packet.duration or 0)
            # The first byte of VP8 says whether the frame is shown.
            hidden += codec == "vp8" and not bytes(packet)[0] >> 4 & 1
    return Packets(
        stamps=tuple(stamps),
        keys=tuple(sorted(keys)),
        last=_last(stamps, lasts, name),
        present=present,
        promised=promised,
        hidden=hidden,
        leading=leading if keys else 0,
        damaged=damaged,
        cut=cut,
        early=_early(container, name, ends),
    )


def _last(stamps: list[int | None], lasts: list[int], name: str) -> int:
    """How long the frame shown last is shown. MP4 keeps how long each packet takes to the next in the order of
    decoding, so there only their sum says where the video ends."""
    known = [stamp for stamp in stamps if stamp is not None]
    if not known or len(known) < len(stamps):
        return 0
    if name == "MP4" and min(lasts) > 0:
        return max(0, min(known) + sum(lasts) - max(known))
    return lasts[known.index(max(known))]


def _early(container: Any, name: str, ends: float) -> tuple[float, float] | None:
    if name not in _SAY_LENGTH or not container.duration:
        return None
    begins, length = (container.start_time or 0) / 1_000_000, container.duration / 1_000_000
    begins = 0.0 if name == "Matroska" else begins  # which counts from 0, wherever the first frame stands
    short = begins + length - ends
    return (length, max(0.0, ends - begins)) if short > max(_ENDS_EARLY, _SHARE_EARLY * length) else None

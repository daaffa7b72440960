"""Clips of our making: counted by decoding, evenly in time, upright, and refused where they are cut."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rollouts.imaging.ask import Ask
from rollouts.imaging.frames import Frames
from rollouts.imaging.read import read
from rollouts.imaging.video import reader
from rollouts.imaging.video.ends import ends_early
from rollouts.imaging.video.shown import part_of, shown_at
from rollouts.imaging.video.upright import squared, turn_of
from rollouts.records import BadSample
from tests.rollouts.imaging.clips import card, number_of, write

WHOLE = list(range(12))
KINDS = {
    "a.mp4": ("libx264", {"bf": "3", "g": "12"}),
    "b.mov": ("mjpeg", {}),
    "c.mkv": ("libx264", {"bf": "2"}),
    "d.avi": ("mpeg4", {"bf": "2", "b": "2000k"}),
    "e.ts": ("libx264", {"bf": "2"}),
    "f.webm": ("libvpx", {"b": "1000k", "auto-alt-ref": "1", "lag-in-frames": "6", "deadline": "realtime"}),
    "g.webm": ("libvpx-vp9", {"b": "1000k", "lag-in-frames": "6", "deadline": "realtime", "cpu-used": "8"}),
    "intra.mp4": ("libx264", {"bf": "0", "g": "1"}),
    "jpeg.avi": ("mjpeg", {}),
    "h.mpg": ("mpeg2video", {"bf": "2", "b": "4000k"}),
}


def clip(path: Path, **ask: Any) -> Frames:
    return read(path, Ask("video", **ask))


def numbers(frames: Frames) -> list[int]:
    return [number_of(image) for image in frames.images()]


def made(folder: Path, name: str, count: int = 12) -> Path:
    codec, options = KINDS[name]
    rate = 25 if codec == "mpeg2video" else 10
    return write(
        folder / name, count, codec, options=options, rate=rate, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p"
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_container_gives_its_frames_in_the_order_they_are_shown(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name)
    frames = clip(path)
    assert numbers(frames) == WHOLE and frames.indices == tuple(WHOLE)
    assert frames.times is not None and list(frames.times) == sorted(set(frames.times))
    few = clip(path, max_frames=4)
    assert numbers(few) == [1, 4, 7, 10] and few.indices == (1, 4, 7, 10)
    assert few.provenance.source_frames == 12


@pytest.mark.parametrize("name", ["a.mp4", "c.mkv", "d.avi", "e.ts"])
def test_a_long_video_read_by_seeking_gives_the_same_pixels(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, options = KINDS[name]
    path = write(tmp_path / name, 40, codec, options={**options, "g": "8"})
    in_order = clip(path, max_frames=7)
    monkeypatch.setattr(reader, "SEEK_FROM", 5)
    sought = clip(path, max_frames=7)
    assert sought.indices == in_order.indices and sought.times == in_order.times
    for one, other in zip(in_order.images(), sought.images(), strict=True):
        assert (np.asarray(one) == np.asarray(other)).all()
    if name != "d.avi":  # which has no times in its packets, and is decoded in order
        assert any(note.startswith("long: ") for note in sought.provenance.notes)


def test_frames_are_spaced_evenly_in_time(tmp_path: Path) -> None:
    # One frame a second, then ten in the last second: the middles of three parts of 6 s are 1, 3 and 5 s.
    times = [0.0, 1.0, 2.0, 3.0, 4.0, *(5 + index / 10 for index in range(10))]
    path = write(tmp_path / "v.mp4", 15, times=times, options={"bf": "0"})
    frames = clip(path, max_frames=3)
    assert frames.indices == (1, 3, 5) and numbers(frames) == [1, 3, 5]
    # A frame that stands from 1 to 9 s is on the screen at three of four moments, and shown once.
    path = write(tmp_path / "w.mp4", 4, times=[0.0, 1.0, 9.0, 9.5], options={"bf": "0"})
    assert len(set(clip(path, max_frames=3).indices)) == len(clip(path, max_frames=3).indices)


def test_a_part_is_what_is_on_the_screen_in_it(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4")  # frame i from i/10 s on
    frames = clip(path, start=0.35, end=0.8)
    assert numbers(frames) == [3, 4, 5, 6, 7] and frames.times is not None
    assert [round(time, 3) for time in frames.times] == [0.3, 0.4, 0.5, 0.6, 0.7], "seconds of the whole video"
    assert numbers(clip(path, start=1.0)) == [10, 11] and numbers(clip(path, end=0.05)) == [0]
    with pytest.raises(BadSample, match=r"from 5 s to 6 s is asked for, and the video ends at 1\.20 s"):
        clip(path, start=5.0, end=6.0)
    with pytest.raises(BadSample, match=r"the video ends at 1\.20 s"):
        clip(path, start=0.5, end=3.0)


@pytest.mark.parametrize("name", ["intra.mp4", "b.mov", "jpeg.avi"])
@pytest.mark.parametrize("share", [0.6, 0.8])
def test_a_cut_video_is_refused_with_both_numbers_or_read_up_to_there(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    whole = made(tmp_path, name)
    pictures = [np.asarray(image) for image in clip(whole).images()]
    data = faststart(whole) if name != "jpeg.avi" else whole.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    with pytest.raises(BadSample, match=r"\d+ of 12 frames can be read; the file is cut"):
        clip(path)
    frames = clip(path, on_cut="note")
    assert 0 < len(frames) < 12
    assert any("of 12 frames can be read" in note for note in frames.provenance.notes)
    for image, picture in zip(frames.images(), pictures, strict=False):
        assert (np.asarray(image) == picture).all()


@pytest.mark.parametrize("name", ["a.mp4", "c.mkv", "d.avi"])
def test_a_video_that_is_cut_before_its_first_frame_says_that_it_is_cut(tmp_path: Path, name: str) -> None:
    # An MP4 has its index at its end, so that no frame can be found without it.
    path = tmp_path / f"cut-{name}"
    data = made(tmp_path, name).read_bytes()
    path.write_bytes(data[: len(data) // 2 if name == "a.mp4" else 300])
    with pytest.raises(BadSample, match="the file is cut, so that none of its frames can be read"):
        clip(path, on_cut="note")


def test_a_stream_of_packets_that_is_cut_lacks_frames_between_its_last(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.ts", 12, "libx264", options={"bf": "3"}, rate=25)
    assert clip(whole).provenance.notes == ()
    data = whole.read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[: len(data) // 2 // 188 * 188])
    frames = clip(tmp_path / "cut.ts")
    shown = numbers(frames)
    assert shown != list(range(len(shown))), "a frame between the others is not there"
    assert "some of the last frames are missing: the file may be cut" in frames.provenance.notes


def faststart(path: Path) -> bytes:
    """The same film with its index before its pictures, so that a cut takes pictures and not the index."""
    moved = path.with_name("moved.mp4")
    with av.open(str(path)) as source, av.open(str(moved), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return moved.read_bytes()


def test_a_matroska_file_that_ends_before_its_header_says_is_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mkv", 50, options={"g": "5", "bf": "0"})  # 5 s
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 5])
    with pytest.raises(BadSample, match=r"the file is cut"):
        clip(path)
    # Its boxes mended to end where the file does, the length in its header still tells.
    segment = data.index(b"\x18\x53\x80\x67") + 4
    path.write_bytes(data[:segment] + b"\x01" + b"\xff" * 7 + data[segment + 8 : len(data) * 2 // 5])
    with pytest.raises(
        BadSample, match=r"its header says 5\.0 s and its frames end at \d\.\d s; the file is cut|of 50"
    ):
        clip(path)


def test_a_fragmented_film_that_is_cut_says_so_by_its_boxes(tmp_path: Path) -> None:
    options = {"g": "5", "bf": "0", "movflags": "frag_keyframe+empty_moov"}
    data = write(tmp_path / "v.mp4", 20, options=options).read_bytes()
    assert not ends_early(tmp_path / "v.mp4") and numbers(clip(tmp_path / "v.mp4")) == list(range(20))
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    assert ends_early(tmp_path / "cut.mp4")
    with pytest.raises(BadSample, match="cut"):
        clip(tmp_path / "cut.mp4")
    (tmp_path / "more.mp4").write_bytes(data + b"\xff" * 100)
    assert not ends_early(tmp_path / "more.mp4"), "rubbish behind whole boxes cuts nothing"


def test_pixels_become_squares_where_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", 3, aspect=Fraction(4, 3))
    frames = clip(path)
    assert frames.image(0).size == (85, 48) and frames.provenance.size == (85, 48)  # 64 x 4 / 3 = 85.3
    assert "pixels of 4/3 made square" in frames.provenance.notes
    assert clip(path, square_pixels=False).image(0).size == (64, 48)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, 63)), (180, (47, 63)), (270, (47, 0))])
def test_a_turned_video_is_shown_upright(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    path = write(tmp_path / "v.mp4", 2, rotation=degrees)
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
        assert abs(stored.rotation) in (90, 180)
    image = np.asarray(clip(path).image(0))
    turned = np.rot90(card(0), degrees // 90)  # FFmpeg counts degrees against the clock
    assert image.shape == turned.shape
    assert np.abs(image.astype(int) - turned).mean() < 12


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_each_display_matrix_of_eight(turns: int, mirrored: bool) -> None:
    picture = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    # x' = a x + c y, y' = b x + d y with y downwards: a turn against the clock takes x to -y and y to x.
    a, b, c, d = [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)][turns]
    expected = np.rot90(picture, turns)
    if mirrored:  # first the picture's columns the other way: x becomes -x
        a, b = -a, -b
        expected = np.rot90(picture[:, ::-1], turns)
    matrix = struct.pack("=9i", *(value << 16 for value in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    assert (turn_of(matrix).turn(picture) == expected).all()


def test_a_matrix_that_is_no_quarter_turn_is_told() -> None:
    ten = [round(value * 65536) for value in (np.cos(0.1745), np.sin(0.1745), 0, -np.sin(0.1745), np.cos(0.1745))]
    assert round(turn_of(struct.pack("=9i", *ten, 0, 0, 0, 1 << 30)).rest) == 10
    assert turn_of(b"\0" * 36) == turn_of(b"") == turn_of(struct.pack("=9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 0))


def test_only_sound_aspects_stretch() -> None:
    assert squared(64, 48, Fraction(1, 2)) == (64, 96)
    assert all(squared(64, 48, Fraction(*wrong)) == (64, 48) for wrong in [(0, 1), (1, 1), (1000, 1), (1, 1000)])
    assert squared(64, 48, None) == (64, 48)


def test_times_that_do_not_rise_are_taken_as_even() -> None:
    assert shown_at([5.0, 5.1, 5.2], 0.1, 0.1).times == pytest.approx((0.0, 0.1, 0.2))
    for stamps in ([0.0, None, 0.2], [0.0, 0.2, 0.1], [0.0, 0.0, 0.1]):
        even = shown_at(stamps, 0.1, 0.04)
        assert even.times == pytest.approx((0.0, 0.04, 0.08)) and even.end == pytest.approx(0.12) and even.notes
    assert part_of(shown_at([0.0, 0.1], 0.1, None), Ask("video"))[0] == range(2)


def test_ten_bits_full_range_and_hd_colours(tmp_path: Path) -> None:
    for name, codec, pixels, size in (
        ("ten.mp4", "libx265", "yuv420p10le", (48, 64)),
        ("full.avi", "mjpeg", "yuvj420p", (48, 64)),
    ):
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        path = write(tmp_path / name, 2, codec, pixels=pixels, size=size, options=options)
        image = np.asarray(clip(path).image(0)).astype(int)
        assert np.abs(image[34, 16] - (220, 30, 30)).max() <= 8 and np.abs(image[34, 48] - (30, 30, 220)).max() <= 8


def test_a_text_that_lists_other_files_is_no_video(tmp_path: Path) -> None:
    write(tmp_path / "secret.mp4", 2)
    for name, text in (
        ("list.mp4", "ffconcat version 1.0\nfile secret.mp4\n"),
        ("play.mp4", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n"),
        ("page.mp4", "<!DOCTYPE html><html><body>404</body></html>"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(BadSample, match=rf"video {name}: a (text file|web page), no video"):
            clip(tmp_path / name)
        with pytest.raises(BadSample, match="does not open as a video"):
            reader.open_source([tmp_path / name], Ask("video"))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "s.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadSample, match=r"video s.mkv: no picture stream \(sound only\)"):
        clip(path)


def test_what_a_video_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", 2)
    for kind in ("image", "volume"):
        with pytest.raises(BadSample, match=rf'a video, no {kind}; give it as "video"'):
            read(path, Ask(kind))  # type: ignore[arg-type]
    with pytest.raises(BadSample, match="window lung has no effect"):
        clip(path, window="lung")
    with pytest.raises(BadSample, match="plane='axial' means nothing for a video"):
        clip(path, plane="axial")


def test_odd_names_are_files_and_nothing_else(tmp_path: Path) -> None:
    for name in ("http:x.mp4", "concat:a|b.mp4", "%05d.mp4", "-i.mp4", "a b'c.mp4"):
        made_at = tmp_path / name
        os.replace(write(tmp_path / "v.mp4", 2), made_at)
        assert len(clip(made_at)) == 2


def test_a_video_inside_another_file_is_read_from_memory(tmp_path: Path) -> None:
    from rollouts.imaging.notes import Provenance

    data = write(tmp_path / "v.mp4", 3).read_bytes()
    source = reader.open_bytes(data, Ask("video"), Provenance("DICOM", modality="ES"))
    assert [number_of(picture) for picture in source.load([0, 1, 2])] == [0, 1, 2]
    assert source.provenance.format == "DICOM" and source.provenance.modality == "ES"

"""Everyday pictures through the reader of all media: pages, folders, animations, windows, notes of what was done."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rollouts.imaging import pictures
from rollouts.imaging.ask import Ask
from rollouts.imaging.flat.chunks import fault_of, gif_frames
from rollouts.imaging.pictures import picture
from rollouts.imaging.read import read
from rollouts.records import BadSample
from tests.rollouts.imaging.clips import card, number_of


def saved(path: Path, image: Image.Image, **settings: Any) -> Path:
    image.save(path, **settings)
    return path


def animated(path: Path, count: int, lasts: list[int] | int) -> Path:
    images = [Image.fromarray(card(index)) for index in range(count)]
    more = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=lasts, loop=0, **more)
    return path


@pytest.mark.parametrize("end", [".gif", ".png", ".webp"])
def test_an_animation_is_spaced_by_the_times_of_its_frames(tmp_path: Path, end: str) -> None:
    # Shown for 0.1 s each, but frame 2 for 4 s: the middles of two parts of 4.5 s are 1.125 and 3.375 s.
    path = animated(tmp_path / f"a{end}", 6, [100, 100, 4000, 100, 100, 100])
    everything = read(path, Ask("video"))
    assert [number_of(image) for image in everything.images()] == [0, 1, 2, 3, 4, 5]
    assert everything.times == pytest.approx((0, 0.1, 0.2, 4.2, 4.3, 4.4))
    assert read(path, Ask("video", max_frames=2)).indices == (2,)
    assert [number_of(image) for image in read(path, Ask("video", start=4.25)).images()] == [3, 4, 5]
    as_volume = read(path, Ask("volume", max_frames=3))
    assert as_volume.indices == (1, 3, 5) and as_volume.times is None, "slices have places, not times"


def test_frames_of_no_time_stand_as_long_as_browsers_show_them(tmp_path: Path) -> None:
    assert read(animated(tmp_path / "a.gif", 3, 10), Ask("video")).times == pytest.approx((0.0, 0.1, 0.2))


def test_one_page_of_several_is_named(tmp_path: Path) -> None:
    pages = [Image.fromarray(card(index)) for index in range(3)]
    path = saved(tmp_path / "t.tif", pages[0], save_all=True, append_images=pages[1:])
    with pytest.raises(BadSample, match=r'image t\.tif: has 3 pages: give it as "volume" or "video", or take one with'):
        read(path, Ask("image"))
    assert number_of(read(path, Ask("image", page=2)).image(0)) == 2
    with pytest.raises(BadSample, match="page is 3, and there are 3: 0 to 2"):
        read(path, Ask("image", page=3))
    assert [number_of(image) for image in read(path, Ask("volume")).images()] == [0, 1, 2]
    with pytest.raises(BadSample, match="means nothing for a volume, all of whose pages are read"):
        read(path, Ask("volume", page=1))


def test_slices_of_a_folder_follow_the_numbers_in_their_names(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2):
        saved(tmp_path / f"slice{number}.png", Image.fromarray(card(number)))
    assert [number_of(image) for image in read(tmp_path, Ask("volume")).images()] == [1, 2, 9, 10]


def test_deep_slices_share_one_scale_and_say_which(tmp_path: Path) -> None:
    for index, high in enumerate((1000, 4000)):
        values = np.linspace(0, high, 64, dtype=np.uint16).reshape(8, 8)
        saved(tmp_path / f"s{index}.png", Image.fromarray(values))
    frames = read(tmp_path, Ask("volume"))
    brightest = [int(np.asarray(image).max()) for image in frames.images()]
    assert brightest == [64, 255], "1000 of 4000 is a quarter of white"
    assert "more than 8 bits: black is 0, white is 4000" in frames.provenance.notes
    windowed = read(tmp_path, Ask("volume", window=(500.5, 1001)))
    assert [int(np.asarray(image).max()) for image in windowed.images()] == [255, 255]
    assert windowed.provenance.window == "row"


def test_eight_bits_have_no_window(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.png", Image.fromarray(card(5)))
    with pytest.raises(BadSample, match="window lung has no effect"):
        read(path, Ask("image", window="lung"))
    with pytest.raises(BadSample, match="plane='axial' means nothing for picture files"):
        read(path, Ask("volume", plane="axial"))


def test_pixels_are_those_that_everybody_sees_and_notes_say_what_was_done(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = np.zeros((20, 30, 4), np.uint8)
    clear[:10] = (200, 10, 10, 255)
    for name, image, settings, note in (
        ("turned.jpg", Image.fromarray(card(3)), {"exif": exif}, "turned upright as its EXIF says"),
        ("clear.png", Image.fromarray(clear), {}, "transparent parts shown on white"),
        ("palette.png", Image.fromarray(card(3)).quantize(16), {}, ""),
        ("plain.png", Image.fromarray(card(3)), {}, ""),
    ):
        path = saved(tmp_path / name, image, **settings)
        frames = read(path, Ask("image"))
        assert (np.asarray(frames.image(0)) == np.asarray(picture(path.read_bytes()))).all()
        assert frames.provenance.notes == ((note,) if note else ())
        assert frames.provenance.size == frames.image(0).size


def test_mixed_depths_have_no_one_scale(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", Image.fromarray(card(1)))
    saved(tmp_path / "b.png", Image.fromarray(np.full((48, 64), 3000, np.uint16)))
    with pytest.raises(BadSample, match="some of the frames have 8 bits and some more"):
        read(tmp_path, Ask("volume"))


def stored_tiff(path: Path, values: np.ndarray, sample_format: int) -> Path:
    """A TIFF of one channel as it is stored, which Pillow cannot write: 1 unsigned, 2 signed, 3 floats."""
    data, bits = values.tobytes(), values.dtype.itemsize * 8
    rows, columns = values.shape
    tags = [(256, columns), (257, rows), (258, bits), (259, 1), (262, 1), (273, 134), (277, 1), (278, rows)]
    entries = [*tags, (279, len(data)), (339, sample_format)]
    ifd = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + ifd + b"\0" * 4 + data)
    return path


def test_numbers_of_a_tiff_that_pillow_takes_for_others_are_read_right_or_refused(tmp_path: Path) -> None:
    ramp = np.arange(48).reshape(6, 8)
    # Up to 47 x 90 million, above the largest signed number: the greys rise all the same.
    large = stored_tiff(tmp_path / "u.tif", (ramp * 90_000_000).astype("<u4"), 1)
    shown = np.asarray(read(large, Ask("image")).image(0))[..., 0].astype(int)
    assert (np.diff(shown.ravel()) > 0).all() and shown[0, 0] == 0 and shown[-1, -1] == 255
    for name, values, kind, told in (
        ("s.tif", (ramp - 20).astype(np.int8), 2, "holds signed values of 8 bits"),
        ("d.tif", ramp.astype("<f8"), 3, "a TIFF of 1 channel of 64-bit floats; save it with 8 or 16 bits"),
    ):
        with pytest.raises(BadSample, match=told):
            read(stored_tiff(tmp_path / name, values, kind), Ask("image"))


def test_pages_of_one_tiff_share_a_depth_and_tell_their_sizes(tmp_path: Path) -> None:
    small, deep = Image.new("L", (8, 6), 9), Image.fromarray(np.full((6, 8), 900, np.uint16))
    for pages in ([small, deep], [deep, small]):
        path = saved(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:])
        with pytest.raises(BadSample, match="some of its pages have 8 bits and some more"):
            read(path, Ask("volume"))
    sizes = saved(tmp_path / "b.tif", small, save_all=True, append_images=[Image.new("L", (4, 4), 9)])
    assert "frames are of several sizes" in read(sizes, Ask("volume")).provenance.notes


def test_a_flipped_bit_of_a_png_is_seen_by_its_checksum() -> None:
    buffer = io.BytesIO()
    Image.fromarray(card(9)).save(buffer, "PNG")
    data = buffer.getvalue()
    assert fault_of(data) is None and fault_of(data + b"rubbish") is None
    for place in range(8, len(data) - 12):
        spoiled = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        assert fault_of(spoiled) is not None, place
    assert all("cut" in str(fault_of(data[:end])) for end in range(8, len(data) - 4))
    with pytest.raises(BadSample, match="is damaged: a part of it has a wrong checksum"):
        picture(data[:60] + bytes([data[60] ^ 1]) + data[61:])


def test_a_cut_gif_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    data = animated(tmp_path / "a.gif", 4, 100).read_bytes()
    assert gif_frames(data) == (4, True)
    for end in range(13, len(data), 7):
        frames, whole = gif_frames(data[:end])
        assert not whole and frames <= 4
        (tmp_path / "cut.gif").write_bytes(data[:end])
        with pytest.raises(BadSample):
            read(tmp_path / "cut.gif", Ask("video"))


def test_a_cut_tiff_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    # Pages of noise, of which Pillow shows those before the cut without a word.
    pages = [Image.fromarray(np.random.default_rng(page).integers(0, 255, (9, 11), np.uint8)) for page in range(4)]
    for form in ({}, {"big_tiff": True}, {"compression": "tiff_lzw"}):
        data = saved(tmp_path / "t.tif", pages[0], save_all=True, append_images=pages[1:], **form).read_bytes()
        assert fault_of(data) is None and len(read(tmp_path / "t.tif", Ask("volume"))) == 4
        for end in range(8, len(data) - 12, 13):
            (tmp_path / "cut.tif").write_bytes(data[:end])
            with pytest.raises(BadSample):
                list(read(tmp_path / "cut.tif", Ask("volume")).images())
    circle = data[:4] + (8).to_bytes(4, "little") + b"\0\0" + (8).to_bytes(4, "little") + data[14:]
    assert fault_of(circle) == "is damaged: its pages follow each other in a circle"


def test_an_animation_that_would_take_hours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = animated(tmp_path / "a.gif", 6, 100)
    monkeypatch.setattr(pictures, "MAX_FRAMES", 5)
    with pytest.raises(BadSample, match="has 6 frames of 64 x 48, at most 5 frames"):
        read(path, Ask("video"))
    monkeypatch.setattr(pictures, "MAX_FRAMES", 20_000)
    monkeypatch.setattr(pictures, "MAX_ANIMATED", 10_000)
    with pytest.raises(BadSample, match="10,000 pixels are read: make it a video"):
        read(path, Ask("video"))


def test_what_runs_programs_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "p.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n")
    with pytest.raises(BadSample, match="a text file, no image"):
        read(tmp_path / "p.eps", Ask("image"))
    with pytest.raises(BadSample, match="does not open"):
        picture((tmp_path / "p.eps").read_bytes())

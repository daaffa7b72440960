"""K6 and K7: a picture file becomes the same upright 8-bit RGB for policy, judge, store and page, or is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rewards.shipped.boxes import box_iou
from rewards.shipped.verdicts import images_for
from rl.data.images import ImageReader, image_fault
from rollouts.imaging import pictures
from rollouts.media import blank, frames, pngs, sizes
from rollouts.page.images import Images
from rollouts.records import BadSample, Media, Parsed, Sample
from rollouts.store.layout import media_path
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts

pytestmark = pytest.mark.hunt

HEIGHT, WIDTH = 48, 64
# Rises from left to right and a little from top to bottom, so that a turn is seen: 0 .. 1.
RAMP = (np.linspace(0, 0.9, WIDTH)[None] + np.linspace(0, 0.1, HEIGHT)[:, None]).astype(np.float64)


def saved(image: Image.Image, form: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **settings)
    return buffer.getvalue()


def values(array: np.ndarray, form: str = "PNG", **settings: Any) -> bytes:
    return saved(Image.fromarray(array), form, **settings)


def shown(data: bytes) -> np.ndarray:
    """The first channel as the policy sees it, [height, width]; all three must be equal."""
    rgb = np.asarray(frames(Media("image", data=data))[0])
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


DEEP = {
    "16-bit PNG": values((RAMP * 65535).astype(np.uint16)),
    "12 bits in 16": values((RAMP * 4095).astype(np.uint16)),
    "10 bits in 16": values((RAMP * 1023).astype(np.uint16)),
    "half of 12 bits": values((RAMP * 2100).astype(np.uint16)),
    "a narrow window of 16 bits": values((20000 + RAMP * 5000).astype(np.uint16)),
    "16-bit TIFF": values((RAMP * 65535).astype(np.uint16), "TIFF"),
    "16-bit TIFF, big-endian": values((RAMP * 4095).astype(">u2"), "TIFF"),
    "32-bit TIFF": values((RAMP * 1_000_000).astype(np.int32), "TIFF"),
    "signed Hounsfield units": values((RAMP * 3000 - 1024).astype(np.int32), "TIFF"),
    "float 0 to 1": values(RAMP.astype(np.float32), "TIFF"),
    "float 0 to 255": values((RAMP * 255).astype(np.float32), "TIFF"),
    "float in other units": values((RAMP * 7 - 3).astype(np.float32), "TIFF"),
}


@pytest.mark.parametrize("data", DEEP.values(), ids=DEEP)
def test_deep_pictures_rise_from_black_to_white_with_many_greys(data: bytes) -> None:
    greys = shown(data)
    assert (np.diff(greys.astype(int), axis=1) >= 0).all() and (np.diff(greys.astype(int), axis=0) >= 0).all()
    assert (greys[0, 0], greys[-1, -1]) == (0, 255)
    assert len(np.unique(greys)) >= 150
    assert image_fault(data) is None


def test_the_window_is_linear_between_the_smallest_and_the_largest_value() -> None:
    # 1000 .. 2000: 1500 lies in the middle, 127.5 of 255, and numpy rounds halves to even.
    greys = shown(values(np.array([[1000, 1500, 2000]], np.uint16)))
    assert greys.tolist() == [[0, 128, 255]]


def test_whole_numbers_up_to_255_are_shown_as_they_are() -> None:
    assert shown(values(np.array([[0, 7, 200]], np.uint16))).tolist() == [[0, 7, 200]]
    assert shown(values(np.array([[0.0, 7.4, 200.0]], np.float32), "TIFF")).tolist() == [[0, 7, 200]]


def test_a_burned_in_mark_does_not_blacken_the_film() -> None:
    film = (RAMP * 1000).astype(np.uint16)
    film[:2, :2] = 65535
    greys = shown(values(film))
    assert greys[0, 0] == 255, "the mark is white"
    assert greys[40, 10] < 70 and greys[40, 60] > 220, "1000 of 65535 would be grey 3 and less"


def test_one_value_keeps_its_brightness_and_nothing_finite_is_refused() -> None:
    assert [int(shown(values(np.full((2, 2), value, np.uint16)))[0, 0]) for value in (0, 300, 65535)] == [0, 1, 255]
    assert image_fault(values(np.full((2, 2), np.nan, np.float32), "TIFF")) == "holds no finite number"


def test_what_is_not_finite_sets_no_scale_and_is_black() -> None:
    data = values(np.array([[np.nan, 0.0, 5.0, 10.0, np.inf]], np.float32), "TIFF")
    assert shown(data).tolist() == [[0, 0, 128, 255, 0]]


def test_a_tiff_whose_zero_is_white_is_turned_over() -> None:
    black_is_zero = values((RAMP * 65535).astype(np.uint16), "TIFF")
    at = black_is_zero.find(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00")
    assert at > 0, "the entry of tag 262 (photometric interpretation), one short of value 1"
    white_is_zero = black_is_zero[: at + 8] + b"\x00" + black_is_zero[at + 9 :]
    assert (shown(white_is_zero) == 255 - shown(black_is_zero)).all()


def test_sixteen_bit_colour_is_read_and_refused_where_it_would_be_black() -> None:
    full = png16([[(65535, 0, 0), (0, 32768, 0)]])
    assert [frames(Media("image", data=full))[0].getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (0, 128, 0)]
    twelve = png16([[(4095, 0, 0), (0, 2000, 0)]])
    assert image_fault(twelve) is not None and "only the lower 12 bits are used" in str(image_fault(twelve))
    assert image_fault(png16([[(0, 0, 0)]])) is None


def png16(rows: list[list[tuple[int, int, int]]]) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    raw = b"".join(b"\0" + b"".join(struct.pack(">HHH", *pixel) for pixel in row) for row in rows)
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


# Red at the top left, green beside it, blue below it: any turn or mirror moves one of the three.
CORNERS = Image.new("RGB", (6, 4))
CORNERS.paste((255, 0, 0), (0, 0, 3, 2))
CORNERS.paste((0, 255, 0), (3, 0, 6, 2))
CORNERS.paste((0, 0, 255), (0, 2, 3, 4))
UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UNTURN)
def test_a_picture_stored_on_its_side_is_shown_upright(orientation: int, form: str) -> None:
    lying = CORNERS.transpose(UNTURN[orientation])
    exif = lying.getexif()
    exif[0x0112] = orientation
    data = saved(lying, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    assert frames(Media("image", data=data))[0].tobytes() == CORNERS.tobytes()
    assert pictures.size(data) == CORNERS.size
    assert not pictures.is_plain_png(data)


def test_a_deep_picture_is_turned_too_and_boxes_belong_to_the_upright_one() -> None:
    image = Image.fromarray((RAMP * 65535).astype(np.uint16))
    exif = image.getexif()
    exif[0x0112] = 6
    media = Media("image", data=saved(image, "PNG", exif=exif))
    assert sizes(media) == [(HEIGHT, WIDTH)] and frames(media)[0].size == (HEIGHT, WIDTH)
    sample = Sample("a", "Where?", "box", "there", boxes=((0, 0, HEIGHT / 2, WIDTH / 2),), media=(media,))
    paid = box_iou(Parsed("", "[0, 0, 500, 500]"), sample, coordinates="thousandths")
    assert paid.value == pytest.approx(1.0)


def test_transparent_pictures_lie_on_white() -> None:
    drawing = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (2, 2, 6, 6))
    for data in (saved(drawing, "PNG"), saved(drawing.convert("LA"), "PNG"), saved(drawing.quantize(), "PNG")):
        rgb = frames(Media("image", data=data))[0]
        assert (rgb.getpixel((0, 0)), rgb.getpixel((3, 3))) == ((255, 255, 255), (0, 0, 0))
    half = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 128))
    # 128 of 255 of black over white: 255 * 127 / 255 = 127
    assert frames(Media("image", data=saved(half, "PNG")))[0].getpixel((1, 0)) == (127, 127, 127)


def test_a_white_drawing_on_clear_ground_is_refused_with_advice() -> None:
    drawing = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    drawing.paste((255, 255, 255, 255), (2, 2, 6, 6))
    assert "give it a ground of its own" in str(image_fault(saved(drawing, "PNG")))


def animation(form: str, count: int = 4) -> bytes:
    first, *rest = [Image.new("RGB", (6, 6), (60 * index, 0, 0)) for index in range(count)]
    return saved(first, form, save_all=True, append_images=rest)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_frames_are_refused_as_an_image_and_all_read_as_video_or_volume(tmp_path: Path, form: str) -> None:
    name = f"clip.{form.lower()}"
    (tmp_path / name).write_bytes(animation(form))
    reader = ImageReader(tmp_path, tmp_path / "cache")
    with pytest.raises(BadSample, match=rf"image {name} has 4 (frames|pages): give it as .volume. or .video."):
        reader.image(name)
    clip = reader.sequence("video", [name], 8)
    assert clip.frame_indices == (0, 1, 2, 3)
    reds = [frame.getpixel((0, 0))[0] for frame in frames(clip)]
    assert reds == pytest.approx([0, 60, 120, 180], abs=4 if form in ("GIF", "WEBP") else 0)
    # 2 of 4, centred in their shares: (2i + 1) * 4 // 4 = 1, 3
    assert reader.sequence("volume", [name], 2).frame_indices == (1, 3)
    assert reader.sequence("volume", [name, name], 8).frame_indices == tuple(range(8))


def test_the_smaller_copies_in_a_tiff_are_no_pages() -> None:
    small = Image.new("RGB", (3, 3))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    data = saved(Image.new("RGB", (6, 6)), "TIFF", save_all=True, append_images=[small])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert pictures.num_frames(data) == 1 and pictures.fault(data) is None


def test_slices_of_a_volume_share_one_scale(tmp_path: Path) -> None:
    """A patch of 1000, 2000 and 3000 in three 16-bit slices must get brighter; each scaled alone it would be white in
    all."""
    for index, value in enumerate((1000, 2000, 3000)):
        slice_of_it = np.zeros((4, 4), np.uint16)
        slice_of_it[1:3, 1:3] = value
        Image.fromarray(slice_of_it).save(tmp_path / f"s{index}.png")
    volume = ImageReader(tmp_path, tmp_path / "cache").sequence("volume", ["s0.png", "s1.png", "s2.png"], 8)
    assert [frame.getpixel((1, 1))[0] for frame in frames(volume)] == [85, 170, 255]
    one = ImageReader(tmp_path, tmp_path / "cache").sequence("volume", ["s0.png", "s1.png", "s2.png"], 1)
    assert frames(one)[0].getpixel((1, 1))[0] == 170, "the scale does not depend on how many slices are shown"


def plain() -> list[bytes]:
    grey = Image.fromarray((RAMP * 255).astype(np.uint8))
    return [
        *(saved(grey.convert(mode), "PNG") for mode in ("L", "RGB", "1", "P")),
        *(saved(CORNERS.convert(mode), form) for mode, form in (("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "JPEG"))),
        *(saved(CORNERS, form) for form in ("BMP", "TIFF", "WEBP", "GIF")),
    ]


def test_plain_8_bit_files_keep_their_pixels_and_plain_pngs_their_bytes() -> None:
    for data in plain():
        media = Media("image", data=data)
        assert frames(media)[0].tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()
        if data.startswith(pictures.PNG):
            assert pngs(media) == [data]
    opaque = saved(CORNERS.convert("RGBA"), "PNG")
    assert pngs(Media("image", data=opaque)) == [opaque], "an alpha channel that hides nothing changes nothing"


ODD: dict[str, Callable[[], bytes]] = {
    "16 bits": lambda: DEEP["12 bits in 16"],
    "float": lambda: DEEP["float 0 to 1"],
    "alpha": lambda: saved(Image.merge("LA", (Image.new("L", (6, 4), 9), CORNERS.getchannel(0))), "PNG"),
    "turned": lambda: saved(CORNERS, "PNG", exif=turned_exif()),
    "turned JPEG": lambda: saved(CORNERS, "JPEG", exif=turned_exif()),
    "16-bit colour": lambda: png16([[(65535, 0, 0), (0, 32768, 0)]]),
    "plain": lambda: saved(CORNERS, "PNG"),
}


def turned_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("kind", ODD)
def test_store_judge_and_page_show_the_pixels_of_the_policy(tmp_path: Path, kind: str) -> None:
    data = ODD[kind]()
    media = Media("image", data=data)
    (seen,) = frames(media)
    judge: Any = SimpleNamespace(shows_images=True)
    sample = Sample("a", "What?", "open", "that", media=(media,))
    assert same(images_for(judge, sample)[0].png, seen)
    rollouts = [dataclasses.replace(one, sample=sample) for one in fake_rollouts.group(0)]
    writer = RunWriter(tmp_path)
    writer.append_group(rollouts)
    writer.close()
    name = hashlib.sha256(data).hexdigest()
    stored = media_path(tmp_path, name)
    assert same(stored.read_bytes(), seen)
    assert frames(Media("image", path=str(stored)))[0].tobytes() == seen.tobytes(), "a replay sees it again"
    page = Images([tmp_path])
    assert same(page.png(name), seen)
    thumbnail = Image.open(io.BytesIO(page.thumbnail(name))).convert("RGB")
    assert thumbnail.size == seen.size and thumbnail.tobytes() == seen.tobytes(), "it is smaller than a thumbnail"
    assert frames(blank(media))[0].size == seen.size
    assert (stored.read_bytes() == data) == (kind == "plain")


def same(png: bytes, seen: Image.Image) -> bool:
    """Whether a plain reader of PNG, as a browser is one, shows the policy's pixels."""
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode in ("L", "RGB", "1", "P") and not image.getexif()
        return image.convert("RGB").tobytes() == seen.tobytes()


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_damaged_files_are_refused_by_loader_and_policy_alike(cut: float) -> None:
    for data in (*plain(), *DEEP.values(), animation("GIF"), ODD["alpha"]()):
        part = data[: int(len(data) * cut)]
        fault = image_fault(part)
        try:
            frames(Media("image", data=part))
            seen = None
        except BadSample as error:
            seen = str(error)
        assert (fault is None) == (seen is None), (fault, seen)


def test_whole_folder_of_cases_where_it_is_there(hunt_cases: Path) -> None:
    """The files that came with the list of kinds: size, greys and refusals."""
    sizes_and_greys = {}
    for path in sorted((hunt_cases / "images").iterdir()):
        data = path.read_bytes()
        if (fault := image_fault(data)) is not None:
            sizes_and_greys[path.name] = fault
        else:
            image = frames(Media("image", path=str(path)))[0]
            sizes_and_greys[path.name] = (*image.size, len(set(image.convert("L").tobytes())))  # type: ignore[assignment]
    assert sizes_and_greys["plain8.png"] == sizes_and_greys["grey16.png"] == (64, 48, 64)
    assert sizes_and_greys["float01.tif"] == (64, 24, 64)
    assert sizes_and_greys["exif6.jpg"][:2] == (48, 64)
    assert sizes_and_greys["black_on_clear.png"] == (64, 48, 2)
    assert str(sizes_and_greys["four_frames.gif"]).startswith("has 4 frames")
    assert "runcated" in str(sizes_and_greys["cut.jpg"])

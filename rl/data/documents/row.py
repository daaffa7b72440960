"""One JSON object of a file becomes one Document; every fault is told in words. The forms are explained in
examples/stages.md.

| `data` | fields |
|---|---|
| interleaved | `content`: a list of texts, {"image": ..}, {"volume": ..} and {"video": ..} in the order they are read;
or `text_list` and `image_info` as MMC4 has them; `id` |
| captions | `image`, `images`, `volume` or `video`, and `caption`; `id` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl.data.images import ImageReader
from rl.data.markup import refuse_marks
from rollouts.nearest import did_you_mean
from rollouts.prompt.documents import Document
from rollouts.records import BadSample, Media
from rollouts.rows.sample import text_of, texts_of
from rollouts.texts.reading import TextFault, is_blank, quote, refuse_half_pairs, shorten, trim

FIELDS = {
    "interleaved": ("id", "content", "text_list", "image_info"),
    "captions": ("id", "image", "images", "volume", "video", "caption"),
}
# Other fields of MMC4's lines, which say where a document is from.
_OF_MMC4 = ("url", "similarity_matrix", "could_have_url_duplicate")
_MEDIA = ("image", "volume", "video")


def document_of(row: Mapping[str, Any], row_id: str, form: str, reader: ImageReader, max_frames: int) -> Document:
    """Read one row of a form, "interleaved" or "captions". Raises BadSample with what was got, what was expected and
    what to do."""
    row = {name: value for name, value in row.items() if value is not None}  # null means: left out
    try:
        refuse_half_pairs(dict(row))
    except TextFault as error:
        raise BadSample(str(error)) from None
    known = (*FIELDS[form], *(_OF_MMC4 if "text_list" in row else ()))
    for name in row:
        if name not in known:
            hint = did_you_mean(name, known, f"; known are {', '.join(FIELDS[form])}")
            raise BadSample(f"unknown field {shorten(name)!r}{hint}")
    if form == "captions":
        pieces = _caption(row, reader, max_frames)
    elif "text_list" in row:
        pieces = _mmc4(row, reader)
    else:
        pieces = _content(row, reader, max_frames)
    if not any(isinstance(piece, str) for piece in pieces):
        raise BadSample("the document holds no text, so there is nothing to learn")
    return Document(row_id, tuple(pieces))


def _caption(row: Mapping[str, Any], reader: ImageReader, max_frames: int) -> list[str | Media]:
    caption = text_of(row, "caption")
    if is_blank(caption):
        raise BadSample("the caption is empty, or there is none")
    if "image" in row and "images" in row:
        raise BadSample("has both 'image' and 'images'; one of them says it all")
    names = [text_of(row, "image")] if "image" in row else list(texts_of(row, "images"))
    media = [_media({"image": name}, reader, max_frames) for name in names]
    media += [_media({kind: row[kind]}, reader, max_frames) for kind in ("volume", "video") if kind in row]
    if not media:
        raise BadSample("has no image, images, volume or video: a caption says what one shows")
    return [*media, refuse_marks("the caption", trim(caption))]


def _content(row: Mapping[str, Any], reader: ImageReader, max_frames: int) -> list[str | Media]:
    content = row.get("content")
    if not isinstance(content, list) or not content:
        raise BadSample(
            f'content is {quote(content)}, expected a list of texts and objects such as {{"image": "a.png"}}'
        )
    pieces: list[str | Media] = []
    for place, piece in enumerate(content, start=1):
        if isinstance(piece, str):
            pieces += _text(piece, f"piece {place}")
        elif isinstance(piece, Mapping):
            pieces.append(_media(piece, reader, max_frames))
        else:
            raise BadSample(f'piece {place} is {quote(piece)}, expected a text or an object such as {{"image": ..}}')
    return pieces


def _mmc4(row: Mapping[str, Any], reader: ImageReader) -> list[str | Media]:
    """Sentences in order; an image stands before the sentence it was matched with."""
    texts, infos = row["text_list"], row.get("image_info", [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts) or not isinstance(infos, list):
        raise BadSample("expected text_list, a list of texts, and image_info, a list of objects, as MMC4 has them")
    before: dict[int, list[Media]] = {}
    for info in infos:
        name = info.get("image_name") if isinstance(info, Mapping) else None
        place = info.get("matched_text_index") if isinstance(info, Mapping) else None
        if not isinstance(name, str) or type(place) is not int or not 0 <= place < len(texts):
            raise BadSample(
                f"image_info holds {quote(info)}, expected image_name, and matched_text_index from 0 to"
                f" {len(texts) - 1}"
            )
        before.setdefault(place, []).append(_media({"image": name}, reader, 1))
    return [
        piece for place, text in enumerate(texts) for piece in (*before.get(place, ()), *_text(text, f"text {place}"))
    ]


def _text(text: str, what: str) -> list[str]:
    """The text without blanks around it; none where nothing is left."""
    return [] if is_blank(text) else [refuse_marks(what, trim(text))]


def _media(piece: Mapping[str, Any], reader: ImageReader, max_frames: int) -> Media:
    if len(piece) != 1 or next(iter(piece)) not in _MEDIA:
        raise BadSample(
            f"a piece is {quote(dict(piece))}, expected one of {', '.join(_MEDIA)} with what it is read from"
        )
    kind, source = next(iter(piece.items()))
    if kind == "image":
        if not isinstance(source, str) or is_blank(source):
            raise BadSample(f"image is {quote(source)}, expected a path")
        return reader.image(source)
    if isinstance(source, str) and not is_blank(source):
        return reader.sequence(kind, source.strip().rstrip("/"), max_frames)  # type: ignore[arg-type]
    if isinstance(source, list) and all(isinstance(name, str) for name in source):
        return reader.sequence(kind, list(source), max_frames)  # type: ignore[arg-type]
    raise BadSample(f"{kind} is {quote(source)}, expected a folder or a list of image files")

"""One JSON object of a file becomes one Document; every fault is told in words. The forms are explained in
examples/stages.md.

| `data` | fields |
|---|---|
| interleaved | `content`: a list of texts, {"image": ..}, {"volume": ..} and {"video": ..} in the order they are read;
or `text_list` and `image_info` as MMC4 has them |
| captions | `image`, `images`, `volume` or `video`, and `caption` |
| both | `id`, `modality`, `patient`, as in a row of data=jsonl |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl.data.jsonl.row import said_in
from rl.data.markup import refuse_marks
from rl.data.media.reader import MediaReader
from rollouts.nearest import did_you_mean
from rollouts.prompt.documents import Document
from rollouts.records import BadSample, Media
from rollouts.rows.sample import text_of
from rollouts.texts.reading import TextFault, is_blank, quote, refuse_half_pairs, shorten, trim

FIELDS = {
    "interleaved": ("id", "content", "text_list", "image_info", "modality", "patient"),
    "captions": ("id", "image", "images", "volume", "video", "caption", "modality", "patient"),
}
# Other fields of MMC4's lines, which say where a document is from.
_OF_MMC4 = ("url", "similarity_matrix", "could_have_url_duplicate")
_MEDIA = ("image", "volume", "video")
_SHOWN = ("image", "images", "volume", "video")
# What is said once of everything that a row shows: it chooses windows and numbers of frames, and keeps patients apart.
_OF_ALL = ("modality", "patient")


def document_of(row: Mapping[str, Any], row_id: str, form: str, reader: MediaReader) -> Document:
    """Read one row of a form, "interleaved" or "captions". Raises BadSample with what was got, what was expected and
    what to do."""
    row = said_in(row)
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
        pieces = _caption(row, reader)
    elif "text_list" in row:
        pieces = _mmc4(row, reader)
    else:
        pieces = _content(row, reader)
    if not any(isinstance(piece, str) for piece in pieces):
        raise BadSample("the document holds no text, so there is nothing to learn")
    return Document(row_id, tuple(pieces))


def _caption(row: Mapping[str, Any], reader: MediaReader) -> list[str | Media]:
    caption = text_of(row, "caption")
    if is_blank(caption):
        raise BadSample("the caption is empty, or there is none")
    media = reader.media({name: row[name] for name in (*_SHOWN, *_OF_ALL) if name in row})
    if not media:
        raise BadSample("has no image, images, volume or video: a caption says what one shows")
    return [*media, refuse_marks("the caption", trim(caption))]


def _content(row: Mapping[str, Any], reader: MediaReader) -> list[str | Media]:
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
            pieces += _media(piece, row, reader)
        else:
            raise BadSample(f'piece {place} is {quote(piece)}, expected a text or an object such as {{"image": ..}}')
    return pieces


def _mmc4(row: Mapping[str, Any], reader: MediaReader) -> list[str | Media]:
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
        before.setdefault(place, []).extend(_media({"image": name}, row, reader))
    return [
        piece for place, text in enumerate(texts) for piece in (*before.get(place, ()), *_text(text, f"text {place}"))
    ]


def _text(text: str, what: str) -> list[str]:
    """The text without blanks around it; none where nothing is left."""
    return [] if is_blank(text) else [refuse_marks(what, trim(text))]


def _media(piece: Mapping[str, Any], row: Mapping[str, Any], reader: MediaReader) -> tuple[Media, ...]:
    """One piece that is to be seen, read as a row of `data=jsonl` would have it read."""
    if len(piece) != 1 or next(iter(piece)) not in _MEDIA:
        raise BadSample(
            f"a piece is {quote(dict(piece))}, expected one of {', '.join(_MEDIA)} with what it is read from"
        )
    return reader.media({**piece, **{name: row[name] for name in _OF_ALL if name in row}})


def asked_to_read(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `MediaReader.look` is to be shown of a row, so that many volumes are read at a time."""
    shared = {name: row[name] for name in _OF_ALL if row.get(name) is not None}
    content = row.get("content")
    pieces = [piece for piece in content if isinstance(piece, Mapping)] if isinstance(content, list) else []
    pieces += [{name: row[name]} for name in _SHOWN if row.get(name) is not None]
    return [{**piece, **shared} for piece in pieces]

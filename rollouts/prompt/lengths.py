"""How many tokens each prompt will have, or why it cannot be encoded, without decoding an image.

The text is counted by the tokenizer, an image by its size and the processor's own arithmetic. That this is what
`encode` gives is not believed but checked: some rows are encoded whole (of each number of images, the longest, and
those with the most extreme pictures), and where one of them differs all of them are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from PIL import Image

from rollouts.imaging.pictures import to_png
from rollouts.media import sizes
from rollouts.prompt.documents import Document, document_text, encode_document, refuse_unreadable
from rollouts.prompt.messages import render_prompt
from rollouts.prompt.processing import encode, refuse_unaskable
from rollouts.records import BadSample, Media, Sample

# Of the longest prompts, encoded whole.
NUM_LONGEST = 24
_TEXTS_AT_ONCE = 256
Size = tuple[int, int]
# Told how many more of the samples are done.
Advance = Callable[[int], None]


class Measured(NamedTuple):
    """What `measure` found."""

    # Tokens of each sample's prompt, or why it cannot be encoded.
    lengths: list[int | str]
    # Samples that were encoded whole; all of them where the arithmetic did not hold.
    num_encoded: int


class LargestImage(NamedTuple):
    """The image of the data that is the most to look at."""

    sample_id: str
    width: int
    height: int
    # By which a prompt is longer with an image of this size, what stands around it included; or why it has none.
    num_tokens: int | str


def largest_image(processor: Any, samples: Sequence[Sample]) -> LargestImage | None:
    """The image, slice or frame with the most pixels, and what one of its size is when it is encoded; None where no
    sample holds one that can be opened (the rows that cannot are `measure`'s to name)."""
    largest: tuple[str, Size] | None = None
    for one in samples:
        for media in one.media:
            try:
                size = max(sizes(media), key=_pixels)
            except BadSample:
                continue
            if largest is None or _pixels(size) > _pixels(largest[1]):
                largest = one.id, size
    if largest is None:
        return None
    name, size = largest
    return LargestImage(name, *size, added_by_image(processor, size))


def added_by_image(processor: Any, size: Size) -> int | str:
    """By how many tokens a prompt is longer with an image of this size, what stands around it included; or why it
    cannot be encoded."""
    grey = Media("image", data=to_png(Image.new("RGB", size, (128, 128, 128))))
    with_it = _encoded_length(processor, Sample("grey", "?", "open", "grey", media=(grey,)))
    without = text_length(processor, "?")
    return with_it - without if isinstance(with_it, int) and isinstance(without, int) else with_it


def text_length(processor: Any, question: str) -> int | str:
    """Tokens of a prompt that asks a question without images; or why it cannot be encoded."""
    return _encoded_length(processor, Sample("text", question, "open", "text"))


class _Head(NamedTuple):
    """What a prompt is counted from."""

    text: str
    # Width and height of each frame.
    sizes: tuple[Size, ...]
    # Why there is neither; "" = there is.
    fault: str = ""


def measure(processor: Any, samples: Sequence[Sample], advance: Advance = lambda _: None) -> Measured:
    """The length of every sample's prompt. Raises nothing: what the processor or an image refuses is that row's
    reason."""
    heads = _heads(samples, lambda place: _prompt(processor, samples[place]))
    return _measured(processor, heads, lambda place: _encoded_length(processor, samples[place]), advance)


def measure_documents(processor: Any, documents: Sequence[Document], advance: Advance = lambda _: None) -> Measured:
    """The same of documents."""
    heads = _heads(documents, lambda place: _read(processor, documents[place]))

    def whole(place: int) -> int | str:
        try:
            return len(encode_document(processor, documents[place]).token_ids)
        except Exception as error:  # a boundary: processors and tokenizers raise kinds of their own
            return _reason(documents[place].id, error)

    return _measured(processor, heads, whole, advance)


def _prompt(processor: Any, sample: Sample) -> str:
    refuse_unaskable(processor, sample)
    return render_prompt(sample, processor)


def _read(processor: Any, document: Document) -> str:
    refuse_unreadable(processor, document)
    return document_text(processor, document)


# The real length of what stands at a place, or why it has none.
Encoding = Callable[[int], "int | str"]


def _measured(processor: Any, heads: Sequence[_Head], whole: Encoding, advance: Advance) -> Measured:
    counted = _counted(processor, heads, advance)
    checked = _checked(heads, counted, whole)
    offsets: dict[int, int] = {}
    for place, real in checked.items():
        guess, num_frames = counted[place], len(heads[place].sizes)
        if isinstance(guess, str) or isinstance(real, str):
            holds = guess == real
        else:
            # What a family writes around each image is in no arithmetic, and is the same for as many images.
            holds = offsets.setdefault(num_frames, real - guess) == real - guess
        if not holds:
            return _all_encoded(len(heads), whole, advance)
    lengths = [
        guess if isinstance(guess, str) else guess + offsets[len(head.sizes)]
        for head, guess in zip(heads, counted, strict=True)
    ]
    return Measured(lengths, len(checked))


def _heads(rows: Sequence[Sample] | Sequence[Document], text_of: Callable[[int], str]) -> list[_Head]:
    """Text and sizes of frames of each row; what `text_of` raises of its place is its fault."""
    known: dict[str, tuple[Size, ...]] = {}

    def sizes_of(one: Media) -> tuple[Size, ...]:
        if one.sha256 not in known or not one.sha256:
            known[one.sha256] = tuple(sizes(one))
        return known[one.sha256]

    def head(place: int) -> _Head:
        try:
            frames = tuple(size for one in rows[place].media for size in sizes_of(one))
            return _Head(text_of(place), frames)
        except Exception as error:  # a boundary: chat templates raise what they like
            return _Head("", (), _reason(rows[place].id, error))

    return [head(place) for place in range(len(rows))]


def _counted(processor: Any, heads: Sequence[_Head], advance: Advance) -> list[int | str]:
    """Tokens of each text and of its images as the processor's arithmetic has them, or why there are none."""
    known: dict[Size, int | str] = {}

    def of_image(size: Size) -> int | str:
        if size not in known:
            known[size] = _image_tokens(processor, size)
        return known[size]

    counted: list[int | str] = []
    for start in range(0, len(heads), _TEXTS_AT_ONCE):
        part = heads[start : start + _TEXTS_AT_ONCE]
        for head, length in zip(part, _text_lengths(processor, [head.text for head in part]), strict=True):
            pieces = [head.fault or length, *map(of_image, head.sizes)]
            refusal = next((piece for piece in pieces if isinstance(piece, str)), None)
            counted.append(refusal or sum(piece for piece in pieces if isinstance(piece, int)))
        advance(len(part))
    return counted


def _text_lengths(processor: Any, texts: list[str]) -> list[int | str]:
    tokenizer = getattr(processor, "tokenizer", processor)
    try:
        return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    except Exception as error:  # a boundary: a text that is none stops the whole batch; find it
        if len(texts) == 1:
            return [f"the tokenizer refuses its text: {error}"]
        middle = len(texts) // 2
        return [*_text_lengths(processor, texts[:middle]), *_text_lengths(processor, texts[middle:])]


def _image_tokens(processor: Any, size: Size) -> int | str:
    """Tokens of an image by the processor's own arithmetic; where it has none, by encoding a grey one of this size."""
    width, height = size
    arithmetic = getattr(getattr(processor, "source", processor), "_get_num_multimodal_tokens", None)
    if arithmetic is None:
        grey = Media("image", data=to_png(Image.new("RGB", size, (128, 128, 128))))
        return _encoded_length(processor, Sample("grey", "?", "open", "grey", media=(grey,)))
    try:
        return int(arithmetic(image_sizes=[(height, width)])["num_image_tokens"][0])
    except Exception as error:  # a boundary: each processor has limits and errors of its own
        return f"the processor refuses an image of {width} x {height} pixels: {error}"


def _checked(heads: Sequence[_Head], counted: Sequence[int | str], whole: Encoding) -> dict[int, int | str]:
    """Place -> real length of those that are encoded whole."""
    lengths = {place: length for place, length in enumerate(counted) if isinstance(length, int)}
    chosen = list({len(heads[place].sizes): place for place in reversed(lengths)}.values())
    chosen += sorted(lengths, key=lambda place: lengths[place], reverse=True)[:NUM_LONGEST]
    shown = [place for place in lengths if heads[place].sizes]
    for extreme in (_ratio, _pixels, _narrowness):
        if shown:
            chosen.append(max(shown, key=lambda place: max(map(extreme, heads[place].sizes))))
    return {place: whole(place) for place in dict.fromkeys(chosen)}


def _narrowness(size: Size) -> float:
    return -min(size)


def _ratio(size: Size) -> float:
    return max(size) / min(size)


def _pixels(size: Size) -> float:
    return size[0] * size[1]


def _all_encoded(count: int, whole: Encoding, advance: Advance) -> Measured:
    advance(-count)  # once more from the beginning
    lengths = []
    for place in range(count):
        lengths.append(whole(place))
        advance(1)
    return Measured(lengths, count)


def _encoded_length(processor: Any, sample: Sample) -> int | str:
    try:
        return len(encode(processor, sample).token_ids)
    except Exception as error:  # a boundary: processors, tokenizers and templates raise kinds of their own
        return _reason(sample.id, error)


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, BadSample):
        return str(error).removeprefix(f"sample {name!r}: ")
    return f"the processor refuses it: {type(error).__name__}: {error}"

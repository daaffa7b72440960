"""Documents: texts and images in order, read without a chat template, with every token of the text to be learnt.

They are what pre-training reads (Fleming-VL, Sec 3.2): a caption behind its image is a document too. Legend: P tokens
of a document, image tokens multiplied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from rollouts.media import frames
from rollouts.prompt.processing import EncodedPrompt, Processor, fingerprint, media_token_ids, media_words
from rollouts.records import BadSample, Media


@dataclass(frozen=True)
class Document:
    """One document: its texts, images, volumes and videos in the order in which they are read."""

    id: str
    pieces: tuple[str | Media, ...]

    @property
    def media(self) -> tuple[Media, ...]:
        """What is to be seen, in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Media))

    @property
    def texts(self) -> tuple[str, ...]:
        """What is to be read, in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, str))


def refuse_unreadable(processor: Processor, document: Document) -> None:
    """Raise BadSample where a model cannot be taught a document, whatever its pictures show: it reads text only and the
    document holds images, or a text contains a token that stands for media."""
    if document.media and not processor.family.reads_images:
        raise BadSample(f"it holds images, and a model of the family {processor.family.model_type} reads text only")
    if tokens := [token for text in document.texts for token in media_words(processor, text)]:
        raise BadSample(f"its text contains {tokens[:3]}, which this model takes for media; remove them")


def document_text(processor: Processor, document: Document) -> str:
    """What the processor is given: a piece a line, one placeholder for each frame, the tokenizer's end behind it."""
    image = processor.family.image_text
    lines = [piece if isinstance(piece, str) else "\n".join([image] * piece.num_frames) for piece in document.pieces]
    return "\n".join(lines) + str(processor.tokenizer.eos_token)


def _frames(processor: Processor, media: Media) -> list[str]:
    """A placeholder for each frame, with what is said of it before it."""
    image = processor.family.image_text
    labels = media.labels or ("",) * media.num_frames
    return [line for label in labels for line in (label, image) if line]


def encode_document(processor: Processor, document: Document) -> EncodedPrompt:
    """A document as the trainer's forward pass takes it.

    Raises:
        BadSample: see `refuse_unreadable`, or an image does not open.
    """
    refuse_unreadable(processor, document)
    images = [frame for media in document.media for frame in frames(media)]
    text = document_text(processor, document)
    token_ids, tensors = processor.tensors(text, images)
    return EncodedPrompt(document.id, text, token_ids, tensors, fingerprint=fingerprint(token_ids, tensors))


def taught_places(processor: Processor, token_ids: Sequence[int]) -> tuple[int, ...]:
    """Places in a document whose token is to be predicted: all of its text, and neither what stands for media nor the
    first token, which nothing stands before."""
    media = set(media_token_ids(processor))
    return tuple(place for place, token in enumerate(token_ids) if place and token not in media)


def share_sequence(documents: Sequence[EncodedPrompt]) -> EncodedPrompt:
    """Documents one behind the other as one sequence, in which each sees itself only and begins at position 0. Their
    media stay theirs: the trainer collects them document by document."""
    if len(documents) == 1:
        return documents[0]
    name = "+".join(document.prompt_id for document in documents)
    token_ids = tuple(token for document in documents for token in document.token_ids)
    digest = hashlib.sha256("\n".join(document.fingerprint for document in documents).encode()).hexdigest()
    return EncodedPrompt(name, "", token_ids, {}, fingerprint=digest, documents=tuple(documents))

"""What a stage teaches: its documents as rows of the policy, in the order of its updates, with the loss on all text."""

from __future__ import annotations

from collections.abc import Sequence

from rl.config import Config, StageConfig
from rl.policy.batching import Row
from rl.sft.rows import ordered, shuffled
from rl.sft.train import Course, Numbers
from rl.stages.packing import pack
from rollouts.prompt.documents import Document, encode_document, share_sequence, taught_places
from rollouts.prompt.processing import EncodedPrompt, Processor


def sequences_of(lengths: Sequence[int], stage: StageConfig, config: Config) -> list[list[Numbers]]:
    """Numbers of the documents of every row of every update.

    Packed, a row is a sequence of up to `model.max_model_len` tokens; else a document. Rows of an epoch that fill no
    whole batch are left for the next one; there is at least one update.

    Args:
        lengths: tokens of every document.
    """
    epochs = range(stage.num_epochs)
    if stage.packed:
        room = config.model.max_model_len
        rows = [row for epoch in epochs for row in pack(lengths, shuffled(len(lengths), config.seed, epoch), room)]
        batch = min(stage.batch_size, len(rows))
    else:
        batch = min(stage.batch_size, len(lengths))
        rows = [(number,) for number in ordered(lengths, batch, stage.num_epochs, config.seed)]
    return [rows[i : i + batch] for i in range(0, len(rows) // batch * batch, batch)]


def course_of(
    name: str, documents: Sequence[Document], processor: Processor, updates: Sequence[Sequence[Numbers]]
) -> Course:
    """The course of a stage, see `sequences_of`."""

    def encode(numbers: Numbers) -> Row:
        return as_row(processor, [encode_document(processor, documents[number]) for number in numbers])

    return Course(
        title=name,
        processor=processor,
        num_rows=len(documents),
        updates=updates,
        encode=encode,
        name_of=lambda numbers: "+".join(documents[number].id for number in numbers),
    )


def as_row(processor: Processor, documents: Sequence[EncodedPrompt]) -> Row:
    """Documents that share a sequence as a row of the policy: every token of their text is learnt."""
    whole = share_sequence(documents)
    places: list[int] = []
    start = 0
    for document in documents:
        places += [start + place for place in taught_places(processor, document.token_ids)]
        start += len(document.token_ids)
    return Row(whole, tuple(whole.token_ids[place] for place in places), places=tuple(places))

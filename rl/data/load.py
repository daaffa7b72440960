"""The one door to a data set: the source that `data.name` names, and the RL set drawn from its training pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rl.config import Config, DataConfig
from rl.data import curate
from rl.data.jsonl import rows as jsonl
from rl.data.media.reader import Bar, Room, no_bar
from rl.data.phantoms import questions as phantoms
from rl.data.sets import BadRows, DataSplits, repeated_ids
from rl.data.vqa_rad import rows as vqa_rad

# A new source is a module with `load` and one line here (CONTRIBUTING.md).
SOURCES: dict[str, Callable[[DataConfig], DataSplits]] = {
    "phantoms": phantoms.load,
    "vqa_rad": vqa_rad.load,
    "jsonl": jsonl.load,
}


def load_for(config: Config, bar: Bar = no_bar) -> DataSplits:
    """The data of a run, with as many frames of volumes and videos as its context window has room for. `bar` shows how
    many are read. Raises as `load` does."""
    from rl.data.media.room import frame_room  # which loads the processors of models

    return load(config.data, room=partial(frame_room, config), bar=bar)


def load(data: DataConfig, room: Room | None = None, bar: Bar = no_bar) -> DataSplits:
    """The data set that `data.name` names, with its RL set drawn from the training pool. `room`: what a prompt has for
    its frames; None = `data.media.max_frames` alone decides.

    Raises:
        BadRows: rows cannot be used, and `data.on_bad_row` is "raise".
        FileNotFoundError: `data.root` is not there.
        UnusableData: what is there cannot make a data set (no row left, nothing to hold out, no RL item, bounds of
            difficulty where no row has one).
    """
    splits = jsonl.load(data, room, bar) if data.name == "jsonl" else SOURCES[data.name](data)
    _refuse_repeated_ids(data, splits)
    pool, left_out = curate.by_difficulty(splits.rl, data.min_difficulty, data.max_difficulty)
    drawn = curate.rl_set(
        pool,
        num_rl=data.num_rl,
        open_fraction=data.open_fraction,
        max_yes_no_fraction=data.max_yes_no_fraction,
        seed=data.seed,
    )
    return replace(splits, rl=drawn, notes={**splits.notes, **left_out})


def _refuse_repeated_ids(data: DataConfig, splits: DataSplits) -> None:
    """A source tells its repeated ids with their lines; whatever a source overlooks is told here, whatever
    data.on_bad_row says, because which of two rows of one id is meant cannot be told."""
    taught = [row.sample for row in splits.sft]
    bad = [*repeated_ids([(None, one) for one in [*splits.rl, *splits.eval]])]
    bad += repeated_ids([(None, one) for one in taught])
    if bad:
        raise BadRows(f"data={data.name} data.root={data.root}", bad)

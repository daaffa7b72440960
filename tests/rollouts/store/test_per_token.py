"""Log-probs, of which a step holds millions: float32 from the engine to the file, whole to the last bit, few bytes."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import struct
from array import array

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rollouts.records import Completion, per_token, to_dict
from rollouts.store.codec import SCHEMA
from rollouts.store.layout import DamagedStore, list_steps
from rollouts.store.reader import read_jsonl, read_table, sort_rows, whole_table
from rollouts.store.writer import RunWriter, read_rollouts
from tests.fakes import fake_rollouts

HOSTILE = '</think>\x1b[31m\u202e\x00 line\u2028separator \n\r\t { " \\ 结论 \ud800 😀 <script>'
LOGPROBS = ("logprobs", "old_logprobs", "ref_logprobs")


def any_float32(count: int, seed: int) -> array[float]:
    """Finite numbers of any size: random bits."""
    chance = random.Random(seed)
    found = (struct.unpack("f", chance.randbytes(4))[0] for _ in range(2 * count))
    return array("f", [one for one in found if abs(one) < float("inf")][:count])


def test_a_completion_takes_any_sequence_and_keeps_float32() -> None:
    made = [
        Completion((1, 2), "ab", "stop", logprobs, 0, 0)
        for logprobs in ((-0.1, -2.5), [-0.1, -2.5], array("f", [-0.1, -2.5]))
    ]
    assert made[0] == made[1] == made[2] and len({hash(one) for one in made}) == 1
    assert list(made[0].logprobs) == pytest.approx([-0.1, -2.5]) and made[0].logprobs[1] == -2.5
    assert to_dict(made[0])["logprobs"] == list(made[0].logprobs)


def test_a_token_costs_four_bytes_on_its_way_between_processes() -> None:
    logprobs = any_float32(1000, 0)
    one = Completion((), "", "stop", logprobs, 0, 0)
    assert len(pickle.dumps(one)) - len(pickle.dumps(dataclasses.replace(one, logprobs=()))) < 4 * 1000 + 50
    assert pickle.loads(pickle.dumps(one)) == one


def test_log_probs_come_back_to_the_last_bit(tmp_path) -> None:
    given = [any_float32(3000, seed) for seed in range(3)]
    one = fake_rollouts.rollout(fake_rollouts.sample(0))
    completion = dataclasses.replace(one.completion, token_ids=tuple(range(3000)), logprobs=given[0])
    one = dataclasses.replace(one, completion=completion, old_logprobs=given[1], ref_logprobs=given[2])
    writer = RunWriter(tmp_path)
    writer.append_group([one])
    [unfinished] = read_rollouts(tmp_path)
    parquet = writer.finish_step(1)
    [finished] = read_rollouts(tmp_path)
    for back in (unfinished, finished):
        found = (back.completion.logprobs, back.old_logprobs, back.ref_logprobs)
        assert [per_token(its).tobytes() for its in found] == [its.tobytes() for its in given]
    assert {str(pq.read_schema(parquet).field(name).type.value_type) for name in LOGPROBS} == {"float"}


def test_a_line_holds_the_few_digits_that_make_the_float32(tmp_path) -> None:
    one = fake_rollouts.rollout(fake_rollouts.sample(0))
    writer = RunWriter(tmp_path)
    writer.append_group([dataclasses.replace(one, old_logprobs=(-0.1, -1 / 3))])
    text = (tmp_path / "rollouts/step_000001/rollouts.jsonl").read_text()
    assert '"old_logprobs":[-0.1,-0.33333334]' in text  # as doubles: -0.10000000149011612, -0.3333333432674408


def test_the_table_of_the_lines_is_the_one_of_their_rows(tmp_path) -> None:
    writer = RunWriter(tmp_path)
    for number in (3, 0, 2, 1):
        group = fake_rollouts.group(number, size=4, failures=0.5)
        group[1] = dataclasses.replace(
            group[1],
            prompt_text=HOSTILE,
            completion=dataclasses.replace(group[1].completion, text=HOSTILE, logprobs=(float("nan"),), seed=2**62),
            sample=dataclasses.replace(
                group[1].sample, boxes=((0.1, 1, 2.5, 3),), tags={"a": HOSTILE.replace("\ud800", "")}
            ),
            old_logprobs=(),
            ref_logprobs=None,
        )
        writer.append_group(group)
    jsonl = tmp_path / "rollouts/step_000001/rollouts.jsonl"
    assert whole_table(jsonl).equals(pa.Table.from_pylist(sort_rows(read_jsonl(jsonl)), schema=SCHEMA))
    assert whole_table(jsonl).schema.equals(SCHEMA, check_metadata=True)


@pytest.mark.parametrize("line", [b'{"run": 1}\n', b'{"what": "is this"}\n', b"{\n", b"[1]\n", b""])
def test_lines_that_are_no_rollouts_are_named(tmp_path, line: bytes) -> None:
    (tmp_path / "rollouts.jsonl").write_bytes(line)
    with pytest.raises(DamagedStore, match=r"rollouts\.jsonl cannot be read"):
        whole_table(tmp_path / "rollouts.jsonl")


def test_a_run_that_was_stored_in_double_precision_is_read(tmp_path) -> None:
    before = fake_rollouts.written(tmp_path, 1)
    [stored] = list_steps(tmp_path)
    table = read_table(stored)
    for name in LOGPROBS:
        doubles = table[name].cast(pa.list_(pa.float64()))
        table = table.set_column(table.column_names.index(name), name, doubles)
    pq.write_table(table, stored.folder / "rollouts.parquet")
    assert read_table(stored).schema.equals(SCHEMA)
    assert [one.completion for one in read_rollouts(tmp_path)] == [one.completion for one in before]
    assert json.loads((stored.folder / "manifest.json").read_text())["schema_version"] == 2

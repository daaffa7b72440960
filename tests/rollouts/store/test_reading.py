"""Reading what is stored: by other libraries as it stands, after a kill at any byte, and around what is damaged or
missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import duckdb
import pandas
import polars
import pyarrow.parquet as pq
import pytest

from rollouts.records import SCHEMA_VERSION
from rollouts.store.codec import SCHEMA
from rollouts.store.layout import DamagedStore, NewerSchema, NotARun, list_steps
from rollouts.store.reader import Problem, problems, read_rollouts, read_table, readable
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts
from tests.paths import REPOSITORY


def test_pandas_polars_duckdb_and_datasets_read_the_files_as_they_stand(tmp_path):
    before = fake_rollouts.written(tmp_path)
    files = sorted(tmp_path.glob("rollouts/*/rollouts.parquet"))
    totals = [one.total for one in before]
    # The name and value of the first reward, out of a list of structs.
    first = [(name, outcome.value) for one in before for name, outcome in list(one.outcomes.items())[:1]]

    table = pandas.concat(pandas.read_parquet(path) for path in files)
    assert list(table["total"]) == totals
    assert [(row[0]["name"], row[0]["value"]) for row in table["outcomes"]] == first
    assert list(table.columns[:4]) == ["run", "step", "prompt_id", "sample_index"]

    frame = polars.read_parquet(files)
    assert frame["total"].to_list() == totals
    paid = frame.select(polars.col("outcomes").list.first().struct.unnest()).select("name", "value")
    assert paid.rows() == first

    glob = str(tmp_path / "rollouts/*/rollouts.parquet")
    found = duckdb.sql(
        f"SELECT total, outcomes[1].name, outcomes[1].value FROM '{glob}' ORDER BY run, step, prompt_id, sample_index"
    )
    assert found.fetchall() == [(total, *paid) for total, paid in zip(totals, first, strict=True)]
    ((mean,),) = duckdb.sql(f"SELECT avg(len(token_ids)) FROM '{glob}'").fetchall()
    assert mean == pytest.approx(sum(len(one.completion.token_ids) for one in before) / len(before))

    loaded = datasets.load_dataset("parquet", data_files=glob, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["completion"] == [one.completion.text for one in before]
    assert loaded[0]["outcomes"][0]["name"] == "accuracy"


def test_a_writer_killed_at_any_byte_loses_at_most_the_record_it_was_writing(tmp_path):
    writer = RunWriter(tmp_path)
    everything = [fake_rollouts.group(number, size=1)[0] for number in (2, 3)]
    for one in everything:
        writer.append_group([one])
    writer.close()
    jsonl = tmp_path / "rollouts/step_000001/rollouts.jsonl"
    whole = jsonl.read_bytes()
    assert whole.count(b"\n") == 2
    for cut in range(len(whole), -1, -1):
        os.truncate(jsonl, cut)
        # A line is there with its newline, and also when only the newline is missing.
        complete = whole[: cut + 1].count(b"\n") if cut else 0
        assert [one.key for one in read_rollouts(tmp_path)] == [one.key for one in everything[:complete]], cut


_WRITES_FOR_EVER = """
import sys
from tests.fakes import fake_rollouts
from rollouts.store.writer import RunWriter
writer = RunWriter(sys.argv[1])
for step, groups in enumerate(fake_rollouts.steps(10_000, prompts_per_step=3), start=1):
    for group in groups:
        writer.append_group(group)
        print(step, group[0].prompt_id, flush=True)
    writer.finish_step(step)
"""


@pytest.mark.parametrize("seconds", [0.05, 0.4, 0.9])
def test_a_killed_writer_loses_nothing_it_had_appended_and_a_new_one_goes_on(tmp_path, seconds):
    command = [sys.executable, "-c", _WRITES_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as child:
        said = [child.stdout.readline()]
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    appended = {(int(step), prompt) for step, prompt in (line.split() for line in said if line.endswith("\n"))}
    stored = list(read_rollouts(tmp_path))
    sizes: dict[tuple[int, str], int] = {}
    for one in stored:
        sizes[one.step, one.prompt_id] = sizes.get((one.step, one.prompt_id), 0) + 1
    assert all(sizes[group] == 8 for group in appended)
    assert len(set(sizes) - appended) <= 1
    # A kill before the first group of a step may leave its folder empty.
    last = max(step for step, _ in appended)
    writer = RunWriter(tmp_path)
    writer.drop_steps_after(last - 1)
    for group in list(fake_rollouts.steps(last, prompts_per_step=3))[-1]:
        writer.append_group(group)
    writer.finish_step(last)
    assert problems(tmp_path) == []
    assert [one.finished for one in list_steps(tmp_path)] == [True] * last


def _four_steps(folder: Path) -> dict[int, Path]:
    fake_rollouts.written(folder, 4)
    return {one.step: one.folder for one in list_steps(folder)}


def test_around_damaged_steps_everything_else_is_read_and_each_damage_is_named(tmp_path):
    folders = _four_steps(tmp_path)
    parquet = folders[1] / "rollouts.parquet"
    parquet.write_bytes(parquet.read_bytes()[:-100])
    manifest = folders[2] / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 7'))
    (folders[3] / "manifest.json").write_text("[1, 2]")
    image = tmp_path / "media" / f"{read_table(list_steps(tmp_path)[3])['media'][0][0]['sha256']}.png"
    image.unlink()
    found = problems(tmp_path)
    assert [one.step for one in found] == [1, 2, 3, None]
    assert "rollouts.parquet" in found[0].text
    assert f"schema version 7, this version reads up to {SCHEMA_VERSION}" in found[1].text
    assert "manifest.json cannot be read" in found[2].text
    assert found[3].text == f"image {image.stem} is missing from {tmp_path / 'media'}"
    told: list[Problem] = []
    assert [(stored.step, len(rollouts)) for stored, rollouts in readable(tmp_path, told.append)] == [(4, 32)]
    assert [one.step for one in told] == [1, 2, 3]


def test_a_run_of_a_newer_version_only_is_refused(tmp_path):
    for folder in _four_steps(tmp_path).values():
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 8'))
    with pytest.raises(NewerSchema, match="update rounds-rl"):
        list(readable(tmp_path, lambda _: None))
    with pytest.raises(NotARun, match="is not a run"):
        problems(tmp_path / "media")


def test_a_flipped_byte_inside_a_parquet_file_is_seen_when_it_is_read(tmp_path):
    folder = _four_steps(tmp_path)[2]
    parquet = folder / "rollouts.parquet"
    data = bytearray(parquet.read_bytes())
    data[len(data) // 3] ^= 1
    parquet.write_bytes(data)
    assert problems(tmp_path) == []
    told: list[Problem] = []
    assert [stored.step for stored, _ in readable(tmp_path, told.append)] == [1, 3, 4]
    assert "step_000002" in told[0].text


def test_a_table_has_the_columns_asked_for_and_null_for_what_an_older_run_lacks(tmp_path):
    before = fake_rollouts.written(tmp_path, 1)
    (stored,) = list_steps(tmp_path)
    path = stored.folder / "rollouts.parquet"
    whole = read_table(stored)
    assert whole.schema.equals(SCHEMA)
    pq.write_table(whole.drop_columns(["rubric"]), path)
    table = read_table(stored, ["rubric", "total"])
    assert table.column_names == ["rubric", "total"]
    assert table["rubric"].null_count == len(before)
    assert table["total"].to_pylist() == [one.total for one in before]
    assert len(list(read_rollouts(tmp_path))) == len(before)


def test_a_run_of_before_the_three_verdicts_reads_as_stated_or_nothing(tmp_path):
    before = fake_rollouts.written(tmp_path, 1)
    (stored,) = list_steps(tmp_path)
    assert [one.parsed for one in read_rollouts(tmp_path)] == [one.parsed for one in before]
    pq.write_table(read_table(stored).drop_columns(["parse_verdict"]), stored.folder / "rollouts.parquet")
    after = [one.parsed for one in read_rollouts(tmp_path)]
    assert {one.verdict for one in after} == {"stated", "nothing"}
    assert all((one.verdict == "stated") == bool(one.letters or one.yes_no) for one in after)


def test_a_table_of_other_columns_is_damage_not_a_crash(tmp_path):
    before = fake_rollouts.written(tmp_path, 1)
    (stored,) = list_steps(tmp_path)
    pq.write_table(
        read_table(stored).set_column(0, "run", [[["a list"]] * len(before)]), stored.folder / "rollouts.parquet"
    )
    with pytest.raises(DamagedStore, match="not those of rollouts"):
        read_table(stored)


def test_unfinished_steps_read_as_tables_too(tmp_path):
    writer = RunWriter(tmp_path)
    groups = next(fake_rollouts.steps(1))
    for group in groups:
        writer.append_group(group)
    (stored,) = list_steps(tmp_path)
    running = read_table(stored)
    writer.finish_step(1)
    assert read_table(*list_steps(tmp_path)).equals(running)
    assert problems(tmp_path) == []


def test_integers_and_texts_that_json_libraries_refuse_are_stored_all_the_same(tmp_path):
    one = fake_rollouts.group(2, size=1)[0]
    accuracy = one.outcomes["accuracy"]
    evidence = {"big": 2**80, "lone": "\ud800", 3: {"nan": float("nan")}, "path": Path("x")}
    strange = type(accuracy)(1.0, evidence=evidence)
    writer = RunWriter(tmp_path)
    writer.append_group([type(one)(**{**vars(one), "outcomes": {"accuracy": strange}})])
    line = json.loads((tmp_path / "rollouts/step_000001/rollouts.jsonl").read_text())
    assert json.loads(line["outcomes"][0]["evidence"]) == {
        "big": 2**80,
        "lone": "\ufffd",
        "3": {"nan": None},
        "path": "x",
    }
    writer.finish_step(1)
    assert next(read_rollouts(tmp_path)).outcomes["accuracy"].evidence["path"] == "x"
    shutil.rmtree(tmp_path / "media")
    assert len(problems(tmp_path)) == 1

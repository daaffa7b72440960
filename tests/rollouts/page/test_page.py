"""What the page shows of a run: groups, tokens, labels, two runs, an export, a run that goes on, and one that is
damaged."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest

from rollouts.page.export import NothingToExport, _script, export_page
from rollouts.page.group import NoSuchGroup, group_page
from rollouts.page.images import Images
from rollouts.page.index import Index
from rollouts.page.labels import append_label, read_labels
from rollouts.page.listing import by_step, list_groups, metrics_by_step
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts, judged_rollouts
from tests.fakes.view_server import found, viewing
from tests.paths import REPOSITORY

STATIC = REPOSITORY / "rollouts/page/static"


def test_a_group_holds_what_was_stored(many):
    viewer, rollouts = many
    one = next(r for r in rollouts if r.sample.answer_type == "mcq" and r.valid)
    group = viewer.group(one.step, one.prompt_id)
    completion = group["completions"][one.sample_index]
    assert (group["question"], group["gold"]) == (one.sample.question, one.sample.gold_text)
    assert [o["text"] for o in group["options"]] == list(one.sample.options)
    assert [o["letter"] for o in group["options"] if o["gold"]] == list(one.sample.gold_letters)
    assert (completion["text"], completion["total"], completion["advantage"]) == (
        one.completion.text,
        one.total,
        one.advantage,
    )
    assert completion["seed"] == str(one.completion.seed)
    assert {r["name"]: (r["value"], r["status"], r["weight"]) for r in completion["rewards"]} == {
        name: (o.value, o.status, one.weights[name]) for name, o in one.outcomes.items()}  # fmt: skip
    with pytest.raises(NoSuchGroup, match="no group of prompt"):
        viewer.group(1, "nobody")


def test_kl_of_a_token_is_the_k3_estimate(many):
    viewer, rollouts = many
    one = rollouts[0]
    tokens = viewer.tokens(0, one.step, one.prompt_id)
    # The fake reference is 0.01 below the policy everywhere: exp(-0.01) + 0.01 - 1 = 0.0000498.
    assert tokens["completions"][0]["kl"] == pytest.approx([0.00005] * len(one.completion.token_ids), abs=1e-6)
    assert tokens["completions"][0]["texts"] is None and "tokenizer.json" in tokens["note"]


def test_token_texts_make_up_the_completion(tmp_path):
    tokenizer_file = REPOSITORY / "examples/tiny/model/tokenizer.json"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    one = fake_rollouts.rollout(fake_rollouts.sample(0))
    ids = tuple(tokenizer.encode(one.completion.text, add_special_tokens=False).ids)
    numbers = tuple(-0.1 for _ in ids)
    completion = dataclasses.replace(
        one.completion, token_ids=ids, logprobs=numbers, text=tokenizer.decode(ids, skip_special_tokens=False)
    )
    writer = RunWriter(tmp_path)
    writer.append_group([dataclasses.replace(one, completion=completion, old_logprobs=numbers, ref_logprobs=numbers)])
    (tmp_path / "model").mkdir()
    shutil.copy(tokenizer_file, tmp_path / "model")
    viewer = viewing(tmp_path)
    tokens = viewer.tokens(0, 1, one.prompt_id)["completions"][0]
    viewer.close()
    assert "".join(tokens["texts"]) == completion.text and len(tokens["texts"]) == len(ids)
    assert tokens["kl"] == [0.0] * len(ids)


def test_labels_are_appended_the_last_wins_and_null_takes_back(tmp_path):
    viewer = viewing(judged_rollouts.written(tmp_path))
    place = {"step": 1, "prompt": "item-0002", "sample": 3}
    viewer.label(place | {"expected": "correct"})
    viewer.label(place | {"expected": "incorrect"})
    viewer.label({"step": 1, "prompt": "item-0005", "sample": 0, "expected": "correct"})
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert lines[1] == {
        "question": "Where is the lesion?", "reference": "lower left", "completion": "the left base",
        "expected": "incorrect",
        "aliases": ["the lower left quadrant"], "key": "1/item-0002/3",
    }  # fmt: skip
    assert read_labels(tmp_path) == {"1/item-0002/3": "incorrect", "1/item-0005/0": "correct"}
    assert found(viewer, "label:wrong") == {(1, "item-0002", 3)} and found(viewer, "label:right") == {
        (1, "item-0005", 0)
    }
    viewer.label(place | {"expected": None})
    assert found(viewer, "is:labelled") == {(1, "item-0005", 0)}
    viewer.close()


def test_a_torn_label_swallows_no_later_one(tmp_path):
    (tmp_path / "labels.jsonl").write_text('{"key": "1/a/0", "expected": "correct"}\n{"key": "1/b/0", "exp')
    row = {
        "step": 1,
        "prompt_id": "c",
        "sample_index": 2,
        "question": "q",
        "gold_text": "g",
        "answer": None,
        "completion": "as it came",
        "aliases": None,
    }
    assert append_label(tmp_path, row, "incorrect") == "1/c/2"
    assert read_labels(tmp_path) == {"1/a/0": "correct", "1/c/2": "incorrect"}


def test_a_run_that_goes_on_is_followed_group_by_group(tmp_path):
    writer = RunWriter(tmp_path)
    index = Index([tmp_path])
    index.refresh()
    writer.append_group(fake_rollouts.group(0, step=1, size=4))
    assert index.refresh() and not index.refresh()
    writer.append_group(fake_rollouts.group(1, step=1, size=4))
    jsonl = tmp_path / "rollouts/step_000001/rollouts.jsonl"
    whole = jsonl.read_bytes()
    jsonl.write_bytes(whole + b'{"run": "fake", "step": 1, "prompt_id": "torn')
    index.refresh()
    assert [one["prompt"] for one in list_groups(index, "", "step", 0)["groups"]] == ["item-0000", "item-0001"]
    assert len(group_page(index, Images([tmp_path]), 0, 1, "item-0001")["completions"]) == 4
    jsonl.write_bytes(whole)
    writer.finish_step(1)
    writer.append_group(fake_rollouts.group(2, step=2, size=4))
    index.refresh()
    assert index.ask("SELECT step, count(*) FROM rows GROUP BY step ORDER BY step") == [(1, 8), (2, 4)]
    # A resumed run sets later steps aside and does them again.
    writer.drop_steps_after(1)
    index.refresh()
    assert index.ask("SELECT step, count(*) FROM rows GROUP BY step") == [(1, 8)] and not index.problems
    index.close()


def test_damaged_steps_are_named_and_the_rest_is_shown(tmp_path):
    fake_rollouts.written(tmp_path, 4, prompts_per_step=2, size=2)
    steps = tmp_path / "rollouts"
    (steps / "step_000001/rollouts.parquet").write_bytes(b"rubbish")
    newer = json.loads((steps / "step_000002/manifest.json").read_text()) | {"schema_version": 99}
    (steps / "step_000002/manifest.json").write_text(json.dumps(newer))
    parquet = steps / "step_000003/rollouts.parquet"
    parquet.write_bytes(parquet.read_bytes()[:-400])
    index = Index([tmp_path])
    index.refresh()
    assert {step for _, step in index.problems} == {1, 2, 3}
    assert "update rounds-rl" in index.problems[0, 2]
    assert [one["step"] for one in list_groups(index, "", "step", 0)["groups"]] == [4, 4]
    version = index.version
    assert not index.refresh() and index.version == version
    index.close()


def test_a_missing_image_is_told_and_the_group_is_shown(tmp_path):
    one, *_ = fake_rollouts.written(tmp_path, 1, prompts_per_step=1, size=2)
    (tmp_path / "media" / f"{one.sample.media[0].sha256 or next((tmp_path / 'media').iterdir()).stem}.png").unlink()
    viewer = viewing(tmp_path)
    (medium,) = viewer.group(1, one.prompt_id)["media"]
    viewer.close()
    assert [frame["problem"] for frame in medium["frames"]] == ["the file is missing"]


def test_two_runs_stand_side_by_side_and_differences_are_found(tmp_path):
    first = judged_rollouts.written(tmp_path / "a")
    writer = RunWriter(tmp_path / "b")
    said = dict(judged_rollouts.SAID) | {2: [(answer, "incorrect") for answer, _ in judged_rollouts.SAID[2]]}
    for number, answers in said.items():
        writer.append_group(judged_rollouts.group(number, answers, run="again"))
    writer.finish_step(1)
    # A replay keeps no images of its own.
    shutil.rmtree(tmp_path / "b/media")
    viewer = viewing(first, tmp_path / "b")
    # Sample 2: 3 right against 0. Sample 8 was asked at step 2 too, where its nearest visit in the second run is step
    # 1: 4 against 0.
    listed = list_groups(viewer.index, "is:differs", "step", 0)["groups"]
    numbers = [(one["step"], one["prompt"], one["num_right"], one["b_right"]) for one in listed]
    assert numbers == [(1, "item-0002", 3, 0), (2, "item-0008", 4, 0)]
    group = viewer.group(1, "item-0002")
    assert (group["other"]["run"], group["other"]["side"]) == ("again", 1)
    assert [one["right"] for one in group["other"]["completions"]] == [False] * 4
    assert not any(frame["problem"] for frame in group["other"]["media"][0]["frames"])
    assert [len(steps) for steps in by_step(viewer.index, "")] == [2, 1]
    viewer.close()


def test_an_export_holds_the_chosen_groups_and_nothing_else(judged):
    page = export_page(judged, "is:disagree", "step", 50).decode()
    data = json.loads(re.search(r'id="carried">(.*?)</script>', page, re.DOTALL)[1])
    assert sorted(data["group"]) == ["1/item-0002", "1/item-0005"] and sorted(data["tokens"]) == [
        "0/1/item-0002",
        "0/1/item-0005",
    ]
    shown = {
        frame["sha256"] for group in data["group"].values() for medium in group["media"] for frame in medium["frames"]
    }
    assert set(data["images"]) == shown and all(
        url.startswith("data:image/png;base64,") for url in data["images"].values()
    )
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert (
        len(
            json.loads(
                re.search(r'id="carried">(.*?)</script>', export_page(judged, "", "step", 1).decode(), re.DOTALL)[1]
            )["group"]
        )
        == 1
    )
    with pytest.raises(NothingToExport):
        export_page(judged, "step:77", "step", 5)


def test_metrics_that_are_no_numbers_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "kl": 0.5, "loss": "x"}\nrubbish\n{"step": 2, "kl": NaN}\n{"step": 1, "kl": 0.25}\n'
    )
    assert metrics_by_step(tmp_path) == [{"step": 1, "kl": 0.25}, {"step": 2}]
    assert metrics_by_step(tmp_path / "nowhere") == []


def test_the_quick_evaluation_reaches_the_page_with_the_sft_model_as_step_0(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "eval/accuracy": 0.5}\n{"step": 1, "kl": 0.5}\n')
    assert metrics_by_step(tmp_path) == [{"step": 0, "eval/accuracy": 0.5}, {"step": 1, "kl": 0.5}]


def test_modules_of_the_page_share_no_name_so_that_an_export_can_join_them():
    names: dict[str, str] = {}
    for path in STATIC.rglob("*.js"):
        source = path.read_text()
        assert len(source.splitlines()) <= 300
        assert all(
            re.match(r'import \{[^}]*\} from "/static/[a-z]+\.js";$', line)
            for line in source.splitlines()
            if line.startswith("import")
        )
        for name in re.findall(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", source, re.MULTILINE):
            assert name not in names, f"{path.name} and {names[name]} both have {name}"
            names[name] = path.name
    assert "import " not in re.sub(r"//.*", "", _script())


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_markup():
    for path in STATIC.rglob("*.*"):
        source = path.read_text()
        assert "http" not in source.replace("http://www.w3.org/2000/svg", ""), path.name
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            'setAttribute("style"',
            " style=",
        ):
            assert word not in source, f"{path.name} has {word}"

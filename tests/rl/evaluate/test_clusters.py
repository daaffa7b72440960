"""Which items are one cluster, and that the comparison of two models counts clusters."""

from __future__ import annotations

import dataclasses

import pytest

from rl.evaluate.asking import Answer, EvalResult
from rl.evaluate.clusters import clusters_of
from rl.evaluate.comparison import compare
from rollouts.records import Media, Sample


def item(name: str, image: str = "", pair: str | None = None, **tags: str) -> Sample:
    media = (Media("image", path=f"{image}.png", sha256=image),) if image else ()
    return Sample(name, "Is it?", "yes_no", "yes", media=media, pair_id=pair, tags=tags)


def grouped(samples: list[Sample]) -> list[list[str]]:
    clusters = clusters_of(samples)
    return sorted(
        [sample.id for sample, own in zip(samples, clusters, strict=True) if own == cluster]
        for cluster in set(clusters)
    )


def test_items_of_one_image_or_one_pair_are_one_cluster():
    samples = [item("a", "1"), item("b", "1"), item("c", "2"), item("d"), item("e")]
    assert grouped(samples) == [["a", "b"], ["c"], ["d"], ["e"]]
    # c and f are a pair, f shows the image of a: one cluster of four.
    paired = [*samples[:2], item("c", "2", "p"), item("f", "1", "p"), item("g", "", "q"), item("h", "", "q")]
    assert grouped(paired) == [["a", "b", "c", "f"], ["g", "h"]]


def test_a_tag_says_more_than_the_image():
    assert grouped([item("a", "1", cluster="video 1"), item("b", "2", cluster="video 1"), item("c", "2")]) == [
        ["a", "b"],
        ["c"],
    ]


def test_an_image_is_known_by_its_bytes_and_a_file_without_hash_by_its_path():
    samples = [item("a", "1"), item("b", "1"), item("c", "2")]
    bare = [dataclasses.replace(one, media=(dataclasses.replace(one.media[0], sha256=""),)) for one in samples]
    assert grouped(bare) == [["a", "b"], ["c"]]
    data = [
        dataclasses.replace(one, media=(Media("image", data=content),))
        for one, content in zip(samples, (b"x", b"x", b"y"), strict=True)
    ]
    assert grouped(data) == [["a", "b"], ["c"]]


def result(name: str, verdicts: str, samples: list[Sample]) -> EvalResult:
    return EvalResult(
        name, tuple(samples), {"greedy": tuple((Answer(one == "1", True, 3, ""),) for one in verdicts)}, 1
    )


def test_two_models_are_compared_image_by_image():
    """Twelve images, ten questions each; GRPO gains nine whole images and loses three: by question p would be 1e-7."""
    samples = [item(f"q{place}", f"image {place // 10}") for place in range(120)]
    summary = compare(result("SFT", "0" * 90 + "1" * 30, samples), result("GRPO", "1" * 90 + "0" * 30, samples))
    row = summary["greedy"]["all"]
    assert (summary["num_items"], summary["num_clusters"]) == (120, 12)
    assert row["p_value"] == pytest.approx(2 * 299 / 4096)
    assert (row["difference"], row["verdict"]) == (0.5, "tie")
    assert row["difference_low"] < 0 < row["difference_high"]
    # (1.96 + 0.84) sqrt(1 x deff / 120), deff = 10 x 119 / 110
    assert row["detectable"] == pytest.approx(2.801585 * (119 / 11 / 120) ** 0.5, abs=1e-5)
    assert row["sft"]["method"].startswith("Student's t, 11 degrees")
    assert summary["worse"] == []

"""The checker of plain values: what fits an annotation, what is made of it, and every wrong place with its name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.annotations import Misfit, NotPlain, read, type_name


@dataclasses.dataclass(frozen=True)
class Dose:
    """A record with a check of its own."""

    drug: str
    grams: float = 1.0
    times: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.grams <= 0:
            raise ValueError(f"grams are {self.grams}, expected more than 0")


def misfit(annotation: object, value: object) -> str:
    with pytest.raises(Misfit) as caught:
        read(annotation, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "annotation", "result"),
    [
        (1, float, 1.0), (True, bool, True), ("a", str, "a"), (None, int | None, None), (2, int | None, 2),
        ([1, 2], list[int], [1, 2]), ([1, 2], tuple[int, ...], (1, 2)), ([1, "a"], tuple[int, str], (1, "a")),
        (["a"], list, ["a"]), (("a",), Sequence[str], ["a"]), ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": [{"b": 1}]}, Mapping[str, Any], {"a": [{"b": 1}]}), ("same", Literal["any", "same"], "same"),
        ({"drug": "x", "grams": 2, "times": [8, 20]}, Dose, Dose("x", 2.0, (8, 20))),
        ([{"drug": "x"}], tuple[Dose, ...] | None, (Dose("x"),)),
    ],
)  # fmt: skip
def test_what_fits_and_what_is_made_of_it(value: object, annotation: object, result: object) -> None:
    made = read(annotation, value)
    assert made == result
    assert type(made) is type(result)


@pytest.mark.parametrize(
    ("value", "annotation", "words"),
    [
        (1.5, int, "got 1.5 (float), expected int"),
        (True, int, "got True (bool), expected int"),
        (True, float, "got True (bool), expected float"),
        ("3", int, "got '3' (str), expected int"),
        (math.nan, float, "got nan (float), expected a finite number"),
        (10**400, float, "expected a finite number"),
        (None, int, "got None (NoneType), expected int"),
        ("a", int | None, "got 'a' (str), expected int | null"),
        ("a", list[str], "got 'a' (str), expected list of str"),
        ([1], tuple[int, str], "expected 2 values, list of int, str"),
        ([1, "a"], list[int], "got 'a' (str), expected int under '1'"),
        ([1], dict[str, float], "got [1] (list), expected float by name"),
        ({1: 1.0}, dict[str, float], "got 1 (int), expected str under '1'"),
        ({"a": {"b": "c"}}, dict[str, dict[str, float]], "got 'c' (str), expected float under 'a.b'"),
        (1, Literal["1"], "got 1 (int), expected one of 1"),
        (True, Literal[1], "got True (bool), expected one of 1"),
        ({"drog": "x"}, Dose, "got 'drog' (str), expected settings among drug, grams, times"),
        ({"grams": 1}, Dose, "missing 1 required positional argument: 'drug'"),
        ({"drug": "x", "grams": -1}, Dose, "grams are -1.0, expected more than 0"),
    ],
)
def test_what_does_not_fit_says_got_expected_and_where(value: object, annotation: object, words: str) -> None:
    assert words in misfit(annotation, value)


def test_all_wrong_places_are_told_together() -> None:
    assert misfit(list[Dose], [{"drug": 1, "times": ["x"]}, 3]).split("; ") == [
        "got 1 (int), expected str under '0.drug'",
        "got 'x' (str), expected int under '0.times.0'",
        "got 3 (int), expected settings among drug, grams, times under '1'",
    ]


def test_a_type_that_no_plain_value_has_is_not_guessed_at() -> None:
    for annotation in (Path, Path | None, list[Path], bytes):
        with pytest.raises(NotPlain):
            read(annotation, ["x"] if annotation == list[Path] else "x")
    assert read(Path | None, None) is None
    assert read(list[Path], ["x"], {Path: Path}) == [Path("x")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["drug", "grams", "x"]), inner),
    max_leaves=6,
)


@given(json_values)
def test_nothing_but_a_whole_record_is_read_as_one(value: object) -> None:
    try:
        dose = read(Dose, value)
    except Misfit:
        return
    assert (type(dose.drug), type(dose.grams)) == (str, float)
    assert read(Dose, dataclasses.asdict(dose)) == dose


def test_annotations_are_named_as_a_reader_would() -> None:
    names = [type_name(one) for one in (float | None, Literal["cpu", "cuda"], dict[str, float], Any, tuple[int, ...])]
    assert names == ["float | null", "cpu | cuda", "float by name", "value", "list of int"]

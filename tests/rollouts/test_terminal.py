"""What commands print: hostile texts stay texts in tables, titles and errors, and no column of numbers is broken."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.text import Text

from rollouts.terminal import CANNOT, DONE, FAILED, INTERRUPTED, Ending, complain, one_line, open_console, plain, table

HOSTILE = "\x1b[2J[red]a[/red]\u202eb\x07"


def test_cells_titles_and_errors_of_strangers_are_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    console = open_console()
    console.print(
        table(f"runs of {HOSTILE}", ("name", "mean"), [(HOSTILE, "0.5"), None, (plain(HOSTILE, "bold"), "1")])
    )
    console.print(plain(HOSTILE))
    complain(HOSTILE)
    printed = capsys.readouterr()
    safe = "␛[2J[red]a[/red]<U+202E>b␇"
    assert printed.out.count(safe) == 4
    assert printed.err == f"{safe}\n"
    assert not set(printed.out) & set("\x1b\u202e\x07")


def test_the_first_column_stands_left_and_numbers_right_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = [f"{number}.{'0' * 9}" for number in range(8)]
    open_console().print(table("", ("kind", *(f"number {n}" for n in range(8))), [("a", *numbers), ("bcd", *numbers)]))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    rows = [line for line in lines if "7.000000000" in line]
    assert [row.split() for row in rows] == [["a", *numbers], ["bcd", *numbers]]
    assert len({row.index("0.0") for row in rows}) == 1


def test_a_narrow_terminal_folds_numbers_and_cuts_none(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=30, markup=False)
    console.print(table("", ("kind", "a", "b"), [("mcq", "55.25 (51.12-59.93)", "65.25 (61.12-69.93)")]))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert [piece in "".join(printed.split()) for piece in ("55.25", "65.25")] == [True, True]
    assert sum(character.isdigit() for character in printed) == 24


def test_one_line_is_cut_after_its_blanks_are_joined() -> None:
    assert one_line(" a\n\tb\x00 c ", 5) == "a b␀ "
    assert isinstance(plain("a"), Text)


class Ours(RuntimeError):
    """A failure that is not the user's."""

    exit_code = FAILED


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (None, DONE, ""),
        (ValueError("no such file"), CANNOT, "it: no such file\n"),
        (Ours("the engine died"), FAILED, "it: the engine died\n"),
        (KeyboardInterrupt(), INTERRUPTED, "it: stopped; go on\n"),
    ],
)
def test_a_fault_becomes_a_message_and_the_code_of_its_kind(
    fault: BaseException | None, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ending("it", ValueError, Ours, stopped="stopped; go on") as ending:
        if fault is not None:
            raise fault
    assert (ending.code, capsys.readouterr().err) == (code, said)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError, match="a bug"), Ending("it", ValueError):
        raise KeyError("a bug")

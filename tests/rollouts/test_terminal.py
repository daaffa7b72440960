"""What commands print: hostile texts stay texts in tables, titles and errors, and no column of numbers is broken."""

from __future__ import annotations

import pytest
from rich.text import Text

from rollouts.terminal import complain, one_line, open_console, plain, table

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


def test_one_line_is_cut_after_its_blanks_are_joined() -> None:
    assert one_line(" a\n\tb\x00 c ", 5) == "a b␀ "
    assert isinstance(plain("a"), Text)

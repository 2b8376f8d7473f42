"""Columns of text."""

from strobe.machine.table import aligned


def test_columns_begin_at_the_same_place() -> None:
    rows = [("a", "bb", "c"), ("aaa", "b", ""), ("", "", "x")]
    assert aligned(rows) == "a    bb  c\naaa  b\n         x"
    assert aligned(rows[:1], gap=1, indent=2) == "  a bb c"
    assert aligned([]) == ""


def test_wide_characters_count_twice_and_markup_is_text() -> None:
    assert aligned([("漢字", "x"), ("[red]", "y")]) == "漢字   x\n[red]  y"


def test_a_long_cell_is_not_wrapped() -> None:
    assert aligned([("x" * 5000, "y")]) == "x" * 5000 + "  y"

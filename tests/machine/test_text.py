"""What is printed of text that others supplied."""

import unicodedata

import pytest

from strobe.machine.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\rb\x07", r"a\rb\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("one\ntwo\u2028three", r"one\ntwo\u2028three"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("plain ünïcödé 漢字 👩\u200d🔬 [red] <b>", "plain ünïcödé 漢字 👩\u200d🔬 [red] <b>"),
        ("", ""),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_are_kept_where_there_may_be_several() -> None:
    assert printable("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"


def test_nothing_is_left_that_is_a_control_or_can_not_be_encoded() -> None:
    everything = "".join(map(chr, range(0x110000)))
    left = printable(everything)
    assert {unicodedata.category(character) for character in left}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert not {unicodedata.bidirectional(character) for character in left} & {
        *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
    }
    left.encode("utf-8")

"""Numbers that were measured, and pictures, name the command that made them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.lines import pages

_MEASURED = re.compile(r"~?\d[\d,]*(\.\d+)?( ± \d[\d.]*)?( ?(s|ms|min|h|x|%|images/s|nats))?")
_COMMAND = re.compile(r"python -m (src|tests)\.\w+|\bstrobe \w+|experiment=|tensorboard --logdir|nbclient")
_NEAR = 12  # lines above or below


def _figures(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """First and last line of every table with two or more measured cells, and of every picture; with what it begins."""
    index = 0
    while index < len(lines):
        start = index
        while index < len(lines) and lines[index].lstrip().startswith("|"):
            index += 1
        cells = [cell.strip() for line in lines[start:index] for cell in line.strip().strip("|").split("|")]
        if sum(_MEASURED.fullmatch(cell) is not None and not cell.isdigit() for cell in cells) > 1:
            yield start, index, lines[start]
        if index == start:
            if re.match(r"\s*!\[", lines[index]):
                yield index, index, lines[index]
            index += 1


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_figure_names_the_command_that_made_it(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    for first, last, text in _figures(lines):
        around = lines[max(0, first - _NEAR) : last + _NEAR]
        assert any(map(_COMMAND.search, around)), f"{page.name}:{first + 1}: no command beside {text}"


def test_figures_are_found() -> None:
    table = ["| a | b |", "| --- | --- |", "| 0.97 | 7 s |"]
    assert len(list(_figures([*table, "", "![x](y.png)"]))) == 2
    assert list(_figures(["| key | 1 |", "| --- | --- |", "| exit code | 143 |"])) == []

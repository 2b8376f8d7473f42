"""The table of epochs: written by adding to its end, the same file as if it had been written anew each time."""

import csv
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from strobe.record.epochs import EpochTable, newest_row, read_epochs
from strobe.record.files import write_atomically

Row = dict[str, Any]

EVEN: list[Row] = [{"epoch": epoch, "step": 17 * epoch, "val/acc": 0.1 + epoch / 7, "lr": None} for epoch in range(5)]
LATER = [*EVEN[:3], *({**row, "test/acc": 0.5, "a,b": 1e-9} for row in EVEN[3:])]
FEWER = [*LATER, {"epoch": 5, "val/acc": float("nan")}]


def whole(rows: list[Row]) -> str:
    """The table, written at once."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def added(directory: Path, rows: list[Row], earlier: list[dict[str, str]] | None = None) -> str:
    table = EpochTable(directory, earlier or [])
    for row in rows:
        table.add(row)
    return (directory / "metrics.csv").read_text()


@pytest.mark.parametrize("rows", [EVEN, LATER, FEWER, LATER[3:]])
def test_the_table_is_the_one_that_is_written_at_once(tmp_path: Path, rows: list[Row]) -> None:
    assert added(tmp_path, rows) == whole(rows)


@pytest.mark.parametrize("rows", [EVEN, LATER, FEWER])
@pytest.mark.parametrize("since", range(5))
def test_a_resumed_run_has_the_same_table(tmp_path: Path, rows: list[Row], since: int) -> None:
    added(tmp_path, rows[:4])
    assert added(tmp_path, rows[since:], read_epochs(tmp_path)) == whole(rows)


def test_a_row_costs_a_row_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anew: list[str] = []

    def write(path: Path, text: str) -> None:
        anew.append(text)
        write_atomically(path, text)

    monkeypatch.setattr("strobe.record.epochs.write_atomically", write)
    rows = [{"epoch": epoch, "val/acc": 0.5} for epoch in range(300)]
    assert added(tmp_path, rows) == whole(rows)
    assert len(anew) == 1
    added(tmp_path, [{"epoch": 300, "val/acc": 0.5, "test/acc": 0.5}], read_epochs(tmp_path))
    assert len(anew) == 2


def test_half_a_row_is_no_row_and_is_cut_by_a_run_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    content = added(tmp_path, EVEN)
    begin = content.rindex("\n", 0, -1) + 1
    for end in range(begin, len(content)):
        path.write_text(content[:end])
        assert [row["epoch"] for row in read_epochs(tmp_path)] == ["0", "1", "2", "3"]
        assert newest_row(path) == read_epochs(tmp_path)[-1]
    assert added(tmp_path, EVEN[4:], read_epochs(tmp_path)) == content
    path.write_text(content[:10])  # of its header
    assert (read_epochs(tmp_path), newest_row(path)) == ([], {})


def test_a_full_disk_takes_no_row_and_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = EpochTable(tmp_path)
    for row in EVEN[:3]:
        table.add(row)
    write, room = os.write, [5, 3, 0]

    def fills(file: int, content: bytes) -> int:
        if not (fits := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[:fits])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", fills)
        with pytest.raises(OSError, match=r"No space left on device.*metrics\.csv"):
            table.add(EVEN[3])
    assert (tmp_path / "metrics.csv").read_text() == whole(EVEN[:3])
    table.add(EVEN[4])
    assert (tmp_path / "metrics.csv").read_text() == whole(EVEN)


def edit(path: Path) -> None:
    path.write_text("epoch\r\n")


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [Path.unlink, edit, link])
def test_what_others_do_to_the_table_is_undone_by_the_next_row(tmp_path: Path, change: Any) -> None:
    table = EpochTable(tmp_path)
    for row in EVEN[:4]:
        table.add(row)
    change(tmp_path / "metrics.csv")
    table.add(EVEN[4])
    assert (tmp_path / "metrics.csv").read_text() == whole(EVEN)
    assert not (tmp_path / "metrics.csv").is_symlink()
    if (elsewhere := tmp_path / "elsewhere").exists():
        assert elsewhere.read_text() == whole(EVEN[:4])


def test_the_newest_row_is_found_at_the_end_of_a_long_table(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val/acc\n" + "".join(f"{epoch},0.12345\n" for epoch in range(20_000)))
    assert newest_row(path) == {"epoch": "19999", "val/acc": "0.12345"}

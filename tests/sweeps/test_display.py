"""What a person sees of a sweep on a terminal."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from strobe.sweeps.display import Display, shortened
from strobe.sweeps.glimpse import Glimpse
from strobe.sweeps.job import Job

Shown = Callable[[], list[str]]


def job(directory: Path, *, status: Any = "waiting", objective: float | None = None) -> Job:
    return Job(0, [], [], directory, directory.name, status=status, objective=objective)


def written(directory: Path, *rows: str, max_epochs: int = 10) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(f"trainer:\n  min_epochs: null\n  max_epochs: {max_epochs}\nseed: 1\n")
    (directory / "metrics.csv").write_text("\n".join(["epoch,step,val/loss,val/acc,lr,seconds", *rows]) + "\n")
    return directory


def lines_of(display: Display, columns: int, rows: int) -> list[str]:
    """What the table would be on a terminal of that size."""
    display._console = Console(file=io.StringIO(), width=columns, height=rows, color_system=None)
    with display._console.capture() as captured:
        display._console.print(display._table())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_glimpse_tells_the_epoch_and_its_metrics_and_reads_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("strobe.sweeps.glimpse.time.monotonic", lambda: clock[0])
    glimpse = Glimpse(tmp_path / "job")
    assert glimpse.progress == ""
    written(tmp_path / "job", "0,5,0.5,0.75,0.1,1", "1,10,0.25,,0.1,1")
    assert glimpse.progress == "", "it was looked at in this second"
    clock[0] += 1
    assert glimpse.progress == "2/10"
    assert glimpse.seen.value("val/loss") == ("val/loss", 0.25)
    assert glimpse.seen.value("val/acc") is None, "this epoch has none"
    reads: list[Path] = []
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **more: (reads.append(path), read_text(path, **more))[1])
    clock[0] += 1
    assert glimpse.progress == "2/10"
    assert reads == []


@pytest.mark.parametrize(
    ("name", "found"),
    [("val/acc", "val/acc"), ("test/acc", "val/acc"), ("test/loss", "val/loss"), (None, "val/loss"), ("f1", None)],
)
def test_until_a_job_has_its_objective_what_is_nearest_stands_by_its_own_name(
    tmp_path: Path, name: str | None, found: str | None
) -> None:
    value = Glimpse(written(tmp_path, "0,5,0.5,0.75,0.1,1")).seen.value(name)
    assert (value and value[0]) == found


@pytest.mark.parametrize("text", ["", "\x00\xff", "epoch\nx\n"])
def test_a_damaged_table_of_a_job_is_no_reason_to_lose_a_sweep(tmp_path: Path, text: str) -> None:
    written(tmp_path)
    (tmp_path / "metrics.csv").write_text(text)
    assert Glimpse(tmp_path).progress == ""


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (40, 10)])
def test_the_table_fits_and_shows_epoch_metric_and_those_that_wait(tmp_path: Path, columns: int, rows: int) -> None:
    names = [f"{number:03d}_optimizer.lr=0.0{number},data.batch_size=64,model.hidden=[512,256]" for number in range(5)]
    ended, running, stopped, *waiting = (job(tmp_path / name) for name in names)
    display = Display(5, mode="max", metric="val/acc")
    display.expect([ended, running, stopped, *waiting])
    for each in (ended, running, stopped):
        each.status = "running"
        written(each.directory, "0,5,0.5,0.75,0.1,1", "1,10,0.25,0.8125,0.1,1")
        display.started(each)
    ended.status, ended.objective = "completed", 0.875
    display.ended(ended)
    lines = lines_of(display, columns, rows)
    assert all(len(line) <= columns for line in lines)
    assert len(lines) < rows
    head, *table = lines[1:]
    assert head.split() == ["job", "status", "epoch", "val/acc", "time"]
    assert [line.split()[1] for line in table] == ["completed", "running", "running", "waiting", "waiting"]
    assert table[0].split()[2] == "0.8750"
    assert table[1].split()[2:] == ["2/10", "0.8125", "0:00"]
    assert "lr=0.01" in table[1] or columns == 40
    stopped.status = "interrupted"
    display.ended(stopped)
    assert display.summary_line().startswith("1/5 done   1 interrupted   1 running   best 0.8750 (00")
    assert "to go" not in display.summary_line()


def test_a_thousand_that_wait_are_counted(tmp_path: Path) -> None:
    display = Display(1000, mode="max", metric="val/acc")
    jobs = [job(tmp_path / f"{number:03d}") for number in range(1000)]
    display.expect(jobs)
    jobs[0].status = "running"
    display.started(jobs[0])
    lines = lines_of(display, 80, 24)
    assert lines[-1] == "and 999 more waiting"
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, "003_optimizer.lr=0.01,data.batch_size=64"),
        (30, "003_lr=0.01,batch_size=64"),
        (20, "003_lr=0...._size=64"),
    ],
)
def test_a_long_name_loses_what_tells_least(width: int, shown: str) -> None:
    assert shortened("003_optimizer.lr=0.01,data.batch_size=64", width) == shown

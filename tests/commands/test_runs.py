"""`runs` lists, `report` filters, `rm` asks and removes."""

import inspect
import io
import json
import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from strobe.commands import evaluate, report, rm, runs
from strobe.commands.candidates import candidates
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import run_directory
from strobe.errors import ConfigError
from strobe.record.lock import RunLock
from strobe.record.report import read_report, settle_report
from strobe.report import collect as collecting
from strobe.report import listing
from strobe.report.collect import collect
from strobe.report.listing import listed, since, table
from tests.commands.listed import write_run
from tests.conftest import Train

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with runs of many kinds below outputs/."""
    monkeypatch.chdir(tmp_path)
    write_run(Path("outputs/train/d1/good"), "2026-11-20T10:00:00+00:00", name="good", tags=["x", "y"], note="lr lower")
    write_run(Path("outputs/train/d2/bad"), "2026-11-22T10:00:00+00:00", status="failed", objective=None, tags=["x"])
    write_run(Path("outputs/sweeps/s/0"), "2026-11-21T10:00:00+00:00", status="diverged", objective=None)
    write_run(Path("outputs/sweeps/s/1"), "2026-11-21T11:00:00+00:00", status="interrupted", objective=None)
    write_run(Path("outputs/sweeps/s/2"), "2026-11-21T12:00:00+00:00", status="interrupted", checkpoint=False)
    write_run(Path("outputs/train/d3/now"), status="running", checkpoint=False)
    return tmp_path


FAILED = ["outputs/sweeps/s/0", "outputs/sweeps/s/2", "outputs/train/d2/bad"]


def left() -> set[str]:
    return {str(path.parent) for path in Path("outputs").rglob("report.json")}


def listed_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert runs.main([*arguments, "--json"]) == 0
    return [run["directory"] for run in json.loads(capsys.readouterr().out)]


def test_runs_are_listed_newest_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main([]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["began", "status", "val/acc", "name", "directory"]
    assert [row.split()[-1] for row in rows[2:4]] == ["outputs/train/d2/bad", "outputs/sweeps/s/2"]
    assert listed_by(capsys, "outputs/sweeps") == [f"outputs/sweeps/s/{job}" for job in (2, 1, 0)]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--name", "GOO"], ["good"]),
        (["--tag", "x"], ["bad", "good"]),
        (["--tag", "x", "--tag", "y"], ["good"]),
        (["--status", "failed", "--status", "diverged"], ["bad", "0"]),
        (["--note", "lower"], ["good"]),
        (["--since", "2026-11-21T11:30+00:00"], ["now", "bad", "2"]),
        (["--name", "none of them"], []),
    ],
)
def test_runs_are_filtered(
    here: Path, filters: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [Path(run).name for run in listed_by(capsys, *filters)] == names


def test_a_table_of_runs_fits_80_columns(here: Path) -> None:
    for number in range(3):
        name = f"outputs/train/2026-11-27/02-34-07-12345{number}"
        write_run(Path(name), NOW.isoformat(), status="interrupted", name="a name of many words", objective=0.97)
    shown = table(listed([Path("outputs")]), 80, now=NOW)
    assert max(map(len, shown.splitlines())) <= 80
    assert "outputs/train/2026-11-27/02-34-07-123450" in shown


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("3d", NOW - timedelta(days=3)),
        ("12h", NOW - timedelta(hours=12)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-20T10:00+00:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ],
)
def test_since_takes_dates_and_spans(text: str, moment: datetime) -> None:
    assert since(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "d", "9" * 400 + "d", ""])
def test_since_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="must be a date as in"):
        since(text, NOW)


def test_a_report_of_a_journal_lists_and_filters(
    train_tiny: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for seed, tag in ((1, "a"), (2, "b")):
        overrides = (f"seed={seed}", f"tags=[{tag}]", f"note='note of {seed}, kept'", "trainer.max_epochs=1")
        train_tiny(*overrides, directory=tmp_path / "outputs" / str(seed))
    assert report.main([str(tmp_path / "outputs"), "--out", str(out)]) == 0
    whole = capsys.readouterr().out
    assert "    #a  note of 1, kept" in whole
    assert "2 completed" in whole
    assert report.main([str(tmp_path / "outputs"), "--out", str(out), "--tag", "b"]) == 0
    assert "note of 1" not in (part := capsys.readouterr().out)
    assert "1 completed" in part
    assert len((out / "summary.csv").read_text().splitlines()) == 2
    assert report.main([str(tmp_path / "outputs"), "--out", str(out), "--tag", "c"]) == 2


@pytest.mark.parametrize("filters", [[], ["--status", "completed"]])
def test_a_report_of_a_journal_reads_each_of_them_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, filters: list[str]
) -> None:
    read: list[str] = []

    def counted(directory: Path) -> Any:
        read.append(directory.name)
        return read_report(directory)

    for module in (collecting, listing):
        monkeypatch.setattr(module, "read_report", counted)
    for name in ("one", "two"):
        write_run(Path("journal") / name)
    assert report.main(["journal", *filters]) == 0
    assert sorted(read) == ["one", "two"]


def test_failed_runs_are_removed_after_asking(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = left()

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer in ("\n", "n\n", ""):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert rm.main(["--failed"]) == 0
        assert left() == before
    shown = capsys.readouterr().out
    assert all(run in shown for run in FAILED)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert rm.main(["--failed"]) == 0
    assert left() == before - set(FAILED)


def test_without_a_terminal_nothing_is_removed_unless_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = left()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert rm.main(["--failed"]) == 2
    assert left() == before
    assert rm.main(["--failed", "--yes", "outputs/sweeps"]) == 0
    assert before - left() == set(FAILED[:2])


def test_a_named_run_is_removed_whatever_it_was(here: Path) -> None:
    before = left()
    assert rm.main(["outputs/train/d1/good", "--yes"]) == 0
    assert before - left() == {"outputs/train/d1/good"}


@pytest.mark.parametrize(
    ("named", "word"),
    [
        ("outputs/train/d3/now", "is running: stop it first"),
        ("outputs", "is not a run directory"),
        ("link", "is a link"),
        ("nested", "holds another run"),
        (".", "is not a run directory"),
    ],
)
def test_what_is_no_run_or_more_than_one_stays(
    here: Path, named: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "link").symlink_to(here / "outputs/train/d1/good")
    write_run(here / "nested")
    write_run(here / "nested/outputs/train/a")
    before = left()
    assert rm.main([named, "--yes"]) == 2
    assert word in capsys.readouterr().err
    assert left() == before
    assert (here / "nested/outputs/train/a").is_dir()


def test_the_working_directory_stays(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_run(here / "inside"))
    assert rm.main([".", "--yes"]) == 2
    assert (here / "inside/report.json").exists()


def test_a_run_in_which_a_process_trains_stays_whatever_its_report_says(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Path("outputs/train/d2/bad")
    lock = RunLock(bad)
    try:
        assert rm.main(["--failed", "--yes"]) == 1
    finally:
        lock.release()
    assert bad.exists()
    assert "is being trained" in capsys.readouterr().err


def test_a_run_that_lives_on_another_machine_stays(here: Path) -> None:
    far = write_run(Path("outputs/train/far"), checkpoint=False)
    alive = {"status": "running", "host": f"not-{socket.gethostname()}", "heartbeat": datetime.now(UTC).isoformat()}
    (far / "report.json").write_text(json.dumps({**json.loads((far / "report.json").read_text()), **alive}))
    assert rm.main(["--failed", "--yes"]) == 0
    assert far.exists()


def test_links_are_not_followed(here: Path) -> None:
    elsewhere = write_run(here / "elsewhere" / "run", status="failed")
    (here / "outputs/linked").symlink_to(here / "elsewhere")
    (here / "outputs/train/d2/bad/tensorboard").symlink_to(elsewhere)
    assert rm.main(["--failed", "--yes"]) == 0
    assert (elsewhere / "report.json").exists()
    assert not (here / "outputs/train/d2/bad").exists()


def test_an_interrupted_run_with_any_checkpoint_is_kept(here: Path) -> None:
    run = write_run(Path("outputs/train/best"), status="interrupted", checkpoint=False)
    (run / "checkpoints/best.ckpt").write_bytes(b"weights")
    assert rm.main(["--failed", "--yes"]) == 0
    assert run.exists()


@pytest.mark.parametrize(
    ("report", "config"),
    [
        ({"status": "failed"}, True),
        ({"status": "failed", "schema": 1}, True),
        ({"status": "failed", "started": "2026-11-20T10:00:00+00:00"}, True),
        ({"status": "failed", "schema": 1, "started": "2026-11-20T10:00:00+00:00"}, False),
    ],
)
def test_what_another_program_made_stays(
    here: Path, report: dict[str, object], config: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path("outputs/other")
    other.mkdir()
    (other / "report.json").write_text(json.dumps(report))
    if config:
        (other / "config.yaml").touch()
    assert rm.main(["--failed", "--yes"]) == 0
    assert rm.main([str(other), "--yes"]) == 2
    assert capsys.readouterr().err.count("outputs/other is no run of Strobe's") == 2
    assert (other / "report.json").exists()


def test_a_job_that_was_killed_before_it_wrote_a_report_is_removed(here: Path) -> None:
    Path("outputs/sweeps/s/.sweep").touch()
    job = Path("outputs/sweeps/s/3")
    settle_report(job, "failed", "killed")
    assert rm.main(["--failed", "--yes"]) == 0
    assert not job.exists()


def write_sweep(directory: Path) -> Path:
    """What a sweep leaves beside its jobs."""
    (directory / ".locks").mkdir(parents=True)
    (directory / ".sweep").write_text("0" * 32 + "\n")
    for name in (".lock", ".locks/driver0.lock", "multirun.yaml", "optuna.log", "summary.csv", "report.html"):
        (directory / name).touch()
    return directory


def test_what_is_left_of_a_sweep_goes_with_its_last_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, lost, kept, own = (write_sweep(Path("outputs/sweeps") / name) for name in ("empty", "lost", "kept", "own"))
    write_run(lost / "0", status="failed", objective=None)
    write_run(kept / "0")
    write_run(kept / "1", status="failed", objective=None)
    (own / "notes.txt").touch()
    assert rm.main(["--failed", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert not empty.exists()
    assert not lost.exists()
    assert (kept / "optuna.log").exists()
    assert (own / "optuna.log").exists(), "it holds what isn't a sweep's"
    assert [line for line in shown.splitlines() if "left of a sweep" in line] == [
        f"what is left of a sweep without runs: {sweep}" for sweep in (lost, empty)
    ]
    assert rm.main([str(kept / "0"), "--yes"]) == 0
    assert not kept.exists()


def test_a_sweep_that_a_process_works_on_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = write_sweep(Path("outputs/sweeps/busy"))
    with FileLock(sweep / ".lock"):
        assert rm.main(["--failed", "--yes", "outputs/sweeps/busy"]) == 1
    assert "another process works on this sweep" in capsys.readouterr().err
    assert (sweep / "optuna.log").exists()


def test_what_is_to_be_removed_fits_80_columns(here: Path) -> None:
    write_run(
        Path("outputs/sweeps/2026-11-27/10-00-00/000_optimizer.lr=0.0125,model.hidden=16,seed=3"), status="failed"
    )
    shown = table(listed([Path("outputs/sweeps/2026-11-27")]), 80, whole=False, now=NOW)
    assert max(map(len, shown.splitlines())) <= 80
    assert "10-00-00/000_" in shown


def test_a_run_that_is_named_twice_is_removed_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = Path("outputs/train/d1/good")
    assert rm.main([str(good), str(here / good), "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 removed"


@pytest.mark.parametrize(
    "moment",
    ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+14:00", "0001-01-01", "never"],
)
def test_a_run_of_any_date_is_listed(here: Path, moment: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("outputs/odd"), moment)
    assert "outputs/odd" in listed_by(capsys)
    assert runs.main([]) == 0
    assert "outputs/odd" in capsys.readouterr().out


@pytest.fixture
def deep(here: Path) -> Iterator[Path]:
    """A folder in more folders than Python may call functions in each other here, and not too many for pytest."""
    folder = Path("outputs", *["d"] * 500)
    folder.mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 300)
    yield folder
    sys.setrecursionlimit(limit)


def test_runs_are_found_however_deep_they_lie(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(deep / "run", "2026-11-28T10:00:00+00:00")
    assert run_directory("latest") == run
    assert str(run) in listed_by(capsys)
    assert [word for word, _ in candidates(["strobe", "train", "resume=outputs/d"])] == [f"resume={run}"]
    assert [each.directory for each in collect([Path("outputs/d")])] == [run]


def test_every_command_means_the_same_run_by_the_newest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write_run(Path("outputs/touched"), "2026-11-01T10:00:00+00:00")
    os.utime(old / "report.json", (4e9, 4e9))
    newest = run_directory("latest")
    capsys.readouterr()
    for named in ("nowhere", "outputs"):
        with pytest.raises(ConfigError, match=rf"the newest (here is|for example: strobe export) {newest}$"):
            require_run(Path(named), "export")


def test_the_runs_of_a_comparison_are_those_of_a_list(here: Path) -> None:
    write_run(Path("outputs/train/d1/good/kept/inner"))
    write_run(Path("outputs/sweeps/s/.replaced/0"))
    assert {run.directory for run in collect([Path("outputs")])} == {run.directory for run in listed([Path("outputs")])}


def test_filters_say_where_there_are_no_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert report.main(["empty", "--tag", "x"]) == 2
    assert "no runs below empty" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_where_details_can_not_be_written_is_said_before_the_test(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    Path("file").touch()
    monkeypatch.setattr("strobe.run.details.evaluate_in_detail", lambda *args: pytest.fail("it was tested"))
    assert evaluate.main(["outputs/train/d1/good", "--details", "--out", out]) == 2
    assert "file is no directory; say where to write" in capsys.readouterr().err

"""Whatever has happened to the files of runs and searches: no traceback, no hang, no success that was none.

Cases are drawn from a fixed seed; STROBE_FUZZ_SEED draws others. A case that fails is named by its number, and comes
again with it.
"""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from strobe.commands.report import main as report_command
from strobe.errors import RunError
from strobe.record.epochs import read_epochs
from strobe.record.layout import FAILED
from strobe.record.report import read_report
from strobe.report import searches, write
from strobe.report.difference import difference
from strobe.sweeps.jobs import plan_jobs
from strobe.sweeps.planning import Planner
from tests.sweeps.pretend import Pretend, planning

SEED = int(os.environ.get("STROBE_FUZZ_SEED", "1"))
SECONDS = 120  # a case takes a tenth of one; this is a hang
BATCH = [["sweep.name=s", f"seed={seed}"] for seed in (1, 2, 3)]
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1e308, -1e308, 2**63, 10**30, 0.1, float("nan"), float("inf"), 1e-320),
    *(
        "",
        "x",
        "completed",
        "running",
        "failed",
        "waiting",
        "\ud800",
        "\x1b[31m",
        "a\nb",
        "=1+1",
        "<b>",
        "$\\frac{",
        "x" * 5000,
    ),
    *([], {}, [None], {"": None}, [[[[[]]]]], {"a": {"b": {"c": {}}}}, ["x"] * 50, "../../x", "9" * 400),
]


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


# What can happen to a file


def flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content or b" ")
    for _ in range(draw.choice((1, 1, 1, 5, 50))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(content: bytes, draw: random.Random) -> bytes:
    begin, end = sorted((draw.randint(0, len(content)), draw.randint(0, len(content))))
    return draw.choice((content[:begin], content[begin:], content[:begin] + content[end:]))


def insert(content: bytes, draw: random.Random) -> bytes:
    place = draw.randint(0, len(content))
    piece = draw.choice(
        (b"\x00" * 100, b"\xff\xfe", b"9" * 5000, b"[" * 2000, b"\n", b'"', b"}", b",", b"\r", draw.randbytes(20))
    )
    return content[:place] + piece + content[place:]


def repeat(content: bytes, draw: random.Random) -> bytes:
    begin, end = sorted((draw.randint(0, len(content)), draw.randint(0, len(content))))
    return draw.choice(
        (content * 2, content[:end] + content[begin:], content[:begin] + content[begin:end] * 3 + content[end:])
    )


def replace(content: bytes, draw: random.Random) -> bytes:
    return draw.choice(
        (b"", b"\x00" * len(content), b"null", b"[]", b"{}", b"<html></html>", b"- a\n- b", draw.randbytes(200))
    )


def lines(content: bytes, draw: random.Random) -> bytes:
    parts = content.splitlines(keepends=True)
    draw.shuffle(parts)
    return b"".join(parts[: draw.randint(0, len(parts))])


def retype(content: bytes, draw: random.Random) -> bytes:
    """Another value somewhere in JSON, or in one of the lines that are JSON, or a cell of a table."""
    rows = content.splitlines(keepends=True)
    for text in (content, draw.choice(rows or [b""])):
        try:
            node = json.loads(text)
        except ValueError:
            continue
        changed = json.dumps(_changed(node, draw)).encode()
        return changed if text is content else content.replace(text, changed + b"\n", 1)
    cells = content.split(b",")
    cells[draw.randrange(len(cells))] = str(draw.choice(ODD_VALUES)).encode("utf-8", "replace")
    return b",".join(cells)


def _changed(node: Any, draw: random.Random) -> Any:
    if isinstance(node, dict) and node and draw.random() < 0.9:
        key = draw.choice(list(node))
        if draw.random() < 0.1:
            return {name: value for name, value in node.items() if name != key}
        return {**node, key: _changed(node[key], draw)}
    if isinstance(node, list) and node and draw.random() < 0.7:
        place = draw.randrange(len(node))
        return [*node[:place], _changed(node[place], draw), *node[place + 1 :]]
    return deep(draw.choice((5, 50, 500))) if draw.random() < 0.05 else draw.choice(ODD_VALUES)


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [flip, cut, insert, repeat, replace, lines, retype, retype]


def harm(directory: Path, draw: random.Random) -> set[Path]:
    """Do something to some files below a directory; returns the directories in which a report is not as it was."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    touched = set()
    for _ in range(draw.choice((1, 1, 2, 3))):
        path = draw.choice([path for path in files if path.name in ("report.json", "optuna.log")] * 2 + files)
        touched.add(path.parent)
        other = draw.choice(files)
        match draw.randrange(20):
            case 0:
                path.unlink(missing_ok=True)
            case 1:
                path.unlink(missing_ok=True)
                draw.choice((Path.mkdir, os.mkfifo, lambda place: place.symlink_to(place)))(path)
            case 2 if path.is_file() and other.is_file():
                touched.add(other.parent)
                first, second = path.read_bytes(), other.read_bytes()
                path.write_bytes(second)
                other.write_bytes(first)
            case _ if path.is_file():
                path.write_bytes(draw.choice(CHANGES)(path.read_bytes(), draw))
    return touched


# Who reads them


@contextmanager
def no_hang() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def in_a_line() -> Iterator[None]:
    """A refusal is a line or a few, for a person."""
    refused = ""
    try:
        yield
    except RunError as error:
        refused = str(error)
    assert len(refused) < 3000
    assert len(refused.splitlines()) < 10


def read_all(directory: Path) -> None:
    """What readers rely on."""
    for path in directory.rglob("*"):
        if path.name == "report.json":
            with in_a_line():
                report = read_report(path.parent)
                json.dumps(report, allow_nan=False, ensure_ascii=False).encode()
                assert all(type(value) in (int, float) for value in report.get("metrics", {}).values())
        if path.name == "metrics.csv":
            for row in read_epochs(path.parent):
                assert int(row["epoch"]) >= 0
                assert all(value == "" or isinstance(float(value), float) for value in row.values())


def compare(directory: Path, out: Path) -> None:
    with in_a_line():
        table = write.write_report([directory], out)
        for text in (table, *((out / name).read_text() for name in ("summary.csv", "summary.md", "report.html"))):
            assert not {"\x1b", "\r", "\x00"} & set(text)
    with in_a_line():
        difference(*sorted(path.parent for path in directory.glob("*/0*/report.json"))[:2])


def plan(directory: Path, planner: Planner) -> None:
    with in_a_line():
        for job in plan_jobs(planner, BATCH, directory, 0, None):
            if job.plan == "skip" and job.status == "completed":
                there = json.loads((job.directory / "report.json").read_text())
                assert (there["status"], there["config_hash"]) == ("completed", job.hash)
                assert job.objective is None or job.objective == there["objective"]


def search_on(search: Pretend, touched: set[Path]) -> None:
    """All trials end, and none that was trained is trained again, unless its report is what was harmed."""
    with in_a_line():
        jobs, troubles = search.search()
        assert troubles == []
        sound = {path.name for path in search.directory.glob("00[0-3]_*")} - {path.name for path in touched}
        assert not set(search.trained) & sound
        assert {job.number for job in jobs} >= {0, 1, 2, 3}
        for job in jobs:
            if job.status == "completed" and (report := read_report(job.directory)).get("config_hash") == job.hash:
                assert report["status"] not in FAILED, "the study may know of an end that the report has lost"
                assert report["status"] != "completed" or report.get("objective") in (None, job.objective)


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    with planning() as one:
        yield one


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, planner: Planner) -> Path:
    """A grid and a search of a few runs, with all that lies beside their reports."""
    root = tmp_path_factory.mktemp("sound")
    Pretend(root / "grid", planner).grid(BATCH)
    Pretend(root / "search", planner).search()
    for path in [*(root / "grid").glob("0*"), *(root / "search").glob("0*")]:
        report = json.loads((path / "report.json").read_text())
        best = {"metric": "val/acc", "mode": "max", "value": 0.5, "epoch": 1, "step": 34}
        report |= {"best": {**best, "checkpoint": "checkpoints/best.ckpt"}, "timing": {"total_s": 2.0}, "seed": 1}
        report |= {
            "environment": {"python": "3.11"},
            "started": "2026-11-25T20:17:16.000+00:00",
            "tags": [],
            "name": None,
        }
        report |= {"objective_metric": "val/acc", "objective_mode": "max", "effective": {"devices": 1}}
        (path / "report.json").write_text(json.dumps(report))
        (path / "metrics.csv").write_text("epoch,step,val/acc,lr,seconds\n0,17,0.25,0.001,1.5\n1,34,0.5,0.001,1.5\n")
        (path / "tensorboard").mkdir()
        (path / "tensorboard" / "events.out.tfevents.1.host.2.0").write_bytes(bytes(range(200)))
    (root / "trained.txt").unlink()
    for name in ("grid", "search"):
        write.write_report([root / name], root / name)
    return root


def run_cases(cases: range, sound: Path, tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_pictures, draw_searches = write.pictures, searches.search_pictures
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # half of the time, and no power fails here
    for case in cases:
        draw = random.Random(f"{SEED}/{case}")
        root = tmp_path / "case"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(sound, root)
        touched = harm(root, draw)
        # Drawing takes a second, the rest a twentieth.
        monkeypatch.setattr(write, "pictures", draw_pictures if case % 40 == 0 else lambda runs, groups: {})
        monkeypatch.setattr(searches, "search_pictures", draw_searches if case % 10 == 0 else lambda studies: {})
        try:
            with no_hang():
                read_all(root)
                compare(root, tmp_path / "out")
                if case % 2:
                    plan(root / "grid", planner)
                else:
                    search_on(Pretend(root / "search", planner), touched)
        except BaseException as error:
            error.add_note(f"case {case} of seed {SEED}; harmed: {sorted(path.name for path in touched)}, in {root}")
            raise


def test_a_hundred_harmed_directories(
    sound: Path, tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cases(range(100), sound, tmp_path, planner, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 2100, 250))
def test_two_thousand_harmed_directories(
    sound: Path, tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    run_cases(range(first, first + 250), sound, tmp_path, planner, monkeypatch)


def test_the_command_says_what_it_passes_over_and_goes_on(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "pictures", lambda runs, groups: {})
    shutil.copytree(sound, tmp_path / "all")
    first, *_ = sorted((tmp_path / "all" / "grid").glob("0*"))
    (first / "report.json").write_text('{"status": "completed", "metrics": "x"}')
    assert report_command([str(tmp_path / "all"), "--out", str(tmp_path / "out")]) == 0
    assert "6 completed" in capsys.readouterr().out

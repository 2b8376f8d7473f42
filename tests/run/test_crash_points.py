"""A run that is killed, or whose disk is full, wherever it changes a file: nothing is lost, nothing is left over."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import TEST_CONF, report
from tests.crash import Fault, How, run
from tests.run.test_train import equal, rows, weights

SHARES = 10  # of the points, a test each
SETTINGS = {
    "tensorboard": ["model.dropout=0.3", "trainer.val_check_interval=0.5"],
    "csv": ["logger=csv", "checkpoint.keep=2", "checkpoint.every_n_steps=6"],
}


class Crashes:
    """Three epochs, the best in the middle, undisturbed and as often as asked with a fault."""

    def __init__(self, home: Path, data: Path, settings: list[str]) -> None:
        self.home = home
        self._count = itertools.count()
        self._settings = [
            *(f"hydra.searchpath=[file://{TEST_CONF}]", "data=tiny", f"data.root={data}", "trainer=cpu"),
            *("trainer.max_epochs=3", "model=mlp", "model.hidden=[16]", *settings),
        ]
        self.whole = home / "whole"
        code, self.points = self.start(self.whole)
        assert code == 0, self.printed
        assert report(self.whole)["best"]["epoch"] == 1, report(self.whole)["best"]

    def directory(self) -> Path:
        """A new one."""
        return self.home / f"run{next(self._count)}"

    @property
    def printed(self) -> str:
        return (self.home / "out.txt").read_text()

    def start(self, directory: Path, fault: Fault | None = None) -> tuple[int, list[str]]:
        return self._run([*self._settings, f"hydra.run.dir={directory}"], directory, fault)

    def go_on(self, directory: Path) -> int:
        """Resume what a directory holds, or begin anew where it holds no run yet; what is complete stays as it is."""
        if not (directory / "report.json").exists():
            return self.start(directory)[0]
        if report(directory)["status"] == "completed":
            return 0
        return self._run([f"resume={directory}"], directory)[0]

    def _run(self, arguments: list[str], directory: Path, fault: Fault | None = None) -> tuple[int, list[str]]:
        return run(arguments, directory, self.home / "out.txt", fault, cwd=self.home)

    def require_whole(self, directory: Path) -> None:
        """Whether a run is the undisturbed one, and has left nothing lying about."""
        for name in ("last.ckpt", "best.ckpt"):
            assert equal(weights(self.whole, name), weights(directory, name)), name
        assert rows(self.whole) == rows(directory)
        ours, theirs = report(directory), report(self.whole)
        for key in ("status", "metrics", "best", "objective", "kept", "error"):
            assert ours.get(key) == theirs.get(key), key
        assert files(directory) == files(self.whole)
        assert logged(directory) == logged(self.whole)


def files(directory: Path) -> list[str]:
    """What lies in a run directory; of TensorBoard's files, that there are any."""
    names = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return sorted({str(name.parent / "events" if name.name.startswith("events.") else name) for name in names})


def logged(directory: Path) -> Any:
    """What the loggers have, times left out."""
    if (table := directory / "csv" / "metrics.csv").exists():
        return table.read_text()
    events = EventAccumulator(str(directory / "tensorboard"))
    events.Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


@pytest.fixture(scope="module", params=list(SETTINGS))
def crashes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_root: Path) -> Crashes:
    return Crashes(tmp_path_factory.mktemp("crashes"), tiny_root, SETTINGS[request.param])


def killed(crashes: Crashes, point: int, how: How) -> None:
    directory = crashes.directory()
    name = crashes.points[point]
    code, _ = crashes.start(directory, Fault(point, how))
    assert code == -9, name
    if (path := directory / "report.json").exists():
        assert json.loads(path.read_text())["status"] in ("running", "completed"), name
    assert crashes.go_on(directory) == 0, f"{how} {name}: {crashes.printed}"
    crashes.require_whole(directory)


def filled(crashes: Crashes, point: int, lasting: bool) -> None:
    directory = crashes.directory()
    name = crashes.points[point]
    code, _ = crashes.start(directory, Fault(point, "full", lasting))
    if code == 0 and name.startswith(("link checkpoints/", "open w+b .")):  # a copy does as well; it was a mere try
        return
    assert code in (1, 2), f"{name}: {crashes.printed}"
    message = crashes.printed.splitlines()[-1]
    assert "No space left on device" in message, f"{name}: {crashes.printed}"
    assert str(directory) in message, f"{name}: {crashes.printed}"
    assert "Traceback" not in crashes.printed, f"{name}: {crashes.printed}"
    if (path := directory / "report.json").exists():
        assert json.loads(path.read_text())["status"] in ("running", "failed"), name
    assert crashes.go_on(directory) == 0, f"full at {name}: {crashes.printed}"
    crashes.require_whole(directory)


def test_a_run_killed_at_some_point_goes_on_as_if_nothing_had_been(crashes: Crashes) -> None:
    for point in range(3, len(crashes.points), 11):
        killed(crashes, point, "after" if point % 2 else "before")


def test_a_run_that_meets_a_full_disk_somewhere_goes_on_once_there_is_room(crashes: Crashes) -> None:
    for point in range(9, len(crashes.points), 23):
        filled(crashes, point, lasting=bool(point % 2))


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_killed_at_any_point_goes_on_as_if_nothing_had_been(crashes: Crashes, share: int) -> None:
    for point in range(share, len(crashes.points), SHARES):
        killed(crashes, point, "before")  # nothing lies between this and the moment after the point before it


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_that_meets_a_full_disk_goes_on_once_there_is_room(crashes: Crashes, share: int) -> None:
    for point in range(share, len(crashes.points), SHARES):
        filled(crashes, point, lasting=bool(point // SHARES % 2))

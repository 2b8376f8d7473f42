"""A driver that is killed, or whose disk is full, where it changes a file: the same command finishes what is left."""

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEST_CONF, report
from tests.crash import Fault, How, run

TRIED = 12  # of the points: a search has 70, and each costs the start of two drivers
COMMANDS = {
    "grid": ["-m", "optimizer.lr=0.01,0.001"],
    "search": [
        *("sweep=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=random", "hydra.sweeper.pruner=none"),
        "optimizer.lr=tag(log,interval(1e-3,1e-1))",
    ],
}


class Driver:
    """A sweep of two jobs, undisturbed and as often as asked with a fault of its driver."""

    def __init__(self, home: Path, data: Path, arguments: list[str]) -> None:
        self.home = home
        self._arguments = [
            *(f"--config-dir={TEST_CONF}", *arguments, "data=tiny", f"data.root={data}", "trainer=cpu", "logger=none"),
            *("trainer.max_epochs=1", "sweep.name=s", "model=mlp", "model.hidden=[8]"),
        ]
        code, self.points = self.start(home / "whole")
        assert code == 0, self.printed
        self.whole = jobs(home / "whole")
        assert len(self.whole) == 2

    @property
    def printed(self) -> str:
        return (self.home / "out.txt").read_text()

    def start(self, cwd: Path, fault: Fault | None = None) -> tuple[int, list[str]]:
        cwd.mkdir(exist_ok=True)
        return run(self._arguments, cwd / "outputs", self.home / "out.txt", fault, cwd=cwd)

    def disturb(self, point: int, how: How) -> None:
        cwd, name = self.home / f"{how}{point}", self.points[point]
        code, _ = self.start(cwd, Fault(point, how))
        assert code != 0 or how == "full", name
        assert "Traceback" not in self.printed, f"{name}: {self.printed}"
        done = {name: found for name, found in jobs(cwd).items() if found["status"] == "completed"}
        code, _ = self.start(cwd)
        if code == 1 and how == "full":  # a job that found no room has failed, and is not run again unasked
            self._arguments.append("sweep.rerun=failed")
            code, _ = self.start(cwd)
            self._arguments.pop()
        assert code == 0, f"{how} {name}: {self.printed}"
        assert "Traceback" not in self.printed, f"{name}: {self.printed}"
        found = jobs(cwd)
        assert done.items() <= found.items(), f"{name}: what was complete was run again"
        assert {name: job["metrics"] for name, job in found.items()} == {
            name: job["metrics"] for name, job in self.whole.items()
        }, name
        with next((cwd / "outputs").rglob("summary.csv")).open() as file:
            assert len(list(csv.DictReader(file))) == 2, name
        assert not [path for path in cwd.rglob(".*.tmp*") if ".replaced" not in path.parts], name


def jobs(cwd: Path) -> dict[str, dict[str, Any]]:
    paths = sorted((cwd / "outputs" / "sweeps" / "s").glob("[0-9]*/report.json"))
    return {path.parent.name: report(path.parent) for path in paths}


@pytest.fixture(scope="module", params=list(COMMANDS))
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_root: Path) -> Driver:
    return Driver(tmp_path_factory.mktemp("driver"), tiny_root, COMMANDS[request.param])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["before", "full"])
def test_a_sweep_goes_on_whatever_has_happened_to_its_driver(driver: Driver, how: How) -> None:
    tried = TRIED if how == "before" else TRIED // 2
    stride = max(1, len(driver.points) // tried)
    for point in range(stride // 2, len(driver.points), stride):
        driver.disturb(point, how)

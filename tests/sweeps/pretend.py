"""A search or a grid in this process, whose jobs are trained in no time: what they leave is a report."""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from strobe.config.compose import CONF, plain
from strobe.record.identity import config_hash
from strobe.sweeps.drive import Settings
from strobe.sweeps.grid import run_grid
from strobe.sweeps.jobs import Job, Planner
from strobe.sweeps.sampling import SearchSettings
from strobe.sweeps.search import run_search
from strobe.sweeps.slots import Slot

End = Callable[[Job, int], Mapping[str, Any]]
"""What the report of a job says, given it and how many jobs this process ran before."""


class CachingPlanner(Planner):
    """Composes each config once: a test plans the same jobs hundreds of times."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        key = tuple(overrides)
        if key not in self._known:
            self._known[key] = super().compose(overrides)
        return self._known[key]


@contextmanager
def planning() -> Iterator[CachingPlanner]:
    """A planner of the shipped config."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = compose("train", overrides=["sweep.name=s"], return_hydra_config=True).hydra
        yield CachingPlanner(GlobalHydra.instance().config_loader(), hydra.job.config_name, [])
    GlobalHydra.instance().clear()


def objective_of(job: Job) -> float:
    """The result of a job: a function of its settings, so that it is the same whenever it is trained."""
    return int(job.hash[:8] or "0", 16) / 2**32


def well(job: Job, count: int) -> dict[str, Any]:
    """Every job completes."""
    value = objective_of(job)
    return {"status": "completed", "objective": value, "metrics": {"val/acc": value}}


class PretendPool:
    """Takes the place of `strobe.sweeps.pool.Pool`: a job has ended as soon as it is waited for."""

    planner: Planner
    end: End
    log: Path  # a line for each job that was trained, whichever process pretended to

    def __init__(self, slots: Sequence[Slot], *rest: object) -> None:
        self._room = len(slots)
        self._running: list[Job] = []

    def __enter__(self) -> "PretendPool":
        return self

    def __exit__(self, *error: object) -> None:
        self._running = []

    @property
    def has_room(self) -> bool:
        return len(self._running) < self._room

    @property
    def running(self) -> list[Job]:
        return self._running

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        job.status, job.began = "running", True
        self._running.append(job)

    def wait(self, timeout: float | None = None) -> list[Job]:
        job = self._running.pop(0)
        report = {
            **{"pid": os.getpid(), "host": socket.gethostname(), "error": None, "overrides": job.overrides},
            "config_hash": config_hash(plain(self.planner.compose(job.overrides))),
            **type(self).end(job, len(trained(self.log))),
        }
        with self.log.open("a") as file:
            file.write(f"{job.directory.name}\n")
        (job.directory / "report.json").write_text(json.dumps(report))
        job.status, job.objective = report["status"], report.get("objective")
        if report["error"]:
            job.error = report["error"]["message"]
        return [job]

    def ask(self, number: int) -> None:
        self._running = []

    kill = ask


class Pretend:
    """Runs sweeps in a directory.

    Args:
        directory: Of the sweep.
        planner: Of its configs.
    """

    def __init__(self, directory: Path, planner: Planner) -> None:
        self.directory = directory
        self.planner = planner

    def settings(self, **fields: Any) -> Settings:
        values: dict[str, Any] = {"on_failure": "continue", "job_timeout": None, "rerun": None, **fields}
        return Settings(
            directory=self.directory,
            slots=[Slot(1)],
            objective="val/acc",
            mode="max",
            start_job=lambda *arguments: None,
            **values,
        )

    def search(
        self, *space: str, n_trials: int = 4, sampler: Any = "random", **fields: Any
    ) -> tuple[list[Job], list[str]]:
        how = SearchSettings(n_trials, sampler, "median", 1, fields.pop("objectives", []), [])
        overrides = ["sweep.name=s", *(space or ("optimizer.lr=tag(log,interval(1e-4,1e-1))",))]
        return run_search(overrides, how, self.planner, self.settings(**fields))

    def grid(self, batch: Sequence[Sequence[str]], **fields: Any) -> list[Job]:
        return run_grid(batch, 0, self.planner, self.settings(**fields))

    @property
    def journal(self) -> Path:
        return self.directory / "optuna.log"

    @property
    def trained(self) -> list[str]:
        """Names of the jobs that were trained, by whichever process."""
        return trained(self.directory.parent / "trained.txt")


def pretending(monkeypatch: pytest.MonkeyPatch, directory: Path, planner: Planner, end: End = well) -> Pretend:
    """Have sweeps in this process pretend to train."""
    pool = type(
        "Pool", (PretendPool,), {"planner": planner, "log": directory.parent / "trained.txt", "end": staticmethod(end)}
    )
    monkeypatch.setattr("strobe.sweeps.drive.Pool", pool)
    return Pretend(directory, planner)


def trained(log: Path) -> list[str]:
    """Names of the jobs that were trained."""
    return log.read_text().splitlines() if log.exists() else []

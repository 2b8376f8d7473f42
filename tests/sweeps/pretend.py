"""A search or a grid in this process, whose jobs are trained in no time: what they leave is a report."""

import json
import os
import socket
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from strobe.config.compose import CONF, plain
from strobe.record.identity import config_hash
from strobe.sweeps.drive import Settings
from strobe.sweeps.engine import End as JobEnd
from strobe.sweeps.engine import Engine
from strobe.sweeps.grid import run_grid
from strobe.sweeps.job import Job
from strobe.sweeps.planning import Planner
from strobe.sweeps.sampling import SearchSettings
from strobe.sweeps.search import run_search

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


class Instant(Engine):
    """An engine whose jobs have ended as soon as they are waited for."""

    places = 1

    def __init__(self) -> None:
        self._running: list[Job] = []

    @abstractmethod
    def report(self, job: Job) -> dict[str, Any]:
        """What a job has left."""

    @property
    def has_room(self) -> bool:
        return len(self._running) < self.places

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        self._running.append(job)

    def wait(self, timeout: float) -> list[tuple[Job, JobEnd]]:
        ended, self._running = self._running, []
        for job in ended:
            (job.directory / "report.json").write_text(json.dumps(self.report(job)))
        return [(job, JobEnd(code=0)) for job in ended]

    def ask(self, job: Job, number: int) -> None:
        """It has ended anyway."""

    def kill(self, job: Job) -> None:
        """Likewise."""


class PretendEngine(Instant):
    """One that keeps a log.

    Args:
        planner: Of their configs.
        end: What their reports say.
        log: Gets a line for each job that was trained, whichever process pretended to.
    """

    described = "one at a time"

    def __init__(self, planner: Planner, end: End, log: Path) -> None:
        super().__init__()
        self._planner, self._end, self._log = planner, end, log

    def report(self, job: Job) -> dict[str, Any]:
        report = {
            **{"pid": os.getpid(), "host": socket.gethostname(), "error": None, "overrides": job.overrides},
            "config_hash": config_hash(plain(self._planner.compose(job.overrides))),
            **self._end(job, len(trained(self._log))),
        }
        with self._log.open("a") as file:
            file.write(f"{job.directory.name}\n")
        return report


class Pretend:
    """Runs sweeps in a directory.

    Args:
        directory: Of the sweep.
        planner: Of its configs.
        end: What the reports of their jobs say.
    """

    def __init__(self, directory: Path, planner: Planner, end: End = well) -> None:
        self.directory = directory
        self.planner = planner
        self.end = end

    def settings(self, **fields: Any) -> Settings:
        values: dict[str, Any] = {"on_failure": "continue", "job_timeout": None, "rerun": None, **fields}
        engine = PretendEngine(self.planner, self.end, self.directory.parent / "trained.txt")
        return Settings(directory=self.directory, engine=engine, retries=0, objective="val/acc", mode="max", **values)

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


def trained(log: Path) -> list[str]:
    """Names of the jobs that were trained."""
    return log.read_text().splitlines() if log.exists() else []

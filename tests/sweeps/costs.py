"""What a sweep's driver spends on its jobs: `python -m tests.sweeps.costs <directory> <few|many>`.

A process of its own, as a driver is: in that of the tests, what others have left behind is measured with it.
"""

import contextlib
import gc
import io
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from strobe.config.plan import plan
from strobe.sweeps.grid import run_grid
from strobe.sweeps.job import Job
from strobe.sweeps.planning import Planner
from tests.sweeps.pretend import Instant, Pretend, planning


class AtOnce(Instant):
    """An engine with eight places, and reports of a few thousand characters."""

    described = "eight at a time"
    places = 8

    def report(self, job: Job) -> dict[str, Any]:
        return {
            **{"status": "completed", "config_hash": job.hash, "objective": 0.5, "error": None},
            **{"metrics": {f"val/{number}": 0.5 for number in range(20)}, "overrides": job.overrides},
            **{"environment": {"command": "x" * 2000}},
        }


def grid_of(planner: Planner, jobs: int) -> list[list[str]]:
    """The jobs of a grid over a group, numbers, lists and seeds, as Hydra expands it."""
    typed = ["sweep.name=s", "model=mlp,simple_nn", "optimizer.lr=0.1,0.01,0.001,0.0001", f"seed=range({jobs // 40})"]
    typed.append("trainer.max_epochs=1,2,3,4,5")
    (batch,) = BasicSweeper.split_arguments(planner.parser.parse_overrides(typed), None)
    return batch


def milliseconds(work: Callable[[], object]) -> float:
    """Of CPU."""
    gc.collect()
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def kilobytes(work: Callable[[], object]) -> float:
    """Of memory, the most at once."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1024
    finally:
        tracemalloc.stop()


class Sweeps:
    """The work of a driver, measured by the number of jobs.

    Args:
        planner: Composes their configs.
        directory: Of the sweeps.
    """

    def __init__(self, planner: Planner, directory: Path) -> None:
        self.planner, self.directory = planner, directory

    def run(self, jobs: int, name: str = "") -> None:
        """A grid from the command's overrides to the end of its last job."""
        fields = Pretend(self.directory / f"{name}{jobs}", self.planner).settings()
        done = run_grid(grid_of(self.planner, jobs), 0, self.planner, replace(fields, engine=AtOnce()))
        assert [job.status for job in done] == ["completed"] * jobs

    def plan(self, jobs: int) -> None:
        """With validate=only."""
        plan(self.planner.each(grid_of(self.planner, jobs)))


def of_few(sweeps: Sweeps) -> dict[str, float]:
    """Milliseconds a job, and kilobytes that each further one adds."""
    few_run, many_run = kilobytes(lambda: sweeps.run(40)), kilobytes(lambda: sweeps.run(120))
    few_plan, many_plan = kilobytes(lambda: sweeps.plan(40)), kilobytes(lambda: sweeps.plan(120))
    return {**times(sweeps, 120), "run kB": (many_run - few_run) / 80, "plan kB": (many_plan - few_plan) / 80}


def of_many(sweeps: Sweeps, jobs: int = 10_000) -> dict[str, float]:
    """Milliseconds and kilobytes a job."""
    return {**times(sweeps, jobs), "run kB": kilobytes(lambda: sweeps.run(jobs, "weighed")) / jobs}


def times(sweeps: Sweeps, jobs: int) -> dict[str, float]:
    """Milliseconds a job: of a sweep, of one that has been completed, and of a plan."""
    run = {name: milliseconds(lambda: sweeps.run(jobs, "timed")) / jobs for name in ("run ms", "again ms")}
    return {**run, "plan ms": milliseconds(lambda: sweeps.plan(jobs)) / jobs}


def main() -> None:
    """Print them as JSON."""
    with planning() as planner, contextlib.redirect_stdout(io.StringIO()):
        sweeps = Sweeps(planner, Path(sys.argv[1]))
        sweeps.run(40, "first")  # what is imported, composed and cached once
        sweeps.plan(40)
        found = of_few(sweeps) if sys.argv[2] == "few" else of_many(sweeps)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Registers `hydra/launcher=local`, `hydra/sweeper=grid` and `hydra/sweeper=optuna`."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Private: Hydra's grid has no public name, and our own would be a copy of it.
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from strobe.commands.sweep import Place, grid, search
from strobe.config.written import without_secrets
from strobe.errors import ConfigError
from strobe.machine.disk import disk_error
from strobe.record.layout import PLACE, STUDY, TOKEN

_OF_NO_JOB = {"multirun.yaml", ".lock", ".ask.lock", ".locks", ".study.lock", ".slurm", ".ray", STUDY, PLACE, TOKEN}
"""What may lie in the directory of a sweep without jobs."""


@dataclass
class LocalLauncherConf:
    """Settings of `LocalLauncher`."""

    _target_: str = "hydra_plugins.strobe.plugins.LocalLauncher"
    slots: Any = "auto"
    jobs_per_gpu: int = 1


@dataclass
class GridSweeperConf:
    """Settings of `GridSweeper`."""

    _target_: str = "hydra_plugins.strobe.plugins.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


@dataclass
class OptunaSweeperConf:
    """Settings of `OptunaSweeper`."""

    _target_: str = "hydra_plugins.strobe.plugins.OptunaSweeper"
    n_trials: Any = 20
    sampler: Any = "tpe"
    pruner: Any = "median"
    seed: Any = 1
    objectives: Any = None
    conditions: Any = None
    timeout: Any = None
    storage: Any = None
    params: Any = None


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="strobe")
ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="strobe")
ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="strobe")


class SweepLauncher(Launcher):
    """Runs the jobs of a grid at an engine of Strobe's, and sums up.

    Args:
        place: Where they run.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives."""
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and sum up.

        Raises:
            RunError: If a job did not complete, or the sweep was stopped.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = grid(self.config, self.context.config_loader, job_overrides, initial_job_idx, self.place)
        returns = []
        for job in jobs:
            done = JobReturn(overrides=job.overrides, working_dir=str(job.directory), status=JobStatus.COMPLETED)
            done.return_value = job.objective
            returns.append(done)
        return returns


class LocalLauncher(SweepLauncher):
    """Every job is a plain run in a process of its own, forked from a server that has imported torch.

    Args:
        slots: How many run at once; ``auto`` is one per GPU, or one per core.
        jobs_per_gpu: Jobs that share a GPU.
    """

    def __init__(self, slots: int | str = "auto", jobs_per_gpu: int = 1) -> None:
        super().__init__(Place("local", {"wanted": slots, "jobs_per_gpu": jobs_per_gpu}))


class SlurmLauncher(SweepLauncher):
    """Every job is one of a SLURM cluster; arguments: `strobe.sweeps.engines.slurm.settings.slurm_engine`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(Place("slurm", settings))


class RayLauncher(SweepLauncher):
    """Every job is a task of a Ray cluster; the arguments are those of `strobe.sweeps.engines.ray.engine.RayEngine`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(Place("ray", settings))


class GridSweeper(BasicSweeper):
    """Hydra's own grid; jobs for our launcher are checked there, at a tenth of the cost."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every job's config, unless the launcher does."""
        if not isinstance(self.launcher, SweepLauncher):
            super().validate_batch_is_legal(batch)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid; nothing is left behind if its first check fails.

        Raises:
            RunError: If a job did not complete, the sweep was stopped, or its directory can't be written.
        """
        assert self.config is not None
        directory = Path(str(self.config.hydra.sweep.dir))
        self.config = without_secrets(self.config) or self.config  # it is written down; the launcher has its own
        try:
            with _left_only_with_jobs(directory):
                return super().sweep(arguments)
        except OSError as error:
            raise disk_error(error, directory) from error


class OptunaSweeper(Sweeper):
    """A search: trials are jobs of our launcher, a new one begins whenever a slot is free.

    Args:
        n_trials: Of the whole study, restarts included.
        sampler: ``tpe``, ``random``, ``grid``, ``nsgaii``, ``cmaes`` or ``qmc``.
        pruner: ``median``, ``hyperband`` or ``none``.
        seed: Of the sampler.
        objectives: Two or more names of metrics, ``parameters`` or ``total_s``; None is the run's own objective.
        conditions: ``<parameter> if <other>=<value>``: when it is part of a trial.
        timeout: Seconds after which no further trial begins; None for no limit.
        storage: URL of a database that keeps the study, of SQLite or PostgreSQL; None is the sweep's directory.
        params: Space, as in the command's overrides, which come on top.
    """

    def __init__(
        self,
        n_trials: Any,
        sampler: Any,
        pruner: Any,
        seed: Any,
        objectives: Any,
        conditions: Any,
        timeout: Any,
        storage: Any,
        params: Any,
    ) -> None:
        self.how = {
            "n_trials": n_trials,
            "sampler": sampler,
            "pruner": pruner,
            "seed": seed,
            "objectives": list(objectives or []),
            "conditions": [str(condition) for condition in conditions or []],
            "timeout": timeout,
            "storage": storage,
        }
        self.params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives."""
        self.context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search and sum up.

        Raises:
            RunError: If a trial's job failed, or the search was stopped.
        """
        assert self.config is not None
        if not isinstance(self.launcher, SweepLauncher):
            raise ConfigError("a search runs its trials itself: choose hydra/launcher=local, slurm or ray")
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        space = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        with _left_only_with_jobs(Path(str(self.config.hydra.sweep.dir))):
            search(self.config, self.context.config_loader, space, self.how, self.launcher.place)


@contextmanager
def _left_only_with_jobs(directory: Path) -> Iterator[None]:
    """Remove a sweep's directory that the block has made, where there is no job in it: it was refused, or is a plan."""
    new_folders = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        yield
    finally:
        entries = list(directory.iterdir()) if new_folders and directory.is_dir() else []
        if entries and {entry.name for entry in entries} <= _OF_NO_JOB:
            shutil.rmtree(directory)
            for folder in new_folders[1:]:
                with suppress(OSError):  # another sweep has begun in it
                    folder.rmdir()

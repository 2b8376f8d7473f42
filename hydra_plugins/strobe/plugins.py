"""Registers `hydra/launcher=local` and `hydra/sweeper=grid`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


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


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="strobe")
ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="strobe")


class LocalLauncher(Launcher):  # type: ignore[misc]
    """Every job is a plain run in a process of its own, forked from a server that has imported torch.

    Args:
        slots: How many run at once; ``auto`` is one per GPU, or one per core.
        jobs_per_gpu: Jobs that share a GPU.
    """

    def __init__(self, slots: int | str = "auto", jobs_per_gpu: int = 1) -> None:
        self.slots = slots
        self.jobs_per_gpu = jobs_per_gpu

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives."""
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and sum up.

        Raises:
            RunError: If a job did not complete, or the sweep was stopped.
        """
        from src.sweeps.drive import Settings, summarise
        from src.sweeps.grid import run_grid

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        settings = Settings.of(self.config, self.slots, self.jobs_per_gpu)
        jobs = run_grid(job_overrides, initial_job_idx, self.context.config_loader, self.config, settings)
        summarise(jobs, settings)
        returns = []
        for job in jobs:
            done = JobReturn(overrides=job.overrides, working_dir=str(job.directory), status=JobStatus.COMPLETED)
            done.return_value = job.objective
            returns.append(done)
        return returns


class GridSweeper(BasicSweeper):  # type: ignore[misc]
    """Hydra's own grid; jobs for our launcher are checked there, at a tenth of the cost."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every job's config, unless the launcher does."""
        if not isinstance(self.launcher, LocalLauncher):
            super().validate_batch_is_legal(batch)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid; nothing is left behind if its first check fails."""
        assert self.config is not None
        directory = Path(str(self.config.hydra.sweep.dir))
        existed = directory.exists()
        try:
            return super().sweep(arguments)
        finally:
            made = {"multirun.yaml", ".lock"}
            if not existed and directory.is_dir() and {entry.name for entry in directory.iterdir()} <= made:
                for entry in directory.iterdir():
                    entry.unlink()
                directory.rmdir()

"""The jobs of a grid, in order, those that are done left out."""

from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from src.record import SUCCEEDED
from src.sweeps.display import Display
from src.sweeps.drive import Settings, StopSweepError, drive, only_one
from src.sweeps.jobs import Job, Planner, plan_jobs


def run_grid(
    batch: Sequence[Sequence[str]],
    first: int,
    loader: ConfigLoader,
    config: DictConfig,
    settings: Settings,
) -> list[Job]:
    """Run every job of a grid that has not been completed before.

    Args:
        batch: The overrides of each job.
        first: Number of the first.
        loader: Hydra's.
        config: The config of the sweep.
        settings: Of the sweep.

    Returns:
        All jobs, with status and objective.

    Raises:
        ConfigError: If a config is wrong, or another process runs this sweep.
        RunError: If a signal ended the sweep.
    """
    planner = Planner(loader, config)
    with only_one(settings.directory):
        jobs = plan_jobs(planner, batch, settings.directory, first, config.sweep.rerun)
        todo = iter([job for job in jobs if job.plan != "skip"])
        with Display(len(jobs), maximise=settings.maximise, slots=len(settings.slots)) as display:
            display.say(_plan_line(jobs, settings))
            for job in jobs:
                if job.plan == "skip":
                    display.started(job)
            try:
                drive(lambda: next(todo, None), planner, settings, display, lambda job: None)
            except StopSweepError as error:
                display.say(f"Stopped, because {error} and sweep.on_failure=stop")
    return jobs


def _plan_line(jobs: Sequence[Job], settings: Settings) -> str:
    counts = {plan: sum(job.plan == plan for job in jobs) for plan in ("run", "resume", "skip")}
    words = {"run": "to run", "resume": "to continue", "skip": "finished before"}
    parts = [f"{number} {words[plan]}" for plan, number in counts.items() if number] or ["no jobs"]
    failed = sum(job.plan == "skip" and job.status not in SUCCEEDED for job in jobs)
    hint = f" ({failed} of them failed: sweep.rerun=failed tries them again)" if failed else ""
    slots = f"{len(settings.slots)} at a time, {settings.slots[0].threads} thread(s) each"
    return f"{len(jobs)} jobs in {settings.directory}: {', '.join(parts)}{hint}; {slots}"

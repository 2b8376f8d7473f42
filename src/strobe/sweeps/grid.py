"""The jobs of a grid, in order, those that are done left out."""

from collections.abc import Sequence

from strobe.machine.mounts import warning_about_locks
from strobe.record.files import sweep_leftovers
from strobe.record.layout import SUCCEEDED
from strobe.sweeps.display import Display
from strobe.sweeps.drive import Settings, StopSweepError, drive, only_one
from strobe.sweeps.job import Job, Plan
from strobe.sweeps.jobs import plan_jobs, rejoin
from strobe.sweeps.planning import Planner

_ORDER = ("run", "resume", "watch")


def run_grid(
    batch: Sequence[Sequence[str]],
    first: int,
    planner: Planner,
    settings: Settings,
) -> list[Job]:
    """Run every job of a grid that has not been completed before.

    Args:
        batch: The overrides of each job.
        first: Number of the first.
        planner: Composes the configs of its jobs.
        settings: Of the sweep.

    Returns:
        All jobs, with status and objective.

    Raises:
        ConfigError: If a config is wrong, or another process runs this sweep.
        RunError: If a signal ended the sweep.
    """
    with only_one(settings.directory):
        sweep_leftovers(settings.directory)
        engine = settings.engine
        engine.get_ready()
        jobs = plan_jobs(planner, batch, settings.directory, first, settings.rerun, engine.problem)
        for job in jobs:
            rejoin(job, engine, settings.rerun)
        found = [job for job in jobs if job.plan == "rejoin"]
        ordered = sorted((job for job in jobs if job.plan in _ORDER), key=lambda job: _ORDER.index(job.plan))
        todo = iter(ordered)
        with Display(len(jobs), mode=settings.mode, metric=settings.objective) as display:
            display.expect(ordered)
            if (warning := warning_about_locks(settings.directory)) is not None:
                display.say(warning)
            display.say(_plan_line(jobs, settings))
            if equal := len(batch) - len(jobs):
                display.say(f"{equal} more would have been equal to these, but for names and places: they are left out")
            for job in jobs:
                if job.plan == "skip":
                    display.started(job)
            try:
                drive(lambda: next(todo, None), planner, settings, display, lambda job: None, found)
            except StopSweepError as error:
                display.say(f"Stopped, because {error} and sweep.on_failure=stop")
    return jobs


def _plan_line(jobs: Sequence[Job], settings: Settings) -> str:
    plans = [job.plan for job in jobs]
    words: dict[Plan, str] = {
        "run": "to run",
        "resume": "to continue",
        "rejoin": "under way",
        "skip": "finished before",
        "watch": "being trained by other processes",
    }
    parts = [f"{plans.count(plan)} {word}" for plan, word in words.items() if plan in plans] or ["no jobs"]
    failed = sum(plan == "skip" and job.status not in SUCCEEDED for plan, job in zip(plans, jobs, strict=True))
    hint = f" ({failed} of them failed: sweep.rerun=failed tries them again)" if failed else ""
    counted = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    return f"{counted} in {settings.directory}\n{', '.join(parts)}{hint}; {settings.engine.described}"

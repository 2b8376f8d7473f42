"""The end of a sweep: its summary, its best run, and whether every job completed."""

import logging
from collections.abc import Callable
from pathlib import Path

from strobe.errors import RunError
from strobe.record.files import sweep_leftovers
from strobe.record.layout import SUCCEEDED
from strobe.sweeps.display import best_job
from strobe.sweeps.drive import Settings
from strobe.sweeps.jobs import Job

log = logging.getLogger(__name__)

_OLD_S = 3.0  # of a temporary file that nobody writes any more; another driver of the same search may be writing


class SweepFailedError(RunError):
    """At least one job of a sweep did not complete."""


def summarize(jobs: list[Job], settings: Settings, write_report: Callable[[Path], str]) -> None:
    """Write the sweep's summary and name its best run.

    Args:
        jobs: All of them.
        settings: Of the sweep.
        write_report: Compares the runs below a directory, and gives the comparison as a table.

    Raises:
        SweepFailedError: If a job did not complete.
    """
    directory = settings.directory
    sweep_leftovers(directory, older_than_s=_OLD_S)
    try:
        table = write_report(directory)
    except Exception as error:  # a summary is not worth a sweep
        log.warning("No summary: %s: %s", type(error).__name__, error)
        log.debug("The summary failed", exc_info=True)
    else:
        log.info("\n%s", table)
    best = best_job(jobs, mode=settings.mode)
    if best is not None:
        log.info("best run     %s  (%.4f)", best.directory, best.objective)
    log.info("summary      %s", directory / "report.html")
    log.info("TensorBoard  tensorboard --logdir %s", directory)
    bad = [job for job in jobs if job.status not in SUCCEEDED]
    if bad:
        lines = [f"  {job.status}: {job.directory}" for job in bad[:20]]
        more = [f"  and {len(bad) - 20} more"] if len(bad) > 20 else []
        raise SweepFailedError("\n".join([f"{len(bad)} of {len(jobs)} jobs did not complete:", *lines, *more]))

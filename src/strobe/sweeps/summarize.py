"""The end of a sweep: its summary, its best run, and whether every job completed."""

import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from strobe.errors import RunError
from strobe.machine.disk import trouble
from strobe.machine.text import printable
from strobe.record.files import sweep_leftovers
from strobe.record.layout import SUCCEEDED
from strobe.report.cells import number_text
from strobe.sweeps.display import best_job
from strobe.sweeps.drive import Settings
from strobe.sweeps.job import Job

log = logging.getLogger(__name__)

_OLD_S = 600.0  # of a temporary file that nobody writes any more; another driver of the same search may be writing


class SweepFailedError(RunError):
    """At least one job of a sweep did not complete."""


def summarize(
    jobs: list[Job], settings: Settings, write_report: Callable[[Path], str], troubles: Sequence[str] = ()
) -> None:
    """Write the sweep's summary and name its best run.

    Args:
        jobs: All of them.
        settings: Of the sweep.
        write_report: Compares the runs below a directory, and gives the comparison as a table.
        troubles: What could not be written down before, in lines.

    Raises:
        SweepFailedError: If a job did not complete, or something could not be written down.
    """
    directory = settings.directory
    sweep_leftovers(directory, older_than_s=_OLD_S)
    lines = list(troubles)
    left = [job for job in jobs if (job.began or job.plan == "watch") and job.status in ("waiting", "running")]
    if left:
        log.info("under way    %d of %d jobs; the same command collects them", len(left), len(jobs))
    if left and len(left) == len(jobs):  # a sweep that was left alone
        return
    try:
        table = write_report(directory)
    except OSError as error:
        lines.append(f"no summary: {trouble(error, directory / 'summary.csv')}")
    except Exception as error:  # a summary is not worth a sweep
        log.warning("No summary: %s: %s", type(error).__name__, error)
        log.debug("The summary failed", exc_info=True)
    else:
        log.info("\n%s", table)
        log.info("summary      %s", printable(str(directory / "report.html")))
    best = best_job(jobs, mode=settings.mode)
    if best is not None and best.objective is not None:
        log.info("best run     %s  (%s)", printable(str(best.directory)), number_text(best.objective))
    log.info("TensorBoard  tensorboard --logdir %s", shlex.quote(printable(str(directory))))
    if bad := [job for job in jobs if job.status not in SUCCEEDED and job not in left]:
        lines.append(f"{len(bad)} of {len(jobs)} jobs did not complete:")
        lines += [f"  {job.status}: {printable(str(job.directory))}{_why(job)}" for job in bad[:20]]
        lines += [f"  and {len(bad) - 20} more"] if len(bad) > 20 else []
    if lines:
        raise SweepFailedError("\n".join(lines))


def _why(job: Job) -> str:
    """What is known only here: of a job that never began there is no report to look at."""
    return "" if job.began or job.plan == "skip" or job.error is None else f" ({printable(job.error)})"

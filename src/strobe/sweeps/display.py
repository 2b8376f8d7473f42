"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from strobe.machine.text import printable
from strobe.record.layout import Mode
from strobe.report.cells import number_text
from strobe.sweeps.jobs import Job

_RECENT = 12  # jobs that the live table shows


class Display:
    """A context manager that shows the progress of jobs.

    Args:
        total: Number of jobs, if it is known.
        mode: Whether more or less of the objective is better; None where that is not known, or there is none.
        slots: How many jobs run at once.
    """

    def __init__(self, total: int | None, *, mode: Mode | None, slots: int) -> None:
        self.total = total
        self.mode = mode
        self.slots = slots
        self.jobs: list[Job] = []
        self._began = time.monotonic()
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> "Display":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self.refresh()
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line, above the table where there is one."""
        with suppress(OSError):  # the disk that the output goes to is full: no reason to lose a sweep
            self._console.print(printable(text, lines=True), markup=False, highlight=False, soft_wrap=True)

    def started(self, job: Job) -> None:
        """A job has begun, or was found finished."""
        self.jobs.append(job)
        self.refresh()

    def ended(self, job: Job) -> None:
        """A job has ended."""
        if self._live is None:
            objective = "" if job.objective is None else f"  {number_text(job.objective)}"
            reason = f"  {job.error.splitlines()[0]}" if job.error else ""
            line = f"[{self._done()}{self._of_total()}] {job.status:<11} {job.directory.name}{objective}{reason}"
            self.say(printable(line))
        self.refresh()

    def refresh(self) -> None:
        """Draw the table anew."""
        if self._live is not None:
            with suppress(OSError):
                self._live.update(self._table(), refresh=True)

    def summary_line(self) -> str:
        """Counts, the best so far, and how long it will take."""
        counts = Counter(job.status for job in self.jobs)
        parts = [f"{self._done()}{self._of_total()} done"]
        parts += [f"{number} {status}" for status, number in sorted(counts.items()) if status != "completed"]
        best = best_job(self.jobs, mode=self.mode)
        if best is not None and best.objective is not None:
            parts.append(f"best {number_text(best.objective)} ({printable(best.directory.name)})")
        if (eta := self._eta_s()) is not None:
            parts.append(f"{eta // 60:.0f}:{eta % 60:02.0f} to go")
        return "   ".join(parts)

    def _table(self) -> Table:
        table = Table(title=Text(self.summary_line()), title_justify="left", expand=False)
        table.add_column("job")
        table.add_column("status")
        table.add_column("objective", justify="right")
        active = [job for job in self.jobs if job.status == "running"]
        ended = [job for job in self.jobs if job.status != "running"]
        for job in [*ended[-max(1, _RECENT - len(active)) :], *active]:
            style = {"completed": "green", "running": "yellow"}.get(job.status, "red")
            objective = "" if job.objective is None else number_text(job.objective)
            table.add_row(escape(printable(job.directory.name)), f"[{style}]{job.status}[/]", objective)
        return table

    def _done(self) -> int:
        return sum(job.status not in ("running", "waiting") for job in self.jobs)

    def _of_total(self) -> str:
        return "" if self.total is None else f"/{self.total}"

    def _eta_s(self) -> float | None:
        ran = sum(job.plan != "skip" and job.status not in ("running", "waiting") for job in self.jobs)
        if self.total is None or ran == 0:
            return None
        return (time.monotonic() - self._began) / ran * (self.total - self._done())


def best_job(jobs: Sequence[Job], *, mode: Mode | None) -> Job | None:
    """The completed job with the best objective; None where no job has one, or nothing says which is best."""
    known = [job for job in jobs if job.status == "completed" and job.objective is not None]
    if not known or mode is None:
        return None
    return (max if mode == "max" else min)(known, key=lambda job: job.objective or 0.0)

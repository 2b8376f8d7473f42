"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from strobe.machine.text import printable
from strobe.record.layout import Mode
from strobe.report.cells import number_text
from strobe.sweeps.job import Job

_RECENT = 12  # jobs that the live table shows
_ROWS = 100  # of jobs that run at once; no terminal shows more
_EVERY_S = 0.1  # between two drawings: thousands of jobs that end at once must not wait for them
_NOT_OVER = ("running", "waiting")


class Display:
    """A context manager that shows the progress of jobs. What has ended is counted, and not gone through again.

    Args:
        total: Number of jobs, if it is known.
        mode: Whether more or less of the objective is better; None where that is not known, or there is none.
    """

    def __init__(self, total: int | None, *, mode: Mode | None) -> None:
        self.total = total
        self.mode = mode
        self._under_way: dict[Job, None] = {}
        self._ended: Counter[str] = Counter()  # by status
        self._ran = 0  # of those, how many this sweep ran
        self._recent: deque[Job] = deque(maxlen=_RECENT)
        self._best: list[Job] = []  # of those that have ended, one or none
        self._began = time.monotonic()
        self._drawn = 0.0
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
            self._drawn = 0.0
            self.refresh()
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line, above the table where there is one."""
        with suppress(OSError):  # the disk that the output goes to is full: no reason to lose a sweep
            self._console.print(printable(text, lines=True), markup=False, highlight=False, soft_wrap=True)

    def started(self, job: Job) -> None:
        """A job has begun, or was found finished."""
        if job.status in _NOT_OVER:
            self._under_way[job] = None
        else:
            self._count(job)
        self.refresh()

    def ended(self, job: Job) -> None:
        """A job has ended."""
        if job in self._under_way:
            del self._under_way[job]
            self._count(job)
        if self._live is None:
            objective = "" if job.objective is None else f"  {number_text(job.objective)}"
            reason = f"  {job.error.splitlines()[0]}" if job.error else ""
            done = f"{_done(self._ended)}{self._of_total()}"
            self.say(printable(f"[{done}] {job.status:<11} {job.directory.name}{objective}{reason}"))
        self.refresh()

    def refresh(self) -> None:
        """Draw the table anew, unless that has just been done."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn >= _EVERY_S:
            self._drawn = now
            with suppress(OSError):
                self._live.update(self._table(), refresh=True)

    def summary_line(self) -> str:
        """Counts, the best so far, and how long it will take."""
        counts = self._ended + Counter(job.status for job in self._under_way)
        parts = [f"{_done(counts)}{self._of_total()} done"]
        parts += [f"{number} {status}" for status, number in sorted(counts.items()) if status != "completed"]
        best = best_job([*self._best, *self._under_way], mode=self.mode)
        if best is not None and best.objective is not None:
            parts.append(f"best {number_text(best.objective)} ({printable(best.directory.name)})")
        if self.total is not None and self._ran > 0:
            eta = (time.monotonic() - self._began) / self._ran * (self.total - _done(counts))
            parts.append(f"{eta // 60:.0f}:{eta % 60:02.0f} to go")
        return "   ".join(parts)

    def _count(self, job: Job) -> None:
        """Take down a job whose status will not change any more."""
        self._ended[job.status] += 1
        self._ran += job.plan != "skip" and job.status not in _NOT_OVER
        self._recent.append(job)
        if (best := best_job([*self._best, job], mode=self.mode)) is not None:
            self._best = [best]

    def _table(self) -> Table:
        table = Table(title=Text(self.summary_line()), title_justify="left", expand=False)
        table.add_column("job")
        table.add_column("status")
        table.add_column("objective", justify="right")
        active = list(islice((job for job in self._under_way if job.status == "running"), _ROWS))
        for job in [*[*self._recent][-max(1, _RECENT - len(active)) :], *active]:
            style = {"completed": "green", "running": "yellow"}.get(job.status, "red")
            objective = "" if job.objective is None else number_text(job.objective)
            table.add_row(escape(printable(job.directory.name)), f"[{style}]{job.status}[/]", objective)
        return table

    def _of_total(self) -> str:
        return "" if self.total is None else f"/{self.total}"


def _done(counts: Counter[str]) -> int:
    return sum(number for status, number in counts.items() if status not in _NOT_OVER)


def best_job(jobs: Sequence[Job], *, mode: Mode | None) -> Job | None:
    """The completed job with the best objective; None where no job has one, or nothing says which is best."""
    known = [job for job in jobs if job.status == "completed" and job.objective is not None]
    if not known or mode is None:
        return None
    return (max if mode == "max" else min)(known, key=lambda job: job.objective or 0.0)

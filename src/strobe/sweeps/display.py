"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from strobe.machine.text import printable
from strobe.machine.transient import clock
from strobe.record.layout import STOPPED, Mode
from strobe.report.cells import number_text
from strobe.sweeps.glimpse import Glimpse
from strobe.sweeps.job import Job

_RECENT = 100  # ended jobs that are kept for the live table; no terminal shows more
_FEW_ROWS = 8  # of the table, on however small a terminal
_AROUND = 6  # lines that are not a job's: the summary, the table's head, what remains, and the prompt's
_EVERY_S = 0.1  # between two drawings: thousands of jobs that end at once must not wait for them
_NOT_OVER = ("running", "waiting")
_STYLES = {"completed": "green", "running": "yellow", "waiting": "dim", "pruned": "dim"}
_KEYS = re.compile(r"(?<=[_,+])(?:\w+\.)+(?=\w+=)")  # of an override in a name, all but its last word
_TICK_S = 1.0  # between two drawings until the first job has begun, which the driver waits for
_GAP = 2  # spaces between columns
_SHORTEST = 6  # columns of a job's name


class Display:
    """A context manager that shows the progress of jobs. What has ended is counted, and not gone through again.

    Args:
        total: Number of jobs, if it is known.
        mode: Whether more or less of the objective is better; None where that is not known, or there is none.
        metric: Name of the objective.
    """

    def __init__(self, total: int | None, *, mode: Mode | None, metric: str | None = None) -> None:
        self.total = total
        self.mode = mode
        self.metric = metric
        self._expected: dict[Job, None] = {}
        self._under_way: dict[Job, Glimpse] = {}
        self._began_at: dict[Job, float] = {}
        self._took_s: dict[Job, float] = {}
        self._ended: Counter[str] = Counter()  # by status
        self._ran = 0  # of those, how many this sweep ran to their end
        self._recent: deque[Job] = deque(maxlen=_RECENT)
        self._best: list[Job] = []  # of those that have ended, one or none
        self._began = time.monotonic()
        self._drawn = 0.0
        self._lock = threading.RLock()
        self._has_begun = threading.Event()
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> "Display":
        if self._live is not None:
            self._live.start()
            threading.Thread(target=self._tick, name="tick", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_begun.set()
        if self._live is not None:
            self._expected.clear()  # no more of them begins
            self._drawn = 0.0
            self.refresh()
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line, above the table where there is one."""
        with suppress(OSError):  # the disk that the output goes to is full: no reason to lose a sweep
            self._console.print(printable(text, lines=True), markup=False, highlight=False, soft_wrap=True)

    def expect(self, jobs: Iterable[Job]) -> None:
        """Name jobs that will begin once there is room for them."""
        self._expected = dict.fromkeys(jobs)

    def started(self, job: Job) -> None:
        """A job has begun, or was found finished."""
        with self._lock:
            self._expected.pop(job, None)
            if job.status in _NOT_OVER:
                self._under_way[job] = Glimpse(job.directory)
                self._has_begun.set()
            else:
                self._count(job)
            self.refresh()

    def ended(self, job: Job) -> None:
        """A job has ended."""
        with self._lock:
            if job in self._under_way:
                del self._under_way[job]
                if (began := self._began_at.pop(job, None)) is not None:
                    self._took_s[job] = time.monotonic() - began
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
        if self._live is None or now - self._drawn < _EVERY_S:
            return
        with self._lock, suppress(OSError):
            self._drawn = now
            for job in self._under_way:
                if job.status == "running":
                    self._began_at.setdefault(job, now)
            self._live.update(self._table(), refresh=True)

    def summary_line(self) -> str:
        """Counts, the best so far, and how long it will take."""
        counts = self._ended + Counter(job.status for job in self._under_way)
        parts = [f"{_done(counts)}{self._of_total()} done"]
        parts += [f"{number} {status}" for status, number in sorted(counts.items()) if status != "completed"]
        best = best_job([*self._best, *self._under_way], mode=self.mode)
        stopping = any(counts[status] for status in STOPPED)  # nothing is to go then
        to_go = ""
        if self.total is not None and self._ran > 0 and not stopping and _done(counts) < self.total:
            eta = (time.monotonic() - self._began) / self._ran * (self.total - _done(counts))
            to_go = f"{clock(eta)} to go"
        if best is not None and best.objective is not None:
            text = f"best {number_text(best.objective)}"
            room = self._console.width - len("   ".join([*parts, text, *filter(None, [to_go])])) - len("   ()")
            parts.append(f"{text} ({shortened(printable(best.directory.name), max(room, _SHORTEST))})")
        return "   ".join([*parts, *filter(None, [to_go])])

    def _tick(self) -> None:
        """Show that time passes while the first job is started: torch is imported then, and a cluster may be asked."""
        while not self._has_begun.wait(_TICK_S):
            if self._drawn:
                self.refresh()

    def _count(self, job: Job) -> None:
        """Take down a job whose status will not change any more."""
        self._ended[job.status] += 1
        self._ran += job.plan != "skip" and job.status not in (*_NOT_OVER, *STOPPED)
        if len(self._recent) == _RECENT:
            self._took_s.pop(self._recent[0], None)
        self._recent.append(job)
        if (best := best_job([*self._best, job], mode=self.mode)) is not None:
            self._best = [best]

    def _table(self) -> Group:
        """The summary, and below it as many jobs as there is room for: those that run first of all."""
        room = max(_FEW_ROWS, self._console.height - _AROUND)
        active = list(islice((job for job in self._under_way if job.status == "running"), room))
        queued = [job for job in self._under_way if job.status == "waiting"]
        waiting = [*queued, *self._expected]
        left = room - len(active)
        if len(waiting) > max(left // 2, left - len(self._recent)):  # too many to name
            shown_waiting, unnamed = [], len(waiting)
        else:
            shown_waiting, unnamed = waiting, 0
        ended = [*self._recent][-(left - len(shown_waiting)) :] if left > len(shown_waiting) else []
        rows = [self._row(job) for job in [*ended, *active, *shown_waiting]]
        head = ("job", "status", "epoch", self.metric or "objective", "time")
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(1, len(head))]
        name_width = max(_SHORTEST, self._console.width - sum(widths) - _GAP * len(widths))
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), expand=False)
        for column, title in enumerate(head):
            table.add_column(title, justify="left" if column < 2 else "right", no_wrap=True, overflow="ellipsis")
        for name, status, *cells in rows:
            table.add_row(
                Text(shortened(name, name_width)), Text(status, style=_STYLES.get(status, "red")), *map(Text, cells)
            )
        more = [Text(f"and {unnamed} more waiting", style="dim")] if unnamed else []
        line = self.summary_line()
        if not self._under_way and not self._ended:
            line += f"   starting the first ... {time.monotonic() - self._began:.0f} s"
        return Group(Text(line, no_wrap=True, overflow="ellipsis"), *([table] if rows else []), *more)

    def _row(self, job: Job) -> tuple[str, str, str, str, str]:
        """Name, status, epoch, metric and time of a job."""
        name, metric = printable(job.directory.name), "" if job.objective is None else number_text(job.objective)
        if job.status != "running" or job not in self._under_way:
            took = "" if job not in self._took_s else clock(self._took_s[job])
            return name, job.status, "", metric, took
        glimpse = self._under_way[job]
        seconds = time.monotonic() - self._began_at.get(job, time.monotonic())
        if (found := glimpse.seen.value(self.metric)) is not None:
            named = "" if found[0] == self.metric else f"{printable(found[0])} "
            metric = f"{named}{number_text(found[1])}"
        return name, job.status, glimpse.progress, metric, clock(seconds)

    def _of_total(self) -> str:
        return "" if self.total is None else f"/{self.total}"


def shortened(name: str, width: int) -> str:
    """A job's name in so many columns: its keys by their last word if that is enough, else without its middle."""
    if len(name) <= width:
        return name
    name = _KEYS.sub("", name)
    if len(name) <= width:
        return name
    kept = max(width - 3, 2)
    return f"{name[: kept - kept // 2]}...{name[-(kept // 2) :]}"


def _done(counts: Counter[str]) -> int:
    """How many jobs have come to an end; one that was stopped goes on later."""
    return sum(number for status, number in counts.items() if status not in (*_NOT_OVER, *STOPPED))


def best_job(jobs: Sequence[Job], *, mode: Mode | None) -> Job | None:
    """The completed job with the best objective; None where no job has one, or nothing says which is best."""
    known = [job for job in jobs if job.status == "completed" and job.objective is not None]
    if not known or mode is None:
        return None
    return (max if mode == "max" else min)(known, key=lambda job: job.objective or 0.0)

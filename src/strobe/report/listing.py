"""Runs below a directory, by date: which there are, the newest, those that a person asks for, and a table of them."""

import os
import stat
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.table import aligned
from strobe.machine.text import printable
from strobe.record.find import OUTPUTS, run_directories
from strobe.record.layout import REPORT, Status
from strobe.record.report import Report, read_report
from strobe.report.cells import number_text

_CLOCKS_S = 600.0  # by so much a file system's clock and that of a machine may differ
_DIRECTORY = 20  # columns of a directory, at least
_TEXT = 4  # columns of a name, at least
_LONG_AGO, _FAR_OFF = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True)
class Listed:
    """A run as a list needs it.

    Attributes:
        directory: Of the run.
        report: Its report.
    """

    directory: Path
    report: Report

    @property
    def started(self) -> datetime:
        """When it began; long ago where its report does not tell."""
        return _moment(self.report.get("started"))

    @property
    def status(self) -> Status:
        """How it ended."""
        return self.report["status"]

    @property
    def metric(self) -> str | None:
        """The name of the number that it is compared by."""
        best = self.report.get("best")
        return self.report.get("objective_metric") or (best["metric"] if best else None)

    @property
    def value(self) -> float | None:
        """That number."""
        best = self.report.get("best")
        value = self.report.get("objective")
        return value if value is not None else best["value"] if best else None

    @property
    def label(self) -> str:
        """What a person calls it: its name, its note, else what was typed."""
        told = [text for text in (self.report.get("name"), self.report.get("note")) if text]
        return ": ".join(told) or " ".join(self.report.get("overrides") or [])


@dataclass(frozen=True)
class Wanted:
    """What a person looks for; what is None or empty is not asked for.

    Attributes:
        name: Part of a run's name.
        tags: All of which it has.
        statuses: One of which it has.
        note: Part of its note.
        since: When it began, or later.
    """

    name: str | None = None
    tags: Sequence[str] = ()
    statuses: Sequence[str] = ()
    note: str | None = None
    since: datetime | None = None

    def holds(self, run: Listed) -> bool:
        """Whether a run is looked for."""
        tags = {str(tag) for tag in run.report.get("tags") or []}
        return (
            _contains(run.report.get("name"), self.name)
            and _contains(run.report.get("note"), self.note)
            and tags.issuperset(self.tags)
            and (not self.statuses or run.status in self.statuses)
            and (self.since is None or run.started >= self.since)
        )

    def __bool__(self) -> bool:
        return self != Wanted()


def listed(directories: Iterable[Path]) -> list[Listed]:
    """The runs in and below some directories, the newest first; those whose report is damaged are left out.

    Raises:
        ConfigError: If one is no directory.
    """
    runs: dict[str, Listed] = {}
    for top in directories:
        if not top.is_dir():
            raise ConfigError(f"{top} is not a directory")
        for directory in run_directories(top):
            if (run := _read(directory)) is not None:
                runs.setdefault(os.path.realpath(directory), run)
    return sorted(runs.values(), key=lambda run: (run.started, str(run.directory)), reverse=True)


def newest_run(top: Path = OUTPUTS, fits: Callable[[Listed], bool] = lambda run: True) -> Path | None:
    """The run below a directory that was begun last, of those that fit; None where there is none.

    A report is written after its run has begun, so those that were written before another began need not be read.
    """
    written = sorted(((_written_s(path), path) for path in run_directories(top)), reverse=True)
    newest: Listed | None = None
    for seconds, directory in written:
        if newest is not None and seconds + _CLOCKS_S < newest.started.timestamp():
            break
        run = _read(directory)
        if run is not None and (newest is None or run.started > newest.started) and fits(run):
            newest = run
    return None if newest is None else newest.directory


def since(text: str, now: datetime | None = None) -> datetime:
    """The moment that a person means: a date, a date with a time, or how long ago as in ``3d``, ``12h``, ``2w``.

    Args:
        text: As typed.
        now: The present.

    Raises:
        ConfigError: If it is none of these.
    """
    now = now or datetime.now(UTC)
    if text == "today":
        return now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if text[-1:] in _SPANS:
            return now - float(text[:-1]) * _SPANS[text[-1]]
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        allowed = "a date as in 2026-11-27, today, or a time ago as in 12h, 3d, 2w"
        raise ConfigError(f"--since={text!r:.100}: must be {allowed}") from None


def table(runs: Sequence[Listed], width: int = 80, *, whole: bool = True, now: datetime | None = None) -> str:
    """Runs as a table that fits a terminal: when, status, metric, name or note, and the directory to be copied.

    Args:
        runs: In the order of the rows.
        width: Columns of the terminal.
        whole: Whether directories are shown whole, however long they are, to be copied.
        now: The present.
    """
    now = now or datetime.now(UTC)
    metrics = {run.metric for run in runs if run.metric}
    metric = metrics.pop() if len(metrics) == 1 else "metric"
    rows = [["began", "status", metric, "name", "directory"]]
    for run in runs:
        value = "" if run.value is None else number_text(run.value)
        if metric == "metric" and run.metric and value:
            value = f"{run.metric} {value}"
        rows.append([_when(run.started, now), run.status, value, printable(run.label), str(run.directory)])
    fixed = sum(max(len(row[column]) for row in rows) + 2 for column in (0, 1, 2)) + 2
    longest = max(map(_last, rows))
    room = max(_TEXT, width - fixed - longest)
    for_directory = longest if whole else max(_DIRECTORY, width - fixed - min(room, max(len(row[3]) for row in rows)))
    return aligned([*row[:3], _short(row[3], room), _short(row[4], for_directory)] for row in rows)


def journal(runs: Sequence[Listed], width: int = 80, *, now: datetime | None = None) -> str:
    """The same, with a second line for the name, tags and note of a run that has tags or a note.

    Args:
        runs: In the order of the lines.
        width: Columns of the terminal.
        now: The present.
    """
    header, *rows = table(runs, width, now=now).splitlines()
    lines = [header]
    for row, run in zip(rows, runs, strict=True):
        lines.append(row)
        name, note = printable(run.report.get("name") or ""), printable(run.report.get("note") or "")
        tags = printable(" ".join(f"#{tag}" for tag in run.report.get("tags") or []))
        if tags or note:
            told = "  ".join(filter(None, [name, tags, note]))
            lines += textwrap.wrap(told, max(width, 40), initial_indent="    ", subsequent_indent="    ", max_lines=3)
    return "\n".join(lines)


def _read(directory: Path) -> Listed | None:
    try:
        return Listed(directory, read_report(directory))
    except ConfigError:
        return None


def _written_s(directory: Path) -> float:
    try:
        found = os.lstat(directory / REPORT)
    except OSError:
        return 0.0
    return found.st_mtime if stat.S_ISREG(found.st_mode) else 0.0


def _moment(text: object) -> datetime:
    """A time of a report, which may be any text; in UTC, and so far from the ends that every place has it."""
    try:
        moment = datetime.fromisoformat(str(text))
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _LONG_AGO
    return min(max(moment, _LONG_AGO), _FAR_OFF)


def _when(moment: datetime, now: datetime) -> str:
    """Today's time, this year's day, else the month."""
    try:
        here, today = moment.astimezone(), now.astimezone()
    except (ValueError, OverflowError, OSError):  # beyond what this system's clock can tell
        return f"{moment.year:04}"
    if here.date() == today.date():
        return here.strftime("%H:%M")
    return here.strftime("%b %d" if here.year == today.year else "%b %Y")


def _contains(text: str | None, part: str | None) -> bool:
    return part is None or part.casefold() in (text or "").casefold()


def _last(row: Sequence[str]) -> int:
    return len(row[-1])


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(1, room - 3)]}..."

"""`report.json`: what it holds, and how it is read back."""

import csv
import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from strobe.errors import ConfigError
from strobe.machine.process import is_running
from strobe.record.files import write_atomically
from strobe.record.layout import EPOCHS, REPORT, SCHEMA, Mode, Status
from strobe.record.settings import strict

BEAT_S = 30.0
"""How often a run says in its report that it is alive, for those on other machines."""

_SILENT_S = 4 * BEAT_S  # longer than that, and its machine is gone; clocks may differ by less


class Best(TypedDict):
    """The epoch whose weights are tested: `checkpoint` is relative to the run directory, None if none was saved."""

    metric: str
    mode: Mode
    value: float | None
    epoch: int
    step: int
    checkpoint: str | None


class EarlyStop(TypedDict):
    """What ended the training before its limits: a callback's class or ``trainer.max_time``, why, and when."""

    by: str
    reason: str
    epoch: int
    step: int


class Failure(TypedDict):
    """What ended a run early."""

    type: str
    message: str


class Report(TypedDict, total=False):
    """A run's report. Times are in seconds; a report that was read may lack any key but ``status``."""

    schema: int
    status: Status
    name: str | None
    tags: list[str]
    seed: int
    config_hash: str
    repetitions: list[str]
    overrides: list[str]
    metrics: dict[str, float]
    objective: float | None
    objective_metric: str | None
    objective_mode: Mode | None
    best: Best | None
    kept: list[Best]
    stopped_early: EarlyStop | None
    requested: dict[str, Any]
    effective: dict[str, Any]
    timing: dict[str, float]
    parameters: int | None
    environment: dict[str, Any]
    pid: int
    host: str
    started: str
    heartbeat: str
    ended: str | None
    error: Failure | None


def read_report(directory: Path) -> Report:
    """The report of a run; a ``running`` one whose process is gone has the status ``died``.

    Of a process on another machine this is known from its heartbeat: it is gone when that is over two minutes old.

    Raises:
        ConfigError: If the directory is not that of a run, or its report is damaged.
    """
    path = directory / REPORT
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(entry.name for entry in directory.iterdir())) if directory.is_dir() else "no directory"
        raise ConfigError(f"{directory} is not a run directory: it has no {REPORT} ({known or 'empty'})") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
    if not isinstance(report, dict) or "status" not in report:
        raise ConfigError(f"{path} is not the report of a run")
    if report["status"] == "running" and not _is_alive(report):
        report["status"] = "died"
    return report


def write_report(directory: Path, report: Report) -> None:
    """Replace the report of a run directory that exists."""
    write_atomically(directory / REPORT, report_text(report))


def report_text(report: Report) -> str:
    """The content of a report's file."""
    return json.dumps(strict(report), indent=2) + "\n"


def now() -> str:
    """As a report tells times."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def settle_report(directory: Path, status: Status, message: str) -> Report:
    """Write down the end of a run that could not do so itself; returns its report."""
    try:
        report = read_report(directory)
    except ConfigError:
        report = {"schema": SCHEMA, "name": None, "overrides": [], "metrics": {}, "objective": None, "best": None}
    report["status"] = status
    report["error"] = {"type": "Killed", "message": message}
    directory.mkdir(parents=True, exist_ok=True)
    write_report(directory, report)
    return report


def failure_line(report: Report) -> str:
    """What ended a run early, in one line; empty where nothing did."""
    error = report.get("error")
    return next(iter(error["message"].splitlines()), "") if error else ""


def described(error: BaseException) -> Failure:
    """An exception as a report holds it."""
    return {"type": type(error).__name__, "message": str(error)}


def read_epochs(directory: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.csv`, numbers as written; none where there is no file."""
    try:
        with (directory / EPOCHS).open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()]
    except (OSError, ValueError, csv.Error):  # not there, or not text
        return []


def _is_alive(report: Report) -> bool:
    """Whether the process that wrote the report still runs; where the report doesn't tell, a running pid will do."""
    if report.get("host") != socket.gethostname():
        return abs(time.time() - _seconds(report.get("heartbeat"), 0.0)) < _SILENT_S
    pid = report.get("pid")
    return isinstance(pid, int) and is_running(pid, _seconds(report.get("started"), float("inf")))


def _seconds(moment: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except (ValueError, OverflowError):
        return otherwise

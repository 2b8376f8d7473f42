"""`report.json`: what it holds, and how it is read back."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, cast

from strobe.errors import ConfigError, first_line
from strobe.machine.secrets import redacted
from strobe.record.alive import LIMIT, is_alive
from strobe.record.files import read_bounded, write_atomically
from strobe.record.layout import REPORT, SCHEMA, Mode, Status
from strobe.record.settings import strict
from strobe.record.shapes import tidy, wrong_fields

_MESSAGE_LIMIT = 20_000  # characters of what an error says
_WAY_OUT = "Put a copy of it back, or train anew in another directory"


class Best(TypedDict):
    """The epoch whose weights are tested: `checkpoint` is relative to the run directory, None if none was saved."""

    metric: str | None
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
    note: str | None
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

    A process on another machine is taken for gone when it has not written for two minutes: see `is_alive`.
    Every field that it has is of the type that `Report` says, whoever wrote the file; fields that are not known here
    are kept.

    Raises:
        ConfigError: If the directory is not that of a run, or its report is damaged.
    """
    path = directory / REPORT
    try:
        text = read_bounded(path, LIMIT).decode("utf-8")
        loaded = tidy(json.loads(text, parse_int=_whole)) if text.strip() else None
    except FileNotFoundError:
        raise ConfigError(f"{directory} is not a run directory: it has no {REPORT} ({_content(directory)})") from None
    except OSError as error:
        raise ConfigError(f"{path} is damaged: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        why = first_line(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise ConfigError(f"{path} is damaged: {why}. {_WAY_OUT}") from None
    if not text.strip():
        raise ConfigError(f"{path} is damaged: it is empty, the run was killed as it began. {_WAY_OUT}")
    if not isinstance(loaded, dict) or "status" not in loaded:
        raise ConfigError(f"{path} is not the report of a run: it has no status")
    if wrong := wrong_fields(loaded):
        raise ConfigError(f"{path} is damaged: {'; '.join(wrong)}. {_WAY_OUT}")
    for key in ("metrics", "timing"):
        if key in loaded:
            loaded[key] = {name: number for name, number in loaded[key].items() if number is not None}
    report = cast(Report, loaded)
    if report["status"] == "running" and not is_alive(path, report):
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
    return {"type": type(error).__name__, "message": redacted(str(error))[:_MESSAGE_LIMIT]}


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= 20 else None  # Python refuses thousands of digits, in words of its own


def _content(directory: Path) -> str:
    """What a directory holds, in a few names."""
    if not directory.is_dir():
        return "no directory"
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        return error.strerror or "unreadable"
    return ", ".join([*names[:8], *(["..."] if len(names) > 8 else [])]) or "empty"

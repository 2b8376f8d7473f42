"""Finds runs below directories, and what differs between them."""

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strobe.errors import ConfigError
from strobe.machine.text import printable
from strobe.record.config_file import plain_values, read_config
from strobe.record.find import run_directories
from strobe.record.layout import REPORT, Mode, Status
from strobe.record.report import Report, read_report
from strobe.record.settings import leaves

log = logging.getLogger(__name__)

_BOOKKEEPING = ("name", "tags", "note", "identity", "sweep", "data.root", "data.download")

_FIRST_MODES: dict[str, Mode] = {"loss": "min", "acc": "max"}
_FIRST_METRICS = {f"{split}/{name}": mode for split in ("train", "val", "test") for name, mode in _FIRST_MODES.items()}
"""All that runs could log when their reports did not say yet which way is better."""


@dataclass
class Run:
    """A run as far as a comparison needs it.

    Attributes:
        directory: The run directory.
        report: Its report.
        settings: The overrides in which the compared runs differ, as text; what repeats a setting among them.
        repeats: Names of those that repeat a setting: the seed, or what ``sweep.repetitions`` says.
    """

    directory: Path
    report: Report
    settings: dict[str, str]
    repeats: tuple[str, ...] = ("seed",)

    @property
    def status(self) -> Status:
        """How it ended."""
        return self.report["status"]

    @property
    def objective(self) -> float | None:
        """The number that runs are compared by; None for a run that did not complete."""
        value = self.report.get("objective")
        return float(value) if value is not None and self.status == "completed" else None

    @property
    def metric(self) -> str | None:
        """The name of that number; None for a run that is compared by none."""
        best = self.report.get("best")
        name = self.report.get("objective_metric") or (best["metric"] if best else None)
        return name or (None if self.report.get("objective") is None else "objective")

    @property
    def mode(self) -> Mode | None:
        """Whether more or less of it is better, as far as that was recorded: a name does not tell."""
        if mode := self.report.get("objective_mode"):
            return mode
        best = self.report.get("best")
        if best and best["metric"] == self.metric and best.get("mode"):
            return best["mode"]
        return None if "objective_mode" in self.report else _FIRST_METRICS.get(self.metric or "")

    @property
    def setting(self) -> tuple[tuple[str, str], ...]:
        """The settings without what repeats them: runs that share these are repetitions."""
        return tuple((key, value) for key, value in self.settings.items() if key not in self.repeats)

    @property
    def repetition(self) -> tuple[str, ...] | None:
        """Which of the repetitions it is; None where nothing was varied to repeat the setting."""
        found = tuple(self.settings[key] for key in self.repeats if key in self.settings)
        return found or None


def collect(directories: Iterable[Path], known: Mapping[Path, Report] | None = None) -> list[Run]:
    """The runs in and below some directories; damaged reports are passed over with a notice.

    Args:
        directories: Of runs, sweeps, or whatever holds them.
        known: Reports that were read before, by run directory.

    Raises:
        ConfigError: If there is none.
    """
    directories = list(directories)
    reports: dict[Path, Report] = {}
    seen: set[str] = set()
    for directory in directories:
        if not directory.is_dir():
            raise ConfigError(f"{directory} is not a directory")
        for run in sorted(run_directories(directory)):
            place = os.path.realpath(run / REPORT)  # Path.resolve raises where a link leads to itself
            if place in seen:
                continue
            seen.add(place)
            try:
                reports[run] = (known or {}).get(run) or read_report(run)
            except ConfigError as error:
                log.warning("Passed over: %s", printable(str(error)))
    if not reports:
        raise ConfigError(f"no runs below {', '.join(map(str, directories))}: none of them holds a {REPORT}")
    reports = _once_each(reports)
    varying = _varying(reports)
    return [Run(path, report, varying[path], _repeats(report)) for path, report in reports.items()]


def repetitions_in_words(runs: Sequence[Run]) -> str:
    """What repeats the settings of these runs, in the plural."""
    return "seeds" if all(run.repeats == ("seed",) for run in runs) else "repetitions"


def metrics_of(runs: Iterable[Run]) -> list[str]:
    """The metrics that runs are compared by, in the order they are met: runs with different ones are no rivals."""
    return list(dict.fromkeys(run.metric for run in runs if run.objective is not None and run.metric is not None))


def mode_of(runs: Iterable[Run]) -> Mode | None:
    """The direction in which runs of one metric are ranked; None where they record none, or both."""
    recorded = {run.mode for run in runs if run.objective is not None} - {None}
    return recorded.pop() if len(recorded) == 1 else None


def ranked_by(runs: Sequence[Run]) -> Callable[[Run], Mode | None]:
    """Tells of each of the runs in which direction it is ranked among those of its metric; None where it is not."""
    modes = {metric: mode_of(run for run in runs if run.metric == metric) for metric in metrics_of(runs)}
    return lambda run: run.mode if run.objective is not None and run.mode == modes.get(run.metric or "") else None


def flat_config(directory: Path) -> dict[str, Any]:
    """A run's config as ``a.b.c: value``; empty where it can't be read."""
    try:
        return config_values(directory)
    except ConfigError:
        return {}


def config_values(directory: Path) -> dict[str, Any]:
    """A run's config as ``a.b.c: value``.

    Raises:
        ConfigError: If it has none, or it is damaged.
    """
    return dict(leaves(plain_values(read_config(directory))))


def _once_each(reports: Mapping[Path, Report]) -> dict[Path, Report]:
    """Of completed runs of one experiment with one result, the first: it was not repeated, but run again."""
    kept: dict[Path, Report] = {}
    seen: dict[tuple[object, ...], Path] = {}
    alike: dict[str, Path] = {}
    for path, report in reports.items():
        name = report.get("config_hash")
        if report["status"] == "completed" and name:
            result = (name, json.dumps(report.get("metrics"), sort_keys=True), report.get("objective"))
            if result in seen:
                log.warning("Counted once: %s is the same experiment as %s, with the same result", path, seen[result])
                continue
            if name in alike:
                log.warning(
                    "%s and %s have the same settings and other results: code, data or machine differ",
                    path,
                    alike[name],
                )
            seen[result] = alike[name] = path
        kept[path] = report
    return kept


def _repeats(report: Report) -> tuple[str, ...]:
    return tuple(report.get("repetitions") or ("seed",))


def _varying(reports: Mapping[Path, Report]) -> dict[Path, dict[str, str]]:
    """Per run, the overrides whose values are not the same in all of them, in the order they were typed."""
    typed = {path: _overrides(report) for path, report in reports.items()}
    keys = list(dict.fromkeys(key for overrides in typed.values() for key in overrides))
    filled: dict[Path, dict[str, str]] = {path: {} for path in reports}
    for key in keys:
        for path, overrides in typed.items():
            # A run in which the key was not typed has its default: only then is its config worth reading.
            filled[path][key] = overrides[key] if key in overrides else _default(path, key)
    differing = [key for key in keys if len({settings[key] for settings in filled.values()}) > 1]
    return {path: {key: settings[key] for key in differing} for path, settings in filled.items()}


def _default(path: Path, key: str) -> str:
    if path not in _default_cache:
        _default_cache[path] = flat_config(path)
    return _spelt(_default_cache[path].get(key, "-"))


_default_cache: dict[Path, dict[str, Any]] = {}


def _overrides(report: Report) -> dict[str, str]:
    pairs = (override.partition("=") for override in report.get("overrides") or [])
    cleaned = {key.lstrip("+"): _spelt(value) for key, _, value in pairs}
    return {key: value for key, value in cleaned.items() if not key.startswith(_BOOKKEEPING)}


def _spelt(value: object) -> str:
    """One spelling for a value, typed or from a config: 1e-3 is 0.001, True is true, [1, 2] is [1,2]."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_spelt, value))}]"
    text = str(value).strip("'\"")
    if text.lower() in ("true", "false", "null"):
        return text.lower()
    if text.startswith("[") and text.endswith("]"):
        return re.sub(r"\s*,\s*", ",", text)
    try:
        number = float(text)
    except ValueError:
        return text
    return text if text.lstrip("+-").isdigit() else repr(number)

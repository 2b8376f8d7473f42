"""The record of a run in progress: its report, its epochs, its config."""

import csv
import io
import os
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from strobe.errors import ConfigError
from strobe.machine.process import process_age_s
from strobe.machine.rank import process_rank
from strobe.record.environment import environment, installed_packages, uncommitted_changes
from strobe.record.files import write_atomically
from strobe.record.identity import config_hash
from strobe.record.layout import CHANGES, CHECKPOINTS, CONFIG, EPOCHS, PACKAGES, REPORT, SCHEMA, Status
from strobe.record.report import Report, described, read_epochs, read_report, write_report
from strobe.record.signature import signed


class RunRecord:
    """The report of a run in progress. Every change is on disk when the method returns.

    Ranks other than 0 hold a record that writes nothing.

    Attributes:
        directory: The run directory.
        config: The resolved config.
        report: What `report.json` holds.
        resumed: Whether the directory held a run that this one continues.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        config_yaml: str,
        report: Report,
        epochs: list[dict[str, Any]] | None = None,
    ) -> None:
        self.directory = directory
        self.config = config
        self.report = report
        self.resumed = epochs is not None
        self._config_yaml = config_yaml
        self._writes = False
        self._rows = epochs or []
        self._earlier_s: float = report["timing"].get("total_s", 0.0)  # of the processes before, of a resumed run

    @classmethod
    def start(
        cls, directory: Path, config: Mapping[str, Any], config_yaml: str, overrides: Iterable[str]
    ) -> "RunRecord":
        """Begin a new run: write the config and a report with the status ``running``.

        Args:
            directory: The run directory; made if it is not there.
            config: The resolved config.
            config_yaml: The same as it is written to `config.yaml`.
            overrides: What was typed.

        Raises:
            ConfigError: If the directory holds a run already, or can't be written.
        """
        record = cls(directory, config, config_yaml, _new_report(config, overrides))
        record.begin()
        return record

    @classmethod
    def resume(
        cls, directory: Path, config: Mapping[str, Any], config_yaml: str, overrides: Iterable[str]
    ) -> "RunRecord":
        """Continue the run that a directory holds; nothing of it is touched before `begin`.

        Args:
            directory: The run directory.
            config: The resolved config.
            config_yaml: The same as it is written to `config.yaml`.
            overrides: What was typed now.

        Raises:
            ConfigError: If the directory is not that of a run.
        """
        old = read_report(directory)
        report = _new_report(config, [*old.get("overrides", []), *overrides])
        report["metrics"], report["timing"] = old.get("metrics", {}), old.get("timing", {})
        report["best"] = old.get("best")
        return cls(directory, config, config_yaml, report, read_epochs(directory))

    def begin(self) -> None:
        """Write the config and the report; from here on every change is written.

        Raises:
            ConfigError: If the directory of a new run holds one already, or can't be written.
        """
        if process_rank() > 0:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if not self.resumed:
                (self.directory / REPORT).open("x").close()  # of two runs that begin at once, one gets the directory
            write_atomically(self.directory / CONFIG, signed(self._config_yaml))
            write_atomically(self.directory / PACKAGES, installed_packages())
            if (changes := uncommitted_changes()) is not None:
                write_atomically(self.directory / CHANGES, changes)
            write_report(self.directory, self.report)
        except FileExistsError:
            raise ConfigError(already_holds_a_run(self.directory)) from None
        except OSError as error:
            raise ConfigError(f"can't write to the run directory {str(self.directory)!r}: {error.strerror}") from error
        self._writes = True

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints."""
        return self.directory / CHECKPOINTS

    def update(self, **fields: Any) -> None:
        """Set fields of the report; dictionaries are merged into what is there."""
        report = cast(dict[str, Any], self.report)  # a TypedDict takes no computed keys
        for key, value in fields.items():
            old = report.get(key)
            report[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        self._write()

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Add a row to `metrics.csv`; rows from this epoch on, of a run that is being continued, are replaced."""
        self._rows = [old for old in self._rows if int(old["epoch"]) < row["epoch"]]
        self._rows.append(row)
        if self._writes:
            columns = list(dict.fromkeys(key for epoch in self._rows for key in epoch))
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
            write_atomically(self.directory / EPOCHS, text.getvalue())

    def finish(self, status: Status, error: BaseException | None = None) -> None:
        """Write how the run ended."""
        self.report["timing"]["total_s"] = round(self._earlier_s + process_age_s(), 3)
        self.update(status=status, error=None if error is None else described(error), ended=_now())

    def _write(self) -> None:
        if self._writes:
            write_report(self.directory, self.report)


def already_holds_a_run(directory: Path) -> str:
    """The message for a directory that must not be written over."""
    return (
        f"{directory} already holds a run: continue it with resume={directory}, "
        "or choose another directory with hydra.run.dir=<dir>"
    )


def _new_report(config: Mapping[str, Any], overrides: Iterable[str]) -> Report:
    return {
        "schema": SCHEMA,
        "status": "running",
        "name": config.get("name"),
        "tags": list(config.get("tags") or []),
        "seed": int(config["seed"]),
        "config_hash": config_hash(config),
        "repetitions": list((config.get("sweep") or {}).get("repetitions") or ["seed"]),
        "overrides": list(overrides),
        "metrics": {},
        "objective": None,
        "objective_metric": None,
        "objective_mode": None,
        "best": None,
        "stopped_early": None,
        "requested": {},
        "effective": {},
        "timing": {},
        "parameters": None,
        "environment": environment(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": _now(),
        "ended": None,
        "error": None,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

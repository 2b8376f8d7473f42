"""The record of a run in progress: its report, its epochs, its config."""

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

from strobe.errors import ConfigError, PreemptedError
from strobe.machine.process import process_age_s
from strobe.machine.rank import process_rank
from strobe.record.alive import BEAT_S
from strobe.record.environment import installed_packages, uncommitted_changes
from strobe.record.epochs import EpochTable, read_epochs
from strobe.record.fence import Fence, give_way
from strobe.record.files import create, sweep_leftovers, write_atomically
from strobe.record.layout import CHANGES, CHECKPOINTS, CONFIG, PACKAGES, REPORT, Status
from strobe.record.lock import RunLock
from strobe.record.new_report import new_report
from strobe.record.report import Report, described, now, read_report, report_text, write_report
from strobe.record.signature import signed


class RunRecord:
    """The report of a run in progress. Every change is on disk when the method returns.

    Ranks other than 0 hold a record that writes nothing. Where another process has taken the run over, whatever would
    write raises a `PreemptedError` instead, and this process is asked to end: see `Fence`.

    Attributes:
        directory: The run directory.
        config: The config as it is written down: see `strobe.config.written`.
        report: What `report.json` holds.
        resumed: Whether the directory held a run that this one continues.
    """

    # The heartbeat is another thread's, and a record that this process has begun before may still have one: between
    # its look at the report and its write nobody else may begin the run.
    _writing = threading.RLock()

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        config_yaml: str,
        report: Report,
        epochs: list[dict[str, Any]] | None = None,
        lock: RunLock | None = None,
    ) -> None:
        self.directory = directory
        self.config = config
        self.report = report
        self.resumed = epochs is not None
        self._config_yaml = config_yaml
        self._lock = lock
        self._fence = Fence(directory)
        self._writes = False
        self._ended = threading.Event()
        self._on_disk = report
        self._epochs = EpochTable(directory, epochs or [])
        self._earlier_s: float = report["timing"].get("total_s", 0.0)  # of the processes before, of a resumed run

    @classmethod
    def start(
        cls,
        directory: Path,
        config: Mapping[str, Any],
        config_yaml: str,
        overrides: Iterable[str],
        resolved: Mapping[str, Any] | None = None,
    ) -> "RunRecord":
        """Begin a new run: write the config and a report with the status ``running``.

        Args:
            directory: The run directory; made if it is not there.
            config: As it is to be written down.
            config_yaml: The same as it is written to `config.yaml`.
            overrides: What was typed.
            resolved: The config with all its values, which tells experiments apart; None where ``config`` has them.

        Raises:
            ConfigError: If the directory holds a run already, or can't be written.
        """
        record = cls(directory, config, config_yaml, new_report(config, overrides, resolved or config))
        try:
            record.begin()
        except BaseException:
            record.close()
            raise
        return record

    @classmethod
    def resume(
        cls,
        directory: Path,
        config: Mapping[str, Any],
        config_yaml: str,
        overrides: Iterable[str],
        resolved: Mapping[str, Any] | None = None,
    ) -> "RunRecord":
        """Continue the run that a directory holds; nothing of it is touched before `begin`.

        Args:
            directory: The run directory.
            config: As it is to be written down.
            config_yaml: The same as it is written to `config.yaml`.
            overrides: What was typed now.
            resolved: See `start`.

        Raises:
            ConfigError: If the directory is not that of a run, or another process trains in it.
        """
        old = read_report(directory)
        lock = RunLock(directory) if process_rank() == 0 else None
        report = new_report(config, [*old.get("overrides", []), *overrides], resolved or config)
        report["metrics"], report["timing"] = old.get("metrics", {}), old.get("timing", {})
        report["best"] = old.get("best")
        return cls(directory, config, config_yaml, report, read_epochs(directory), lock)

    def begin(self) -> None:
        """Write the config and the report; from here on every change is written.

        Raises:
            ConfigError: If the directory of a new run holds one already, another process trains in it, or it can't be
                written.
        """
        if process_rank() > 0:
            return
        if self._lock is not None:  # to build the run has taken a while
            self._lock.require_alone(self.directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = _lock_for_a_new_run(self.directory)
            for place in (self.directory, self.directory / CHECKPOINTS):
                sweep_leftovers(place)
            write_atomically(self.directory / CONFIG, signed(self._config_yaml))
            write_atomically(self.directory / PACKAGES, installed_packages())
            if (changes := uncommitted_changes()) is not None:
                write_atomically(self.directory / CHANGES, changes)
            # The report is the last: with it, the directory holds a run, whole enough to be resumed.
            with self._writing:
                if self.resumed:
                    write_report(self.directory, self.report)
                else:
                    create(self.directory / REPORT, report_text(self.report))
        except FileExistsError:
            raise ConfigError(already_holds_a_run(self.directory)) from None
        except OSError as error:
            raise ConfigError(f"can't write to the run directory {str(self.directory)!r}: {error.strerror}") from error
        self._writes, self._on_disk = True, deepcopy(self.report)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def begin_anew(self) -> None:
        """Begin a run that is resumed, and had come to nothing, at its beginning.

        Raises:
            ConfigError: See `begin`.
        """
        self._epochs = EpochTable(self.directory)
        self.report |= {"metrics": {}, "best": None}
        self.begin()

    @property
    def lost(self) -> str | None:
        """What has become of the run, in words, where another process has taken it over; None where none has."""
        return self._fence.lost

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints, for who is about to write one.

        Raises:
            PreemptedError: If the run was taken over.
        """
        self._require_own()
        return self.directory / CHECKPOINTS

    def update(self, **fields: Any) -> None:
        """Set fields of the report; dictionaries are merged into what is there.

        Raises:
            PreemptedError: If the run was taken over.
        """
        report = cast(dict[str, Any], self.report)  # a TypedDict takes no computed keys
        for key, value in fields.items():
            old = report.get(key)
            report[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        self._write()

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Add a row to `metrics.csv`; rows from this epoch on, of a run that is being continued, are replaced.

        Raises:
            PreemptedError: If the run was taken over.
        """
        self._require_own()
        if self._writes:
            self._epochs.add(row)

    def finish(self, status: Status, error: BaseException | None = None) -> None:
        """Write how the run ended.

        Raises:
            PreemptedError: If the run was taken over, whatever has ended it here.
        """
        self.report["timing"]["total_s"] = round(self._earlier_s + process_age_s(), 3)
        self.update(status=status, error=None if error is None else described(error), ended=now())

    def close(self) -> None:
        """Write nothing more, and let others train in the directory."""
        self._ended.set()
        with self._writing:
            self._writes = False
        if self._lock is not None:
            self._lock.release()

    @classmethod
    def forget_writers(cls) -> None:
        """Of the process that this one was forked from: its threads are not here."""
        cls._writing = threading.RLock()

    def _write(self) -> None:
        with self._writing:
            self._put(deepcopy(self.report))  # the heartbeat must not meet a change of it

    def _put(self, report: Report) -> None:
        with self._writing:
            self._require_own()
            if self._writes:
                report["heartbeat"] = now()
                write_report(self.directory, report)
                self._on_disk = report

    def _require_own(self) -> None:
        with self._writing:
            if self._writes or self.lost:
                self._writes = self._fence.holds(self._on_disk)

    def _beat(self) -> None:
        """Tell other machines that this process lives; see `strobe.record.alive.is_alive`."""
        while not self._ended.wait(BEAT_S):
            try:
                with suppress(OSError), self._writing:  # else it could put back what has just been replaced
                    self._put(self._on_disk)
            except PreemptedError as error:
                give_way(error, self._ended)
                return


def already_holds_a_run(directory: Path) -> str:
    """The message for a directory that must not be written over."""
    return (
        f"{directory} already holds a run: continue it with resume={directory}, "
        "or choose another directory with hydra.run.dir=<dir>"
    )


def _lock_for_a_new_run(directory: Path) -> RunLock:
    try:
        lock = RunLock(directory)
    except ConfigError:
        raise ConfigError(already_holds_a_run(directory)) from None
    if (directory / REPORT).exists():
        lock.release()
        raise ConfigError(already_holds_a_run(directory))
    return lock


if hasattr(os, "register_at_fork"):
    # A process forked while a heartbeat writes would wait for that thread's lock for ever.
    os.register_at_fork(after_in_child=RunRecord.forget_writers)

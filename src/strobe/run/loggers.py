"""A CSV logger whose file is whole whenever the process ends, and goes on with its rows when the run is resumed.

Lightning's deletes the file that it finds, and writes it anew in place when a metric is logged for the first time: a
process killed in between takes rows along, and after an error the columns no longer fit the header.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from strobe.callbacks.remote_logger import RemoteLogger
from strobe.machine.rank import process_rank
from strobe.record.files import sweep_leftovers, write_atomically
from strobe.record.run_record import RunRecord


def keep_whole(logger: Logger, first_step: int | None) -> None:
    """Have a CSV logger write whole files.

    Args:
        logger: Any; others are left alone, and one that writes to a bucket.
        first_step: Of a run that is resumed: rows from this step on are written again. None for a new run.
    """
    if isinstance(logger, CSVLogger) and process_rank() == 0 and "://" not in str(logger.log_dir):
        # Private: its constructor makes a writer of Lightning's own kind.
        logger._experiment = _WholeWriter(Path(logger.log_dir), first_step)


class RemoteRuns:
    """What loggers tell elsewhere of a run: begun when it is about to train, ended whatever has become of it.

    Args:
        record: Of the run; its report says how it has ended.
    """

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._loggers: list[RemoteLogger] = []

    def begin(self, loggers: Sequence[Logger]) -> None:
        """Begin those of the loggers that live elsewhere, or go on with them."""
        for logger in loggers:
            if isinstance(logger, RemoteLogger):
                self._loggers.append(logger)
                logger.begin(self._record)

    def finish(self) -> None:
        """End those that were begun."""
        while self._loggers:
            self._loggers.pop().finish(self._record)

    @classmethod
    @contextmanager
    def of(cls, record: RunRecord) -> Iterator["RemoteRuns"]:
        """They end with the block."""
        remote = cls(record)
        try:
            yield remote
        finally:
            remote.finish()


class _WholeWriter(ExperimentWriter):
    def __init__(self, directory: Path, first_step: int | None) -> None:
        super().__init__(str(directory))
        self._path = directory / self.NAME_METRICS_FILE
        self._begun = False
        sweep_leftovers(directory)
        if first_step is not None:
            rows = [row for row in _whole_rows(self._path) if int(row["step"]) < first_step]
            kept: Any = [{key: value for key, value in row.items() if value != ""} for row in rows]
            self.metrics = kept  # as text: digit for digit
            self.save()

    def save(self) -> None:
        """Add what has been logged to the file."""
        if not self.metrics:
            return
        keys = sorted({*self.metrics_keys, *(key for row in self.metrics for key in row)})
        if self._begun and keys == self.metrics_keys:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, keys).writerows(self.metrics)
        else:
            rows: list[dict[str, Any]] = [*(_whole_rows(self._path) if self._begun else []), *self.metrics]
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, keys)
            writer.writeheader()
            writer.writerows(rows)
            write_atomically(self._path, text.getvalue())
            self._begun, self.metrics_keys = True, keys
        self.metrics = []

    def _check_log_dir_exists(self) -> None:
        """Lightning would delete the file."""


def _whole_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file; one that was being written when its process was killed is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    rows = csv.DictReader(io.StringIO("".join(whole), newline=""))
    return [row for row in rows if None not in row and None not in row.values() and row.get("step", "").isdigit()]

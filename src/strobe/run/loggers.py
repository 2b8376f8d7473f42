"""Loggers of a run that is resumed: what they have is kept, up to the step at which it goes on."""

import csv
import warnings
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from strobe.machine.rank import process_rank


def keep_rows(logger: Logger, first_step: int) -> None:
    """Have a CSV logger keep its earlier rows: Lightning's deletes the file that it finds.

    Args:
        logger: Any.
        first_step: Rows from this step on are written again, so they go.
    """
    if not isinstance(logger, CSVLogger) or process_rank() > 0:
        return
    path = Path(logger.log_dir) / ExperimentWriter.NAME_METRICS_FILE
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if int(row.get("step") or 0) < first_step]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the file will be deleted: it is written anew right here
        writer = logger.experiment
    if rows:
        writer.metrics = [{key: value for key, value in row.items() if value != ""} for row in rows]
        writer.save()

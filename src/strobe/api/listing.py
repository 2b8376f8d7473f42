"""`strobe.runs`: the runs below a directory, as a table."""

from pathlib import Path
from typing import Any

from strobe.api.table import Table
from strobe.record.find import OUTPUTS
from strobe.report.listing import Listed, listed

_COLUMNS = ("directory", "status", "name", "started", "seed", "metric", "value", "overrides", "tags", "note")


def runs(directory: str | Path = OUTPUTS) -> Table:
    """The runs in and below a directory, the newest first, as `strobe runs` lists them.

    Args:
        directory: Where to look.

    Returns:
        A row for each: its directory, status, name, when it started (UTC), seed, the metric that it is compared by with
        its value, what was typed, tags and note.

    Raises:
        ConfigError: If there is no such directory.

    Example:
        >>> newest = strobe.runs("outputs")[0]
        >>> newest["status"], newest["metric"]
        ('completed', 'val/acc')
    """
    return Table((row_of(run) for run in listed([Path(directory).expanduser()])), _COLUMNS)


def row_of(run: Listed) -> dict[str, Any]:
    """A run as a row."""
    told = {key: run.report.get(key) for key in ("name", "started", "seed", "overrides", "tags", "note")}
    return {"directory": str(run.directory), "status": run.status, "metric": run.metric, "value": run.value, **told}

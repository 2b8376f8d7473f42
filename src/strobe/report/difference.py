"""How two runs differ."""

from pathlib import Path
from typing import Any

from strobe.machine.table import aligned
from strobe.record.report import read_report
from strobe.report.collect import config_values


def difference(first: Path, second: Path) -> str:
    """Config, environment and metrics in which they differ, a line each.

    Raises:
        ConfigError: If either is not a run directory, or its config is damaged.
    """
    rows = []
    reports = [dict(read_report(first)), dict(read_report(second))]
    sides: list[tuple[str, Any, Any]] = [("config", config_values(first), config_values(second))]
    for part in ("environment", "effective", "metrics", "timing"):
        sides.append((part, reports[0].get(part) or {}, reports[1].get(part) or {}))
    sides.append(("", {"status": reports[0]["status"]}, {"status": reports[1]["status"]}))
    for part, left, right in sides:
        for key in dict.fromkeys([*left, *right]):
            if left.get(key) != right.get(key):
                rows.append((f"{part} {key}".strip(), str(left.get(key)), str(right.get(key))))
    return aligned(rows) if rows else "no difference"

"""Run directories without training, for tests of what lists, finds and removes them."""

import json
import os
import socket
from pathlib import Path
from typing import Any


def write_run(directory: Path, started: str = "2026-11-20T10:00:00+00:00", **report: Any) -> Path:
    """A run directory with a report, and with a checkpoint unless it is not to have one."""
    checkpoint = report.pop("checkpoint", True)
    (directory / "checkpoints").mkdir(parents=True)
    if checkpoint:
        (directory / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    written = {"schema": 1, "status": "completed", "name": None, "overrides": [], "metrics": {}, "started": started}
    written |= {"objective": 0.5, "objective_metric": "val/acc", "objective_mode": "max", **report}
    if written["status"] == "running":
        written |= {"pid": os.getpid(), "host": socket.gethostname(), "started": "2100-01-01T00:00:00+00:00"}
    (directory / "config.yaml").write_text("seed: 1\n")
    (directory / "report.json").write_text(json.dumps(written))
    return directory

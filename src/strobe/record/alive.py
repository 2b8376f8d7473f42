"""Whether a run is alive: the clocks of machines may differ by minutes, so its silence is measured on one."""

import os
import socket
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from strobe.machine.process import is_running
from strobe.record.files import clock_of, regular_file
from strobe.record.layout import REPORT

BEAT_S = 30.0
"""How often a run says in its report that it is alive, for those on other machines."""

LIMIT = 16_000_000
"""Bytes of a report; ours has a few thousand."""

_SILENT_S = 4 * BEAT_S  # longer than that, and its machine is gone
_CLOCKS_S = 3600.0  # by so much no clocks differ: a heartbeat further off is that of a copy
_SKEW_S = 600.0  # by so much they may


def is_alive(path: Path, report: Mapping[str, Any]) -> bool:
    """Whether the process that a ``running`` report names still runs.

    On this machine the system knows. On another one it does if it has written the report within four beats, by the
    clock of the file system that both write to, and its heartbeat is not hours off, as that of a copy would be.

    Args:
        path: Of the report.
        report: Its content; where that doesn't tell when it was started, a running pid will do.
    """
    if report.get("host") == socket.gethostname():
        pid = report.get("pid")
        return isinstance(pid, int) and is_running(pid, _seconds(report.get("started"), float("inf")))
    if abs(time.time() - _seconds(report.get("heartbeat"), 0.0)) > _CLOCKS_S or _is_earlier_life(report):
        return False
    return _silence_s(path) < _SILENT_S


class Watch:
    """Looks at a run on another machine, for who has to be certain that it is gone, whatever the clocks say.

    Args:
        directory: Of the run.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / REPORT
        self._seen = self._look()
        self._since = time.monotonic()

    def is_silent(self) -> bool:
        """Whether its report has not been written for four beats while this process looked on.

        To be asked every now and then: what was written between two questions counts from the second one on.
        """
        seen = self._look()
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since >= _SILENT_S

    def _look(self) -> tuple[int, ...] | None:
        """Which file there is; None without one. Each beat makes a new one."""
        try:
            with regular_file(self._path) as descriptor:  # opened: NFS may tell of a name what it was a minute ago
                found = os.fstat(descriptor)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def slurm_life(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Of which SLURM job this process is, and how often that was queued again; empty outside SLURM."""
    if "SLURM_JOB_ID" not in environment:
        return {}
    restarts = environment.get("SLURM_RESTART_COUNT", "")
    return {
        "slurm_cluster": environment.get("SLURM_CLUSTER_NAME"),
        "slurm_job": environment["SLURM_JOB_ID"],
        "slurm_restarts": int(restarts) if restarts.isdecimal() else 0,
    }


def _is_earlier_life(report: Mapping[str, Any]) -> bool:
    """Whether it is of this SLURM job before that was queued again, which SLURM does once its processes are gone."""
    mine, theirs = slurm_life(), report.get("environment")
    if not mine or not isinstance(theirs, Mapping):
        return False
    same = all(key in theirs and theirs[key] == mine[key] for key in ("slurm_cluster", "slurm_job"))
    restarts = theirs.get("slurm_restarts")
    return same and isinstance(restarts, int) and restarts < mine["slurm_restarts"]


def _silence_s(path: Path) -> float:
    """Seconds since a file was written, by its file system's clock; where that can't be asked, by a lenient own."""
    try:
        now = clock_of(path.parent)
    except OSError:
        now = time.time() - _SKEW_S
    try:
        return now - path.stat().st_mtime  # after the probe, which has NFS look again
    except OSError:
        return float("inf")


def _seconds(moment: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except (ValueError, OverflowError):
        return otherwise

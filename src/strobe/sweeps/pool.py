"""Runs jobs in processes forked from a warm server, as many at once as there are slots."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.disk import trouble
from strobe.machine.signals import hangup_signals, ignored
from strobe.record.layout import FAILED, REPORT, STOPPED, SUCCEEDED
from strobe.record.report import Report, failure_line, read_report, settle_report
from strobe.sweeps.jobs import Job, being_trained
from strobe.sweeps.slots import Slot

StartJob = Callable[[Sequence[str], str, Mapping[str, str], str], None]
"""What a job's process does, given the command's arguments, the run directory, variables and the working directory."""

_GRACE_S = 30.0  # between asking a job to stop and killing it


@dataclass
class _Running:
    job: Job
    slot: Slot
    process: BaseProcess
    began: float
    asked_at: float | None = None
    timed_out: bool = False


class Pool:
    """A context manager: when it is left, no job is running any more.

    Args:
        slots: One job each.
        start: What a job's process does; a function of a module, which the warm server imports.
        job_timeout: Seconds after which a job is stopped; None lets it run.
    """

    def __init__(self, slots: Sequence[Slot], start: StartJob, job_timeout: float | None = None) -> None:
        self._free = list(slots)
        self._start = start
        self._timeout = job_timeout
        self._running: list[_Running] = []
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(["strobe.sweeps.worker", start.__module__])

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free)

    @property
    def running(self) -> list[Job]:
        """The jobs under way."""
        return [entry.job for entry in self._running]

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        """Start a job in a free slot.

        Raises:
            OSError: If there can be no process.
        """
        slot = self._free[0]
        process = self._context.Process(  # type: ignore[attr-defined]
            target=self._start,
            args=(list(arguments), str(job.directory), slot.environment() | job.environment, str(Path.cwd())),
            name=job.directory.name,
        )
        if self._context.get_start_method() == "forkserver":
            with ignored(*hangup_signals()):  # of the driver's terminal: the server has to outlive the jobs
                forkserver.ensure_running()
        process.start()
        self._free.remove(slot)
        job.status, job.began = "running", True
        self._running.append(_Running(job, slot, process, time.monotonic()))

    def wait(self, timeout: float | None = None) -> list[Job]:
        """Wait until a job ends, or ``timeout`` seconds; returns those that ended, with status and objective."""
        deadline = self._next_deadline()
        limits = [limit for limit in (timeout, deadline) if limit is not None]
        wait([entry.process.sentinel for entry in self._running], min(limits) if limits else None)
        self._enforce_deadlines()
        ended = [entry for entry in self._running if not entry.process.is_alive()]
        for entry in ended:
            self._running.remove(entry)
            self._free.append(entry.slot)
            entry.process.join()
            _signal_group(entry.process.pid, signal.SIGKILL)  # ranks or workers that it left behind
            _settle(entry)
        return [entry.job for entry in ended]

    def ask(self, number: int) -> None:
        """Send a signal to every running job: SIGINT and SIGTERM let it save a checkpoint first."""
        for entry in self._running:
            if entry.process.pid is not None and entry.process.is_alive():
                os.kill(entry.process.pid, number)
            entry.asked_at = entry.asked_at or time.monotonic()

    def kill(self) -> None:
        """End every running job at once."""
        for entry in self._running:
            _signal_group(entry.process.pid, signal.SIGKILL)
            if entry.process.is_alive():
                entry.process.kill()
        while self._running:
            self.wait()

    def _next_deadline(self) -> float | None:
        now = time.monotonic()
        deadlines = [entry.asked_at + _GRACE_S for entry in self._running if entry.asked_at is not None]
        if self._timeout is not None:
            deadlines += [entry.began + self._timeout for entry in self._running if not entry.timed_out]
        return max(0.0, min(deadlines) - now) if deadlines else None

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for entry in self._running:
            if self._timeout is not None and not entry.timed_out and now - entry.began >= self._timeout:
                entry.timed_out, entry.asked_at = True, now
                if entry.process.pid is not None and entry.process.is_alive():
                    os.kill(entry.process.pid, signal.SIGTERM)
            elif entry.asked_at is not None and now - entry.asked_at >= _GRACE_S:
                _signal_group(entry.process.pid, signal.SIGKILL)


def _settle(entry: _Running) -> None:
    """Read how a job ended; where it could not write that down itself, do so for it."""
    job, code = entry.job, entry.process.exitcode
    try:
        report = read_report(job.directory)
    except ConfigError:
        report = Report(status="died")
    if report["status"] == "running":  # the job's process is gone, so this is another's
        job.status, job.error = "running", being_trained(report)
        return
    failure = None
    if entry.timed_out:
        failure = "stopped after sweep.job_timeout"
    elif report["status"] not in (*SUCCEEDED, *FAILED, *STOPPED):
        failure = _described(code)
    elif code != 0 and report["status"] == "completed":
        failure = f"{_described(code)} after it had completed"
    if failure is not None:
        try:
            report = settle_report(job.directory, "failed", failure)
        except OSError as error:  # the job's disk is full: that must not end the others
            message = f"{failure}; {trouble(error, job.directory / REPORT)}"
            report = {**report, "status": "failed", "error": {"type": "Killed", "message": message}}
    job.status = report["status"]
    job.objective = report.get("objective")
    job.error = failure_line(report) or None


def _described(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (by the system, if memory ran out)" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"the process exited with code {code} before the run had ended"


def _signal_group(pid: int | None, number: int) -> None:
    if pid is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)

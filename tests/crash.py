"""Runs a command in a forked process and ends it, or has its disk full, at one of the points where files change.

A point is a call that changes what is on the disk: opening a file to write, a flush, a rename, a link, a copy, a
deletion, a new directory, a checkpoint written by torch. They are counted, so that each can be tried in turn.
"""

import builtins
import errno
import io
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Literal

How = Literal["before", "after", "full", "term", "hup", "clock"]
"""Killed before the call or after it; the disk is full; before the call a signal comes, or the clock is set back."""

_SIGNALS = {"before": signal.SIGKILL, "after": signal.SIGKILL, "term": signal.SIGTERM, "hup": signal.SIGHUP}


@dataclass(frozen=True)
class Fault:
    """What happens at a point.

    Attributes:
        point: Its number, from 0.
        how: What happens.
        lasting: Whether a disk that is full stays so until the process ends.
    """

    point: int
    how: How
    lasting: bool = False


class _Points:
    """Counts the points within a directory, and brings about a fault at one of them."""

    def __init__(self, within: Path, fault: Fault | None) -> None:
        self.names: list[str] = []
        self._within = str(within)
        self._fault = fault
        self._busy = False

    def install(self) -> None:
        import torch

        for module, name, place in (
            *((os, name, 0) for name in ("fsync", "replace", "rename", "link", "unlink", "mkdir")),
            *((shutil, "copyfile", 1), (torch, "save", 1)),
        ):
            setattr(module, name, self._counted(getattr(module, name), name, place))
        for module in (builtins, io):
            module.open = self._counted_open(module.open)  # type: ignore[attr-defined]

    def _counted(self, function: Callable[..., Any], name: str, place: int) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            return self._at(name, arguments[place], lambda: function(*arguments, **options))

        return counted

    def _counted_open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if set(mode) & set("wxa"):
                return self._at(f"open {mode}", file, lambda: function(file, mode, *arguments, **options))
            return function(file, mode, *arguments, **options)

        return counted

    def _at(self, name: str, file: Any, call: Callable[[], Any]) -> Any:
        if threading.current_thread() is not threading.main_thread():  # a heartbeat comes when it comes
            return call()
        path = self._path(file)
        idle = name == "mkdir" and Path(file).is_dir()
        if self._busy or path is None or idle:  # a point within a point is the same one
            return call()
        number, fault = len(self.names), self._fault
        self.names.append(f"{name} {path}")
        here = fault is not None and (number == fault.point or (fault.lasting and number > fault.point))
        if not here or fault is None:
            return self._outermost(call)
        if fault.how == "full" and not name.startswith("unlink"):
            named = () if name in ("fsync", "copyfile", "save") else (str(file),)  # what is written knows no name
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named)
        if fault.how == "clock":
            _set_clock_back()
        if fault.how in _SIGNALS and fault.how != "after":
            os.kill(os.getpid(), _SIGNALS[fault.how])
        result = self._outermost(call)
        if fault.how == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def _outermost(self, call: Callable[[], Any]) -> Any:
        self._busy = True
        try:
            return call()
        finally:
            self._busy = False

    def _path(self, file: Any) -> str | None:
        if isinstance(file, int):
            with suppress(OSError):
                file = Path(f"/proc/self/fd/{file}").readlink()
        inside = isinstance(file, str | os.PathLike) and os.fspath(file).startswith(self._within)
        return os.path.relpath(file, self._within) if inside else None


def _set_clock_back() -> None:
    from strobe.record import report

    right = time.time
    time.time = lambda: right() - 3600  # type: ignore[assignment]

    class Late(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) - timedelta(hours=1)

    report.datetime = Late  # type: ignore[attr-defined]


def server() -> ForkServerContext:
    """Processes forked from one that has imported all that a run needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["strobe.sweeps.worker", "strobe.commands.train", __name__])
    return context


def run(
    arguments: Sequence[str], within: Path, output: Path, fault: Fault | None = None, cwd: Path | None = None
) -> tuple[int, list[str]]:
    """Run ``python -m src.train <arguments>`` in a process of its own.

    Args:
        arguments: Of the command.
        within: Directory whose changes are counted.
        output: File that takes what is printed.
        fault: Where to end it, if anywhere.
        cwd: Where to run it.

    Returns:
        The exit code, below 0 for a signal, and the points, where the process lived to tell them.
    """
    names = output.with_suffix(".points")
    names.unlink(missing_ok=True)
    process = server().Process(target=_command, args=(list(arguments), within, output, names, fault, cwd or within))
    process.start()
    process.join(300)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"still running: {arguments}")
    assert process.exitcode is not None
    return process.exitcode, names.read_text().splitlines() if names.exists() else []


def _command(arguments: list[str], within: Path, output: Path, names: Path, fault: Fault | None, cwd: Path) -> None:
    from strobe.commands.train import main

    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.chdir(cwd)
    points = _Points(within, fault)
    points.install()
    sys.argv = ["train", *arguments]
    code = main()
    points._fault = None
    names.write_text("\n".join(points.names))
    sys.exit(code)

"""The end of a command's process: all that Python does for others, without taking apart what was imported.

That alone takes 1.7 s of CPU once torch and Lightning are there, 0.3 s where they are held out of garbage collection
(`strobe.machine.collecting`), and 0.06 s is left of it here.
"""

import atexit
import ctypes
import gc
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NoReturn

_FILE = io.FileIO.mro()[-2]  # what all of Python's files are, without the cost of asking an abstract class
_WATCHED_BY = ("LD_PRELOAD", "CUDA_INJECTION64_PATH", "PYTHONINSPECT")
"""Variables of the environment that bring in what may have something to say when C's own `exit` is called."""


def leave(command: Callable[[], int]) -> NoReturn:
    """Run a command and end this process with its exit code.

    The ordinary way out is taken wherever someone may wait for more: where a debugger, a profiler or a coverage tool
    looks on, where another program has called this one, and where the command ended by an error of its own.

    Args:
        command: Returns its exit code, or raises a SystemExit.

    Raises:
        SystemExit: With that code, where the ordinary way is taken.
    """
    try:
        code = command()
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):  # a text: Python writes it
            raise
        code = ended.code or 0
    if _is_alone():
        end_process(code)
    sys.exit(code)


def end_process(code: int) -> NoReturn:
    """End this process, which belongs to nobody else, with an exit code: a command's, or that of a rank it has started.

    Raises:
        SystemExit: With that code, where someone looks on, or something could not be flushed.
    """
    if not _is_watched():
        try:
            _settle()
        except BaseException:  # such as a Ctrl-C, or a stream that can't be written to: Python says what it says
            sys.exit(code)
        os._exit(code & 0xFF)
    sys.exit(code)


def _is_alone() -> bool:
    """Whether nothing but Python's own start has called this."""
    callers = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_stack(None)]
    return [name for name in callers if name not in (__name__, "runpy", "strobe.cli")] == ["__main__"]


def _is_watched() -> bool:
    """Whether someone may wait for Python's ordinary end."""
    flags = sys.flags
    tools = getattr(sys, "monitoring", None)  # of Python 3.12
    return bool(
        sys.gettrace()
        or sys.getprofile()
        or threading.gettrace()
        or threading.getprofile()
        or any(tools.get_tool(number) for number in range(6) if tools is not None)
        or any(name in os.environ for name in _WATCHED_BY)
        or flags.interactive
        or flags.inspect
        or flags.dev_mode  # which tells of files that were left open
        or os.name != "posix"
    )


def _settle() -> None:
    """What Python does at its end, in its order; of what is there for as long as the process is, only files are closed.

    Python promises no more: an object that is still in use may go without its ``__del__``.
    """
    # Private, both: what CPython itself calls at its end, and multiprocessing at that of a process it has forked.
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, and for those of pools
    atexit.unregister(gc.unfreeze)  # of `held_off`: nothing that was imported is taken apart here
    atexit._run_exitfuncs()  # multiprocessing's, logging's and those of whatever was imported
    gc.collect()  # what nobody uses any more may have something to do when it goes
    for file in _open_files():
        with suppress(Exception):
            file.close()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL(None).fflush(None)  # what C libraries have printed


def _open_files() -> Iterator[io.IOBase]:
    """Files that someone has left open and may have written to, each in front of the buffer that it writes to.

    Those opened before torch was imported are not among them, as little as the library's own.
    """
    spared: set[int] = set()
    for stream in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__):
        spared |= {id(stream), id(getattr(stream, "buffer", None))}
    files = [each for each in gc.get_objects() if issubclass(type(each), _FILE) and not isinstance(each, io.FileIO)]
    for file in sorted(files, key=lambda each: not isinstance(each, io.TextIOWrapper)):
        with suppress(Exception):
            if id(file) not in spared and not file.closed and file.writable():
                yield file

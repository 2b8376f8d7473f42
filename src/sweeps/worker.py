"""What runs in the process of a job. Importing this imports all that a job needs: the warm server preloads it."""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import src.build
import src.prepare
import src.targets  # noqa: F401  # the heavy imports of a run

CONSOLE_LOG = "console.log"


def run_job(module: str, arguments: Sequence[str], directory: str, environment: Mapping[str, str], cwd: str) -> None:
    """Be the process ``python -m <module> <arguments>``, with its output in the job's directory.

    Raises:
        SystemExit: With the run's exit code.
    """
    os.setpgrp()  # a Ctrl-C in the terminal goes to the driver, which passes it on
    die_with_driver()
    _redirect(Path(directory) / CONSOLE_LOG)
    os.chdir(cwd)
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def die_with_driver() -> None:
    """Have this process, and ranks or workers it starts, killed when the sweep's driver is gone, however it ends.

    The process that forked this one, the warm server, is no use as a sign: it stays as long as any job does.
    """
    driver = multiprocessing.parent_process()
    assert driver is not None, "a job is started by multiprocessing"

    def watch() -> None:
        driver.join()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="die-with-driver", daemon=True).start()


def _redirect(path: Path) -> None:
    """Send everything that this process and its children print, C libraries included, to a file."""
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    faulthandler.enable(sys.stderr)  # a segmentation fault leaves a traceback

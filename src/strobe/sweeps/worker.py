"""What the process of a job is. Importing this imports all that a job needs: the warm server preloads it."""

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

import torch

import strobe.run.story  # noqa: F401  # the heavy imports of a run
from strobe.machine.streams import redirect_output, settle_streams
from strobe.sweeps.remote import CONSOLE_LOG


def become_job(directory: Path, environment: Mapping[str, str], cwd: str) -> None:
    """Make this process that of a job: on its own, with its output in the run directory.

    Args:
        directory: The run directory, which exists.
        environment: Variables to set.
        cwd: The working directory.
    """
    os.setpgrp()  # a Ctrl-C in the terminal goes to the driver, which passes it on
    die_with_driver()
    redirect_output(directory / CONSOLE_LOG)
    settle_streams(anew=True)  # those there are, are the warm server's
    faulthandler.enable(2)  # a segmentation fault leaves a traceback
    os.chdir(cwd)
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))


def die_with_driver() -> None:
    """Have this process, and ranks or workers it starts, killed when the sweep's driver is gone, however it ends.

    The process that forked this one, the warm server, is no use as a sign: it stays as long as any job does.
    """
    driver = multiprocessing.parent_process()
    assert driver is not None, "a job is started by multiprocessing"
    if not driver.is_alive():  # killed as it forked this one, whose directory may be another driver's by now
        os._exit(1)

    def watch() -> None:
        driver.join()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="die-with-driver", daemon=True).start()

"""What a job is on its node of the cluster, or in a process of submitit's, before it becomes the plain command."""

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from strobe.errors import PreemptedError
from strobe.sweeps.remote import Order, become_command
from strobe.sweeps.slots import Slot

ASKED = "asked_to_stop"
"""A file beside a job's submission: a signal may come before there is anybody to get it."""


def become_task(order: Order, submission: str) -> NoReturn:
    """Become the command of a job.

    Args:
        order: What to do.
        submission: The folder of the job's submission.

    Raises:
        SystemExit: If this machine can't do it, or nobody wants it any more; standard error has the reason.
    """
    if (Path(submission) / ASKED).exists():
        raise SystemExit(PreemptedError.exit_code)
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        os.setpgrp()  # a Ctrl-C in the terminal goes to the driver, which passes it on
        become_command(order)
    # Until the run can save a checkpoint, that its time is nearly up is of no use to it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if cores := _cores(os.environ):
        os.environ.update(Slot(cores).environment())
    become_command(order)


def _cores(environment: Mapping[str, str]) -> int:
    """That SLURM gives to each task; 0 where it doesn't say. Not all clusters keep a task from using the others."""
    if "SLURM_CPUS_PER_TASK" in environment:  # only where it was asked for
        return _number("SLURM_CPUS_PER_TASK", environment)
    tasks = _number("SLURM_STEP_TASKS_PER_NODE", environment) or 1
    return _number("SLURM_CPUS_ON_NODE", environment) // tasks


def _number(variable: str, environment: Mapping[str, str]) -> int:
    """What a variable begins with, as in ``2(x3)``."""
    found = re.match(r"\d+", environment.get(variable, ""))
    return int(found[0]) if found else 0

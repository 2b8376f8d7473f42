"""What every command needs of the place where it is typed, looked at before anything else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.collecting import held_off
from strobe.machine.streams import settle_streams
from strobe.machine.terminal import exit_code
from strobe.machine.transient import doing


def settle() -> None:
    """Have output that always can be written, and a working directory.

    Raises:
        SystemExit: With code 2, where that is gone: torch and Hydra end with a riddle then.
    """
    settle_streams()
    try:
        Path.cwd()
    except OSError:
        gone = ConfigError("the working directory is not there any more: change to one that is, with cd")
        raise SystemExit(exit_code(gone)) from None


def is_one_of_several() -> bool:
    """Whether torchrun or SLURM has started this command several times, once for each process of a run."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return True
    if "SLURM_NTASKS" not in os.environ:
        return False
    from strobe.distributed.slurm import tasks  # psutil and subprocess: only there

    return tasks() > 1


def look_around() -> None:
    """Look from now on at what others use of the cores: it decides, in `importing`, how threads are to wait."""
    from strobe.machine.threads import neighbours  # psutil: only where torch may be imported

    neighbours()


@contextmanager
def importing() -> Iterator[None]:
    """Around the imports of torch and Lightning, which take seconds: say so, and spare what can be spared."""
    # nothing that a command without torch needs
    from strobe.machine.compiler import put_off_the_compiler
    from strobe.machine.threads import neighbours, settle_waiting

    put_off_the_compiler()
    settle_waiting(neighbours().cores())  # 0 without a tenth of a second since `look_around`
    with doing("importing torch and Lightning"), held_off():
        yield

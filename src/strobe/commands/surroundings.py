"""What every command needs of the place where it is typed, looked at before anything else."""

from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.streams import settle_streams
from strobe.machine.terminal import exit_code


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

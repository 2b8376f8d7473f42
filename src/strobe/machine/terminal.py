"""What a person at the terminal is told when something goes wrong."""

import sys
import traceback
from pathlib import Path

from strobe.errors import InterruptedRunError, RunError
from strobe.machine.disk import disk_error, full_disk
from strobe.machine.secrets import redacted
from strobe.machine.text import printable


def exit_code(error: BaseException) -> int:
    """The exit code that goes with an error, after saying what it was."""
    if isinstance(error, RunError):
        tell(str(error))
        return error.exit_code
    if (full := full_disk(error)) is not None:
        return exit_code(disk_error(full, Path()))
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return InterruptedRunError.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    tell("".join(traceback.format_exception(error)).rstrip())
    return 1


def tell(text: str) -> None:
    """Say something of what went wrong, to the person at the terminal."""
    print(printable(redacted(text), lines=True), file=sys.stderr, flush=True)

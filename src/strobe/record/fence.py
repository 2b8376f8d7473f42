"""A process that was taken for lost must not go on where another one trains by now."""

import json
import os
import signal
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strobe.errors import PreemptedError
from strobe.machine.terminal import tell
from strobe.record.alive import LIMIT
from strobe.record.files import read_bounded
from strobe.record.layout import REPORT

_GRACE_S = 60.0  # for a run to end by itself
_OWN = ("pid", "host", "started")


class Fence:
    """Tells whether a run directory is still its process's: its machine may have been cut off, or have stood still.

    Whoever takes a run over names itself in the report, and whoever gives one up as lost writes down how it ended.

    Args:
        directory: Of the run.

    Attributes:
        lost: What has become of the run, in words; None as long as it is this process's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.lost: str | None = None

    def holds(self, written: Mapping[str, Any]) -> bool:
        """Whether the process may write; it may not, without being lost, where it has begun the run once more itself.

        Args:
            written: The report as it has written it last.

        Raises:
            PreemptedError: If the run is another's.
        """
        found = None if self.lost else _on_disk(self._directory)
        if found is not None and any(found.get(key) != written.get(key) for key in ("status", *_OWN)):
            begun = found.get("started") != written.get("started")
            if begun and (found.get("pid"), found.get("host")) == (os.getpid(), socket.gethostname()):
                return False
            self.lost = f"{self._directory} is no longer this process's: {_loss(found, begun)}; this process ends"
        if self.lost is not None:
            raise PreemptedError(self.lost)
        return True


def give_way(error: PreemptedError, ended: threading.Event) -> None:
    """End this process as a signal would; by force where its run doesn't come to look at signals.

    Args:
        error: What has become of the run.
        ended: Set once it has ended.
    """
    if not callable(signal.getsignal(signal.SIGTERM)):  # nobody would catch it: the run is told when it writes next
        return
    os.kill(os.getpid(), signal.SIGTERM)
    if not ended.wait(_GRACE_S):
        tell(str(error))
        os._exit(error.exit_code)


def _on_disk(directory: Path) -> Mapping[str, Any] | None:
    """What the report says, empty where there is none; None where it can't be read, which is nobody's word."""
    try:
        found = json.loads(read_bounded(directory / REPORT, LIMIT))
    except FileNotFoundError:  # a sweep puts away what it begins anew
        return {}
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _loss(found: Mapping[str, Any], begun: bool) -> str:
    if not found:
        return "its report is gone"
    if begun:
        return f"process {found.get('pid')} on {found.get('host')} trains there since {found.get('started')}"
    error = found.get("error")
    why = f" ({error.get('message')})" if isinstance(error, dict) else ""
    return f"it was taken for lost, and its report says {found.get('status')}{why}"

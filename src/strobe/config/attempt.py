"""Something that is tried: what it raises becomes a line, unless it lacks what only a run has."""

import re

from hydra.errors import InstantiationException

from strobe.config.seclusion import Seclusion
from strobe.errors import RunError, first_line

_META = re.compile(
    "(?<![a-z])meta(?![a-z])", re.IGNORECASE
)  # of what torch says where values are needed, and there are none
_PLAIN_SPEAKING = (ValueError, TypeError, RuntimeError)


class Attempt(Seclusion):
    """Whatever is raised within becomes a line, unless it is for want of data, files or the network.

    Args:
        wrong: Takes the line.
        path: Of the node that is tried.
        where: What is said before what was raised.
    """

    def __init__(self, wrong: list[str], path: str, where: str = "") -> None:
        super().__init__()
        self.wrong, self.path, self.where = wrong, path, where

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Put what was raised into words."""
        super().__exit__(kind, error, trace)
        while isinstance(error, InstantiationException) and error.__cause__ is not None:  # a node within the node
            error = error.__cause__
        if error is None or not isinstance(error, Exception | SystemExit):
            return False
        needs_more = self.was_left or isinstance(error, OSError) or _META.search(str(error))
        if isinstance(error, RunError) and not self.was_left:  # which names the setting, and a way out
            self.wrong += str(error).splitlines()
        elif not needs_more:
            name = "" if isinstance(error, _PLAIN_SPEAKING) else f"{type(error).__name__}: "
            self.wrong.append(f"{self.path}: {self.where}{name}{first_line(error)}")
        return True

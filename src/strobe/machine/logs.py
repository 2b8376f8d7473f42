"""How messages are written to a terminal and to log files."""

import logging

from strobe.machine.secrets import redacted
from strobe.machine.text import printable


class Formatter(logging.Formatter):
    """Python's own, but for secrets and for what would steer the terminal that a message is shown on."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a message."""
        return printable(redacted(super().format(record)), lines=True)


def log_to_terminal() -> None:
    """Have warnings of a command that is not Hydra's said on standard error."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where there is no home to keep its cache in
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])

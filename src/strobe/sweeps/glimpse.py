"""How far a running job is, from the files that it writes anyway: its epoch, and what that epoch has given."""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from strobe.record.epochs import newest_row
from strobe.record.layout import CONFIG, EPOCHS, NO_METRICS

_EVERY_S = 1.0  # between two looks; with dozens of jobs on a shared disk, each look is a question to its server
_MAX_EPOCHS = re.compile(r"^ +max_epochs: (\d+) *$", re.MULTILINE)


@dataclass(frozen=True)
class Seen:
    """What a job had written when it was looked at.

    Attributes:
        epoch: How many epochs have ended.
        metrics: Of the newest one, by name.
    """

    epoch: int = 0
    metrics: tuple[tuple[str, float], ...] = ()

    def value(self, name: str | None) -> tuple[str, float] | None:
        """The metric of that name; else what comes nearest, by its own name; None where nothing does.

        Of a metric of the test, which is measured at the very end, that is validation's; of none, a loss.
        """
        metrics = dict(self.metrics)
        if name is None:
            wanted = [other for other in ("val/loss", "train/loss", *metrics) if other in metrics]
        else:
            tail = name.rpartition("/")[2]
            wanted = [other for other in (name, f"val/{tail}", f"val_{tail}", f"train/{tail}") if other in metrics]
        return (wanted[0], metrics[wanted[0]]) if wanted else None


class Glimpse:
    """Looks at a job's directory, once a second at most, and reads only what has changed.

    Args:
        directory: The run directory; it need not be there yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looked_at = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._seen = Seen()
        self._of: int | None = None

    @property
    def seen(self) -> Seen:
        """The newest that is known."""
        now = time.monotonic()
        if now - self._looked_at >= _EVERY_S:
            self._looked_at = now
            with suppress(OSError, ValueError):  # not there yet, or not a table: the job says later what it is
                self._look()
        return self._seen

    @property
    def progress(self) -> str:
        """Epochs that have ended, of how many: ``3/10``; empty before the first."""
        seen = self.seen
        if seen.epoch == 0:
            return ""
        return f"{seen.epoch}/{self._of}" if self._of else str(seen.epoch)

    def _look(self) -> None:
        path = self._directory / EPOCHS
        status = path.stat()
        stamp = status.st_mtime_ns, status.st_size
        if stamp == self._stamp:
            return
        row = newest_row(path)
        if self._of is None and (found := _MAX_EPOCHS.search((self._directory / CONFIG).read_text(encoding="utf-8"))):
            self._of = int(found[1])
        self._stamp = stamp
        if row:
            self._seen = Seen(int(row["epoch"]) + 1, tuple(_numbers(row).items()))


def _numbers(row: dict[str, str]) -> dict[str, float]:
    numbers = {}
    for name, text in row.items():
        if name not in NO_METRICS:
            with suppress(TypeError, ValueError):  # an empty cell: this epoch has none
                numbers[name] = float(text)
    return numbers

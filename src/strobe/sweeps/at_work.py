"""Which processes work on a search: a lock of each, held for as long as it does."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

LOCKS = ".locks"


class AtWork:
    """The processes that work on a search; each holds a lock while it does.

    Args:
        directory: Of the sweep.
    """

    def __init__(self, directory: Path) -> None:
        self._locks = directory / LOCKS
        self._own: Path | None = None

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be one of them.

        Raises:
            OSError: If there can be no lock.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        for number in count():
            own = FileLock(self._locks / f"driver{number}.lock")
            with suppress(Timeout):
                own.acquire(timeout=0)
                break
        self._own = Path(own.lock_file)
        try:
            yield
        finally:
            own.release()

    def is_alone(self) -> bool:
        """Whether this process is the only one."""
        for path in self._locks.glob("driver*.lock"):
            if path != self._own:
                try:
                    with FileLock(path, timeout=0):
                        pass
                except Timeout:
                    return False
        return True

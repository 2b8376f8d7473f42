"""What a sweep needs of the place where its jobs run; all else of a sweep is the same code for every place.

A place is an `Engine`: this machine (`strobe.sweeps.engines.local`), a SLURM cluster, a Ray cluster. A job's process is
the plain command ``strobe train <arguments>``, its results are files in its directory, which all machines share. So an
engine starts processes, tells when one is gone and why, and passes signals on; what became of the run it does not ask.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from strobe.sweeps.handed import Handed
from strobe.sweeps.job import Demand, Job


class StartJob(Protocol):
    """What a job's process does; a function of a module."""

    __module__: str

    def __call__(
        self,
        arguments: Sequence[str],
        directory: str,
        environment: Mapping[str, str],
        cwd: str,
        handed: Handed | None = None,
    ) -> None:
        """Be the job.

        Args:
            arguments: Of the command.
            directory: Of the run.
            environment: Variables to set.
            cwd: The working directory.
            handed: What the config is made of, unless it has to be composed.
        """


@dataclass(frozen=True)
class End:
    """How a job's process ended.

    Attributes:
        how: ``lost`` if it was taken away through no fault of its own: its machine died, or others had precedence. Such
            a job is begun again, and so is one that SIGKILL ended. ``cancelled`` if somebody outside the sweep ended
            it: that job has failed.
        code: Its exit code, negative for the signal that killed it; None where nobody knows.
        reason: In words, where the place knows more than the code tells.
    """

    how: Literal["exited", "lost", "cancelled"] = "exited"
    code: int | None = None
    reason: str | None = None


class Engine(ABC):
    """A place where jobs run; a context manager: entering it connects, leaving it ends what is still there.

    Attributes:
        detaches: Whether the sweep leaves its jobs behind once all have been started; the same command collects them.
    """

    detaches: bool = False

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ConfigError: If there is no such place, or nobody answers there.
        """
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        return

    def get_ready(self) -> None:
        """Begin with what takes long, while jobs are planned; there may be none in the end."""
        return

    @property
    @abstractmethod
    def described(self) -> str:
        """How much runs at once, in a few words."""

    def problem(self, demand: Demand) -> str | None:
        """Why no job of this kind can ever run here, in a line; None if one can."""
        return None

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """Whether another job may be started now."""

    @property
    def undelivered(self) -> bool:
        """Whether a started job has not reached the place yet, so that even who detaches has to wait."""
        return False

    @abstractmethod
    def start(self, job: Job, arguments: Sequence[str]) -> None:
        """Start ``strobe train <arguments>``, or queue it.

        Raises:
            OSError: If that can't be.
        """

    def find(self, job: Job) -> bool:
        """Take over a job that an earlier driver has started, if it was still here when this context was entered."""
        return False

    def is_running(self, job: Job) -> bool:
        """Whether a started job has begun; False while it waits in a queue."""
        return True

    @abstractmethod
    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        """Wait until a job's process has ended, or ``timeout`` seconds; returns those that have.

        ``timeout`` is a second at most: a signal is looked at only in between.
        """

    @abstractmethod
    def ask(self, job: Job, number: int) -> None:
        """Pass a signal on: SIGINT and SIGTERM let a run save a checkpoint and end. One in a queue just leaves it.

        Of a job that is not here, nothing is asked.
        """

    @abstractmethod
    def kill(self, job: Job) -> None:
        """End a job at once, with the ranks and workers that it has; `wait` tells when it is gone."""

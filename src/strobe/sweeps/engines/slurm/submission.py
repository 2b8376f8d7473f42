"""The files of a submitted job: by them it is found again, and they tell why one came to nothing."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor

from strobe.errors import ConfigError
from strobe.machine.text import printable
from strobe.record.layout import FAILED, SUCCEEDED
from strobe.record.report import read_report
from strobe.sweeps.engine import End
from strobe.sweeps.engines.slurm.queue import outside_of_any_job
from strobe.sweeps.engines.slurm.resources import Resources
from strobe.sweeps.engines.slurm.task import ASKED, become_task
from strobe.sweeps.job import Job
from strobe.sweeps.remote import CONSOLE_LOG, Order

SUBMISSIONS = ".slurm"
"""Folder of a sweep's directory, with a folder for each job: submitit's files, and what SLURM itself prints there."""

_PICKLE = "_submitted.pkl"  # submitit's names
_LOGS = ("_log.err", "_log.out")
_TAIL = 4000  # bytes


class Submission:
    """The folder of one job's submission.

    Args:
        job: Its directory has the name that the folder has too.

    Attributes:
        folder: Where submitit writes.
        number: Of the job at the place where it runs; None until that is known.
    """

    def __init__(self, job: Job, number: str | None = None) -> None:
        self.folder = job.directory.parent / SUBMISSIONS / job.directory.name
        self.number = number
        self._console = job.directory / CONSOLE_LOG
        self._printed = _size(self._console)

    def clear(self) -> None:
        """Make an empty folder for a new submission."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._make()

    def to_slurm(self, order: Order, comment: str, resources: Resources, flags: Mapping[str, Any]) -> None:
        """Give the job to the cluster.

        Args:
            order: What it does.
            comment: By which it is found again.
            resources: What its script says of them.
            flags: Of sbatch, the same resources for this job's trainer.

        Raises:
            FailedJobError: If the cluster does not take it.
            FailedSubmissionError: If it does not say the job's number.
        """
        with outside_of_any_job(), order.importable():
            executor = SlurmExecutor(self.folder)
            executor.update_parameters(
                job_name=self.folder.name,
                comment=comment,
                time=None,  # here and in the next line, submitit's own else, where ours leaves it to the cluster
                wckey=None,
                setup=list(resources.setup),
                srun_args=resources.for_srun,
                additional_parameters=dict(flags),
            )
            self.number = executor.submit(become_task, order, str(self.folder)).job_id

    def close(self, end: End | None = None) -> None:
        """Remove what nobody needs of a job that has ended: its overrides, which may hold keys, lie here in full."""
        with suppress(OSError):  # then they lie where only this user can read them
            for path in self.folder.glob("*.pkl"):
                path.unlink()
            ended_well = end is not None and end.how == "exited" and end.code in (0, None) and end.reason is None
            if ended_well and self._said() is None:
                shutil.rmtree(self.folder)

    def complete(self) -> None:
        """Do what a driver that was killed between submitting a job and noting its number has left undone."""
        assert self.number is not None, "the job was found"
        due = self.folder / f"{self.number}{_PICKLE}"
        written = [
            path for path in self.folder.glob("*.pkl") if not path.name.endswith(("_submitted.pkl", "_result.pkl"))
        ]
        if written and not due.exists():  # several are of several tries to submit the same
            written[0].rename(due)

    def numbers(self) -> list[str]:
        """Of the jobs that were submitted from this folder."""
        return [path.name.removesuffix(_PICKLE) for path in self.folder.glob(f"*{_PICKLE}")]

    def ask(self) -> None:
        """Have the job end as soon as it begins."""
        self._make()
        (self.folder / ASKED).touch()

    @property
    def was_asked(self) -> bool:
        """Whether a sweep, this command or an earlier one, has asked the job to end."""
        return (self.folder / ASKED).exists()

    def why_not_begun(self) -> str | None:
        """Why the command never began, as far as anything was printed; None where it did begin."""
        if _size(self._console) > self._printed:
            return None
        return self._said() or f"it printed nothing: does its machine see {self.folder}?"

    def _make(self) -> None:
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.parent.chmod(0o700)  # it may have been there
        self.folder.mkdir(exist_ok=True)

    def _said(self) -> str | None:
        """The last line that was printed, but for SLURM's and submitit's."""
        for ending in _LOGS:
            for path in sorted(self.folder.glob(f"*{ending}")):
                with path.open("rb") as file:
                    file.seek(max(0, _size(path) - _TAIL))
                    lines = file.read().decode("utf-8", "replace").split("\n")
                said = [line.strip() for line in lines if line.strip() and not line.startswith(("srun: ", "submitit "))]
                if said:
                    return printable(said[-1])
        return None


def open_folder(directory: Path) -> None:
    """Look through the submissions of a sweep that is begun or gone on with.

    Raises:
        ConfigError: If there can be none at such a path.
    """
    if "%" in str(directory.absolute()):
        raise ConfigError(
            f"the sweep's directory '{directory}' has a % in its path, which SLURM would fill in: "
            "choose another sweep.name"
        )
    for path in (directory / SUBMISSIONS).glob(f"*/*{_PICKLE}"):
        run = directory / path.parent.name
        with suppress(ConfigError):
            if read_report(run)["status"] in (*SUCCEEDED, *FAILED):  # while no command waited for it
                with suppress(OSError):
                    path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

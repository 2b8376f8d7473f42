"""Asks a SLURM cluster about its jobs and tells it to end some: through its commands, without its accounting."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from strobe.errors import ConfigError
from strobe.sweeps.engine import End

PATIENCE_S = 10.0
"""Within which the cluster has to answer a first question; later ones are asked again."""

_WAY_OUT = "hydra.launcher.cluster=local runs its jobs here, without SLURM"
_FIELDS = ("JobID", "State", "exit_code", "Reason", "NodeList", "Comment")
_FORMAT = ("--noheader", f"--Format={','.join(f'{field}:|' for field in _FIELDS)}")
_LOST = {
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "it was preempted",
    "REVOKED": "it was taken away",
    "TIMEOUT": "its time was up, and it was not queued again",
}
_ENDED = (*_LOST, "COMPLETED", "FAILED", "CANCELLED", "OUT_OF_MEMORY", "DEADLINE")
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")  # say which cluster, not which job this process is in
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
# A limit on the number of jobs, which others' ends lift (AssocMaxSubmitJobLimit, QOSGrpJobsLimit), or no answer.
_PASSING = re.compile(
    r"(Grp|Max)(Submit)?Jobs?(Per\w+)?Limit|MaxSubmitJobs|MaxJobs"
    r"|(?i:unable to contact|timed out|no answer within|temporarily|zero bytes were transmitted)"
)
_BUSY = ("Requested nodes are busy", "not available (down")  # of a job that could run some time

_IN_VAIN = re.compile("Partition(Time|Node)Limit|WallDuration|BadConstraints|Inactive|Held|JobHold|Invalid|PerJobLimit")


@dataclass(frozen=True)
class Entry:
    """What the cluster says of a job.

    Attributes:
        number: Of the job.
        state: A word of SLURM's, in capitals.
        code: Exit code, negative for the signal that killed it; None where it has none.
        reason: Why it is in this state; a word of SLURM's.
        nodes: Where it runs or ran; may be empty.
        comment: That it was submitted with.
    """

    number: str
    state: str
    code: int | None
    reason: str
    nodes: str
    comment: str

    @property
    def waits_in_vain(self) -> bool:
        """Whether it is in the queue for a reason that doesn't pass by itself."""
        return self.state == "PENDING" and _IN_VAIN.search(self.reason) is not None

    @property
    def has_begun(self) -> bool:
        """Whether its processes run."""
        return self.state in ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT")

    @property
    def end(self) -> End | None:
        """How it has ended; None as long as it has not, or is queued again."""
        where = f" on {self.nodes}" if self.nodes else ""
        if self.state not in _ENDED:
            return None
        if self.state in _LOST:
            return End("lost", reason=f"{_LOST[self.state]} (SLURM job {self.number}{where})")
        if self.state == "CANCELLED":
            return End("cancelled", reason=f"cancelled (scancel {self.number})")
        if self.state == "OUT_OF_MEMORY":
            asked = "SLURM ended it because it took more memory than it had asked for: see hydra.launcher.mem_gb"
            return End(code=self.code, reason=f"{asked} (job {self.number}{where})")
        if self.state == "DEADLINE":
            return End(code=self.code, reason=f"SLURM job {self.number} could not end before its deadline")
        return End(code=self.code)


class SlurmQueue:
    """The queue of the cluster that this machine is a client of."""

    def require(self) -> None:
        """Be sure that there is a cluster, and that it answers.

        Raises:
            ConfigError: If not.
        """
        missing = [name for name in ("sbatch", "srun", "squeue", "scancel", "sinfo") if shutil.which(name) is None]
        if missing:
            raise ConfigError(f"hydra/launcher=slurm: no {', '.join(missing)} on this machine; {_WAY_OUT}")
        answer = _call("sinfo", "--noheader", "--format=%R")
        if answer.returncode != 0:
            raise ConfigError(f"hydra/launcher=slurm: SLURM does not answer ({_said(answer)}); {_WAY_OUT}")

    def has_gpus(self, partition: str | None) -> bool | None:
        """Whether nodes of a partition, or of any, have GPUs; None where the cluster gives no answer now."""
        chosen = [] if partition is None else [f"--partition={partition}"]
        answer = _call("sinfo", "--noheader", "--format=%G", *chosen)
        return None if answer.returncode != 0 else "gpu" in answer.stdout

    def refusal(self, flags: Mapping[str, Any]) -> str | None:
        """Why the cluster would never take a job with these flags of sbatch; None if it would."""
        answer = _call("sbatch", "--test-only", *arguments(flags), "--wrap=true")
        passing = passes(answer.stderr) or any(words in answer.stderr for words in _BUSY)
        return None if answer.returncode == 0 or passing else _said(answer)

    def look(self, numbers: Sequence[str]) -> dict[str, Entry] | None:
        """Number -> what the cluster says of these jobs; None where it gives no answer now.

        One that ended minutes ago the cluster may have forgotten (MinJobAge): it is missing.
        """
        answer = _call("squeue", "--states=all", f"--jobs={','.join(numbers)}", *_FORMAT)
        if answer.returncode != 0:  # of a single job that it has forgotten, it says so as an error
            return {} if "Invalid job id" in answer.stderr else None
        return {entry.number: entry for entry in _entries(answer.stdout)}

    def under_way(self) -> list[Entry]:
        """This user's jobs that wait or run.

        Raises:
            ConfigError: If the cluster does not answer.
        """
        answer = _call("squeue", f"--user={os.geteuid()}", *_FORMAT)
        if answer.returncode != 0:
            raise ConfigError(f"hydra/launcher=slurm: SLURM does not answer ({_said(answer)})")
        return list(_entries(answer.stdout))

    def stop(self, numbers: Sequence[str], signal_number: int) -> None:
        """Take jobs that wait out of the queue, and send a signal to every process of those that run."""
        _call("scancel", "--quiet", "--state=PENDING", *numbers)
        _call("scancel", "--quiet", f"--signal={signal.Signals(signal_number).name.removeprefix('SIG')}", *numbers)

    def end(self, numbers: Sequence[str]) -> str | None:
        """End jobs at once; returns what the cluster has against it, if anything."""
        if not numbers:
            return None
        # A job as a whole is asked first, and killed half a minute later (KillWait); its steps are not.
        listed = _call("squeue", "--noheader", "--steps", f"--jobs={','.join(numbers)}", "--format=%i").stdout.split()
        if steps := [step for step in listed if step.partition(".")[2].isdecimal()]:
            _call("scancel", "--quiet", "--signal=KILL", *steps)
        answer = _call("scancel", "--quiet", *numbers)
        return None if answer.returncode == 0 else _said(answer)


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """Flags as they are typed."""
    return [f"--{flag}" if value is True else f"--{flag}={value}" for flag, value in flags.items()]


def passes(message: str) -> bool:
    """Whether what sbatch says will not be so for ever: its controller restarts, or a limit is reached for now."""
    return _PASSING.search(message) is not None


def complaint(text: str) -> str:
    """What a command of SLURM's complains of, in a line: before it, a site may greet."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "error:" in line]
    line = (wrong or lines or [""])[-1]
    for opening in ("sbatch: ", "error: ", "allocation failure: "):
        line = line.removeprefix(opening)
    return line


@contextmanager
def outside_of_any_job() -> Iterator[None]:
    """Hide that this process may itself be in a job of SLURM, whose variables sbatch and srun would go by."""
    hidden = {name: value for name, value in os.environ.items() if _is_of_a_job(name)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _is_of_a_job(name: str) -> bool:
    return name.startswith(_OF_A_JOB) and name not in _KEPT


def _call(*command: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not _is_of_a_job(name)}
    try:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
            start_new_session=True,  # a Ctrl-C is for the driver
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {PATIENCE_S:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]}: {error.strerror}")


def _said(answer: "subprocess.CompletedProcess[str]") -> str:
    """Of what a command complains, in a line."""
    return complaint(answer.stderr) or f"exit code {answer.returncode}"


def _entries(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == len(_FIELDS) + 1:
            number, state, status, reason, nodes, comment, _ = cells
            yield Entry(number, state, _code(status), reason, nodes, comment)


def _code(status: str) -> int | None:
    try:
        return os.waitstatus_to_exitcode(int(status))
    except ValueError:
        return None

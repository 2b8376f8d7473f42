"""Under SLURM: where the tasks of a step meet, and how a job that is queued again finds the run it was in."""

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.secrets import masked_override
from strobe.record.find import has_checkpoint
from strobe.record.layout import REPORT
from strobe.record.report import read_report

log = logging.getLogger(__name__)

_RUNS = Path("outputs/train/slurm")
_NAMING = ("hydra.run.dir=", "resume=")  # arguments that find the run again without a note


def tasks(environment: Mapping[str, str] = os.environ) -> int:
    """Of this step; 1 outside SLURM."""
    return _number("SLURM_NTASKS", environment) or 1


def step_directory(environment: Mapping[str, str] = os.environ) -> str | None:
    """The run directory of a step with several tasks, the same for each of them; else None.

    After a requeue it is the one that holds a checkpoint to resume from, or a new one where none does.
    """
    if tasks(environment) < 2 or "SLURM_PROCID" not in environment:
        return None
    first = f"{_RUNS}/{environment['SLURM_JOB_ID']}_{environment.get('SLURM_STEP_ID', '0')}"
    names = [first, *(f"{first}_{restart}" for restart in range(1, _restarts(environment) + 1))]
    return next((name for name in reversed(names) if _is_resumable(Path(name))), names[-1])


def remember(
    directory: Path, environment: Mapping[str, str] = os.environ, arguments: Sequence[str] | None = None
) -> None:
    """Note that this job is in a run, in case the job is queued again: its directory has the time in its name.

    Args:
        directory: Of the run.
        environment: Of the process.
        arguments: Of the command, which may name the run itself; None for this process's.
    """
    named = any(text.startswith(_NAMING) for text in (sys.argv if arguments is None else arguments))
    if not named and (note := _note(directory, environment)):
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(str(directory.resolve()), encoding="utf-8")
        except OSError as error:  # the run can do without
            log.warning("If SLURM queues this job again, it will begin anew: can't write %s: %s", note, error.strerror)


def forget(directory: Path, environment: Mapping[str, str] = os.environ) -> None:
    """The run is over."""
    if note := _note(directory, environment):
        note.unlink(missing_ok=True)


def requeued_directory(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> str | None:
    """The run that this command was in when its job was queued again, if there is one.

    Args:
        arguments: Of the command.
        environment: Of the process.
    """
    if _restarts(environment) < 1:
        return None
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith("hydra.run.dir=")]
    if given:  # one without a checkpoint is begun anew there
        named = _unquoted(given[-1])
        return named if (Path(named) / REPORT).exists() else None
    if (directory := step_directory(environment)) is not None:
        return directory if _is_resumable(Path(directory)) else None
    typed = [argument for argument in arguments if "=" in argument and not argument.startswith(("hydra.", "-"))]
    for note in sorted(_notes(environment).glob("*.run")):
        run = Path(note.read_text(encoding="utf-8"))
        if _overrides(run) == list(map(masked_override, typed)) and _is_resumable(run):
            return str(run)
    return None


def requeue(environment: Mapping[str, str] = os.environ) -> None:
    """Ask SLURM to queue this job again, as Lightning does. It ends this process."""
    job = environment["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        log.error("SLURM did not queue job %s again: %s", job, str(reason).strip())
    else:
        log.info("SLURM job %s is queued again", job)


def _restarts(environment: Mapping[str, str]) -> int:
    return _number("SLURM_RESTART_COUNT", environment)


def _number(variable: str, environment: Mapping[str, str]) -> int:
    """The value of a variable; 0 where it is not set, or to no number."""
    value = environment.get(variable, "")
    return int(value) if value.isdecimal() else 0


def _unquoted(text: str) -> str:
    """The value of an override, as Hydra reads it."""
    quote = text[:1]
    if quote not in ("'", '"') or len(text) < 2 or text[-1] != quote:
        return text
    return text[1:-1].replace(f"\\{quote}", quote)


def _is_resumable(run: Path) -> bool:
    """Whether a run has saved anything: a job that was stopped before its first checkpoint begins anew."""
    return (run / REPORT).exists() and has_checkpoint(run)


def _notes(environment: Mapping[str, str]) -> Path:
    return _RUNS / environment.get("SLURM_JOB_ID", "none")


def _note(directory: Path, environment: Mapping[str, str]) -> Path | None:
    if "SLURM_JOB_ID" not in environment or step_directory(environment) is not None:
        return None
    name = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    return _notes(environment) / f"{name}.run"


def _overrides(run: Path) -> list[str] | None:
    try:
        overrides: list[str] = read_report(run)["overrides"]
    except ConfigError:  # the next one may be readable
        return None
    return overrides

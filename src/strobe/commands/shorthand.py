"""What a person may type in short: `latest` for the newest run of use, a note without quotes; spelt out first."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from strobe.errors import ConfigError
from strobe.machine.rank import process_rank
from strobe.machine.terminal import exit_code, tell
from strobe.record.find import LATEST, OUTPUTS, has_checkpoint

Need = Literal["a checkpoint", "anything to resume"]
"""What a run has to have, for it to be of use to a command."""

_RUNS = ("resume", "init_from")  # keys that take one
_THE_NEWEST = ("latest", "true", "yes", "last", "newest")  # how people say it who come from elsewhere
_OVERRIDE = re.compile(r"([+]{0,2})(\w+)=(.*)", re.DOTALL)
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_SWEEP = re.compile(r"sweep=(?!default$).+")
_QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""", re.DOTALL)


def run_directory(text: str) -> Path:
    """The run directory that was typed, for a command's parser: ``latest`` is the newest one, and is said.

    Raises:
        SystemExit: With code 2, where there is no run yet.
    """
    return _typed(text, None)


def run_with_weights(text: str) -> Path:
    """The same for a command that needs a trained net: ``latest`` is the newest run that has saved one.

    Raises:
        SystemExit: With code 2, where there is none yet.
    """
    return _typed(text, "a checkpoint")


def latest_or(text: str, needs: Need | None = None) -> Path:
    """The same for who handles errors.

    Args:
        text: As typed.
        needs: What the run has to have for its use.

    Raises:
        ConfigError: If there is no such run yet.
    """
    if text != LATEST or Path(text).exists():
        return Path(text)
    from strobe.report.listing import newest_run  # a table's library: not where no run is looked for

    newest = newest_run()
    if newest is None:
        raise ConfigError(f"{LATEST}: there is no run below {OUTPUTS}/ here; name a run directory")
    found = newest if needs is None else newest_run(fits=lambda run: _has(run.directory, run.status, needs))
    if found is None:
        raise ConfigError(f"{LATEST}: no run below {OUTPUTS}/ has {needs}, the newest, {newest}, neither")
    if process_rank() == 0:
        tell(f"{LATEST} is {found}{'' if found == newest else f' ({newest} is newer, and without {needs})'}")
    return found


def _typed(text: str, needs: Need | None) -> Path:
    try:
        return latest_or(text, needs)
    except ConfigError as error:
        raise SystemExit(exit_code(error)) from None


def _has(run: Path, status: str, needs: Need) -> bool:
    """Whether a run has it; one that was ended before its first checkpoint is resumed by beginning anew."""
    return has_checkpoint(run) or (needs == "anything to resume" and status != "completed")


def spelt_out(arguments: Sequence[str]) -> list[str]:
    """A command as it is recorded and given to Hydra: real directories for ``latest``, quotes around a note.

    A note is text for people, with commas and all, and never several values.

    Raises:
        ConfigError: If the newest run is meant, and there is none, or a job that is queued again would find another.
    """
    in_a_sweep = any(argument in ("-m", "--multirun") or _SWEEP.fullmatch(argument) for argument in arguments)
    return [_spelt(argument, in_a_sweep) for argument in arguments]


def _spelt(argument: str, in_a_sweep: bool) -> str:
    found = _OVERRIDE.fullmatch(argument)
    if found is None:
        return argument
    plus, key, value = found.groups()
    if key in _RUNS and value.strip("'\"") == LATEST and not (in_a_sweep and key == "resume"):
        if in_a_sweep:
            raise ConfigError(
                f"{argument}: of a sweep that is typed again, its own jobs are the newest; name the directory"
            )
        directory = str(latest_or(LATEST, "anything to resume" if key == "resume" else "a checkpoint"))
        if "SLURM_JOB_ID" in os.environ and directory != LATEST:
            reason = "SLURM may queue this job again, when another run is the newest"
            raise ConfigError(f"{key}={LATEST}: {reason}; name the directory: {key}={directory}")
        return f"{plus}{key}={directory if key == 'resume' or _PLAIN.fullmatch(directory) else quoted(directory)}"
    if key in _RUNS and value != LATEST and value.lower().lstrip("= ") in _THE_NEWEST and not Path(value).exists():
        raise ConfigError(f"{argument}: names no run; the newest is {key}={LATEST}")
    if key == "note" and not _is_as_hydra_reads_it(value):
        return f"{plus}{key}={quoted(value)}"
    return argument


def _is_as_hydra_reads_it(value: str) -> bool:
    """As no number either: a note is text."""
    return value in ("", "null") or _QUOTED.fullmatch(value) is not None


def quoted(text: str) -> str:
    """Text as a value of an override, whatever it holds."""
    # In front of a quote, and there only, Hydra takes two backslashes for one.
    inside = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", text)
    return "'" + re.sub(r"(\\+)\Z", lambda found: found[1] * 2, inside) + "'"

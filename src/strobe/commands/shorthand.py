"""What a person may type in short: `latest` for the newest run, a note without quotes; spelt out before it is used."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.rank import process_rank
from strobe.machine.terminal import exit_code, tell
from strobe.record.find import LATEST, OUTPUTS

_RUNS = ("resume", "init_from")  # keys that take one
_OVERRIDE = re.compile(r"([+]{0,2})(\w+)=(.*)", re.DOTALL)
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_SWEEP = re.compile(r"sweep=(?!default$).+")
_QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""", re.DOTALL)


def run_directory(text: str) -> Path:
    """The run directory that was typed, for a command's parser: ``latest`` is the newest one, and is said.

    Raises:
        SystemExit: With code 2, where there is no run yet.
    """
    try:
        return latest_or(text)
    except ConfigError as error:
        raise SystemExit(exit_code(error)) from None


def latest_or(text: str) -> Path:
    """The same for who handles errors.

    Raises:
        ConfigError: If there is no run yet.
    """
    if text != LATEST or Path(text).exists():
        return Path(text)
    from strobe.report.listing import newest_run  # a table's library: not where no run is looked for

    found = newest_run()
    if found is None:
        raise ConfigError(f"{LATEST}: there is no run below {OUTPUTS}/ here; name a run directory")
    if process_rank() == 0:
        tell(f"{LATEST} is {found}")
    return found


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
        directory = str(latest_or(LATEST))
        if "SLURM_JOB_ID" in os.environ and directory != LATEST:
            reason = "SLURM may queue this job again, when another run is the newest"
            raise ConfigError(f"{key}={LATEST}: {reason}; name the directory: {key}={directory}")
        return f"{plus}{key}={directory if key == 'resume' or _PLAIN.fullmatch(directory) else quoted(directory)}"
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

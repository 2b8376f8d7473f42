"""Remove runs after asking: `python -m src.rm <run dir...>`, or `python -m src.rm --failed [dir...]`.

With --failed: runs that failed, diverged or ran out of memory, and those that were interrupted or killed before there
was a checkpoint to resume from. Never one that is running. A sweep that is typed again runs the jobs that are gone; of
one without any job what is left goes too.
"""

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from strobe.commands.emptied import is_emptied, remove_emptied
from strobe.commands.parser import Parser
from strobe.commands.shorthand import run_directory
from strobe.errors import ConfigError, require
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer, answer_columns
from strobe.machine.terminal import exit_code, tell
from strobe.machine.text import printable
from strobe.record.find import OUTPUTS, has_checkpoint, run_directories, sweep_directories
from strobe.record.layout import CONFIG, FAILED, REPORT, STOPPED, TOKEN
from strobe.record.lock import RunLock
from strobe.record.report import read_report
from strobe.report.listing import Listed, listed, table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 2 where nobody can be asked, 1 where something is left that should go."""
    parser = Parser("rm", description=__doc__)
    parser.add_argument(
        "directories", nargs="*", type=run_directory, help="runs; with --failed, where to look for them"
    )
    parser.add_argument("--failed", action="store_true", help=f"runs that failed, below {OUTPUTS}/ or the directories")
    parser.add_argument("--yes", action="store_true", help="don't ask, for scripts")
    options = parser.parse_args(arguments)
    if not options.failed and not options.directories:
        parser.error("name a run, or --failed")
    log_to_terminal()
    try:
        if options.failed:
            if not options.directories and not OUTPUTS.is_dir():
                raise ConfigError(f"there is no {OUTPUTS}/ here: name a directory that holds runs")
            found = [run for run in listed(options.directories or [OUTPUTS]) if _is_lost(run)]
        else:
            found = list(_named(options.directories))
        stays = {run.directory: why for run in found if (why := _is_no_run(run) or _holds_more(run.directory))}
        require([] if options.failed else stays.values())
        for why in stays.values():
            tell(printable(f"left: {why}"))
        runs = [run for run in found if run.directory not in stays]
        sweeps = _emptied(runs, (options.directories or [OUTPUTS]) if options.failed else [])
        if not runs and not sweeps:
            return answer("nothing to remove")
        if runs:
            print(table(runs, answer_columns(), whole=False), flush=True)
        for sweep in sweeps:
            print(printable(f"what is left of a sweep without runs: {sweep}"), flush=True)
        if not options.yes and not _agreed(len(runs) + len(sweeps)):
            return answer("nothing was removed")
        return _removed(runs, sweeps, failed=options.failed)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)


def _is_lost(run: Listed) -> bool:
    """Whether nothing can be had from a run any more."""
    if run.status in FAILED:
        return True
    return run.status in ("died", *STOPPED) and not has_checkpoint(run.directory)


def _named(directories: Iterable[Path]) -> Iterable[Listed]:
    """The runs that were named.

    Raises:
        ConfigError: If one is none, is a link, or is running.
    """
    named: dict[Path, Path] = {}
    for directory in directories:
        if directory.is_symlink():
            raise ConfigError(f"{directory} is a link: name the run directory itself")
        named.setdefault(directory.resolve(), directory)
    for directory in named.values():
        report = read_report(directory)
        if report["status"] == "running":
            raise ConfigError(f"{directory} is running: stop it first")
        yield Listed(directory, report)


def _is_no_run(run: Listed) -> str | None:
    """Why a directory is taken for something else, in words, though its report can be read: then it stays.

    Other programs write a report.json with a status, too.
    """
    place = run.directory.resolve()
    if "schema" not in run.report or not {"started", "pid", "overrides"} & set(run.report):
        return f"{run.directory} is no run of Strobe's: its {REPORT} does not tell when and how it began"
    # A sweep writes the report of a job that was killed before it could.
    if not any(os.path.lexists(path) for path in (place / CONFIG, place / ".hydra", place.parent / TOKEN)):
        return f"{run.directory} is no run of Strobe's: it has no {CONFIG}"
    return None


def _holds_more(directory: Path) -> str | None:
    """What a directory has that is not its run's, in words: then it stays."""
    place = directory.resolve()
    if Path.cwd().is_relative_to(place):
        return f"{directory} holds the working directory: it is not removed"
    if (directory / ".git").exists():
        return f"{directory} holds a repository: it is not removed"
    within = (entry for entry in directory.iterdir() if entry.is_dir() and not entry.is_symlink())
    if (other := next((run for entry in within for run in run_directories(entry)), None)) is not None:
        return f"{directory} holds another run, {other}: it is not removed"
    return None


def _agreed(number: int) -> bool:
    """Whether the person at the terminal wants it.

    Raises:
        ConfigError: If there is none.
    """
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask at, and nothing was removed: add --yes")
    what = "this directory with all that it holds" if number == 1 else f"these {number} directories with all they hold"
    print(f"remove {what}? [y/N] ", end="")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _emptied(runs: Sequence[Listed], places: Iterable[Path]) -> list[Path]:
    """Sweeps of which nothing but their own files is left, by now or without these runs."""
    directories = [run.directory for run in runs]
    sweeps = [directory.parent for directory in directories]
    sweeps += [sweep for place in places for sweep in sweep_directories(place)]
    return [sweep for sweep in dict.fromkeys(sweeps) if is_emptied(sweep, directories)]


def _removed(runs: Iterable[Listed], sweeps: Iterable[Path], *, failed: bool) -> int:
    gone, code = 0, 0
    for run in runs:
        try:
            _remove(run.directory, failed=failed)
            gone += 1
        except (ConfigError, OSError, RecursionError) as error:  # the last: of folders that lie in each other
            tell(printable(f"left: {error}"))
            code = 1
    for sweep in sweeps:
        try:
            remove_emptied(sweep)
            gone += 1
        except (ConfigError, OSError) as error:
            tell(printable(f"left: {error}"))
            code = 1
    return answer(f"{gone} removed") or code


def _remove(directory: Path, *, failed: bool) -> None:
    """Remove a run's directory while no process can begin to train there.

    Raises:
        ConfigError: If it is no longer what the person has been shown.
        OSError: If something can't be removed.
    """
    if directory.is_symlink() or not stat.S_ISREG((directory / REPORT).lstat().st_mode):
        raise ConfigError(f"{directory} is a link, or its report is")
    lock = RunLock(directory)
    try:
        run = Listed(directory, read_report(directory))
        if run.status == "running" or (failed and not _is_lost(run)):
            raise ConfigError(f"{directory} is {run.status} by now")
        shutil.rmtree(directory)  # removes links, and follows none
    finally:
        lock.release()

"""One run's page, or runs compared: `python -m src.report <dir...> [--out DIR] [--tag TAG]`, `... --diff A B`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from strobe.commands.filters import add_filters, wanted
from strobe.commands.page import write_run_page
from strobe.commands.parser import Parser
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import run_directory
from strobe.errors import ConfigError
from strobe.machine.collecting import held_off
from strobe.machine.disk import disk_error
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer, answer_columns
from strobe.machine.terminal import exit_code
from strobe.machine.text import printable
from strobe.machine.transient import doing
from strobe.record.layout import REPORT, TOKEN
from strobe.record.report import Report
from strobe.report.listing import Listed, Wanted, journal, listed

_SHOWN = 40  # runs of a journal


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("report", description=__doc__)
    parser.add_argument("directories", nargs="*", type=run_directory, help="runs and sweeps, in any mix")
    parser.add_argument("--out", type=Path, help="where the files go (default: the first directory)")
    parser.add_argument("--diff", nargs=2, type=run_directory, metavar=("A", "B"), help="show how two runs differ")
    parser.add_argument(
        "--no-details", action="store_true", help="of one run: don't test it again for confusions and mistakes"
    )
    add_filters(parser)
    options = parser.parse_args(arguments)
    if not options.diff and not options.directories:
        parser.error("name a run, a sweep, or --diff A B")
    log_to_terminal()
    out = options.out or next(iter(options.directories), Path())
    try:
        for directory in options.diff or options.directories:
            if not directory.is_dir() or options.diff:
                require_run(directory, "report --diff" if options.diff else "report")
        if options.diff:
            from strobe.report.difference import difference  # not for --help

            return answer(difference(*options.diff))
        with doing("comparing the runs and drawing the report"):
            with held_off():
                from strobe.report.write import write_report  # matplotlib: not for --help or --diff

            told, places, known = _looked_up(options.directories, wanted(options))
            is_run = len(options.directories) == 1 and os.path.lexists(options.directories[0] / REPORT)
            compared = told + write_report(places, out, page=not is_run, known=known)
        if is_run:
            write_run_page(options.directories[0], out, in_detail=not options.no_details)
        return answer(f"{compared}\n\nwritten: {printable(str(out))}/report.html, summary.md, summary.csv")
    except OSError as error:
        return exit_code(disk_error(error, out))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)


def _looked_up(directories: Sequence[Path], looked_for: Wanted) -> tuple[str, Sequence[Path], Mapping[Path, Report]]:
    """The runs by date, where that is of use; what is to be compared; and the reports that were read for it."""
    if not looked_for and not any(map(_is_a_journal, directories)):
        return "", directories, {}
    runs = _left(directories, looked_for)
    places = [run.directory for run in runs] if looked_for and runs else directories
    return f"{_by_date(runs)}\n\n", places, {run.directory: run.report for run in runs}


def _is_a_journal(directory: Path) -> bool:
    """Whether a directory holds runs that were begun one by one: it is neither a run nor a sweep."""
    return not any(os.path.lexists(directory / name) for name in (REPORT, TOKEN))


def _left(directories: Sequence[Path], looked_for: Wanted) -> list[Listed]:
    """The runs that are looked for, the newest first.

    Raises:
        ConfigError: If there is none among those that there are.
    """
    runs = listed(directories)
    left = [run for run in runs if looked_for.holds(run)]
    if runs and not left:
        raise ConfigError(f"none of {len(runs)} runs is what --name, --tag, --status, --since and --note ask for")
    return left


def _by_date(runs: Sequence[Listed]) -> str:
    more = [f"... and {len(runs) - _SHOWN} older, see summary.csv"] if len(runs) > _SHOWN else []
    return "\n".join([journal(runs[:_SHOWN], answer_columns()), *more])

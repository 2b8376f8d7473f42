"""Compare runs: `python -m src.report <dir...> [--out DIR]`, `python -m src.report --diff A B`."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from strobe.errors import exit_code
from strobe.machine.disk import as_run_error
from strobe.machine.program import typed
from strobe.machine.text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog=" ".join(typed("report")), description=__doc__)
    parser.add_argument("directories", nargs="*", type=Path, help="runs and sweeps, in any mix")
    parser.add_argument("--out", type=Path, help="where the files go (default: the first directory)")
    parser.add_argument("--diff", nargs=2, type=Path, metavar=("A", "B"), help="show how two runs differ")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    out = options.out or next(iter(options.directories), Path())
    try:
        if options.diff:
            from strobe.report.difference import difference  # not for --help

            print(difference(*options.diff))
        elif options.directories:
            from strobe.report.write import write_report  # matplotlib: not for --help or --diff

            print(f"{write_report(options.directories, out)}\n")
            print(printable(f"written: {out / 'report.html'}, summary.md, summary.csv"))
        else:
            parser.error("name a run, a sweep, or --diff A B")
    except OSError as error:
        return exit_code(as_run_error(error, out))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    return 0

"""Compare runs: `python -m src.report <dir...> [--out DIR]`, `python -m src.report --diff A B`."""

from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.machine.disk import disk_error
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code
from strobe.machine.text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("report", description=__doc__)
    parser.add_argument("directories", nargs="*", type=Path, help="runs and sweeps, in any mix")
    parser.add_argument("--out", type=Path, help="where the files go (default: the first directory)")
    parser.add_argument("--diff", nargs=2, type=Path, metavar=("A", "B"), help="show how two runs differ")
    options = parser.parse_args(arguments)
    if not options.diff and not options.directories:
        parser.error("name a run, a sweep, or --diff A B")
    log_to_terminal()
    out = options.out or next(iter(options.directories), Path())
    try:
        if options.diff:
            from strobe.report.difference import difference  # not for --help

            return answer(difference(*options.diff))
        from strobe.report.write import write_report  # matplotlib: not for --help or --diff

        compared = write_report(options.directories, out)
        return answer(f"{compared}\n\nwritten: {printable(str(out))}/report.html, summary.md, summary.csv")
    except OSError as error:
        return exit_code(disk_error(error, out))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)

"""Compare runs: `python -m src.report <dir...> [--out DIR]`, `python -m src.report --diff A B`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from src.cli import exit_code
from src.record import read_report
from src.report.collect import flat_config
from src.report.write import write_report


def difference(first: Path, second: Path) -> str:
    """How two runs differ: config, environment and metrics, a line each.

    Raises:
        ConfigError: If either is no run.
    """
    lines = []
    reports = [read_report(first), read_report(second)]
    sides = [("config", flat_config(first), flat_config(second))]
    for part in ("environment", "effective", "metrics", "timing"):
        sides.append((part, reports[0].get(part) or {}, reports[1].get(part) or {}))
    sides.append(("", {"status": reports[0]["status"]}, {"status": reports[1]["status"]}))
    for part, left, right in sides:
        for key in dict.fromkeys([*left, *right]):
            if left.get(key) != right.get(key):
                lines.append((f"{part} {key}".strip(), str(left.get(key)), str(right.get(key))))
    if not lines:
        return "no difference"
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    return "\n".join(f"{name:<{widths[0]}}  {left:<{widths[1]}}  {right}" for name, left, right in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.report", description=__doc__)
    parser.add_argument("directories", nargs="*", type=Path, help="runs and sweeps, in any mix")
    parser.add_argument("--out", type=Path, help="where the files go (default: the first directory)")
    parser.add_argument("--diff", nargs=2, type=Path, metavar=("A", "B"), help="show how two runs differ")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        if options.diff:
            print(difference(*options.diff))
        elif options.directories:
            out = options.out or options.directories[0]
            print(write_report(options.directories, out))
            print(f"\nwritten: {out / 'report.html'}, summary.md, summary.csv")
        else:
            parser.error("name a run, a sweep, or --diff A B")
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The flags that choose among runs, for the commands that list them."""

import argparse

from strobe.record.shapes import STATUSES
from strobe.report.listing import Wanted, since


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add them to the command of a parser."""
    parser.add_argument("--name", metavar="TEXT", help="only runs whose name contains this")
    parser.add_argument("--tag", action="append", default=[], help="only runs with this tag; may be repeated")
    parser.add_argument(
        "--status",
        action="append",
        default=[],
        choices=STATUSES,
        metavar="STATUS",
        help=f"only runs that ended so; may be repeated: {', '.join(STATUSES)}",
    )
    parser.add_argument("--since", metavar="WHEN", help="only runs begun since 2026-11-27, today, or 12h, 3d, 2w ago")
    parser.add_argument("--note", metavar="TEXT", help="only runs whose note contains this")


def wanted(options: argparse.Namespace) -> Wanted:
    """What was asked for.

    Raises:
        ConfigError: If ``--since`` is no time.
    """
    begun = None if options.since is None else since(options.since)
    return Wanted(options.name, tuple(options.tag), tuple(options.status), options.note, begun)

"""List runs, the newest first: `python -m src.runs [dir...] [--status failed] [--json]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from strobe.commands.filters import add_filters, wanted
from strobe.commands.parser import Parser
from strobe.errors import ConfigError
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer, answer_columns
from strobe.machine.terminal import exit_code
from strobe.record.find import OUTPUTS
from strobe.report.listing import Listed, listed, table

_SHOWN = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("runs", description=__doc__)
    parser.add_argument("directories", nargs="*", type=Path, help=f"where to look (default: {OUTPUTS}/)")
    add_filters(parser)
    parser.add_argument("--all", action="store_true", help=f"every run, not only the newest {_SHOWN}")
    parser.add_argument("--json", action="store_true", help="print one JSON list of all")
    options = parser.parse_args(arguments)
    log_to_terminal()
    try:
        looked_for = wanted(options)
        if not options.directories and not OUTPUTS.is_dir():
            raise ConfigError(f"there is no {OUTPUTS}/ here: name a directory that holds runs")
        places = options.directories or [OUTPUTS]
        runs = [run for run in listed(places) if looked_for.holds(run)]
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if options.json:
        return answer(json.dumps([_plain(run) for run in runs], indent=2))
    if not runs:
        return answer(f"no {'such ' if looked_for else ''}runs below {', '.join(map(str, places))}")
    shown = runs if options.all else runs[:_SHOWN]
    more = [f"... and {len(runs) - len(shown)} older: --all"] if len(runs) > len(shown) else []
    return answer("\n".join([table(shown, answer_columns()), *more]))


def _plain(run: Listed) -> dict[str, object]:
    report = run.report
    kept = {key: report.get(key) for key in ("status", "name", "tags", "note", "seed", "overrides", "started", "ended")}
    return {"directory": str(run.directory), **kept, "metric": run.metric, "value": run.value}

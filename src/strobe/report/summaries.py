"""A comparison as text: the table on the terminal, `summary.csv` and `summary.md`."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence

from strobe.machine.table import aligned
from strobe.machine.text import printable
from strobe.record.layout import SUCCEEDED, Mode
from strobe.record.report import failure_line
from strobe.report.cells import csv_cell, markdown, markdown_code
from strobe.report.collect import Run, metrics_of, ranked_by
from strobe.report.columns import Columns, columns_of, counts, error_of, statuses, verdicts
from strobe.report.metrics import logged_by
from strobe.report.stats import Group

_SHOWN = 20  # settings in the table on the terminal
_VALUE = 28  # characters of a setting's value there


def terminal_table(runs: Sequence[Run], groups: Sequence[Group], objectives: Mapping[str, Mode] | None = None) -> str:
    """The settings, best first, then what became of the runs that have no objective."""
    columns = columns_of(runs, groups, objectives)
    rows = [["", *columns.header("+-")]]
    places: Counter[str | None] = Counter()
    for setting in groups[:_SHOWN]:
        places[setting.metric] += 1
        place = "" if setting.mode is None else str(places[setting.metric])
        rows.append([place, *(_cut(cell) for cell in columns.row(setting))])
    lines = [aligned(rows)]
    if len(groups) > _SHOWN:
        lines.append(f"... and {len(groups) - _SHOWN} more, see summary.csv")
    return "\n".join([*lines, "", statuses(runs), *map(printable, verdicts(groups))])


def _cut(cell: str) -> str:
    return cell if len(cell) <= _VALUE else f"{cell[: _VALUE - 1]}…"


def spreadsheet(runs: Sequence[Run]) -> str:
    """A row per run, in the order given, with all that it logged."""
    keys, names = list(runs[0].settings), logged_by(runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    before, after = ["directory", "status", *keys, "objective"], ["total_s", "error"]
    taken = {*before, *after}
    header = [*before, *(f"metrics.{name}" if name in taken else name for name in names), *after]
    writer.writerow(map(csv_cell, header))
    for run in runs:
        metrics = run.report.get("metrics") or {}
        cells = [run.settings[key] for key in keys]
        numbers = [run.objective, *(metrics.get(name) for name in names)]
        total = (run.report.get("timing") or {}).get("total_s")
        row = [str(run.directory), run.status, *cells, *numbers, total, failure_line(run.report)]
        writer.writerow(map(csv_cell, row))
    return text.getvalue()


def markdown_summary(runs: Sequence[Run], groups: Sequence[Group], columns: Columns) -> str:
    """The settings, the best run of each metric, and what did not complete.

    Args:
        runs: Best first.
        groups: Their settings, best first.
        columns: Of the table.
    """
    lines = ["# Summary", "", counts(runs), ""]
    if groups:
        header = columns.header("95 % +-", "std")
        lines += ["| " + " | ".join(map(markdown, header)) + " |", "|" + " --- |" * len(header)]
        lines += ["| " + " | ".join(map(markdown, columns.row(setting, std=True))) + " |" for setting in groups]
    metrics, mode_of = metrics_of(runs), ranked_by(runs)
    for metric in metrics:
        ranked = (run for run in runs if run.metric == metric and mode_of(run) is not None)
        by = f" by {markdown(metric)}" if len(metrics) > 1 else ""
        if (best := next(ranked, None)) is not None:
            lines += ["", f"Best run{by}: {markdown_code(str(best.directory))}"]
    for text in verdicts(groups):
        lines += ["", markdown(text)]
    if bad := [run for run in runs if run.status not in SUCCEEDED]:
        lines += ["", "## Not completed", ""]
        lines += [f"- {run.status}: {markdown_code(str(run.directory))} {markdown(error_of(run))}" for run in bad]
    return "\n".join(lines) + "\n"

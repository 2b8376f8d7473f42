"""The page of a comparison: one file that needs nothing beside it, readable on a telephone and with 1,000 runs."""

from collections.abc import Mapping, Sequence

from strobe.report.cells import html_text
from strobe.report.collect import Run
from strobe.report.columns import Columns, bests, counts, error_of, verdicts
from strobe.report.page_parts import document, paragraph, pictures, section, table
from strobe.report.stats import Group, rounded

_TITLE = "Strobe report"
_ROWS = 3000  # of a table; a browser sorts so many at once
_NAME = 24  # characters of a run's name from which on it is broken into lines


def comparison_page(runs: Sequence[Run], groups: Sequence[Group], columns: Columns, drawn: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        runs: Best first.
        groups: Their settings, best first.
        columns: Of its tables.
        drawn: Title -> PNG.
    """
    parts = [f"<h1>{_TITLE}</h1>", paragraph(counts(runs))]
    for name, best, mean in bests(groups, columns):
        parts.append(f"<p>Best: <b>{mean}</b> {html_text(name)} with {html_text(best.label)}.</p>")
    parts += [*map(paragraph, verdicts(groups)), pictures(drawn, "white")]
    if groups:
        parts.append(section("Settings", _settings(groups, columns), _more(len(groups))))
    parts.append(section("Runs", _runs(runs, columns), _more(len(runs))))
    return document(_TITLE, parts, compares=True)


def _settings(groups: Sequence[Group], columns: Columns) -> str:
    rows = [columns.header("95 % ±"), *(columns.row(setting) for setting in groups[:_ROWS])]
    keys = len(columns.keys)
    return table(rows, marks=dict.fromkeys(range(keys), "name") if keys else {0: "number"}, scrolls=True)


def _runs(runs: Sequence[Run], columns: Columns) -> str:
    varying = list(runs[0].settings)
    errors = ["error"] if any(map(error_of, runs)) else []
    rows = [["run", "status", *varying, *columns.metrics, *columns.objectives, *columns.tests, *errors]]
    for run in runs[:_ROWS]:
        settings = (rounded(run.settings[key]) for key in varying)
        rows.append(
            [run.directory.name, run.status, *settings, *columns.measured(run), *(error_of(run) for _ in errors)]
        )
    marks = dict.fromkeys(range(2 + len(varying)), "name")
    if max(len(cells[0]) for cells in rows[1:]) > _NAME:
        marks[0] = "run"
    return table(rows, marks=marks | ({len(rows[0]) - 1: "error"} if errors else {}), scrolls=True)


def _more(total: int) -> str:
    return paragraph(f"... and {total - _ROWS} more, see summary.csv") if total > _ROWS else ""

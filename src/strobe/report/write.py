"""Writes a comparison: `summary.csv`, `summary.md` and one self-contained `report.html`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from strobe.record.files import write_atomically
from strobe.record.find import has_study
from strobe.record.layout import Mode
from strobe.record.report import Report
from strobe.report.collect import collect
from strobe.report.columns import best_first, columns_of
from strobe.report.comparison import comparison_page
from strobe.report.plots import pictures
from strobe.report.stats import group
from strobe.report.summaries import markdown_summary, spreadsheet, terminal_table


def write_report(
    directories: Sequence[Path], out: Path, *, page: bool = True, known: Mapping[Path, Report] | None = None
) -> str:
    """Compare the runs in and below some directories.

    Args:
        directories: Of runs and sweeps.
        out: Where the three files go.
        page: Whether to draw the page; a single run has one of its own.
        known: Reports that were read before, by run directory.

    Returns:
        The comparison as a table for a terminal.

    Raises:
        ConfigError: If there are no runs.
    """
    runs = collect(directories, known)
    groups = group(runs)
    objectives: dict[str, Mode] = {}
    drawn: dict[str, bytes] = {}
    if any(map(has_study, directories)):
        from strobe.report.searches import objectives_of, search_pictures, studies_in  # optuna: as long as all the rest

        studies = studies_in(directories)
        objectives = objectives_of(studies)
        drawn = search_pictures(studies) if page else {}
    columns = columns_of(runs, groups, objectives)
    ordered = best_first(runs)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "summary.csv", spreadsheet(ordered))
    write_atomically(out / "summary.md", markdown_summary(ordered, groups, columns))
    if page:
        drawn |= pictures(runs, groups)
        write_atomically(out / "report.html", comparison_page(ordered, groups, columns, drawn))
    return terminal_table(runs, groups, objectives)

"""Writes a comparison: `summary.csv`, `summary.md` and one self-contained `report.html`."""

import base64
import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from strobe.machine.table import aligned
from strobe.machine.text import printable
from strobe.record.files import write_atomically
from strobe.record.layout import SUCCEEDED
from strobe.record.report import failure_line
from strobe.report.cells import csv_cell, html_text, markdown, markdown_code, number_text
from strobe.report.collect import Run, collect, metrics_of, ranked_by, repetitions_in_words
from strobe.report.importance import importance_pictures
from strobe.report.metrics import columns_of_test, logged_by
from strobe.report.plots import pictures
from strobe.report.stats import Group, group, rounded, verdict

_SHOWN = 20  # settings in the table on the terminal

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; white-space: nowrap; }
td.number, th.number { text-align: right; }
img { background: white; border-radius: 4px; height: auto; max-width: 100%; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
p, figcaption { overflow-wrap: anywhere; } figure { margin: 0; } figcaption { font-size: .9rem; }
"""


def write_report(directories: Sequence[Path], out: Path) -> str:
    """Compare the runs in and below some directories.

    Args:
        directories: Of runs and sweeps.
        out: Where the three files go.

    Returns:
        The comparison as a table for a terminal.

    Raises:
        ConfigError: If there are no runs.
    """
    runs = collect(directories)
    groups = group(runs)
    out.mkdir(parents=True, exist_ok=True)
    ordered = _by_objective(runs)
    write_atomically(out / "summary.csv", _csv(ordered, logged_by(runs)))
    write_atomically(out / "summary.md", _markdown(ordered, groups))
    drawn = pictures(runs, groups) | importance_pictures(directories)
    write_atomically(out / "report.html", _html(ordered, groups, drawn))
    return terminal_table(runs, groups)


def terminal_table(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    """The settings, best first, then what became of the runs that have no objective."""
    keys = groups[0].keys if groups else []
    metrics, tests = _compared(runs, groups), columns_of_test(runs)
    rows = [["", *keys, *metrics, *(["+-"] if metrics else []), "n", *tests, "time"]]
    places: Counter[str | None] = Counter()
    for setting in groups[:_SHOWN]:
        places[setting.metric] += 1
        place = "" if setting.mode is None else str(places[setting.metric])
        interval = [_interval(setting)] if metrics else []
        rows.append([place, *setting.shown, *_means(setting, metrics), *interval, *_numbers(setting, tests)])
    lines = [aligned(rows)]
    if len(groups) > _SHOWN:
        lines.append(f"... and {len(groups) - _SHOWN} more, see summary.csv")
    statuses = Counter(run.status for run in runs)
    lines.append("")
    lines.append(", ".join(f"{number} {status}" for status, number in statuses.most_common()))
    return "\n".join([*lines, *map(printable, _verdicts(groups))])


def _verdicts(groups: Sequence[Group]) -> list[str]:
    """Of each metric, whether its settings are ranked, and its two best can be told apart."""
    rivals: dict[str | None, list[Group]] = {}
    for setting in groups:
        rivals.setdefault(setting.metric, []).append(setting)
    said = {metric: text for metric, settings in rivals.items() if (text := verdict(settings))}
    return [f"{metric}: {text}" if metric is not None and len(rivals) > 1 else text for metric, text in said.items()]


def _compared(runs: Sequence[Run], groups: Sequence[Group]) -> list[str]:
    """The columns for what runs are compared by: none where they completed, and are compared by nothing."""
    return metrics_of(runs) or ([] if groups else ["objective"])


def _means(setting: Group, metrics: Sequence[str]) -> list[str]:
    """A cell per metric; the setting was measured by one of them, if by any."""
    return [number_text(setting.mean) if metric == setting.metric else "" for metric in metrics]


def _interval(setting: Group) -> str:
    return "" if setting.interval is None else number_text(setting.interval, setting.mean)


def _numbers(setting: Group, tests: Sequence[str]) -> list[str]:
    """The other cells of a setting: n, the means of test metrics, time."""
    measured = [run.report.get("metrics") or {} for run in setting.runs]
    cells = []
    for name in tests:
        values = [metrics[name] for metrics in measured if name in metrics]
        cells.append(number_text(sum(values) / len(values)) if values else "")
    seconds = [float((run.report.get("timing") or {}).get("total_s") or 0.0) for run in setting.runs]
    return [str(len(setting.runs)), *cells, f"{sum(seconds) / len(seconds):.1f} s"]


def _by_objective(runs: Sequence[Run]) -> list[Run]:
    """Best first, metric after metric; of each, those that are not ranked last, and after all those without one."""
    order, mode_of = metrics_of(runs), ranked_by(runs)

    def rank(run: Run) -> tuple[int, float]:
        if run.objective is None or run.metric is None:
            return len(order), 0.0
        mode = mode_of(run)
        worth = math.inf if mode is None else -run.objective if mode == "max" else run.objective
        return order.index(run.metric), worth

    return sorted(runs, key=rank)


def _csv(runs: Sequence[Run], names: Sequence[str]) -> str:
    keys = list(runs[0].settings)
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


def _markdown(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    keys = groups[0].keys if groups else []
    metrics, tests = metrics_of(runs), columns_of_test(runs)
    lines = ["# Summary", "", _counts(runs), ""]
    if groups:
        header = [*keys, *metrics, *(["95 % +-", "std"] if metrics else []), "n", *tests, "time"]
        lines += ["| " + " | ".join(map(markdown, header)) + " |", "|" + " --- |" * len(header)]
        for setting in groups:
            std = "" if setting.std is None else number_text(setting.std, setting.mean)
            spread = [_interval(setting), std] if metrics else []
            cells = [*setting.shown, *_means(setting, metrics), *spread, *_numbers(setting, tests)]
            lines.append("| " + " | ".join(map(markdown, cells)) + " |")
    mode_of = ranked_by(runs)
    for metric in metrics:
        ranked = (run for run in runs if run.metric == metric and mode_of(run) is not None)
        by = f" by {markdown(metric)}" if len(metrics) > 1 else ""
        if (best := next(ranked, None)) is not None:
            lines += ["", f"Best run{by}: {markdown_code(str(best.directory))}"]
    for text in _verdicts(groups):
        lines += ["", markdown(text)]
    if bad := [run for run in runs if run.status not in SUCCEEDED]:
        lines += ["", "## Not completed", ""]
        lines += [f"- {run.status}: {markdown_code(str(run.directory))} {markdown(_error(run))}" for run in bad]
    return "\n".join(lines) + "\n"


def _html(runs: Sequence[Run], groups: Sequence[Group], drawn: dict[str, bytes]) -> str:
    metrics, tests = _compared(runs, groups), columns_of_test(runs)
    keys = groups[0].keys if groups else []
    parts = [f"<p>{html_text(_counts(runs))}</p>"]
    for metric in metrics:
        best = next((setting for setting in groups if setting.metric == metric and setting.mode is not None), None)
        if best is not None:
            mean = number_text(best.mean)
            parts.append(f"<p>Best: <b>{mean}</b> {html_text(metric)} with {html_text(best.label)}.</p>")
    parts += [f"<p>{html_text(text)}</p>" for text in _verdicts(groups)]
    if drawn:
        images = [
            f'<figure><figcaption>{html_text(title)}</figcaption><img alt="{html_text(title)}" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></figure>'
            for title, png in drawn.items()
        ]
        parts.append(f'<div class="pictures">{"".join(images)}</div>')
    if groups:
        header = [*keys, *metrics, *(["95 % ±"] if metrics else []), "n", *tests, "time"]
        body = [
            [
                *setting.shown,
                *_means(setting, metrics),
                *([_interval(setting)] if metrics else []),
                *_numbers(setting, tests),
            ]
            for setting in groups
        ]
        parts.append("<h2>Settings</h2>" + _html_table(header, body, text_columns=len(keys)))
    varying = list(runs[0].settings)
    header = ["run", "status", *varying, *metrics, *tests, "error"]
    body = [
        [
            run.directory.name,
            run.status,
            *(rounded(run.settings[key]) for key in varying),
            *("" if run.objective is None or run.metric != name else number_text(run.objective) for name in metrics),
            *(
                "" if (value := (run.report.get("metrics") or {}).get(name)) is None else number_text(value)
                for name in tests
            ),
            _error(run),
        ]
        for run in runs
    ]
    parts.append("<h2>Runs</h2>" + _html_table(header, body, text_columns=2 + len(varying)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Strobe report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Strobe report</h1>{''.join(parts)}</body></html>\n"
    )


def _html_table(header: Sequence[str], body: Sequence[Sequence[str]], *, text_columns: int) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        marks = ["" if index < text_columns else ' class="number"' for index in range(len(cells))]
        return (
            "<tr>"
            + "".join(f"<{tag}{mark}>{html_text(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True))
            + "</tr>"
        )

    return f'<div class="wide"><table>{row(header, "th")}{"".join(row(cells, "td") for cells in body)}</table></div>'


def _counts(runs: Sequence[Run]) -> str:
    statuses = Counter(run.status for run in runs)
    repetitions = {run.repetition for run in runs} - {None}
    repeated = f", {len(repetitions)} {repetitions_in_words(runs)}" if len(repetitions) > 1 else ""
    return f"{len(runs)} runs{repeated}: " + ", ".join(
        f"{number} {status}" for status, number in statuses.most_common()
    )


def _error(run: Run) -> str:
    return failure_line(run.report)[:200]

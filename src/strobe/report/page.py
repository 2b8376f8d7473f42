"""Writes the page of one run: curves, metrics, settings, time, environment, and what its test showed in detail."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from strobe.errors import ConfigError
from strobe.record.config_file import plain_values, read_config
from strobe.record.details import ClassDetails, Details
from strobe.record.epochs import read_epochs
from strobe.record.files import write_atomically
from strobe.record.layout import FAILED, SUCCEEDED
from strobe.record.report import Report, read_report
from strobe.report import details_plots
from strobe.report.cells import html_text, number_text
from strobe.report.details import class_rows, confusion_rows, headline, left_out, number_rows
from strobe.report.metrics import by_split, split_of, without_split
from strobe.report.page_parts import bars, below, document, paragraph, picture, pictures, section, short, table
from strobe.report.page_plots import curves
from strobe.report.page_settings import changed_settings

PAGE = "report.html"

_MESSAGE = 4000  # characters of an error
_ABSENT = "-"
_TITLES = {
    "confusion": "Confusion, coloured by the share of the true class",
    "calibration": "Calibration",
    "predictions": "Predicted against true",
}
_PHASES = {
    "startup_s": "startup",
    "train_s": "training",
    "validation_s": "validation",
    "checkpoint_s": "checkpoints",
    "test_s": "test",
}


def write_page(directory: Path, out: Path, details: Details | None = None, missing: str = "") -> Path:
    """Write the page of a run; returns its path.

    Args:
        directory: The run directory.
        out: The directory that the page goes to.
        details: What its test showed.
        missing: Why there are none, in a line; empty where there is no reason to say so.

    Raises:
        ConfigError: If the directory is not that of a run, or its report is damaged.
    """
    report = read_report(directory)
    written = _written(directory)
    title = str(report.get("name") or directory.resolve().name)
    best = report.get("best")
    timing = report.get("timing") or {}
    rate = timing.get("samples_per_s")
    parts = [
        _head(title, directory, report, written),
        _error(report),
        section("Metrics", _metrics(report), _best(report)),
        section("Curves", pictures(curves(read_epochs(directory), None if best is None else best["epoch"]))),
        section("Test in detail", _details(details), paragraph(missing, "soft") if missing else ""),
        section("Settings that are not the defaults", table(changed_settings(directory), text_columns=3)),
        section("What was asked for, and what was done", _effective(report)),
        '<div class="columns">',
        below("Time", bars(_times(timing)), paragraph(f"{rate:,.0f} examples per second in training.") if rate else ""),
        below("Environment", table(_environment(report), text_columns=2, header=False)),
        "</div>",
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / PAGE, document(title, parts))
    return out / PAGE


def _head(title: str, directory: Path, report: Report, written: Mapping[str, Any]) -> str:
    status = report["status"]
    mark = "good" if status in SUCCEEDED else "bad" if status in (*FAILED, "died") else ""
    note, tags = written.get("note"), report.get("tags") or []
    facts = [
        str(directory.resolve()),
        _when(report.get("started")),
        f"tags: {', '.join(map(str, tags))}" if tags else "",
        f"{report['parameters']:,} parameters" if report.get("parameters") else "",
        f"seed {report['seed']}" if "seed" in report else "",
    ]
    command = (report.get("environment") or {}).get("command")
    return "".join(
        [
            f'<h1>{html_text(short(title))} <span class="status {mark}">{html_text(status)}</span></h1>',
            paragraph(short(str(note)), "big") if note else "",
            paragraph(" · ".join(short(fact) for fact in facts if fact), "soft"),
            f'<p class="soft"><code>{html_text(str(command)[:1000])}</code></p>' if command else "",
        ]
    )


def _error(report: Report) -> str:
    early = report.get("stopped_early")
    said = "" if early is None else paragraph(f"Stopped early by {early['by']}: {early['reason']}")
    if not (error := report.get("error")):
        return said
    lines = "\n".join(map(html_text, f"{error['type']}: {error['message']}"[:_MESSAGE].splitlines()))
    return f"{said}<pre>{lines}</pre>{paragraph('train.log in the run directory has the rest.', 'soft')}"


def _metrics(report: Report) -> str:
    """A row per metric, a column per split."""
    found = report.get("metrics") or {}
    splits = [split for split in ("train", "val", "test") if any(split_of(name) == split for name in found)]
    rows: dict[str, dict[str | None, float]] = {}
    for name in by_split(found):
        rows.setdefault(without_split(name), {})[split_of(name)] = found[name]
    columns: list[str | None] = [*splits, *([None] if any(None in row for row in rows.values()) else [])]
    header = ["metric", *(split or "value" for split in columns)]
    cells = [
        [base, *(number_text(row[split]) if split in row else _ABSENT for split in columns)]
        for base, row in rows.items()
    ]
    return table([header, *cells])


def _best(report: Report) -> str:
    best = report.get("best")
    if best is None or best["metric"] is None or best["value"] is None:
        return ""
    return paragraph(f"Best {best['metric']}: {number_text(best['value'])}, in epoch {best['epoch'] + 1}.")


def _details(details: Details | None) -> str:
    if details is None:
        return ""
    drawn = details_plots.pictures(details, alone=False)
    numbers = () if details.numbers is None else details.numbers.numbers
    titles = _TITLES | {
        f"predictions_{place}": f"{short(each.name)}: predicted against true" for place, each in enumerate(numbers, 1)
    }
    shown = pictures({titles[name]: png for name, png in drawn.items()})
    what = [details.checkpoint, *details.overrides]
    of = paragraph(f"Of {', '.join(what)}.", "soft")
    if details.numbers is not None:
        return table(number_rows(details.numbers)) + shown + of
    assert details.classes is not None, "it holds one of the two"
    classes = details.classes
    words = left_out(classes)
    return "".join(
        [
            paragraph(headline(classes), "big"),
            '<div class="columns">',
            below("Classes", table(class_rows(classes), scrolls=True), paragraph(words) if words else ""),
            below("Most frequent confusions", table(confusion_rows(classes), text_columns=2)),
            "</div>",
            shown,
            paragraph(f"Expected calibration error: {classes.ece:.4f} ({len(classes.bins)} bins)."),
            below("The surest mistakes", _mistakes(classes)),
            of,
        ]
    )


def _mistakes(classes: ClassDetails) -> str:
    figures, rows = [], [["index", "true", "predicted", "probability"]]
    for mistake in classes.mistakes:
        true, predicted = (short(classes.classes[label]) for label in (mistake.true, mistake.predicted))
        if mistake.picture is None:
            rows.append([str(mistake.index), true, predicted, f"{mistake.probability:.4f}"])
        else:
            text = f"{true}, taken for {predicted}\n{mistake.probability:.1%} sure, index {mistake.index}"
            figures.append(picture(text, mistake.picture))
    return (f'<div class="mistakes">{"".join(figures)}</div>' if figures else "") + table(rows, text_columns=3)


def _effective(report: Report) -> str:
    asked, done = report.get("requested") or {}, report.get("effective") or {}
    rows = [["", "asked for", "done"]]
    differs = []
    for key in dict.fromkeys([*asked, *done]):
        row = [str(key), *(str(side[key]) if key in side else _ABSENT for side in (asked, done))]
        rows.append(row)
        if key in asked and key in done and row[1] not in ("auto", row[2], row[2].removesuffix("-true")):
            differs.append(len(rows) - 1)
    return table(rows, text_columns=3, differs=differs)


def _times(timing: Mapping[str, float]) -> list[tuple[str, str, float]]:
    total = timing.get("total_s") or 0.0
    phases = [(words, timing[name]) for name, words in _PHASES.items() if name in timing]
    if total and (rest := total - sum(seconds for _, seconds in phases)) >= 0.05:
        phases.append(("other", rest))
    rows = [(words, f"{seconds:,.2f} s", seconds / total if total else 0.0) for words, seconds in phases]
    if total:
        rows.append(("total", f"{total:,.2f} s", 1.0))
    return rows


def _environment(report: Report) -> list[list[str]]:
    found = report.get("environment") or {}
    return [[str(key), str(value)] for key, value in found.items() if value is not None and key != "command"]


def _when(started: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(started)).astimezone():%Y-%m-%d %H:%M}" if started else ""
    except (ValueError, OverflowError, OSError):
        return ""


def _written(directory: Path) -> Mapping[str, Any]:
    """The config as it was written; empty where it can't be read."""
    try:
        return plain_values(read_config(directory))
    except ConfigError:
        return {}

"""Draws a comparison as bars: `python -m strobe.benchmark.chart report.json chart.svg`, or beside it by itself."""

import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas

from strobe.benchmark.output import read, shown
from strobe.benchmark.rounds import Figure, Result
from strobe.record.files import replacing

CHART = "chart.svg"

_WIDTH, _BAR, _MARGIN = 7.2, 0.32, 0.75  # inches
_OURS, _OTHERS = "#2563eb", "#9ca3af"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "strobe",
    "font.size": 9,
}  # text as text; the same file each time


def draw(result: Result, path: Path, note: str = "") -> None:
    """Write the picture: a row of bars for each unit, with the range over the rounds.

    Args:
        result: What was measured.
        path: Of an SVG file, or of another that matplotlib writes.
        note: A line below.

    Raises:
        OSError: If it can't be written.
    """
    units: dict[str, list[Figure]] = {}
    for figure in result.figures:
        units.setdefault(figure.unit, []).append(figure)
    height = sum(_BAR * len(figures) + _MARGIN for figures in units.values()) + 0.5
    with matplotlib.rc_context(_SETTINGS):
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        shares = [_BAR * len(figures) + _MARGIN for figures in units.values()]
        rows = canvas.subplots(len(units), 1, squeeze=False, gridspec_kw={"height_ratios": shares})[:, 0]
        for axes, (unit, figures) in zip(rows, units.items(), strict=True):
            for place, figure in enumerate(figures):
                low, high = min(figure.values), max(figure.values)
                spread = [[figure.median - low], [high - figure.median]] if high > low else None
                color = _OURS if "strobe" in figure.name or unit == "x" else _OTHERS
                axes.barh(place, figure.median, height=0.7, color=color, xerr=spread, ecolor="#374151", capsize=2)
                free = (max(high, figure.target or 0), place)
                axes.annotate(shown(figure.median), free, (4, 0), textcoords="offset points", va="center")
                if figure.target is not None:
                    axes.plot([figure.target] * 2, [place - 0.42, place + 0.42], color="#dc2626", linewidth=1.5)
            if unit == "x":
                axes.axvline(1, color="#374151", linewidth=0.8, linestyle=":")
            axes.set_yticks(range(len(figures)), [figure.name for figure in figures])
            axes.invert_yaxis()
            axes.set_xlabel("ratio; red: target" if unit == "x" else unit)
            axes.set_xlim(0, 1.15 * max(max(*figure.values, figure.target or 0) for figure in figures))
            axes.spines[["top", "right"]].set_visible(False)
        canvas.suptitle(result.title, fontsize=10)
        if note:
            canvas.supxlabel(note, fontsize=8)
        with replacing(path, ending=path.suffix) as temporary:
            canvas.savefig(temporary, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None)


def redraw(report: Path, path: Path) -> None:
    """Draw what was kept; see `strobe.benchmark.output.write`.

    Raises:
        OSError: If a file can't be read or written.
        ValueError: If it is no benchmark's report.
    """
    result, content = read(report)
    machine, versions = content["machine"], content["versions"]
    rounds = f"{content['rounds']} round{'s' if content['rounds'] > 1 else ''}{', quick' if content['quick'] else ''}"
    parts = [f"medians of {rounds}", f"{machine['available']} cores, {machine['cpu']}", f"torch {versions['torch']}"]
    draw(result, path, "; ".join(parts))


if __name__ == "__main__":
    redraw(Path(sys.argv[1]), Path(sys.argv[2]))

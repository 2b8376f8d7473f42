"""The page of a comparison: one file that needs nothing beside it, readable on a telephone and with 1,000 runs."""

import base64
import hashlib
from collections.abc import Mapping, Sequence

from strobe.report.cells import html_text
from strobe.report.collect import Run
from strobe.report.columns import Columns, bests, counts, error_of, verdicts
from strobe.report.stats import Group, rounded

_ROWS = 3000  # of a table; a browser sorts so many at once
_LONG = 20  # rows from which on a table scrolls within the page, and can be filtered
_NAME = 24  # characters of a run's name from which on it is broken into lines
_BROAD = 960  # pixels from which on a picture gets a row of its own

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 86rem; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.wide { max-width: 100%; overflow-x: auto; } .long { max-height: 75vh; overflow-y: auto; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; white-space: nowrap; }
th { background: Canvas; position: sticky; top: 0; } tr:hover td { background: #8881; }
th[aria-sort] { cursor: pointer; } th[aria-sort=ascending]::after { content: " ▲"; }
th[aria-sort=descending]::after { content: " ▼"; }
td.number, th.number { text-align: right; } td.run { max-width: 24rem; min-width: 12rem; white-space: normal; }
td.error { min-width: 16rem; white-space: normal; }
input { font: inherit; margin-bottom: .5rem; max-width: 100%; padding: .2rem .5rem; }
img { background: white; border-radius: 4px; display: block; height: auto; max-width: 100%; width: 100%; }
.pictures { display: grid; gap: 1.5rem 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.broad { grid-column: 1 / -1; }
p, figcaption, td { overflow-wrap: anywhere; } figure { margin: 0; min-width: 0; }
figcaption { font-size: .9rem; margin-bottom: .25rem; }
@media print { .long { max-height: none; } input { display: none; } }
@media (prefers-color-scheme: dark) { img { filter: brightness(.85); } }
@media (max-width: 30rem) { body { padding: .75rem; } th, td { padding: .3rem .4rem; }
  table { font-size: .8rem; } }
"""

# A click on a header sorts, numbers as numbers and empty cells last; what is typed leaves the rows that hold it.
_SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map(row => {
        const text = row.cells[column].textContent, number = parseFloat(text);
        return [text, number, row];
      });
      keyed.sort(([a, x], [b, y]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) || a.localeCompare(b) : x - y;
        return down ? -order : order;
      });
      body.append(...keyed.map(each => each[2]));
    };
    head.setAttribute("aria-sort", "none");
    head.tabIndex = 0;
    head.title = "sort";
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
  if (!table.parentElement.classList.contains("long")) continue;
  const box = document.createElement("input");
  box.type = "search";
  box.placeholder = "filter " + body.rows.length + " rows";
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(" ");
    for (const row of body.rows) {
      const text = [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
  table.parentElement.before(box);
}
"""


def comparison_page(runs: Sequence[Run], groups: Sequence[Group], columns: Columns, drawn: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        runs: Best first.
        groups: Their settings, best first.
        columns: Of its tables.
        drawn: Title -> PNG.
    """
    parts = [f"<p>{html_text(counts(runs))}</p>"]
    for name, best, mean in bests(groups, columns):
        parts.append(f"<p>Best: <b>{mean}</b> {html_text(name)} with {html_text(best.label)}.</p>")
    parts += [f"<p>{html_text(text)}</p>" for text in verdicts(groups)]
    if drawn:
        parts.append(f'<div class="pictures">{"".join(_figure(title, png) for title, png in drawn.items())}</div>')
    if groups:
        body = [columns.row(setting) for setting in groups[:_ROWS]]
        parts.append(_table("Settings", columns.header("95 % ±"), body, len(groups), text_columns=len(columns.keys)))
    varying = list(runs[0].settings)
    errors = ["error"] if any(map(error_of, runs)) else []
    header = ["run", "status", *varying, *columns.metrics, *columns.objectives, *columns.tests, *errors]
    body = [
        [
            *(run.directory.name, run.status),
            *(rounded(run.settings[key]) for key in varying),
            *columns.measured(run),
            *(error_of(run) for _ in errors),
        ]
        for run in runs[:_ROWS]
    ]
    parts.append(_table("Runs", header, body, len(runs), text_columns=2 + len(varying)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Strobe report</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Strobe report</h1>{''.join(parts)}"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _policy() -> str:
    """Nothing is fetched, and no script runs but the one above, whatever a name in the page may hold."""
    script, style = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (_SCRIPT, _STYLE))
    return f"default-src 'none'; img-src data:; script-src 'sha256-{script}'; style-src 'sha256-{style}'"


def _figure(title: str, png: bytes) -> str:
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))  # of the header of a PNG
    broad = ' class="broad"' if width > _BROAD else ""
    return (
        f'<figure{broad}><figcaption>{html_text(title)}</figcaption><img alt="{html_text(title)}" '
        f'width="{width}" height="{height}" src="data:image/png;base64,{base64.b64encode(png).decode()}"></figure>'
    )


def _table(title: str, header: Sequence[str], body: Sequence[Sequence[str]], total: int, *, text_columns: int) -> str:
    """A table under its title, of whose rows there are ``total``."""
    kinds = ["" if index < text_columns else ' class="number"' for index in range(len(header))]
    if title == "Runs":
        kinds[0] = ' class="run"' if max(len(cells[0]) for cells in body) > _NAME else ""
        kinds[-1] = ' class="error"' if header[-1] == "error" else kinds[-1]

    def row(cells: Sequence[str], tag: str) -> str:
        marked = zip(cells, kinds, strict=True)
        return f"<tr>{''.join(f'<{tag}{kind}>{html_text(cell)}</{tag}>' for cell, kind in marked)}</tr>"

    more = f"<p>... and {total - len(body)} more, see summary.csv</p>" if total > len(body) else ""
    size = "wide long" if len(body) > _LONG else "wide"
    rows = "".join(row(cells, "td") for cells in body)
    return (
        f'<h2>{title}</h2><div class="{size}"><table><thead>{row(header, "th")}</thead>'
        f"<tbody>{rows}</tbody></table></div>{more}"
    )

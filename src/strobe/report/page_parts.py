"""The pieces that a run's page is made of: text, tables, pictures, each made harmless."""

import base64
from collections.abc import Iterable, Mapping, Sequence

from strobe.report.cells import html_text

_LONGEST = 300  # characters of a cell

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bar: #4a8fd0; --bad: #d0453b; --good: #2e9e5b; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { border-top: 1px solid var(--line); font-size: 1.15rem; margin: 2rem 0 .5rem; padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, li, figcaption { overflow-wrap: anywhere; }
.soft { opacity: .75; font-size: .9rem; }
.status { border-radius: 1rem; color: white; background: #777; font-size: .85rem; padding: .15rem .7rem; }
.status.good { background: var(--good); } .status.bad { background: var(--bad); }
.big { font-size: 1.3rem; margin: .3rem 0; }
.wide { overflow-x: auto; } .tall { max-height: 34rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; } td.number, th.number { text-align: right; white-space: nowrap; }
td.name { overflow-wrap: normal; white-space: nowrap; } tr.differs td { font-weight: 600; }
pre { background: var(--soft); border-left: 3px solid var(--bad); overflow-x: auto; padding: .6rem .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: 0; } img { height: auto; max-width: 100%; }
.pictures { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.pictures, .mistakes { margin: 1.2rem 0; }
.pictures img { width: 100%; max-width: 32rem; } .pictures figcaption { font-weight: 600; font-size: .95rem; }
.mistakes { display: grid; gap: .8rem .6rem; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); }
.mistakes img { aspect-ratio: 1; background: #8883; image-rendering: pixelated; object-fit: contain; width: 100%; }
.mistakes figcaption { font-size: .8rem; line-height: 1.3; }
.columns { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.bar { background: var(--bar); border-radius: 2px; display: block; height: .7rem; margin-top: .35rem; min-width: 1px; }
.share { width: 10rem; max-width: 30vw; }
@media (max-width: 30rem) { th, td { padding: .25rem .35rem; } table { font-size: .85rem; } }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """A page that needs no other file, and runs and loads nothing."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what is below it; nothing where there is nothing below it."""
    return f"<h2>{html_text(title)}</h2>{''.join(parts)}" if any(parts) else ""


def below(title: str, *parts: str) -> str:
    """The same, one level down."""
    return f"<div><h3>{html_text(title)}</h3>{''.join(parts)}</div>" if any(parts) else ""


def paragraph(text: str, mark: str = "") -> str:
    """A paragraph, of a CSS class."""
    return f"<p{_class(mark)}>{html_text(text)}</p>"


def picture(title: str, png: bytes, alt: str | None = None) -> str:
    """A figure; the picture is in the page itself."""
    source = base64.b64encode(png).decode()
    caption = "<br>".join(map(html_text, title.splitlines()))
    return (
        f'<figure><figcaption>{caption}</figcaption><img alt="{html_text(alt or title)}" '
        f'src="data:image/png;base64,{source}"></figure>'
    )


def pictures(drawn: Mapping[str, bytes]) -> str:
    """Pictures by title, as many beside each other as there is room for."""
    inside = "".join(picture(title, png) for title, png in drawn.items())
    return f'<div class="pictures">{inside}</div>' if inside else ""


def table(rows: Sequence[Sequence[str]], *, text_columns: int = 1, differs: Sequence[int] = ()) -> str:
    """A table whose first row is its header; nothing where there is nothing below it.

    Args:
        rows: Of equally many cells.
        text_columns: How many of them, from the left, hold text, not numbers.
        differs: Numbers of the rows to stand out, the header being 0.
    """
    if len(rows) < 2:
        return ""
    lines = []
    for place, cells in enumerate(rows):
        tag = "th" if place == 0 else "td"
        marks = ["name" if column == 0 else "" if column < text_columns else "number" for column in range(len(cells))]
        inside = "".join(
            f"<{tag}{_class(mark)}>{html_text(short(cell))}</{tag}>" for cell, mark in zip(cells, marks, strict=True)
        )
        lines.append(f"<tr{_class('differs' if place in differs else '')}>{inside}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def bars(rows: Sequence[tuple[str, str, float]]) -> str:
    """A table of names and values with a bar for each share in [0, 1]."""
    lines = "".join(
        f'<tr><td class="name">{html_text(name)}</td><td class="number">{html_text(value)}</td>'
        f'<td class="share"><span class="bar" style="width:{100 * min(1.0, max(0.0, share)):.1f}%"></span></td></tr>'
        for name, value, share in rows
    )
    return f'<div class="wide"><table>{lines}</table></div>' if lines else ""


def short(text: str) -> str:
    """A text that has to fit into a cell."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _class(mark: str) -> str:
    return f' class="{mark}"' if mark else ""

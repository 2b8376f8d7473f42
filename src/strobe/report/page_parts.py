"""The pieces that every page is made of: text, tables, pictures, each made harmless."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from strobe.report.cells import html_text
from strobe.report.page_style import SCRIPT, STYLE

_LONGEST = 300  # characters of a cell
_LONG = 20  # rows from which on a table scrolls within the page, and can be filtered
_BROAD = 960  # pixels from which on a picture gets a row of its own


def document(title: str, parts: Iterable[str], *, compares: bool = False) -> str:
    """A page that needs no other file and loads nothing, whatever a name in it may hold.

    Args:
        title: Of the window.
        parts: What is in it.
        compares: Whether it is broad, and its tables are sorted by a click and filtered; else nothing in it runs.
    """
    script = f"<script>{SCRIPT}</script>" if compares else ""
    runs = f"script-src {_hash(SCRIPT)}; " if compares else ""
    policy = f"default-src 'none'; img-src data:; {runs}style-src {_hash(STYLE)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body{_class('broad' if compares else '')}>{''.join(parts)}{script}"
        "</body></html>\n"
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


def picture(title: str, png: bytes) -> str:
    """A figure; the picture is in the page itself."""
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))  # of the header of a PNG
    size = f' width="{width}" height="{height}"' if width and height else ""
    caption = "<br>".join(map(html_text, title.splitlines()))
    return (
        f"<figure{_class('broad' if width > _BROAD else '')}><figcaption>{caption}</figcaption>"
        f'<img alt="{html_text(title)}"{size} src="data:image/png;base64,{base64.b64encode(png).decode()}"></figure>'
    )


def pictures(drawn: Mapping[str, bytes], mark: str = "") -> str:
    """Pictures by title, as many beside each other as there is room for.

    Args:
        drawn: Title -> PNG.
        mark: ``white`` for those that are made to lie on white; others may lie on a dark page.
    """
    inside = "".join(picture(title, png) for title, png in drawn.items())
    return f'<div class="{f"pictures {mark}".strip()}">{inside}</div>' if inside else ""


def table(
    rows: Sequence[Sequence[str]],
    *,
    text_columns: int = 1,
    header: bool = True,
    marks: Mapping[int, str] | None = None,
    differs: Sequence[int] = (),
    scrolls: bool = False,
) -> str:
    """A table; nothing where there is nothing below its header.

    Args:
        rows: Of equally many cells, the header first.
        text_columns: How many of them, from the left, hold text, not numbers.
        header: Whether there is one.
        marks: Number of a column -> its CSS class, where that isn't ``name`` for the first, ``number`` for numbers.
        differs: Numbers of the rows to stand out, the first being 0.
        scrolls: Whether it moves within the page where it is long, and doesn't make the page longer.
    """
    if len(rows) <= header:
        return ""
    usual = {column: "name" if column == 0 else "number" for column in range(len(rows[0]))}
    usual |= dict.fromkeys(range(1, text_columns), "")
    classes = list((usual | dict(marks or {})).values())
    lines = [
        _row(cells, classes, "th" if header and place == 0 else "td", "differs" if place in differs else "")
        for place, cells in enumerate(rows)
    ]
    head = f"<thead>{lines.pop(0)}</thead>" if header else ""
    size = "table long" if scrolls and len(lines) > _LONG else "table"
    return f'<div class="{size}"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def bars(rows: Sequence[tuple[str, str, float]]) -> str:
    """A table of names and values with a bar for each share in [0, 1]."""
    lines = "".join(
        f'<tr><td class="name">{html_text(name)}</td><td class="number">{html_text(value)}</td><td class="share">'
        f'<svg><rect width="{100 * min(1.0, max(0.005, share)):.1f}%" height="100%" rx="2"/></svg></td></tr>'
        for name, value, share in rows
    )
    return f'<div class="table"><table><tbody>{lines}</tbody></table></div>' if lines else ""


def short(text: str) -> str:
    """A text that has to fit into a cell."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _class(mark: str) -> str:
    return f' class="{mark}"' if mark else ""


def _row(cells: Sequence[str], classes: Sequence[str], tag: str, mark: str) -> str:
    inside = ""
    for cell, each in zip(cells, classes, strict=True):
        text = html_text(short(cell))
        text = text.replace(",", ",<wbr>") if each == "run" else text  # settings, one after the other
        inside += f"<{tag}{_class(each)}>{text}</{tag}>"
    return f"<tr{_class(mark)}>{inside}</tr>"


def _hash(text: str) -> str:
    """The only script or style that may be in a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

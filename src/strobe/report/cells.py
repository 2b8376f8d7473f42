"""Text of runs in tables and pages: what a name, a value or an error holds is shown there, and does nothing."""

import html
import re

from strobe.machine.text import printable

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001  # the wide ones are taken for the others
_MARKS = re.compile(r"[\\`*<>&|~]|\](?=[(\[:])")


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers.

    Source: OWASP, CSV Injection.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def number_text(value: float, like: float | None = None) -> str:
    """A number to four decimals, or to four digits where those would hide it: an error may be of any size.

    Args:
        value: The number.
        like: One whose size decides, as the mean does for its interval; None for the number itself.
    """
    size = abs(value if like is None else like)
    return f"{value:.4f}" if size == 0 or 1e-2 <= size < 1e6 else f"{value:.4g}"


def markdown(text: str) -> str:
    """Text within a line of Markdown: no tag, no link, no code, no end of a cell."""
    return _MARKS.sub(r"\\\g<0>", printable(text))


def markdown_code(text: str) -> str:
    """Text as code within a line of Markdown, whatever backticks it has."""
    shown = printable(text)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}" if longest else f"`{shown}`"


def html_text(text: str) -> str:
    """Text within a page, or within a quoted attribute."""
    return html.escape(printable(text))

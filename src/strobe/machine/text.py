"""Text that a file or a person supplied, made harmless for a terminal, a log and a page."""

import re

# What steers a terminal (C0, DEL, C1), ends a line, turns the direction of writing, can't be seen, or can't be encoded.
# Joiners (U+200C, U+200D) are left: scripts and emoji are written with them.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with every character that is not to be printed shown as an escape, ``\x1b`` or ``\u202e``.

    Args:
        text: From a file, a report, a command line.
        lines: Whether it may have several: newlines and tabs are kept then.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if lines and found[0] in "\n\t" else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

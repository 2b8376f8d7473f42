"""The nearest right word, and lists that fit a line."""

import difflib
from collections.abc import Iterable, Sequence

_LINE = 100  # characters of a list that are read


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, if one is like it; upper and lower case are alike."""
    candidates = list(known)
    alike = {_plain(key): key for key in reversed(candidates)}
    lower = _plain(word)
    if lower in alike:
        return alike[lower]
    # A right key without its parent, or under a wrong one (`lr` for `optimizer.lr`).
    last = lower.rpartition(".")[2]
    endings = [key for key in candidates if key.lower().rpartition(".")[2] == last]
    if endings and "." not in word:
        return endings[0]
    if close := difflib.get_close_matches(lower, alike, n=1, cutoff=0.65):
        return alike[close[0]]
    if endings:
        return endings[0]
    lasts = {key.lower().rpartition(".")[2]: key for key in reversed(candidates)}
    close = difflib.get_close_matches(last, lasts, n=1, cutoff=0.75)
    return lasts[close[0]] if close else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def listed(names: Sequence[str]) -> str:
    """Names with commas between them; of more than fit a line the first, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if shown and len(", ".join([*shown, name])) > _LINE:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more (--help shows them)"
        shown.append(name)
    return ", ".join(shown)

"""Where runs are: those below a directory, however deep; one walk for every command that looks for them."""

import os
from collections.abc import Iterator
from pathlib import Path

from strobe.record.layout import BENCHMARK, CHECKPOINTS, PLACE, REPORT, STUDY, TOKEN

OUTPUTS = Path("outputs")
"""Where runs go, in the directory where a command is typed."""

LATEST = "latest"
"""Stands for the newest run, wherever a run directory goes."""

_PUT_AWAY = ".replaced"  # what a sweep began anew


def run_directories(directory: Path) -> Iterator[Path]:
    """The run directories in and below a directory, those with the later names first.

    Links are not followed, what a sweep put away and folders that can't be read are passed over, and a run is not
    looked into.
    """
    yield from (place for place, marker in _marked(directory) if marker == REPORT)


def sweep_directories(directory: Path) -> Iterator[Path]:
    """The sweeps' directories in and below a directory, as `run_directories` finds runs."""
    yield from (place for place, marker in _marked(directory) if marker == TOKEN)


def _marked(directory: Path) -> Iterator[tuple[Path, str]]:
    """Directories with the file that tells what they are."""
    to_visit = [directory]  # no recursion: folders may lie in each other more deeply than Python calls
    while to_visit:
        place = to_visit.pop()
        try:
            if os.path.lexists(place / REPORT):  # most have one: to list what else they hold takes longer
                if not os.path.lexists(place / BENCHMARK):
                    yield place, REPORT
                continue
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            if any(entry.name == TOKEN for entry in found):
                yield place, TOKEN
            to_visit += [place / entry.name for entry in found if _may_hold_runs(entry)]
        except OSError:
            continue


def has_checkpoint(run: Path) -> bool:
    """Whether a run has saved anything that it can be resumed from or evaluated with."""
    return any((run / CHECKPOINTS).glob("*.ckpt"))


def has_study(directory: Path) -> bool:
    """Whether a directory is that of a search."""
    return any(os.path.lexists(directory / name) for name in (STUDY, PLACE))


def _may_hold_runs(entry: os.DirEntry[str]) -> bool:
    return entry.name != _PUT_AWAY and entry.is_dir(follow_symlinks=False)

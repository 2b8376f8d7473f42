"""The best checkpoints of a run, beside its last one: which, and where they lie."""

import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from strobe.errors import CheckpointError
from strobe.record.checkpoints import copy_checkpoint, load_checkpoint
from strobe.record.files import replacing
from strobe.record.layout import BEST, CHECKPOINTS, LAST, Mode
from strobe.record.report import Best
from strobe.record.shapes import is_best

log = logging.getLogger(__name__)

_BEST = f"{CHECKPOINTS}/{BEST}"


class KeptCheckpoints:
    """The ``keep`` best checkpoints of a run, best first. The best one is always `best.ckpt`.

    Each is a copy of `last.ckpt`, taken right after that was written. A process killed in between leaves a `last.ckpt`
    that names itself a best one: `settle` does then what was left to do.

    Args:
        directory: The run directory.
        keep: How many; -1 for all.
        mode: Whether more or less of the monitored value is better.

    Attributes:
        entries: What is kept, best first.
    """

    def __init__(self, directory: Path, *, keep: int, mode: Mode) -> None:
        self.directory = directory
        self.keep = keep
        self.mode = mode
        self.entries: list[Best] = []

    @property
    def best(self) -> Best | None:
        """The best one."""
        return self.entries[0] if self.entries else None

    def rank_of(self, value: float | None) -> int | None:
        """At which place a checkpoint with this monitored value would be kept, 0 for the best; None for none."""
        if self.best is None or self.best["value"] is None:
            return 0  # while the monitored metric has not been seen, the newest weights are the best
        if value is None or not math.isfinite(value):
            return None
        known = [entry["value"] for entry in self.entries if entry["value"] is not None]
        rank = sum(not (value > old if self.mode == "max" else value < old) for old in known)
        return rank if self.keep == -1 or rank < self.keep else None

    def add(self, entry: Best, rank: int, *, saved: bool) -> Best:
        """Keep a checkpoint, which is still to be written.

        Args:
            entry: What it is; its ``checkpoint`` is filled in.
            rank: From `rank_of`.
            saved: Whether there are checkpoints at all.
        """
        if saved:
            entry["checkpoint"] = self._name(entry)
        unseen = self.best is not None and self.best["value"] is None
        kept = [] if unseen else self.entries
        kept = [*kept[:rank], entry, *kept[rank:]]
        self.entries = kept if self.keep == -1 else kept[: self.keep]
        return entry

    def write(self, entry: Best, source: Path) -> None:
        """Make a checkpoint, such as `last.ckpt` as it is now, that of an entry; delete those that are kept no more."""
        copy_checkpoint(source, self.directory / self._name(entry))
        if self.keep != 1 and entry is self.best:
            _link(self.directory / self._name(entry), self.directory / _BEST)
        if self.keep != -1:  # to look through all of them takes ever longer
            self._remove_others()

    def settle(self, newest: Path, step: int) -> None:
        """Bring the files in step with the entries, which are those of the checkpoint that a run is resumed from.

        Where that is not `last.ckpt`, which was damaged then, it becomes that.

        Args:
            newest: That checkpoint.
            step: It was taken after so many steps.
        """
        if newest.name != LAST:
            copy_checkpoint(newest, newest.with_name(LAST))
        found = []
        for entry in self.entries:
            if entry["checkpoint"] is None:
                found.append(entry)
                continue
            old, entry["checkpoint"] = self.directory / entry["checkpoint"], self._name(entry)
            if _step_of(old) == entry["step"]:
                if old != self.directory / entry["checkpoint"]:
                    _link(old, self.directory / entry["checkpoint"])
            elif entry["step"] == step:
                copy_checkpoint(newest, self.directory / entry["checkpoint"])
            else:
                log.warning("The checkpoint of step %d, one of the best, is lost: it is left out", entry["step"])
                continue
            found.append(entry)
        self.entries = found
        if self.best is not None and self.best["checkpoint"] not in (None, _BEST):
            _link(self.directory / str(self.best["checkpoint"]), self.directory / _BEST)
        self._remove_others()

    def _name(self, entry: Best) -> str:
        if self.keep == 1:
            return _BEST
        return f"{CHECKPOINTS}/epoch={entry['epoch']:04d}-step={entry['step']:06d}.ckpt"

    def _remove_others(self) -> None:
        kept = {self.directory / str(entry["checkpoint"]) for entry in self.entries}
        for path in (self.directory / CHECKPOINTS).glob("epoch=*-step=*.ckpt"):
            if path not in kept:
                path.unlink(missing_ok=True)


def kept_entries(state: Mapping[str, Any]) -> list[Best]:
    """The entries that a checkpoint names.

    Raises:
        CheckpointError: If one is none, or lies outside the run directory.
    """
    entries = state["kept"]
    if odd := [entry for entry in entries if not is_best(entry)]:
        raise CheckpointError(f"the checkpoint names a best one that can't be: {odd[0]!r:.200}")
    return [cast(Best, dict(entry)) for entry in entries]


def _step_of(path: Path) -> int | None:
    """After how many steps a checkpoint was taken; None where there is none that can be read."""
    try:
        return int(load_checkpoint(path)["global_step"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None


def _link(source: Path, target: Path) -> None:
    """Give a file that is never written to again a second name; a copy where the file system knows no such thing."""
    if target.exists() and target.samefile(source):  # to rename one name of a file to another of its names does nothing
        return
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)

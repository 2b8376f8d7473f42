"""Details of a test that a run's directory holds: whether its page shows them, and whether it is tested again."""

import logging
from dataclasses import dataclass
from pathlib import Path

from strobe.errors import ConfigError
from strobe.record.details import DETAILS, FOLDER, Details, read_details
from strobe.record.layout import BEST, CHECKPOINTS
from strobe.record.report import read_report

log = logging.getLogger(__name__)

_OF_THE_MACHINE = ("trainer.accelerator", "data.root", "data.num_workers", "data.eval_batch_size")
_TESTED = ("test/acc", "test/rmse")  # what a run has logged that there are details of, and that was to be tested


@dataclass(frozen=True)
class Kept:
    """What a run's directory holds, as far as its page is concerned.

    Attributes:
        details: Of the run's own test; None where there are none, or they are older than its checkpoint.
        is_to_be_tested: Whether they are to be had by testing it again.
        may_be_replaced: Whether new ones may take the place of what is there: details of something else stay.
    """

    details: Details | None
    is_to_be_tested: bool = False
    may_be_replaced: bool = False


def kept_details(directory: Path) -> Kept:
    """Look at what is there; damaged details count as none, with a notice.

    Args:
        directory: The run directory.

    Raises:
        ConfigError: If the directory is not that of a run, or its report is damaged.
    """
    try:
        there = read_details(directory / FOLDER / DETAILS)
    except ConfigError as error:
        log.warning("%s", error)
        there = None
    own = there is not None and _is_of_own_test(there)
    if own and not _is_outdated(directory):
        return Kept(there)
    tested = any(name in (read_report(directory).get("metrics") or {}) for name in _TESTED)
    return Kept(None, tested, (own or there is None) and not (directory / FOLDER).is_symlink())


def _is_of_own_test(details: Details) -> bool:
    """Whether they are of the best checkpoint on all of the run's own test data, wherever it was tested."""
    changed = (override.lstrip("+").partition("=")[0] for override in details.overrides)
    return details.checkpoint == BEST and all(key in _OF_THE_MACHINE for key in changed)


def _is_outdated(directory: Path) -> bool:
    """Whether the checkpoint is newer; one that is gone is not."""
    try:
        return (directory / CHECKPOINTS / BEST).stat().st_mtime > (directory / FOLDER / DETAILS).stat().st_mtime
    except OSError:
        return False

"""The page of one run, for `report`: with what its test showed in detail, for which it is tested again if need be."""

import logging
from pathlib import Path

from strobe.errors import ConfigError, first_line
from strobe.machine.text import printable
from strobe.record.details import DETAILS, FOLDER, Details, read_details
from strobe.record.layout import BEST, CHECKPOINTS
from strobe.record.report import read_report

log = logging.getLogger(__name__)

_OF_THE_MACHINE = ("trainer.accelerator", "data.root", "data.num_workers", "data.eval_batch_size")
_TESTED = ("test/acc", "test/rmse")  # what a run has logged that there are details of, and that was to be tested


def write_run_page(directory: Path, out: Path, *, in_detail: bool = True) -> Path:
    """Write the page of a run; returns its path.

    Args:
        directory: The run directory.
        out: Where the page goes; if that is the run directory, details that had to be computed are kept there.
        in_detail: Whether to show the details of its test.

    Raises:
        ConfigError: If the directory is not that of a run, or its report is damaged.
    """
    from strobe.report.page import write_page  # matplotlib: not for --help

    details, missing = _details(directory, keep=out.resolve() == directory.resolve()) if in_detail else (None, "")
    return write_page(directory, out, details, missing)


def _details(directory: Path, *, keep: bool) -> tuple[Details | None, str]:
    """The details of a run's own test, and else, where there should be some, why there are none."""
    try:
        there = read_details(directory / FOLDER / DETAILS)
    except ConfigError as error:
        log.warning("%s", error)
        there = None
    own = there is not None and _is_of_own_test(there)
    if there is not None and own and not _is_outdated(directory):
        return there, ""
    if not any(name in (read_report(directory).get("metrics") or {}) for name in _TESTED):
        return None, ""
    log.warning("Testing %s again for its page (--no-details leaves that out)", printable(str(directory)))
    try:
        # torch: not for runs that have no test, or were looked at before
        from strobe.report.details import write_details
        from strobe.run.details import evaluate_in_detail

        tested = evaluate_in_detail(directory, download=False)
        if keep and (own or there is None) and not (directory / FOLDER).is_symlink():
            write_details(tested.details, tested.predictions, directory / FOLDER)
    except Exception as error:  # whatever a config of anyone's leads to: the rest of the page is worth having
        why = printable(f"No details of the test: {first_line(error)}")
        log.warning("%s", why)
        return None, why
    return tested.details, ""


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

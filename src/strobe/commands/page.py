"""The page of one run, for `report`: with what its test showed in detail, for which it is tested again if need be."""

import logging
from pathlib import Path

from strobe.commands.surroundings import importing
from strobe.errors import first_line
from strobe.machine.text import printable
from strobe.record.details import FOLDER, Details
from strobe.report.kept import kept_details

log = logging.getLogger(__name__)


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
    there = kept_details(directory)
    if not there.is_to_be_tested:
        return there.details, ""
    log.warning("Testing %s again for its page (--no-details leaves that out)", printable(str(directory)))
    try:
        with importing():  # not for runs that have no test, or were looked at before
            from strobe.report.details import write_details
            from strobe.run.details import evaluate_in_detail

        tested = evaluate_in_detail(directory, download=False)
        if keep and there.may_be_replaced:
            write_details(tested.details, tested.predictions, directory / FOLDER)
    except Exception as error:  # whatever a config of anyone's leads to: the rest of the page is worth having
        why = printable(f"No details of the test: {first_line(error)}")
        log.warning("%s", why)
        return None, why
    return tested.details, ""

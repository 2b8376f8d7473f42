"""What each field of a report has to be. Checked once, where a report is read: everyone else relies on it."""

import math
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, get_args

from strobe.errors import EndStatus
from strobe.record.layout import CHECKPOINTS

_DEPTH = 20  # levels of mappings and lists; a report of ours has four
_LARGEST = 1e60  # a float32 ends at 3e38; the squares of these are floats
_WHOLE = 2**63  # whole numbers beyond this are no count of anything
_PIDS = 2**31

STATUSES = ("running", "completed", "died", *get_args(EndStatus))
"""What a report can say; a job that waits has none."""


def tidy(value: Any, depth: int = _DEPTH) -> Any:
    """JSON that was read, without what can't be used: odd numbers are None, text that can't be encoded is mended.

    Raises:
        ValueError: If it is nested too deeply.
    """
    if depth < 0:
        raise ValueError(f"it is nested more than {_DEPTH} levels deep")
    if isinstance(value, dict):
        return {tidy(key): tidy(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [tidy(item, depth - 1) for item in value]
    if isinstance(value, str):
        # \ud800 in JSON is half a character.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if abs(value) < _LARGEST else None
    return value if not isinstance(value, int) or abs(value) < _WHOLE else None


def wrong_fields(report: Mapping[str, Any]) -> list[str]:
    """The known fields of a report that are not what they have to be, each in a few words; others may be anything."""
    return [
        f"{key}: {_shown(report[key])} is not {allowed}"
        for key, (holds, allowed) in _FIELDS.items()
        if key in report and not holds(report[key])
    ]


def is_best(value: object) -> bool:
    """Whether it is an entry for one of the best checkpoints, which lies in the run directory."""
    return (
        isinstance(value, Mapping)
        and "metric" in value
        and (value["metric"] is None or isinstance(value["metric"], str))  # None: the newest is the best
        and value.get("mode", "max") in ("min", "max")  # early reports lack it
        and (value.get("value") is None or _is_number(value.get("value")))
        and _is_count(value.get("epoch"))
        and _is_count(value.get("step"))
        and "checkpoint" in value
        and (value["checkpoint"] is None or _is_checkpoint(value["checkpoint"]))
    )


def _is_checkpoint(value: object) -> bool:
    """Whether it is ``checkpoints/<file>``, whatever the system: nothing outside, nothing further in."""
    if not isinstance(value, str) or "\0" in value or "\\" in value or len(value) > 255:
        return False
    parts = PurePosixPath(value).parts
    return len(parts) == 2 and parts[0] == CHECKPOINTS and parts[1] != ".."


def _is_early_stop(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(value.get(key), str) for key in ("by", "reason"))
        and all(_is_count(value.get(key)) for key in ("epoch", "step"))
    )


def _is_failure(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(key), str) for key in ("type", "message"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _WHOLE


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _all(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _numbers(value: object) -> bool:
    # A NaN is written as null.
    return isinstance(value, Mapping) and all(number is None or _is_number(number) for number in value.values())


def _or_null(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or holds(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "status": (lambda value: isinstance(value, str) and value in STATUSES, f"one of {', '.join(STATUSES)}"),
    "schema": (_is_count, "a whole number"),
    "name": (_or_null(_is_text), "a text"),
    "note": (_or_null(_is_text), "a text"),
    "tags": (_all(lambda value: not isinstance(value, list | Mapping)), "a list of words"),
    "seed": (_is_count, "a whole number"),
    "config_hash": (_is_text, "a text"),
    "repetitions": (_all(_is_text), "a list of settings"),
    "overrides": (_all(_is_text), "a list of overrides"),
    "metrics": (_numbers, "a mapping of numbers"),
    "objective": (_or_null(_is_number), "a number"),
    "objective_metric": (_or_null(_is_text), "a text"),
    "objective_mode": (lambda value: value in (None, "min", "max"), "min or max"),
    "best": (_or_null(is_best), f"a checkpoint in {CHECKPOINTS}/ with its metric, value, epoch and step"),
    "kept": (_all(is_best), f"a list of checkpoints in {CHECKPOINTS}/"),
    "stopped_early": (_or_null(_is_early_stop), "what stopped the run, why and when"),
    "requested": (_is_mapping, "a mapping"),
    "effective": (_is_mapping, "a mapping"),
    "timing": (_numbers, "a mapping of numbers"),
    "parameters": (_or_null(_is_count), "a whole number"),
    "environment": (_is_mapping, "a mapping"),
    "pid": (lambda value: _is_count(value) and 0 < int(str(value)) < _PIDS, "the number of a process"),
    "host": (_is_text, "a text"),
    "started": (_is_text, "a time"),
    "heartbeat": (_is_text, "a time"),
    "ended": (_or_null(_is_text), "a time"),
    "error": (_or_null(_is_failure), "a type and a message"),
}

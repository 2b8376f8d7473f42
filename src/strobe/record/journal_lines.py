"""The lines of a search's journal: what each has to hold, and what a journal is without the damaged ones."""

import json
import math
import re
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import CategoricalDistribution, json_to_distribution
from optuna.trial import TrialState

Record = dict[str, Any]

# What a line does, as Optuna numbers it. A journal of ours has one study, so a trial's number is its id too.
CREATE_STUDY, STUDY_ATTR, STUDY_SYSTEM_ATTR, CREATE_TRIAL = 0, 2, 3, 4
PARAM, STATE, INTERMEDIATE, ATTR, SYSTEM_ATTR = 5, 6, 7, 8, 9

NOTHING: Record = {"op_code": STUDY_ATTR, "worker_id": "", "study_id": -1, "user_attr": {"": None}}
"""A record that does nothing: it is about no study."""

_FURTHER = 8  # trials whose creation may have been lost without a trace
_SUM = re.compile(rb',"crc":"([0-9a-f]{8})"\}\r?\n?')


def line_of(record: Record) -> bytes:
    """A record as a line, with its checksum; Optuna passes over a key that it doesn't know."""
    text = json.dumps(record, separators=(",", ":")).encode()
    return text[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(text)


def record_of(line: bytes) -> Record | None:
    """The record that a line holds; None where it is damaged. One without a checksum has to look like a record."""
    place = line.rfind(b',"crc":"')
    found = _SUM.fullmatch(line, place) if place >= 0 else None
    text = line if found is None else line[:place] + b"}"
    if found is not None and zlib.crc32(text) != int(found[1], 16):
        return None
    try:
        record = json.loads(text)
        return record if isinstance(record, dict) and _CHECKS[record["op_code"]](record) else None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None


def of_one_study(records: Sequence[Record], name: str, directions: Sequence[int]) -> list[Record]:
    """Those of the records that belong to the study of a journal.

    Args:
        records: Of the journal.
        name: Of the study.
        directions: Of its objectives, in case that the journal has lost them.
    """
    own = [record for record in records if record["op_code"] != CREATE_STUDY or record["study_name"] == name]
    made = next((record for record in own if record["op_code"] == CREATE_STUDY), None)
    objectives = len(directions if made is None else made["directions"])
    kept, trials = [], set()
    for record in own:
        fits = record["op_code"] != STATE or record["values"] is None or len(record["values"]) == objectives
        if record.get("study_id", 0) != 0 or not fits:
            continue
        if record["op_code"] == CREATE_TRIAL:
            trial = json.dumps(record)
            if trial in trials:  # to the microsecond: the line is there twice
                continue
            trials.add(trial)
        kept.append(record)
    return kept


def in_order(records: Sequence[Record]) -> bool:
    """Whether the study and each trial are made before anything is said of them: no such line is lost."""
    created = 0
    for record in records:
        created += record["op_code"] == CREATE_TRIAL
        if record.get("trial_id", -1) >= created:
            return False
    return not records or records[0]["op_code"] == CREATE_STUDY


def reordered(records: Sequence[Record], name: str, directions: Sequence[int], lost: int) -> list[Record]:
    """The same journal, whatever lines are lost: first all that is made, so that each line is about its own trial.

    Args:
        records: What is left.
        name: Of the study.
        directions: Of its objectives.
        lost: How many lines are.
    """
    if not records:
        return []
    studies = [record for record in records if record["op_code"] == CREATE_STUDY]
    trials = [record for record in records if record["op_code"] == CREATE_TRIAL]
    rest = [record for record in records if record["op_code"] not in (CREATE_STUDY, CREATE_TRIAL)]
    # A number beyond what can have been lost is itself the damage.
    rest = [record for record in rest if record.get("trial_id", -1) < len(trials) + lost + _FURTHER]
    count = max([len(trials), *(record["trial_id"] + 1 for record in rest if "trial_id" in record)])
    study = {"op_code": CREATE_STUDY, "worker_id": "", "study_name": name, "directions": list(directions)}
    now = datetime.now(UTC).isoformat()
    made = [
        {"op_code": CREATE_TRIAL, "worker_id": f"{number}", "study_id": 0, "datetime_start": now}
        for number in range(len(trials), count)
    ]
    return [studies[0] if studies else study, *trials, *made, *rest]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_time(value: Any) -> bool:
    datetime.fromisoformat(value).astimezone()  # raises
    return True


def _study(record: Record) -> bool:
    directions = record["directions"]
    return bool(isinstance(record["study_name"], str) and directions and all(type(d) is int for d in directions)) and (
        set(directions) <= {1, 2}
    )


def _trial(record: Record) -> bool:
    if type(record["study_id"]) is not int or not _is_time(record["datetime_start"]):
        return False
    return "state" not in record or _added_trial(record)


def _added_trial(record: Record) -> bool:
    """Of a trial that was not asked for: someone has added it, with all that is known of it."""
    values = record["values"] if record["value"] is None else [record["value"]]
    params = [
        {
            "trial_id": 0,
            "param_name": name,
            "param_value_internal": value,
            "distribution": record["distributions"][name],
        }
        for name, value in record["params"].items()
    ]
    mappings = all(isinstance(record[key], dict) for key in ("user_attrs", "system_attrs", "intermediate_values"))
    return mappings and all(map(_param, params)) and _state({**record, "trial_id": 0, "values": values})


def _param(record: Record) -> bool:
    distribution, value = json_to_distribution(record["distribution"]), record["param_value_internal"]
    if not _is_count(record["trial_id"]) or not isinstance(record["param_name"], str) or not _is_finite(value):
        return False
    if isinstance(distribution, CategoricalDistribution):
        return bool(0 <= value < len(distribution.choices))
    distribution.to_external_repr(value)
    return True


def _state(record: Record) -> bool:
    state, values = TrialState(record["state"]), record["values"]
    if not _is_count(record["trial_id"]) or type(record["state"]) is not int:
        return False
    if state.is_finished() or state == TrialState.RUNNING:
        _is_time(record["datetime_complete" if state.is_finished() else "datetime_start"])
    if values is None:
        return state != TrialState.COMPLETE
    return state in (TrialState.COMPLETE, TrialState.PRUNED) and bool(values) and all(map(_is_finite, values))


def _intermediate(record: Record) -> bool:
    number = type(record["intermediate_value"]) in (int, float)  # NaN too
    return number and _is_count(record["trial_id"]) and type(record["step"]) is int


def _attribute(owner: str, name: str) -> Callable[[Record], bool]:
    def check(record: Record) -> bool:
        known = type(record[owner]) is int if owner == "study_id" else _is_count(record[owner])
        return known and isinstance(record[name], dict) and len(record[name]) == 1

    return check


_CHECKS: dict[int, Callable[[Record], bool]] = {
    CREATE_STUDY: _study,
    STUDY_ATTR: _attribute("study_id", "user_attr"),
    STUDY_SYSTEM_ATTR: _attribute("study_id", "system_attr"),
    CREATE_TRIAL: _trial,
    PARAM: _param,
    STATE: _state,
    INTERMEDIATE: _intermediate,
    ATTR: _attribute("trial_id", "user_attr"),
    SYSTEM_ATTR: _attribute("trial_id", "system_attr"),
}

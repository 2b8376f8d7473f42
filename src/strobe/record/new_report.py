"""The report that a run begins with."""

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from strobe.machine.secrets import masked_override, redacted
from strobe.record.alive import slurm_life
from strobe.record.environment import environment
from strobe.record.identity import config_hash
from strobe.record.layout import SCHEMA
from strobe.record.report import Report, now


def new_report(config: Mapping[str, Any], overrides: Iterable[str], resolved: Mapping[str, Any]) -> Report:
    """The report of a run that begins now.

    Args:
        config: As it is written down.
        overrides: What was typed.
        resolved: The config with all its values, which tells experiments apart.
    """
    return {
        "schema": SCHEMA,
        "status": "running",
        "name": config.get("name"),
        "tags": [tags] if isinstance(tags := config.get("tags") or [], str) else list(tags),
        "note": None if config.get("note") is None else redacted(str(config["note"])),
        "seed": int(resolved["seed"]),
        "config_hash": config_hash(resolved),
        "repetitions": list((config.get("sweep") or {}).get("repetitions") or ["seed"]),
        "overrides": list(map(masked_override, overrides)),
        "metrics": {},
        "objective": None,
        "objective_metric": None,
        "objective_mode": None,
        "best": None,
        "stopped_early": None,
        "requested": {},
        "effective": {},
        "timing": {},
        "parameters": None,
        "environment": environment() | slurm_life(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": now(),
        "heartbeat": now(),
        "ended": None,
        "error": None,
    }

"""What a comparison prints and keeps: a table of 80 columns, and a file with every value and where it was measured."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strobe.benchmark.rounds import Effort, Figure, Result
from strobe.machine.devices import available_cpus, visible_gpus
from strobe.record.environment import environment
from strobe.record.files import write_atomically
from strobe.record.layout import BENCHMARK, REPORT

SCHEMA = 1
"""Of the file; a number more where a key changes its meaning."""

_NAME, _VALUE, _SPREAD = 39, 11, 17  # columns
_NO_MATTER = ("command", "host", "cwd")  # of an environment: they tell of a person, not of speed
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_PROC_BIND")


def now() -> dict[str, Any]:
    """The time, and how busy the machine is: processes that run or wait to, over 1, 5 and 15 minutes."""
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "load": load}


def table(result: Result, effort: Effort) -> str:
    """Medians, from the least to the most, and the targets; no line is over 80 columns."""
    return "\n".join([f"{result.title}:", f"{effort.in_words}.", "", *_lines(result.figures)])


def _lines(figures: Sequence[Figure]) -> Iterator[str]:
    ratios = False
    targets = any(figure.target is not None for figure in figures)
    yield f"{'':<{_NAME}} {'median':>{_VALUE}} {'min .. max':>{_SPREAD}} {'target' if targets else '':>7}".rstrip()
    for figure in figures:
        if figure.unit == "x" and not ratios:
            ratios = True
            yield ""
        name = figure.name if len(figure.name) <= _NAME else f"{figure.name[: _NAME - 3]}..."
        spread = f"{shown(min(figure.values))} .. {shown(max(figure.values))}" if len(figure.values) > 1 else ""
        value = f"{shown(figure.median)} {figure.unit}"
        target = "" if figure.target is None else shown(figure.target)
        verdict = {True: " +", False: " -", None: ""}[figure.met]
        yield f"{name:<{_NAME}} {value:>{_VALUE}} {spread:>{_SPREAD}} {target:>7}{verdict}".rstrip()
    if targets:
        yield "\n+ reached, - missed"


def shown(value: float) -> str:
    """A number in three digits or so."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or not value else 3
    return f"{value:,.{digits}f}"


def write(directory: Path, result: Result, effort: Effort, began: dict[str, Any], torch_threads: int) -> Path:
    """Keep a result in a directory, marked as that of no run.

    Args:
        directory: Made if it isn't there.
        result: What was found.
        effort: How.
        began: From `now`, before.
        torch_threads: Threads that PyTorch takes where nothing is said.

    Raises:
        OSError: If it can't be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / BENCHMARK).touch()
    content = {
        "schema": SCHEMA,
        "benchmark": result.what,
        "title": result.title,
        "quick": effort.quick,
        "rounds": effort.rounds,
        "warm_up": effort.warm_up,
        "began": began,
        "ended": now(),
        "machine": machine(),
        "threads": {"torch": torch_threads, **{name: os.environ[name] for name in _THREADS if name in os.environ}},
        "versions": {key: value for key, value in environment().items() if key not in _NO_MATTER},
        "figures": [_figure(figure) for figure in result.figures],
    }
    path = directory / REPORT
    write_atomically(path, json.dumps(content, indent=2) + "\n")
    return path


def read(path: Path) -> tuple[Result, dict[str, Any]]:
    """A result that was kept, and all that was kept with it.

    Raises:
        OSError: If it can't be read.
        ValueError: If it is none, or of another schema.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or "benchmark" not in content or content.get("schema") != SCHEMA:
        raise ValueError(f"{path}: is no benchmark's report of schema {SCHEMA}")
    keys = ("name", "unit", "values", "target", "more")
    figures = [Figure(**{key: figure[key] for key in keys}) for figure in content["figures"]]
    return Result(content["benchmark"], content["title"], figures), content


def machine() -> dict[str, Any]:
    """The processor, its cores, those of them that may be used, and memory in GiB."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "available": available_cpus(),
        "memory_gib": round(pages / 2**30, 1) or None,
        "gpus": len(visible_gpus()),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": figure.median,
        "min": min(figure.values),
        "max": max(figure.values),
        "values": list(figure.values),
        "target": figure.target,
        "more": figure.more,
        "met": figure.met,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())

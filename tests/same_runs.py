"""Whether two directories hold the same runs, digit for digit: `python -m tests.same_runs BEFORE AFTER`.

For a change that must not change results: record the same commands before and after it, then compare. What can't be
equal is left out: times, paths, the process, versions and commit, and the hash of a config whose classes were renamed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from strobe.record.epochs import read_epochs
from strobe.record.layout import BEST, CHECKPOINTS, LAST, REPORT

_NOT_COMPARED = ("timing", "environment", "pid", "host", "started", "heartbeat", "ended", "config_hash", "overrides")
_OF_THE_MACHINE = ("threads_wait",)  # it depends on what else is busy, and no number on it
_ONLY_IN_ONE = ("objective_mode", "mode")  # keys that reports have had only since some version


def differences(before: Path, after: Path) -> list[str]:
    """What differs between the runs below two directories, a line each."""
    runs = [{path.parent.relative_to(top) for path in top.rglob(REPORT)} for top in (before, after)]
    lines = [f"{run}: only in one" for run in sorted(runs[0] ^ runs[1])]
    for run in sorted(runs[0] & runs[1]):
        sides = [top / run for top in (before, after)]
        for what, read in (("epochs", _epochs), ("report", _report), ("weights", _weights)):
            if read(sides[0]) != read(sides[1]):
                lines.append(f"{run}: {what}")
    return lines


def _epochs(run: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_epochs(run)]


def _report(run: Path) -> Any:
    return _without(json.loads((run / REPORT).read_text()), {*_NOT_COMPARED, *_OF_THE_MACHINE, *_ONLY_IN_ONE})


def _without(node: Any, keys: set[str]) -> Any:
    return (
        {key: _without(value, keys) for key, value in node.items() if key not in keys}
        if isinstance(node, dict)
        else node
    )


def _weights(run: Path) -> dict[str, bytes]:
    weights = {}
    for name in (BEST, LAST):
        path = run / CHECKPOINTS / name
        state = torch.load(path, weights_only=True)["state_dict"] if path.exists() else {}
        weights |= {f"{name} {key}": value.numpy().tobytes() for key, value in state.items()}
    return weights


def main(before: str, after: str) -> int:
    """The command; returns 0 where nothing differs."""
    lines = differences(Path(before), Path(after))
    count = len(list(Path(before).rglob(REPORT)))
    print("\n".join(lines) if lines else f"{count} runs, equal digit for digit")
    return 1 if lines or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

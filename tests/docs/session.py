"""Runs commands one after the other, each in a fork of this process, which has imported torch: seconds for each.

Reads a JSON list of ``command`` and ``arguments``; prints each again as a line of JSON, with its ``code`` and what it
``said`` in the end.
"""

import json
import os
import runpy
import sys
import tempfile
import time
from typing import Any

import lightning  # noqa: F401  imported once, for all
import torch
import torchmetrics  # noqa: F401
from matplotlib import pyplot  # noqa: F401

_END = 3000  # characters of what a command says


def _run(command: str, arguments: list[str]) -> int:
    """Be the command, as `python -m src.<command>` makes it; returns its exit code."""
    sys.argv = [f"src/{command}.py", *arguments]
    try:
        runpy.run_module(f"src.{command}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _in_a_fork(asked: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = os.fork()
        if process == 0:
            code = 70
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                code = _run(asked["command"], asked["arguments"])
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(process, 0)
        output.seek(0)
        said = output.read()[-_END:]
    return {**asked, "code": os.waitstatus_to_exitcode(status), "said": said, "s": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in json.load(sys.stdin):
        print(json.dumps(_in_a_fork(each)), flush=True)

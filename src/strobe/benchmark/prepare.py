"""Sees that MNIST is there, and prints the threads that PyTorch takes where nothing is said.

A process of its own, since what measures is to stay small: a child's peak of memory begins with its parent's.
"""

import json
import sys
from pathlib import Path

import torch

from strobe.data.idx import MNIST
from strobe.errors import RunError
from strobe.machine.terminal import exit_code


def main(root: Path) -> int:
    """Prepare; returns the exit code."""
    try:
        MNIST().prepare(root, download=True)
    except RunError as error:
        return exit_code(error)
    print(json.dumps({"threads": torch.get_num_threads()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

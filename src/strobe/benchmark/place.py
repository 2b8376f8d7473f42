"""Where a comparison takes place: a directory for what its commands write, the data sets, how much is measured."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strobe.benchmark.child import PYTHON, STROBE, Done, run, surroundings
from strobe.benchmark.rounds import Effort


@dataclass(frozen=True)
class Place:
    """What every comparison is given.

    Attributes:
        scratch: A directory that is deleted afterwards.
        root: Where MNIST is.
        effort: How much is measured.
        beside: Another checkout of this framework, to measure in the same rounds; or None.
    """

    scratch: Path
    root: Path
    effort: Effort
    beside: Path | None = None

    def prepare(self) -> int:
        """Fetch MNIST where it is not there.

        Returns:
            The threads that PyTorch takes where nothing is said.

        Raises:
            SubjectError: If it can't be had.
        """
        done = run([PYTHON, "-m", "strobe.benchmark.prepare", str(self.root)], self.scratch)
        threads: int = json.loads(done.output.splitlines()[-1])["threads"]
        return threads

    def new(self) -> Path:
        """An empty directory."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    def train(self, overrides: Sequence[str], *, other: bool = False, shown: bool = False, gpus: bool = False) -> Done:
        """A run or a sweep of this framework, or of that in the other checkout, in an empty directory."""
        environment = surroundings(self.beside if other else None, gpus=gpus)
        return run([*STROBE, "train", *overrides], self.new(), environment, shown=shown)

    def script(self, module: str, *arguments: str, gpus: bool = False) -> Done:
        """A subject written for the comparison, in an empty directory."""
        return run([PYTHON, "-m", f"strobe.benchmark.{module}", *arguments], self.new(), surroundings(gpus=gpus))

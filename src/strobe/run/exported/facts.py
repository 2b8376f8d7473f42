"""What an exported net's inputs and outputs mean, and where it comes from: told in the file, and beside it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strobe.record.environment import installed_version
from strobe.record.report import read_report
from strobe.run.saved import SavedNet


@dataclass(frozen=True)
class Facts:
    """Of one exported file.

    Attributes:
        net: The net.
        raw: Whether it takes pictures of 0 to 255, and its normalization is inside.
        shape: Of one input; None for a side of any length.
        dtype: Of the inputs, as numpy calls it.
        output_shape: Of one output.
        origin: From `origin_of`.
    """

    net: SavedNet
    raw: bool
    shape: tuple[int | None, ...]
    dtype: str
    output_shape: tuple[int, ...]
    origin: Mapping[str, Any]

    @property
    def input_name(self) -> str:
        """What the net's input is called in the file."""
        return "images" if len(self.net.shape) == 3 else "inputs"

    @property
    def normalized(self) -> bool:
        """Whether mean and std are those of the net's inputs, and not of pictures that it makes of other inputs."""
        return bool(self.net.mean) and (self.net.stored_shape is None or len(self.net.shape) == 3)

    @property
    def prepared(self) -> bool:
        """Whether pictures are prepared inside, whatever their size."""
        return None in self.shape

    @property
    def sides(self) -> dict[int, str]:
        """The names of the sides that may have any length, by their place in a batch."""
        names = {0: "batch", 2: "height", 3: "width"}
        return {at: names[at] for at, side in enumerate((None, *self.shape)) if side is None}

    @property
    def output_name(self) -> str:
        """What its output is called."""
        return "logits" if self.net.classes else "outputs"

    def metadata(self) -> dict[str, str]:
        """As formats keep it: texts by name. A text is itself, everything else is JSON."""
        told = {
            "classes": list(self.net.classes),
            "mean": list(self.net.mean) if self.normalized else [],
            "std": list(self.net.std) if self.normalized else [],
            "shape": list(self.shape),
            "dtype": self.dtype,
            "raw": self.raw,
            "preparation": "inside" if self.prepared else self.net.preparation,
            "strobe_version": installed_version("strobe"),
            **self.origin,
        }
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}

    def described(self) -> dict[str, Any]:
        """As the JSON file beside it has it."""
        of = "pixels scaled to [0, 1]" if len(self.net.shape) == 3 else "the columns of numbers"
        preparation = self.net.preparation
        normalization = {"mean": self.net.mean, "std": self.net.std, "of": of, "inside": self.raw}
        return {
            "input": {"name": self.input_name, "shape": self._named(), "dtype": self.dtype},
            "normalization": normalization if self.normalized else None,
            "preparation": {"name": preparation, "inside": self.prepared} if preparation else None,
            "output": {"name": self.output_name, "shape": ["batch", *self.output_shape]},
            "classes": self.net.classes,
            "origin": {"strobe_version": installed_version("strobe"), **self.origin},
        }

    def signature(self) -> str:
        """What goes in and what comes out, in words."""
        given = "pictures of 0 to 255" if self.raw else "normalized" if self.normalized else ""
        taken = f"{self.input_name} {_shown(self._named())} {self.dtype}" + (f", {given}" if given else "")
        return f"takes {taken}; gives {self.output_name} {_shown(('batch', *self.output_shape))}"

    def _named(self) -> list[int | str]:
        return [self.sides.get(at, side or 0) for at, side in enumerate((None, *self.shape))]


def origin_of(directory: Path, checkpoint: str) -> dict[str, Any]:
    """Which run a net is of: its directory's name, its own, when it began, of which commit, and the checkpoint."""
    report = read_report(directory)
    environment = report["environment"]
    return {
        "run": directory.resolve().name,
        "name": report["name"],
        "started": report["started"],
        "checkpoint": checkpoint,
        "git_commit": environment.get("git_commit"),
        "git_dirty": environment.get("git_dirty"),
    }


def _shown(shape: Iterable[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"

"""A picture that shows itself in a notebook, and can be kept."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes:
        png: Its bytes.
    """

    png: bytes = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write it to a file, and return its path."""
        Path(path).write_bytes(self.png)
        return Path(path)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.png

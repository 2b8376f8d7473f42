"""A run's net as a file that needs no Strobe."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from strobe.errors import ConfigError, RunError, first_line
from strobe.record.files import replacing
from strobe.record.layout import FORMATS, FormatName
from strobe.run.exported.facts import Facts
from strobe.run.exported.formats import WRITERS, ExportedNet, require_packages
from strobe.run.exported.inputs import Inputs, inputs_for, takes_pixels
from strobe.run.exported.pixels import FromPixels, prepares
from strobe.run.saved import SavedNet

PixelType = Literal["uint8", "float32"]

_TOLERANCE = 1e-4  # of outputs up to 1, of larger ones that share; another order of additions gives about 1e-6
_TRACED = 5  # examples: one alone might be taken for all that there ever is
_MANY = 50  # compared at once
_MARGINS = (3, 5, 7, 9)  # of what is traced where a picture may have any size: that of one might be taken for all


class ExportError(RunError):
    """A net can't be exported in this format, or comes out as another net."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from the trained net.

    Attributes:
        signature: What goes in and what comes out, in words.
        inputs: How many of what both were given, such as ``256 test images``.
        difference: The largest, of an output; None if it could not be measured.
        agreeing: For how many the likeliest class is the same; None where there are no classes, or no difference.
    """

    signature: str
    inputs: str
    difference: float | None
    agreeing: int | None

    def compared(self) -> str:
        """The comparison, in words."""
        if self.difference is None:
            return "not compared with the trained net: onnxruntime is not installed (pip install -e '.[onnx]')"
        classes = "" if self.agreeing is None else f"the same class for {self.agreeing}, "
        outputs = f"outputs within {self.difference:.1e}" if self.difference else "equal outputs"
        return f"compared with the trained net on {self.inputs}: {classes}{outputs}"


def export(
    net: SavedNet,
    format: FormatName,
    path: Path,
    *,
    raw: PixelType | None = None,
    test_pictures: Tensor | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Exported:
    """Write a net, for batches of any size, read it back, and compare.

    The exported net is the trained one: it maps normalized images ``(B, C, H, W)`` float32 to logits
    ``(B, classes)``. What they mean is written into the file, and beside it, with ``.json`` after its name.

    Args:
        net: What to export.
        format: One of `FORMATS`.
        path: The file to write.
        raw: Have it take pictures of 0 to 255 of this type, ``(B, *stored_shape)``, and normalize them itself; where
            it can prepare them too, as MNIST's, they may have any size.
        test_pictures: To compare on, from `pictures_at_hand`; None compares on random inputs.
        origin: To be kept in the file, see `origin_of`.

    Raises:
        ConfigError: If a package that the format needs is not installed, or the net's inputs can't be ``raw``.
        ExportError: If the format can't express the net, or the outputs differ.
        OSError: If the file can't be written.
    """
    _require_place(path, format)
    require_packages(format)
    if raw is not None and not takes_pixels(net):
        raise ConfigError("--raw: nothing says how this run's inputs are made of pictures of 0 to 255; leave it out")
    inputs = inputs_for(net, test_pictures)
    with torch.no_grad():
        output = net.net(inputs.normalized[:1])
    if not isinstance(output, Tensor):
        raise ExportError(f"the net gives a {type(output).__name__}; only one tensor can be exported")
    given = _given(inputs, raw)
    dtype = str(given.dtype).removeprefix("torch.")
    traced = given[torch.arange(_TRACED) % len(given)]
    shape: tuple[int | None, ...] = tuple(given.shape[1:])
    if raw is not None and prepares(net):
        traced, shape = F.pad(traced, _MARGINS), (1, None, None)
    facts = Facts(net, raw is not None, shape, dtype, tuple(output.shape[1:]), origin or {})
    module = net.net if raw is None else FromPixels(net).eval()
    new_folders = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    difference = agreeing = None
    try:
        # They look at the ending. That of the facts comes first: a model without them is worse than they without it.
        with replacing(path, ending=path.suffix) as temporary, replacing(_beside(path)) as beside:
            temporary.touch()  # some of them tell a directory that can't be written to as something else
            beside.write_text(json.dumps(facts.described(), indent=2) + "\n", encoding="utf-8")
            with _quietly(), torch.no_grad():
                exported = WRITERS[format](module, traced, facts, temporary)
                if exported is not None:
                    difference, agreeing = _compared(net, exported, inputs, given, format)
    except BaseException as error:
        _remove(new_folders)
        if isinstance(error, OSError | RunError) or not isinstance(error, Exception):
            raise
        # The exporters raise whatever went wrong in any of their passes.
        raise ExportError(f"{format} can't express this net: {first_line(error)}") from error
    return Exported(facts.signature(), f"{len(given)} {inputs.kind}", difference, agreeing)


def _require_place(path: Path, format: FormatName) -> None:
    """Refuse a name that a file can't have, or whose neighbour is somebody's."""
    if path.suffix == ".json":
        raise ConfigError(f"--output {path}: such a file says what a net's inputs mean; choose {FORMATS[format]}")
    if path.is_dir():
        raise ConfigError(
            f"--output {path}: is a directory; name a file in it, such as {path / 'model'}{FORMATS[format]}"
        )
    beside = _beside(path)
    if not beside.exists():
        return
    try:
        told = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        told = None
    if not (isinstance(told, dict) and {"input", "output", "normalization"} <= set(told)):
        raise ConfigError(f"--output {path}: would replace {beside}, which no export has written; choose another name")


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")  # one each: several formats of a net differ in their facts


def _given(inputs: Inputs, raw: PixelType | None) -> Tensor:
    """What the exported net is given."""
    if raw is None:
        return inputs.normalized
    assert inputs.pixels is not None, "it takes pixels"
    return inputs.pixels.to(getattr(torch, raw))


def _compared(
    net: SavedNet, exported: ExportedNet, inputs: Inputs, given: Tensor, format: FormatName
) -> tuple[float, int | None]:
    """The largest difference of an output, and for how many inputs the likeliest class is the same.

    Raises:
        ExportError: If the difference is more than another order of additions makes.
    """
    parts = _parts(len(given))
    expected = torch.cat([net.net(inputs.normalized[part]) for part in parts])
    found = torch.cat([exported(given[part]) for part in parts])
    difference = float((found - expected).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ExportError(f"the {format} net differs from the trained one by {difference:.2g} in an output")
    if not net.classes:
        return difference, None
    return difference, int((found.argmax(dim=1) == expected.argmax(dim=1)).view(len(given), -1).all(dim=1).sum())


def _parts(count: int) -> list[slice]:
    """Batches of one example, of as many as were traced, and of many."""
    edges = [0, *(edge for edge in (1, 1 + _TRACED) if edge < count), *range(1 + _TRACED + _MANY, count, _MANY), count]
    return [slice(*pair) for pair in pairwise(edges)]


def _remove(new_folders: Sequence[Path]) -> None:
    for folder in new_folders:
        with suppress(OSError):  # something else has begun to use it
            folder.rmdir()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' progress reports, and their warnings about one another."""
    with warnings.catch_warnings(action="ignore"), redirect_stdout(StringIO()):
        yield

"""A run's net as a file that needs no Strobe."""

import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor

from strobe.errors import ConfigError, RunError, first_line
from strobe.record.files import replacing, write_atomically
from strobe.record.layout import FORMATS, FormatName
from strobe.run.saved import SavedNet

try:
    import onnxruntime
except ImportError:  # an extra: without it, what was exported is not compared
    onnxruntime = None

ExportedNet = Callable[[Tensor], Tensor]

_TOLERANCE = 1e-4  # of logits; another order of additions gives about 1e-6
_NEEDS = {"onnx": ("onnx", "onnxscript")}


class ExportError(RunError):
    """A net can't be exported in this format, or comes out as another net."""


def export(net: SavedNet, format: FormatName, path: Path) -> float | None:
    """Write a net, for batches of any size, read it back, and compare.

    The exported net is the trained one alone: it maps normalized images ``(B, C, H, W)`` float32 to logits
    ``(B, classes)``. What they mean is written beside it, with the ending ``.json``.

    Args:
        net: What to export.
        format: One of `FORMATS`.
        path: The file to write.

    Returns:
        The largest difference of a logit, over batches of 1 and 5 random images; None if it could not be measured.

    Raises:
        ConfigError: If a package that the format needs is not installed.
        ExportError: If the format can't express the net, or the logits differ.
    """
    if path.suffix == ".json":
        raise ConfigError(f"--output {path}: what the net's inputs mean goes to that name; choose {FORMATS[format]}")
    if missing := [name for name in _NEEDS.get(format, ()) if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"--format {format} needs {' and '.join(missing)}: pip install -e '.[onnx]'")
    new_folders = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write: Callable[[SavedNet, Tensor, Path], ExportedNet | None] = {
        "onnx": _onnx,
        "torch_export": _torch_export,
        "torchscript": _torchscript,
    }[format]
    batches = [_batch(net, size) for size in (5, 1)]
    with torch.no_grad():
        output = net.net(batches[0])
    if not isinstance(output, Tensor):
        raise ExportError(f"the net gives a {type(output).__name__}; only one tensor can be exported")
    try:
        with replacing(path, ending=path.suffix) as temporary, _quietly(), torch.no_grad():  # they look at the ending
            exported = write(net, batches[0], temporary)
            difference = None
            if exported is not None:
                difference = max(float((exported(images) - net.net(images)).abs().max()) for images in batches)
            if difference is not None and not difference <= _TOLERANCE:
                raise ExportError(f"the {format} net differs from the trained one by {difference:.2g} in a logit")
    except (OSError, RunError):
        _remove(new_folders)
        raise
    except Exception as error:  # the exporters raise whatever went wrong in any of their passes
        _remove(new_folders)
        raise ExportError(f"{format} can't express this net: {first_line(error)}") from error
    facts = {
        "input": {
            "name": "images" if len(net.shape) == 3 else "inputs",
            "shape": ["batch", *net.shape],
            "dtype": str(batches[0].dtype).removeprefix("torch."),
        },
        "normalization": {"mean": net.mean, "std": net.std, "of": _scale(net)} if net.mean else None,
        "preparation": net.preparation,
        "output": {"name": "logits" if net.classes else "outputs", "shape": ["batch", *output.shape[1:]]},
        "classes": net.classes,
    }
    write_atomically(path.with_suffix(".json"), json.dumps(facts, indent=2) + "\n")
    return difference


def _scale(net: SavedNet) -> str:
    return "pixels scaled to [0, 1]" if len(net.shape) == 3 else "the columns of numbers"


def _batch(net: SavedNet, size: int) -> Tensor:
    """So many inputs: random ones, or copies of the one that the task shows."""
    if net.example is not None:
        return net.example[:1].repeat(size, *[1] * (net.example.ndim - 1))
    return torch.randn(size, *net.shape, generator=torch.Generator().manual_seed(0))


def _remove(new_folders: Sequence[Path]) -> None:
    for folder in new_folders:
        with suppress(OSError):  # something else has begun to use it
            folder.rmdir()


def _onnx(net: SavedNet, images: Tensor, path: Path) -> ExportedNet | None:
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        net.net,
        (images,),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: batch},),
        external_data=False,  # one file
        dynamo=True,
        verbose=False,
    )
    if onnxruntime is None:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {"images": batch.numpy()})[0])


def _torch_export(net: SavedNet, images: Tensor, path: Path) -> ExportedNet:
    program = torch.export.export(net.net, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)
    return torch.export.load(path).module()


def _torchscript(net: SavedNet, images: Tensor, path: Path) -> ExportedNet:
    # torch leaves torch.jit without annotations
    torch.jit.save(torch.jit.trace(net.net, images), path)  # type: ignore[no-untyped-call]
    exported: ExportedNet = torch.jit.load(path)  # type: ignore[no-untyped-call]
    return exported


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' progress reports, and their warnings about one another."""
    with warnings.catch_warnings(action="ignore"), redirect_stdout(StringIO()):
        yield

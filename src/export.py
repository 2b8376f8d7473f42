"""Write a run's net to a file that needs no Strobe: `python -m src.export <run dir> --format onnx`."""

import argparse
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from src.cli import exit_code
from src.errors import ConfigError, RunError
from src.record import BEST, write_atomically
from src.saved import SavedNet, saved_net

if TYPE_CHECKING:
    from torch import Tensor

    Run = Callable[[Tensor], Tensor]

FORMATS = {"onnx": ".onnx", "torch_export": ".pt2", "torchscript": ".ts"}
"""Names of the formats, with the ending of their files."""

_TOLERANCE = 1e-4  # of logits; another order of additions gives about 1e-6
_NEEDS = {"onnx": ("onnx", "onnxscript")}


class ExportError(RunError):
    """A net can't be exported in this format, or comes out as another net."""


def export(net: SavedNet, format: str, path: Path) -> float | None:
    """Write a net, for batches of any size, read it back, and compare.

    The exported net is the trained one alone: it maps normalised images ``(B, C, H, W)`` float32 to logits
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
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    write: Callable[[SavedNet, Tensor, Path], Run | None] = {
        "onnx": _onnx,
        "torch_export": _torch_export,
        "torchscript": _torchscript,
    }[format]
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(size, *net.shape, generator=generator) for size in (5, 1)]
    temporary = path.with_name(f".{path.name}.tmp{path.suffix}")  # the exporters look at the ending
    try:
        with _quietly(), torch.no_grad():
            run = write(net, batches[0], temporary)
            difference = None
            if run is not None:
                difference = max(float((run(images) - net.net(images)).abs().max()) for images in batches)
        if difference is not None and not difference <= _TOLERANCE:
            raise ExportError(f"the {format} net differs from the trained one by {difference:.2g} in a logit")
        temporary.replace(path)
    except (OSError, RunError):
        raise
    except Exception as error:  # the exporters raise whatever went wrong in any of their passes
        first = str(error).strip().splitlines()
        raise ExportError(f"{format} can't express this net: {first[0] if first else type(error).__name__}") from error
    finally:
        temporary.unlink(missing_ok=True)
    facts = {
        "input": {"name": "images", "shape": ["batch", *net.shape], "dtype": "float32"},
        "normalisation": {"mean": net.mean, "std": net.std, "of": "pixels scaled to [0, 1]"},
        "output": {"name": "logits", "shape": ["batch", len(net.classes)]},
        "classes": net.classes,
    }
    write_atomically(path.with_suffix(".json"), json.dumps(facts, indent=2) + "\n")
    return difference


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.export", description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="the file to write (default: <run dir>/export/model.<ending>)")
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    options = parser.parse_args(arguments)
    path = options.output or options.run / "export" / f"model{FORMATS[options.format]}"
    try:
        difference = export(saved_net(options.run, options.checkpoint), options.format, path)
    except OSError as error:
        return exit_code(RunError(f"can't write {path}: {error.strerror}"))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    checked = "not compared: onnxruntime is not installed" if difference is None else f"logits within {difference:.1e}"
    print(f"{path}  ({path.stat().st_size:,} bytes, {checked})")
    return 0


def _onnx(net: SavedNet, images: "Tensor", path: Path) -> "Run | None":
    import torch

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
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {"images": batch.numpy()})[0])


def _torch_export(net: SavedNet, images: "Tensor", path: Path) -> "Run":
    import torch

    program = torch.export.export(net.net, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)
    return torch.export.load(path).module()


def _torchscript(net: SavedNet, images: "Tensor", path: Path) -> "Run":
    import torch

    # torch leaves torch.jit without annotations
    torch.jit.save(torch.jit.trace(net.net, images), path)  # type: ignore[no-untyped-call]
    run: Run = torch.jit.load(path)  # type: ignore[no-untyped-call]
    return run


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' progress reports, and their warnings about one another."""
    with warnings.catch_warnings(action="ignore"), redirect_stdout(StringIO()):
        yield


if __name__ == "__main__":
    sys.exit(main())

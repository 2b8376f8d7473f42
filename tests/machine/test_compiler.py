"""torch's compiler is imported by whoever needs it, and by nobody else."""

import subprocess
import sys

import pytest

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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
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


@pytest.mark.parametrize(
    "asked",
    [
        "import torch._dynamo.config as config; assert config is torch._dynamo.config",
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

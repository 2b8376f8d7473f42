"""Private names of other libraries: each that is used stands here, with a test that fails when the library moves."""

import ast
import csv
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra._internal import utils
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.plugins.sweeper import Sweeper
from lightning.pytorch import Trainer
from torch.distributed import distributed_c10d

from strobe.record import lightning_state
from strobe.tasks.task import Task
from tests.conftest import ROOT, Train

# file -> the private names of others that it uses; the reason stands beside each use.
DOORS = {
    "hydra_plugins/strobe/plugins.py": {"hydra._internal"},
    "src/strobe/api/composing.py": {"_get_flag", "_set_flag"},
    "src/strobe/callbacks/carried.py": {"_computed", "_update_count"},
    "src/strobe/callbacks/steps.py": {"_scale"},
    "src/strobe/commands/composed_once.py": {"hydra._internal"},
    "src/strobe/data/augment.py": {"_standard_gamma"},
    "src/strobe/distributed/launch.py": {"_abort_process_group"},
    "src/strobe/machine/leaving.py": {"_run_exitfuncs", "_shutdown"},
    "src/strobe/record/lightning_state.py": {"_batches_that_stepped", "_logger_connector", "_results"},
    "src/strobe/record/initial.py": {"_metadata"},
    "src/strobe/run/loggers.py": {"_experiment"},
    "src/strobe/sweeps/planning.py": {"hydra._internal"},
    "src/strobe/tasks/task.py": {"_current_fx_name"},
}
FILES = [path for folder in ("src/strobe", "hydra_plugins") for path in sorted((ROOT / folder).rglob("*.py"))]


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def doors(path: Path) -> Iterator[str]:
    """The private names that a file takes from something other than itself."""
    tree = ast.parse(path.read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if any(map(private, module.split("."))):
                parts = module.split(".")
                yield ".".join(parts[: 1 + next(index for index, part in enumerate(parts) if private(part))])
            case ast.ImportFrom(names=names):
                yield from (alias.name for alias in names if private(alias.name))
            case ast.Attribute(value=ast.Name(id="self" | "cls" | "os")):
                pass
            case ast.Attribute(attr=attribute) if private(attribute) and not attribute.endswith("_"):
                yield attribute
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(attribute)), *_]):
                if private(attribute) and attribute not in own:
                    yield attribute
            case ast.Constant(value="_current_fx_name"):
                yield "_current_fx_name"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_of_others_are_used_only_where_it_is_written_down(path: Path) -> None:
    assert set(doors(path)) == DOORS.get(str(path.relative_to(ROOT)), set())


def test_hydra_asks_for_the_mode_where_a_job_tells_it() -> None:
    assert "get_mode(" in inspect.getsource(utils._run_hydra)
    assert callable(Hydra.get_mode)


def test_hydras_grid_is_where_our_sweeper_looks_for_it() -> None:
    assert issubclass(BasicSweeper, Sweeper)
    assert callable(BasicSweeper.sweep)


def test_a_gradient_scaler_keeps_its_scale_on_the_device() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.ones(()))
    assert isinstance(scaler._scale, torch.Tensor)
    assert scaler._scale.item() == scaler.get_scale() == 4.0


def test_gamma_numbers_can_be_drawn_from_a_generator() -> None:
    first, second = (
        torch._standard_gamma(torch.full((8,), 0.3), generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_a_group_of_processes_can_be_left_without_the_others() -> None:
    assert callable(distributed_c10d._abort_process_group)


def test_lightning_notes_the_name_of_each_hook_it_calls(train_tiny: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = set()
    keep = Task.__setattr__

    def note(self: Task, name: str, value: object) -> None:
        if name == "_current_fx_name":
            noted.add(value)
        keep(self, name, value)

    monkeypatch.setattr(Task, "__setattr__", note)
    train_tiny("trainer.fast_dev_run=true")
    assert {"training_step", "on_train_batch_end"} <= noted


def test_lightning_counts_where_we_read(train_tiny: Train) -> None:
    directory = train_tiny("trainer.limit_train_batches=5", "trainer.max_epochs=2")
    checkpoint = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    assert lightning_state.saved_epochs(checkpoint) == 2
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    counts = {"ready", "started", "processed", "completed"}
    assert set(batches) == {"total", "current", "is_last_batch"}
    assert set(batches["current"]) == set(batches["total"]) == counts
    assert set(batches["current"].values()) == {5}
    lightning_state.set_saved_batches(checkpoint, 3)
    assert set(batches["current"].values()) == {3}
    batches["current"]["ready"] += 1
    batches["total"]["ready"] += 1
    lightning_state.forget_fetched_batch(checkpoint)
    assert set(batches["current"].values()) == {3}
    assert not batches["is_last_batch"]
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    assert (lightning_state.epochs_done(trainer), lightning_state.batches_done(trainer)) == (0, 0)
    assert not lightning_state.within_epoch(trainer)


def test_lightning_logs_an_epoch_once_though_we_ask_for_it_early(train_tiny: Train) -> None:
    directory = train_tiny("logger=csv", "trainer.max_epochs=3", "test=false")
    with (directory / "csv" / "metrics.csv").open(newline="") as file:
        found = [(row["step"], row["epoch"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert found == [("16", "0"), ("33", "1"), ("50", "2")]

"""A run that is stopped, killed, out of memory or diverged: nothing is lost, and the report says what happened."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from strobe.errors import ConfigError, DivergedError, InterruptedRunError, OutOfMemoryError, PreemptedError, RunError
from strobe.record.lock import require_idle
from strobe.record.report import read_report
from strobe.record.run_record import RunRecord
from tests.conftest import ROOT, Command, Train, report
from tests.run.test_train import equal, rows, weights

HERE = "tests.run.test_faults"


class SignalAt(Callback):
    """Sends this process a signal from one of the hooks, at one step.

    Args:
        number: The signal.
        hook: Name of the hook.
        step: ``trainer.global_step`` at which to do so.
        times: How often to send it.
    """

    def __init__(self, number: int, hook: str = "on_train_batch_end", step: int = 20, times: int = 1) -> None:
        self.number = number
        self.step = step
        self.times = times
        setattr(self, hook, self._send)

    def _send(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step and not trainer.sanity_checking:
            while self.times:
                self.times -= 1
                os.kill(os.getpid(), self.number)


class Broken(nn.Module):
    """A linear net that raises in its 20th step.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        num_classes: Number of outputs.
        how: What it raises.
    """

    def __init__(self, *, in_shape: tuple[int, int, int], num_classes: int, how: str) -> None:
        super().__init__()
        self.linear = nn.Linear(in_shape[0] * in_shape[1] * in_shape[2], num_classes)
        self.how = how
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits, or fail."""
        self.calls += self.training
        if self.calls == 20:
            match self.how:
                case "cuda":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
                case "cpu":
                    raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
                case "python":
                    raise MemoryError
                case "not a number":
                    return self.linear(images.flatten(1)) * float("nan")
                case "gradient is not a number":
                    logits = self.linear(images.flatten(1))
                    return logits + (logits * 0).abs().sqrt()
                case "bug":
                    raise LookupError("the net of mine is broken")
        logits: Tensor = self.linear(images.flatten(1))
        return logits if self.training or self.how != "inf in evaluation" else logits * float("inf")


def broken(how: str) -> list[str]:
    """Overrides that train `Broken`."""
    return [f"model._target_={HERE}.Broken", "~model.hidden", f"+model.how='{how}'"]


def stopping(number: int, **arguments: object) -> list[str]:
    """Overrides that send a signal in the middle of the fit."""
    node = f"+callbacks.stop._target_={HERE}.SignalAt"
    return [node, f"+callbacks.stop.number={int(number)}", *(f"+callbacks.stop.{k}={v}" for k, v in arguments.items())]


def finite(directory: Path) -> bool:
    """Whether every checkpoint of a run holds nothing but numbers."""
    paths = sorted((directory / "checkpoints").glob("*.ckpt"))
    return all(bool(tensor.isfinite().all()) for path in paths for tensor in weights(directory, path.name).values())


COMMON = ("model=mlp", "model.hidden=[32]", "model.dropout=0.3", "scheduler=warmup_cosine", "trainer.max_epochs=4")


@pytest.fixture
def whole(train_tiny: Train) -> Path:
    """An uninterrupted run."""
    return train_tiny(*COMMON)


HOOKS = ["on_train_batch_start", "on_train_batch_end", "on_validation_start", "on_validation_end", "on_train_epoch_end"]


@pytest.mark.parametrize("step", [20, 33, 34])  # 17 steps make an epoch: within it, before its last, at its end
@pytest.mark.parametrize("hook", HOOKS)
def test_a_preempted_run_goes_on_as_if_nothing_had_been(train_tiny: Train, whole: Path, hook: str, step: int) -> None:
    directory = whole.parent / "part"
    with pytest.raises(PreemptedError, match="continue with resume="):
        train_tiny(*COMMON, *stopping(signal.SIGTERM, hook=hook, step=step), directory=directory)
    found = report(directory)
    assert (found["status"], found["error"]["type"]) == ("preempted", "PreemptedError")
    train_tiny(*COMMON, f"resume={directory}", directory=directory)
    assert report(directory)["status"] == "completed"
    assert equal(weights(whole), weights(directory))
    assert rows(whole) == rows(directory)
    assert report(whole)["best"] == report(directory)["best"]


def test_a_stop_in_the_middle_of_an_epoch_saves_that_very_step(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(PreemptedError, match="saved epoch 2, step 21"):
        train_tiny(*stopping(signal.SIGTERM, step=21), directory=tmp_path / "part")
    assert torch.load(tmp_path / "part" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 21


@pytest.mark.parametrize(
    ("batch_size", "twice", "steps"), [(16, 0, 24), (64, 32, 7), (24, 16, 17), (256, 160, 3), (539, 160, 1)]
)
def test_an_epoch_gone_on_with_in_batches_of_another_size_leaves_no_image_out(
    train_tiny: Train, tmp_path: Path, batch_size: int, twice: int, steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):  # after 5 of 17 batches of 32, in the second of two epochs of 539 images
        train_tiny(*stopping(signal.SIGTERM, step=22), directory=directory)
    train_tiny(f"data.batch_size={batch_size}", f"resume={directory}", directory=directory)
    checkpoint = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["callbacks"]["EpochRecorder"]["examples_seen"] == 2 * 539 + twice
    assert checkpoint["global_step"] == 22 + steps
    assert f"Global batches have {batch_size} images from here on, instead of 32" in caplog.text


@pytest.mark.parametrize("interval", ["1.0", "5"])
def test_a_stop_within_a_validation_is_as_if_nothing_had_been(train_tiny: Train, tmp_path: Path, interval: str) -> None:
    several = (*COMMON, "data.eval_batch_size=20", f"trainer.val_check_interval={interval}")  # batches of validation
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*several, *stopping(signal.SIGTERM, hook="on_validation_batch_end"), directory=directory)
    train_tiny(*several, f"resume={directory}", directory=directory)
    whole = train_tiny(*several)
    assert equal(weights(whole), weights(directory))
    assert equal(weights(whole, "last.ckpt"), weights(directory, "last.ckpt"))
    assert rows(whole) == rows(directory)
    assert report(whole)["best"] == report(directory)["best"]


def test_a_stop_waits_for_the_gradients_that_are_being_gathered(train_tiny: Train, tmp_path: Path) -> None:
    gathering = (*COMMON, "trainer.accumulate_grad_batches=3")  # 17 batches: the last step of an epoch has two
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*gathering, *stopping(signal.SIGTERM, step=8), directory=directory)
    assert torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 8
    train_tiny(*gathering, f"resume={directory}", directory=directory)
    whole = train_tiny(*gathering)
    assert equal(weights(whole), weights(directory))
    assert rows(whole) == rows(directory)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_is_recorded_as_an_interruption(train_tiny: Train, tmp_path: Path, times: int) -> None:
    directory = tmp_path / "part"
    with pytest.raises(InterruptedRunError) as caught:
        train_tiny(*stopping(signal.SIGINT, times=times), directory=directory)
    assert caught.value.exit_code == 130
    assert report(directory)["status"] == "interrupted"
    step = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert step == (20 if times == 1 else 17)  # the second time, at once: the last epoch's remains


def test_a_signal_that_comes_as_the_run_is_first_written_down_is_written_down_too(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = RunRecord.start

    def interrupted(*args: Any) -> RunRecord:
        record = start(*args)
        os.kill(os.getpid(), signal.SIGINT)
        return record

    monkeypatch.setattr(RunRecord, "start", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedRunError, match="nothing to save"):
        train_tiny(directory=tmp_path / "run")
    assert report(tmp_path / "run")["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) == handler
    require_idle(tmp_path / "run")


@pytest.mark.parametrize(("first", "status"), [(signal.SIGTERM, "preempted"), (None, "completed")])
def test_a_signal_that_comes_as_the_end_is_written_down_does_not_undo_it(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int | None, status: str
) -> None:
    finish = RunRecord.finish

    def interrupted(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        finish(*args)

    monkeypatch.setattr(RunRecord, "finish", interrupted)
    with nullcontext() if first is None else pytest.raises(PreemptedError, match="saved epoch 2"):
        train_tiny(*([] if first is None else stopping(first)), directory=tmp_path / "run")
    assert report(tmp_path / "run")["status"] == status
    require_idle(tmp_path / "run")


def test_a_run_stopped_before_its_test_is_tested_when_it_resumes(train_tiny: Train, tmp_path: Path) -> None:
    directory = tmp_path / "part"
    with pytest.raises(PreemptedError):
        train_tiny(*stopping(signal.SIGTERM, hook="on_test_start", step=0), directory=directory)
    assert report(directory)["status"] == "preempted"
    train_tiny(f"resume={directory}", directory=directory)
    found = report(directory)
    assert found["status"] == "completed"
    assert found["metrics"] == report(train_tiny())["metrics"]


def test_a_run_killed_outright_goes_on_as_if_nothing_had_been(
    command: Command, train_tiny: Train, tiny_arguments: list[str], tmp_path: Path, whole: Path
) -> None:
    directory = tmp_path / "part"
    arguments = [*tiny_arguments, "trainer.log_every_n_steps=5", *COMMON, f"hydra.run.dir={directory}"]
    done = command("train", *arguments, *stopping(signal.SIGKILL, step=40))
    assert done.returncode == -signal.SIGKILL
    assert report(directory)["status"] == "running"
    assert read_report(directory)["status"] == "died"
    train_tiny(*COMMON, f"resume={directory}", directory=directory)
    assert report(directory)["status"] == "completed"
    assert equal(weights(whole), weights(directory))
    assert rows(whole) == rows(directory)


@pytest.fixture
def training(tiny_arguments: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A long run as a process of its own, in its third epoch at least."""
    command = [sys.executable, "-m", "src.train", *tiny_arguments, "trainer.max_epochs=100000", "hydra.run.dir=run"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=env, text=True, **pipes) as process:
        metrics = tmp_path / "run" / "metrics.csv"
        while process.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) > 3):
            time.sleep(0.05)
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("number", "code", "status"), [(signal.SIGTERM, 143, "preempted"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_from_outside_ends_the_command_in_good_order(
    training: subprocess.Popen[str], tmp_path: Path, train_tiny: Train, number: int, code: int, status: str
) -> None:
    training.send_signal(number)
    _, errors = training.communicate(timeout=300)
    directory = tmp_path / "run"
    assert training.returncode == code
    assert "Traceback" not in errors
    assert f"{status}: " in errors
    assert "continue with resume=" in errors
    assert report(directory)["status"] == status
    step = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    epochs = step // 17 + 1
    defaults = ("trainer.log_every_n_steps=50", f"trainer.max_epochs={epochs}")
    train_tiny(*defaults, f"resume={directory}", directory=directory)
    assert equal(weights(train_tiny(*defaults)), weights(directory))


DIVERGING = [
    ["optimizer=sgd", "optimizer.lr=1e12"],
    ["optimizer=sgd", "optimizer.lr=1e12", "data.val_size=0"],
    ["optimizer=sgd", "optimizer.lr=1e12", "trainer.log_every_n_steps=1000"],
    [*broken("gradient is not a number"), "data.val_size=0"],  # in the last step of an epoch whose loss is a number
    broken("not a number"),
    [*broken("not a number"), "trainer.log_every_n_steps=1000"],
    broken("inf in evaluation"),
]


@pytest.mark.parametrize("overrides", DIVERGING, ids=" ".join)
def test_a_run_that_diverges_says_so_and_keeps_no_nan(train_tiny: Train, tmp_path: Path, overrides: list[str]) -> None:
    directory = tmp_path / "run"
    with pytest.raises(DivergedError):
        train_tiny(*overrides, directory=directory)
    found = report(directory)
    assert found["status"] == "diverged"
    assert found["error"]["type"] == "DivergedError"
    assert finite(directory)
    assert found["best"] is None or found["best"]["value"] is not None


def test_divergence_is_seen_within_one_logging_interval(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"by step 20 \(epoch 1\).*optimizer\.lr"):
        train_tiny(*broken("not a number"), "trainer.log_every_n_steps=4", directory=tmp_path / "run")
    found = report(tmp_path / "run")
    assert (found["best"]["epoch"], found["status"]) == (0, "diverged")


@pytest.mark.parametrize("how", ["cuda", "cpu", "python"])
def test_a_run_out_of_memory_names_its_batch_size(train_tiny: Train, tmp_path: Path, how: str) -> None:
    with pytest.raises(OutOfMemoryError, match=r"data\.batch_size=32 is too much; try data\.batch_size=16"):
        train_tiny(*broken(how), directory=tmp_path / "run")
    found = report(tmp_path / "run")
    assert found["status"] == "oom"
    assert "data.batch_size=32" in found["error"]["message"]


def test_an_error_in_ones_own_model_fails_the_run_with_a_traceback_in_its_log(
    command: Command, tiny_arguments: list[str], tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    done = command("train", *tiny_arguments, *broken("bug"), f"hydra.run.dir={directory}")
    assert done.returncode == 1
    assert "the net of mine is broken" in done.stderr
    found = report(directory)
    assert found["status"] == "failed"
    assert found["error"] == {"type": "LookupError", "message": "the net of mine is broken"}
    log = (directory / "train.log").read_text()
    assert "Traceback" in log
    assert 'raise LookupError("the net of mine is broken")' in log


def test_a_run_that_failed_can_be_resumed_once_the_cause_is_gone(train_tiny: Train, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with pytest.raises(LookupError):
        train_tiny(*broken("bug"), directory=directory)
    train_tiny(*broken("no"), f"resume={directory}", directory=directory)
    assert report(directory)["status"] == "completed"
    assert report(directory)["error"] is None
    assert [row["epoch"] for row in rows(directory)] == ["0", "1"]


def test_every_ending_has_its_exit_code() -> None:
    codes = {cls.__name__: cls.exit_code for cls in (RunError, ConfigError, DivergedError, OutOfMemoryError)}
    assert codes == {"RunError": 1, "ConfigError": 2, "DivergedError": 1, "OutOfMemoryError": 1}
    assert (InterruptedRunError.exit_code, PreemptedError.exit_code) == (130, 143)

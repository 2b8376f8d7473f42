"""A run that is stopped anywhere and resumed, whatever its settings, is the run that was not stopped."""

import random
import signal
from pathlib import Path

import pytest

from strobe.errors import PreemptedError
from tests.conftest import Train, report
from tests.run.test_faults import HOOKS, stopping
from tests.run.test_train import equal, rows, weights

STEPS = 17  # batches of an epoch


def drawn(seed: int) -> tuple[list[str], list[str], int]:
    """Settings, the callback that stops the run, and how often it is to be stopped."""
    draw = random.Random(seed)
    interval = draw.choice([1.0, 1.0, 0.4, 5])
    optimizer = draw.choice(["adam", "sgd", "muon", "nadam", "rmsprop"])
    steps = draw.choice(["-1", "-1", "12", "23", "34"])
    settings = {
        "model": draw.choice(["mlp", "simple_nn"]),
        "optimizer": optimizer,
        "optimizer.lr": draw.choice([1e-3, 2e-2]),
        "scheduler": draw.choice(["none", "onecycle", "cosine", "warmup_cosine", "step", "exponential", "plateau"]),
        "trainer.max_epochs": draw.choice([1, 2, 3]),
        "trainer.max_steps": steps,
        "trainer.accumulate_grad_batches": draw.choice([1, 1, 2, 3]),
        "trainer.val_check_interval": interval,
        "trainer.check_val_every_n_epoch": draw.choice([1, 1, 2]),
        "trainer.limit_train_batches": draw.choice([1.0, 1.0, 11]),
        "trainer.precision": draw.choice(["32", "32", "bf16-mixed", "64"]),
        "trainer.gradient_clip_val": draw.choice(["null", "0.5"]),
        "monitor": draw.choice(["val/acc", "val/loss"]),
        "checkpoint.keep": draw.choice([1, 1, 3]),
        "checkpoint.every_n_steps": draw.choice(["null", "4"]),
        "data.augment": draw.choice(["true", "false"]),
        "data.loader": draw.choice(["memory", "memory", "torch"]),
        "data.eval_batch_size": draw.choice([20, 1000]),
        "decay_norm_and_bias": draw.choice(["true", "false"]),
        "logger": draw.choice(["none", "csv", "tensorboard"]),
    }
    if settings["model"] == "mlp":
        settings |= {"model.dropout": draw.choice([0.0, 0.3]), "model.hidden": "[16]"}
    if settings["scheduler"] == "onecycle" and optimizer not in ("adam", "sgd", "nadam"):
        settings["scheduler.cycle_momentum"] = "false"
    if settings["scheduler"] == "plateau":
        settings["trainer.check_val_every_n_epoch"] = 1
    metric = settings.pop("monitor")
    settings |= {"monitor.metric": metric, "monitor.mode": "max" if metric == "val/acc" else "min"}
    hook = draw.choice([*HOOKS, "on_validation_batch_end", "on_test_start", "on_train_epoch_start"])
    stop = stopping(signal.SIGTERM, hook=hook, step=draw.randint(0, 40))
    return [f"{key}={value}" for key, value in settings.items()], stop, draw.choice([1, 1, 2])


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[] if seed < 10 else pytest.mark.slow) for seed in range(50)]
)
def test_any_run_stopped_anywhere_goes_on_as_if_nothing_had_been(train_tiny: Train, tmp_path: Path, seed: int) -> None:
    settings, stop, times = drawn(seed)
    whole, directory = train_tiny(*settings), tmp_path / "part"
    resume: tuple[str, ...] = ()
    for _ in range(times):
        try:
            train_tiny(*settings, *resume, *stop, directory=directory)
        except PreemptedError:
            if not (directory / "checkpoints" / "last.ckpt").exists():
                pytest.skip("stopped before there was anything to save")
        else:
            break  # the drawn step lies behind the end
        resume = (f"resume={directory}",)
        stop = stopping(signal.SIGTERM, step=random.Random(seed + 1000).randint(20, 50))
    if report(directory)["status"] != "completed":
        train_tiny(*settings, *resume, directory=directory)
    assert equal(weights(whole), weights(directory))
    assert equal(weights(whole, "best.ckpt"), weights(directory, "best.ckpt"))
    assert rows(whole) == rows(directory)
    ours, theirs = report(directory), report(whole)
    assert {key: ours[key] for key in ("best", "metrics", "objective")} == {
        key: theirs[key] for key in ("best", "metrics", "objective")
    }
    assert ours.get("kept") == theirs.get("kept")

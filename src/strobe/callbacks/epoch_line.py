"""What is said of an epoch that ends: its line, the rate it ended with, and what ended the training early."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor

from strobe.record.report import EarlyStop

_SHOWN = 6  # metrics of an epoch's line


def learning_rate(trainer: Trainer) -> float | None:
    """Of the first optimizer's first group, now; None without an optimizer."""
    if not trainer.optimizers:
        return None
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    return float(rate.item() if isinstance(rate, Tensor) else rate)


def show_epoch(trainer: Trainer, row: dict[str, Any], epoch_s: float) -> None:
    """One line per epoch, above the bar where there is one."""
    bar = trainer.progress_bar_callback
    if bar is None:
        return
    width = len(str(trainer.max_epochs or 0))
    total = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    parts = [f"epoch {row['epoch'] + 1:>{width}}{total}"]
    parts += [f"{name.replace('/', ' ')} {row[name]:.4f}" for name in _worth_showing(row)]
    bar.print("   ".join([*parts, f"{epoch_s:.1f} s"]))


def _worth_showing(row: dict[str, Any]) -> list[str]:
    """The metrics of an epoch's line: training's loss, then what was measured in validation, else all."""
    names = [name for name in row if name not in ("epoch", "step", "lr")]
    chosen = [name for name in ("train/loss",) if name in names]
    chosen += [name for name in names if name.startswith("val/")]
    return (chosen if len(chosen) > 1 else names)[:_SHOWN]


def why_early(trainer: Trainer) -> EarlyStop:
    """What has ended the training before its limits."""
    stop: EarlyStop = {"by": "a callback", "reason": "", "epoch": trainer.current_epoch, "step": trainer.global_step}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning doesn't declare it
        if isinstance(callback, EarlyStopping) and callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            return {**stop, "by": type(callback).__name__, "reason": _reason(callback)}
        if isinstance(callback, Timer) and (callback.time_remaining() or 0) <= 0:
            return {**stop, "by": "trainer.max_time", "reason": "the time was up"}
    return stop


def _reason(callback: EarlyStopping) -> str:
    """As Lightning says it, without what it says to its own trainer."""
    return str(callback.stopping_reason_message).partition(" Signaling")[0].rstrip(".")

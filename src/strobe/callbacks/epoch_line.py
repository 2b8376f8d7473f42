"""What is said of an epoch that ends: its line, the rate it ended with, and what ended the training early."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor

from strobe.machine.transient import columns, on_terminal
from strobe.record.report import EarlyStop

_NO_METRICS = ("epoch", "step", "lr")
_WHOLE = 10_000  # columns of a log file


def learning_rate(trainer: Trainer) -> float | None:
    """Of the first optimizer's first group, now; None without an optimizer."""
    if not trainer.optimizers:
        return None
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    return float(rate.item() if isinstance(rate, Tensor) else rate)


def show_epoch(trainer: Trainer, row: dict[str, Any], epoch_s: float, monitor: str | None = None) -> None:
    """One line per epoch, above the bar where there is one; no longer than the terminal is wide, if it goes to one."""
    bar = trainer.progress_bar_callback
    if bar is None:
        return
    width = len(str(trainer.max_epochs or 0))
    total = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    head, room = f"epoch {row['epoch'] + 1:>{width}}{total}", columns() if on_terminal() else _WHOLE
    bar.print(epoch_line(head, row, f"{epoch_s:.1f} s", monitor, room))


def epoch_line(head: str, row: dict[str, Any], tail: str, monitor: str | None, width: int) -> str:
    """What an epoch has given: training beside validation, the loss and what is monitored before the rest.

    Args:
        head: What the line begins with.
        row: The metrics by name, as a module has logged them.
        tail: What it ends with.
        monitor: Name of the metric that tells good epochs from bad ones.
        width: Columns; what has no room is left out.
    """
    names = [name for name in row if name not in _NO_METRICS and isinstance(row[name], int | float)]
    stem = (monitor or "").rpartition("/")[2]
    first = (monitor, "train/loss", "val/loss", "train_loss", "val_loss", f"train/{stem}", f"val/{stem}")
    stems = [name.rpartition("/")[2] for name in names]

    def worth(name: str) -> tuple[int, int]:
        return first.index(name) if name in first else len(first), stems.index(name.rpartition("/")[2])

    by_worth = sorted(names, key=worth)
    line = "  ".join([head, tail])
    for count in range(1, len(by_worth) + 1):
        kept = [name for name in names if name in by_worth[:count]]
        longer = "  ".join([head, *_by_split(kept, row), tail])
        if len(longer) > width and count > 1:
            break
        line = longer
    return line


def _by_split(names: list[str], row: dict[str, Any]) -> list[str]:
    """Metrics in words: those of a split together, training first; those of no split by their names."""
    parts: dict[str, list[str]] = {split: [] for split in ("train", "val", "")}
    for name in names:
        split, slash, of_split = name.partition("/")
        is_known = bool(slash) and split in parts
        parts[split if is_known else ""].append(f"{of_split if is_known else name} {shown(row[name])}")
    # The loss first, as everybody reads it.
    ordered = {split: sorted(texts, key=lambda text: not text.startswith("loss ")) for split, texts in parts.items()}
    return [f"{split} {' '.join(texts)}".strip() for split, texts in ordered.items() if texts]


def shown(value: float) -> str:
    """A metric as it is told: to four decimals, or to four digits where those would hide it."""
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e5 else f"{value:.4g}"


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

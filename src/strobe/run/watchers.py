"""Callbacks that can't do their work in a run: found before anything is trained."""

from collections.abc import Callable, Iterator, Mapping

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    DeviceStatsMonitor,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    WeightAveraging,
)

from strobe.callbacks.averaging import WeightAverage
from strobe.record.layout import Mode

_AVERAGES = WeightAverage | WeightAveraging  # Lightning's SWA is refused by itself: see strobe.config


def idle_callbacks(
    callbacks: Mapping[str, Callback],
    of_task: Mapping[str, Mode],
    declared: Callable[[str], Mode | None],
    *,
    further: bool,
    validates: bool,
    logs: bool,
) -> Iterator[str]:
    """What is wrong with callbacks, by themselves and beside the others, a line each.

    Args:
        callbacks: By their place in the config.
        of_task: What the task declares to log; nothing for a module that is no `Task`, which tells it only as it does.
        declared: Tells which way a metric is better; None where nobody has said it.
        further: Whether the config has metrics of its own, whose names may be known only once they are computed.
        validates: Whether there is anything to validate on.
        logs: Whether the run has a logger.
    """
    splits = ("val", "train") if validates else ("train",)
    known = {f"{split}/{name}": mode for split in splits for name, mode in of_task.items()}
    averages = [place for place, callback in callbacks.items() if isinstance(callback, _AVERAGES)]
    if len(averages) > 1:
        others = " ".join(f"{place}=null" for place in averages[1:])
        yield f"{', '.join(averages)}: one alone can average the weights; keep {averages[0]}, for example: {others}"
    for place, callback in callbacks.items():
        if isinstance(callback, DeviceStatsMonitor | LearningRateMonitor) and not logs:
            yield f"{place}: {type(callback).__name__} writes to a logger, and there is none: add logger=csv"
        if not isinstance(callback, EarlyStopping | ModelCheckpoint) or callback.monitor is None:
            continue
        monitor, is_checked = callback.monitor, isinstance(callback, EarlyStopping) and callback.strict and bool(known)
        of_config = further and monitor.startswith(tuple(f"{split}/" for split in splits))
        if is_checked and monitor not in known and not of_config:
            why = "" if validates or not monitor.startswith("val/") else " (nothing is validated)"
            name, mode = next(iter(known.items()))
            yield (
                f"{place}.monitor={monitor!r}: must be {', '.join(known)}{why}, for example {place}.monitor={name} "
                f"{place}.mode={mode}"
            )
        elif (better := known.get(monitor) or declared(monitor)) not in (None, callback.mode):
            yield f"{place}.mode={callback.mode}: the best {monitor} is its {better}imum; add {place}.mode={better}"

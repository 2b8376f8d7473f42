"""Where the time of a training goes: a table that adds up to it, on the screen and in `profile.txt`, and a trace."""

import cProfile
import io
import logging
import os
import pstats
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity

from strobe.callbacks.clock import BY_STEP, Clock
from strobe.machine.table import aligned
from strobe.record.files import write_atomically

WORDS = ("simple", "advanced", "pytorch")
"""What ``trainer.profiler`` may be, to have this profile."""
TEXT, TRACE = "profile.txt", "profile.pt.trace.json"

_WARM_UP, _TRACED = 4, 10  # steps
_MOST = 40  # lines of what a table names by itself

log = logging.getLogger(__name__)


class Profile(Callback):
    """Measures a training from its first step to its end, on rank 0.

    Args:
        detail: What there is beside the table of rows: ``simple`` all actions by Lightning's names, ``advanced`` the
            Python functions that took longest too, ``pytorch`` the operators of ten steps, and their trace.
        directory: Of the run.
    """

    def __init__(self, detail: Literal["simple", "advanced", "pytorch"], directory: Path) -> None:
        self.detail = detail
        self.directory = directory
        self.clock = Clock()
        self._steps = 0
        self._traced = 0
        self._functions = cProfile.Profile() if detail == "advanced" else None
        self._trace: torch.profiler.profile | None = None
        self._operators = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        if not trainer.is_global_zero:
            return
        self.clock.begin(trainer)
        self.clock.instead = "first step"  # in which everything is loaded and allocated

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step; begin and end the trace."""
        if not trainer.is_global_zero:
            return
        self._steps += 1
        if self._steps == 1:
            self.clock.turn("callbacks")
            self.clock.instead = None
            if self._functions is not None:
                self._functions.enable()
        elif self._trace is not None:
            self._traced += 1
            if self._traced == _TRACED:
                self._end_trace()
        if self.detail == "pytorch" and self._steps == _WARM_UP:
            self._begin_trace(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A trace is of training steps alone."""
        self._end_trace()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same."""
        self._end_trace()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the profile, and say its head."""
        if not trainer.is_global_zero:
            return
        if self._functions is not None:
            self._functions.disable()
        self.clock.end()
        text = self.table(str(trainer.strategy.root_device.type), trainer.world_size)
        further = [self._all_actions(), self._all_functions(), self._operators]
        write_atomically(self.directory / TEXT, "\n\n".join(filter(None, [text, *further])) + "\n")
        log.info("%s\n\nAll of it: %s%s", text, self.directory / TEXT, self._about_trace())

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no profiler running."""
        if self._functions is not None:
            self._functions.disable()
        self._end_trace()
        self.clock.end()

    def table(self, device: str, ranks: int) -> str:
        """The rows, longest first, which add up to the training's time."""
        seconds = self.clock.seconds
        total = sum(seconds.values())
        measured = self._steps - 1 - self._traced  # the first and the traced ones have rows of their own
        rows = [("", "seconds", "  share", " ms a step")]
        for row in sorted(seconds, key=lambda row: -seconds[row]):
            by_step = f"{1000 * seconds[row] / measured:10.3f}" if row in BY_STEP and measured > 0 else ""
            rows.append((row, f"{seconds[row]:7.3f}", f"{100 * seconds[row] / max(total, 1e-9):5.1f} %", by_step))
        rows.append(("all", f"{total:7.3f}", "100.0 %", ""))
        where = f"{device}, rank 0 of {ranks}" if ranks > 1 else device
        return f"Where the time of {self._steps} steps went ({where})\n\n{aligned(rows, indent=2)}"

    def _begin_trace(self, trainer: Trainer) -> None:
        self.clock.turn("callbacks")
        self.clock.instead = "tracing"
        activities = [ProfilerActivity.CPU]
        if trainer.strategy.root_device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        # Its own lines on the terminal, of its beginning, its end and a GPU that is not there.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        self._trace = torch.profiler.profile(activities=activities)
        self._trace.start()
        self.clock.labels = True

    def _end_trace(self) -> None:
        if self._trace is None:
            return
        trace, self._trace = self._trace, None
        self.clock.labels = False
        trace.stop()
        trace.export_chrome_trace(str(self.directory / TRACE))
        by = "self_device_time_total" if ProfilerActivity.CUDA in trace.activities else "self_cpu_time_total"
        found = trace.key_averages().table(sort_by=by, row_limit=_MOST, max_name_column_width=60)
        self._operators = f"Operators of {self._traced} traced steps\n\n{found}"
        self.clock.turn("framework")
        self.clock.instead = None

    def _all_actions(self) -> str:
        ordered = sorted(self.clock.actions.items(), key=lambda item: -item[1][1])[:_MOST]
        rows = [("Lightning's action, with all within it", "calls", "seconds", "ms a call")]
        rows += [(name, str(n), f"{s:.3f}", f"{1000 * s / n:.3f}") for name, (n, s) in ordered]
        return aligned(rows)

    def _all_functions(self) -> str:
        if self._functions is None:
            return ""
        text = io.StringIO()
        pstats.Stats(self._functions, stream=text).strip_dirs().sort_stats("tottime").print_stats(_MOST)
        return f"Python functions by the time in them alone; counting makes them slower\n{text.getvalue().rstrip()}"

    def _about_trace(self) -> str:
        if self.detail != "pytorch":
            return ""
        if not self._operators:
            return f"; no trace: it begins after {_WARM_UP} steps"
        return f"; {self._traced} steps as a trace in Chrome's format: {self.directory / TRACE}"

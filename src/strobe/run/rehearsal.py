"""What `build` would refuse of a config whose parts can be made: its trainer and callbacks, made and thrown away."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf

from strobe.callbacks.profile import WORDS
from strobe.config.attempt import Attempt
from strobe.config.resolving import resolve
from strobe.config.seen import Seen
from strobe.config.tasks import CLASSIFICATION, declared_mode
from strobe.config.values import has_no_validation, monitored
from strobe.errors import CheckpointError, ConfigError, require
from strobe.record.initial import initial_state
from strobe.record.layout import Mode
from strobe.run.build import build_trainer
from strobe.run.factories import build_callbacks, build_each
from strobe.run.parts import build_optimizer
from strobe.run.watchers import idle_callbacks
from strobe.tasks.task import Task

_COUNT = ("trainer", "callbacks", "logger", "metrics", "monitor", "task", "optimizer", "scheduler", "scale_lr")


class Rehearsal:
    """Makes the trainer and the callbacks of one config after another, and keeps none of them.

    No file is written, and what several configs have in common is made once.
    """

    def __init__(self) -> None:
        self._made, self._beginnings = Seen(), Seen()

    def __call__(self, values: Mapping[str, Any]) -> list[str]:
        """What would be refused of a config that nothing else is wrong with, one line each.

        Args:
            values: Its values, as `strobe.config.compose.settled` gives them.
        """
        wrong: list[str] = []
        counts = [*(values.get(key) for key in _COUNT), has_no_validation(values)]
        beginning = values.get("init_from")
        is_new, begins_anew = self._made.add(counts), beginning is not None and self._beginnings.add(beginning)
        if not is_new and not begins_anew:  # of most jobs of a sweep
            return wrong
        with _quiet():
            if is_new:
                with Attempt(wrong, "trainer"):
                    _make(OmegaConf.create(dict(values)))
            if begins_anew:
                with Attempt(wrong, "init_from"):
                    _require_weights(Path(str(beginning)).expanduser())
        return wrong


def _make(cfg: DictConfig) -> None:
    """What `build` makes before it has a net.

    Raises:
        ConfigError: If any of it is refused.
    """
    plugins = build_each("trainer.plugins", cfg.trainer.plugins)
    callbacks = build_callbacks(cfg)
    changes: dict[str, Any] = {"profiler": None} if cfg.trainer.profiler in WORDS else {}
    trainer = build_trainer(cfg, Path(), callbacks=[*callbacks.values()], plugins=plugins, **changes)
    build_optimizer(cfg, trainer)
    task = resolve(str((cfg.get("task") or {}).get("_target_", CLASSIFICATION)))
    of_task = task.metrics if isinstance(task, type) and issubclass(task, Task) else {}
    metric, mode = monitored(cfg)

    def better(name: str) -> Mode | None:
        return declared_mode(cfg, name) or (mode if name == metric else None)

    further, validates = bool(cfg.get("metrics")), not has_no_validation(cfg)
    logs = any(node is not None for node in (cfg.logger or {}).values())
    require(idle_callbacks(callbacks, of_task, better, further=further, validates=validates, logs=logs))


def _require_weights(path: Path) -> None:
    try:
        initial_state(path)
    except CheckpointError as error:
        raise ConfigError(f"init_from: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The random numbers of the run to come stay the same, and what a class says as it is made, it will say again."""
    with ExitStack() as quiet:
        quiet.enter_context(isolate_rng(include_cuda=False))
        quiet.enter_context(warnings.catch_warnings(action="ignore"))
        quiet.enter_context(redirect_stdout(StringIO()))
        quiet.enter_context(redirect_stderr(StringIO()))
        quiet.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)  # Lightning's lines about the machine
        yield

"""What each value of a config has to be: one table, and the words to say so."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

METRICS = ("train/loss", "train/acc", "val/loss", "val/acc")
"""What a run logs each epoch, and so what `monitor` can name."""


@dataclass(frozen=True)
class Rule:
    """What a value has to be.

    Attributes:
        holds: Tells a right value from a wrong one.
        allowed: The same in words.
        example: A value to suggest.
    """

    holds: Callable[[Any], bool]
    allowed: str
    example: object


def shown(value: object) -> str:
    """A value as it is written in an override."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)


def _or(words: str, also: tuple[object, ...]) -> str:
    return " or ".join(filter(None, [words, ", ".join(shown(value).strip("'") for value in also)]))


def whole(low: int, high: int | None = None, *also: object, example: object) -> Rule:
    """An integer from ``low`` to ``high``, or one of ``also``."""
    words = f"a whole number from {low} to {high}" if high is not None else f"a whole number of at least {low}"
    return Rule(
        lambda value: (
            (value in also and type(value) is not bool)
            or (type(value) is int and value >= low and (high is None or value <= high))
        ),
        _or(words, also),
        example,
    )


def number(low: float, high: float = math.inf, *also: object, example: object, above: bool = False) -> Rule:
    """A finite number from ``low`` (or above it) to ``high``, or one of ``also``."""
    words = f"a number {'above' if above else 'of at least'} {low:g}"
    if high != math.inf:
        words = f"a number {'above' if above else 'from'} {low:g} {'and up ' if above else ''}to {high:g}"
    return Rule(
        lambda value: (
            (value is None and None in also)
            or (
                type(value) in (int, float)
                and math.isfinite(value)
                and (value > low if above else value >= low)
                and value <= high
            )
        ),
        _or(words, also),
        example,
    )


def choice(*options: object) -> Rule:
    """One of a few values."""
    return Rule(
        lambda value: any(type(value) is type(one) and value == one for one in options), _or("", options), options[0]
    )


def text(*also: object) -> Rule:
    """A string that is not empty."""
    return Rule(lambda value: (isinstance(value, str) and value != "") or value in also, _or("a text", also), "name")


_BATCH_LIMIT = Rule(
    lambda value: value is None or (type(value) is int and value >= 1) or (type(value) is float and 0 < value <= 1),
    "a whole number of batches of at least 1, a share above 0 and up to 1.0, or null",
    "1.0",
)

RULES: dict[str, Rule] = {
    "seed": whole(0, 2**32 - 1, example=1),
    "name": text(None),
    "monitor.metric": choice("val/acc", *METRICS[:3]),
    "monitor.mode": choice("max", "min"),
    "objective": choice(None, *METRICS, "test/acc", "test/loss"),
    "test": choice(True, False),
    "validate": choice(None, "only"),
    "compile": choice(False, True),
    "matmul_precision": choice("highest", "high", "medium"),
    "scale_lr": choice(False, True),
    "decay_norm_and_bias": choice(True, False),
    "data.root": text(None),
    "data.download": choice(True, False),
    "data.batch_size": whole(1, example=64),
    "data.eval_batch_size": whole(1, example=1000),
    "data.val_size": whole(0, example=5000),
    "data.split_seed": whole(0, example=0),
    "data.shuffle": choice(True, False),
    "data.loader": choice("memory", "torch"),
    "data.num_workers": whole(0, example=2),
    "data.augment": choice(True, False),
    "model.dropout": Rule(
        lambda value: type(value) in (int, float) and 0 <= value < 1, "a probability from 0 to below 1", 0.1
    ),
    "optimizer.lr": number(0, example=1e-3, above=True),
    "optimizer.weight_decay": number(0, example=0.01),
    "optimizer.momentum": number(0, example=0.9),
    "sweep.name": text(),
    "sweep.on_failure": choice("continue", "stop"),
    "sweep.job_timeout": number(0, math.inf, None, example=3600, above=True),
    "sweep.rerun": choice(None, "failed", "all"),
    "trainer.max_epochs": whole(1, None, None, -1, example=5),
    "trainer.min_epochs": whole(1, None, None, example=1),
    "trainer.max_steps": whole(1, None, -1, example=1000),
    "trainer.min_steps": whole(1, None, None, example=100),
    "trainer.limit_train_batches": _BATCH_LIMIT,
    "trainer.limit_val_batches": _BATCH_LIMIT,
    "trainer.limit_test_batches": _BATCH_LIMIT,
    "trainer.num_nodes": whole(1, example=1),
    "trainer.log_every_n_steps": whole(1, None, None, example=50),
    "trainer.check_val_every_n_epoch": whole(1, None, None, example=1),
    "trainer.accumulate_grad_batches": whole(1, example=1),
    "trainer.gradient_clip_val": number(0, math.inf, None, example=1.0, above=True),
    "trainer.gradient_clip_algorithm": choice(None, "norm", "value"),
    "trainer.logger": choice(None),
    "trainer.callbacks": choice(None),
    "trainer.enable_checkpointing": choice(True, False),
}

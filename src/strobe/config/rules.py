"""What each value of a config has to be: one table, and the words to say so."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from strobe.machine.text import printable

TOP_LEVEL = (
    *("seed", "name", "tags", "note", "monitor", "checkpoint", "objective", "objective_mode", "test", "validate"),
    *("compile", "matmul_precision", "scale_lr", "decay_norm_and_bias", "resume", "init_from", "init_strict"),
    *("identity", "sweep", "task", "data", "model", "optimizer", "scheduler", "loss", "metrics"),
    *("trainer", "callbacks", "logger", "hydra"),
)
"""Every key that a config has at its top."""


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

    def refusal(self, key: str, value: object, advice: str | None = None) -> str:
        """What is wrong with a value, in a line.

        Args:
            key: Where it stands.
            value: The value.
            advice: An override that mends it; None suggests the example.
        """
        return f"{key}={shown(value)}: must be {self.allowed}, for example {advice or f'{key}={plainly(self.example)}'}"


def shown(value: object) -> str:
    """A value as it is written in an override, text quoted."""
    return repr(value) if isinstance(value, str) else plainly(value)


def plainly(value: object) -> str:
    """A value as it is written in an override."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def whole(*, min: int, max: int | None = None, or_: Sequence[object] = (), example: object) -> Rule:
    """An integer from ``min`` to ``max``, or one of ``or_``."""
    words = f"a whole number from {min} to {max}" if max is not None else f"a whole number of at least {min}"
    return Rule(
        lambda value: (
            (value in or_ and type(value) is not bool)
            or (type(value) is int and value >= min and (max is None or value <= max))
        ),
        _in_words(words, or_),
        example,
    )


def number(*, min: float = -math.inf, above: float = -math.inf, or_: Sequence[object] = (), example: object) -> Rule:
    """A finite number of at least ``min`` and above ``above``, or one of ``or_``."""
    words = f"a number of at least {min:g}" if above == -math.inf else f"a number above {above:g}"
    return Rule(
        lambda value: (
            (value is None and None in or_)
            or (type(value) in (int, float) and math.isfinite(value) and value >= min and value > above)
        ),
        _in_words(words, or_),
        example,
    )


def choice(*options: object) -> Rule:
    """One of a few values."""
    return Rule(
        lambda value: any(type(value) is type(option) and value == option for option in options),
        _in_words("", options),
        options[0],
    )


def text(*, or_: Sequence[object] = ()) -> Rule:
    """A string that is not empty, or one of ``or_``."""
    return Rule(
        lambda value: (isinstance(value, str) and value != "") or value in or_, _in_words("a text", or_), "name"
    )


def label(*, or_: Sequence[object] = ()) -> Rule:
    """A name for people: short, and of characters that can be printed; or one of ``or_``."""
    return Rule(
        lambda value: (isinstance(value, str) and _is_label(value)) or value in or_,
        _in_words(f"a text of at most {_LABEL} characters, all of which can be printed", or_),
        "name",
    )


def _is_label(value: str) -> bool:
    return 0 < len(value) <= _LABEL and printable(value) == value


def _is_place(value: object) -> bool:
    """Whether it names a directory below another."""
    if not isinstance(value, str) or printable(value) != value or "\\" in value:
        return False
    parts = value.split("/")
    short = all(len(part.encode()) <= _PLACE for part in parts) and len(value) <= 3 * _PLACE
    return short and all(part.strip(" .") for part in parts) and value == value.strip()


_LABEL, _PLACE = 200, 200  # characters; bytes, of the 255 that file systems take


def _in_words(words: str, or_: Sequence[object]) -> str:
    return " or ".join(filter(None, [words, ", ".join(map(plainly, or_))]))


_BATCH_LIMIT = Rule(
    lambda value: value is None or (type(value) is int and value >= 1) or (type(value) is float and 0 < value <= 1),
    "a whole number of batches of at least 1, a share above 0 and up to 1.0, or null",
    "1.0",
)

_NAMES = Rule(
    lambda value: isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(n, str) for n in value),
    "a list of settings",
    "[data.fold]",
)

_SIZE = Rule(
    lambda value: all(
        type(size) is not int or size >= 1
        for size in (value if isinstance(value, Sequence) and not isinstance(value, str) else [value])
    ),
    "whole numbers of at least 1",
    "[256,128]",
)
_SIZES = (
    *("hidden", "widths", "width", "depth", "layers", "heads", "patch", "dim"),
    *("convs_per_stage", "blocks_per_stage", "stem_kernel", "stem_stride"),
)

_PRECISIONS: tuple[object, ...] = (
    *(64, 32, 16, "bf16", "16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true"),
    *("transformer-engine", "transformer-engine-float16"),
)

_PRECISION = Rule(
    lambda value: value in (None, *_PRECISIONS, *map(str, _PRECISIONS)) and type(value) is not bool,
    "64, 32, 16-mixed, bf16-mixed, 16-true, bf16-true or null",
    "16-mixed",
)

_DEVICES = Rule(
    lambda value: (
        (value is not None and not isinstance(value, str))
        or value == "auto"
        or bool(re.fullmatch(r"-?[\d,\s]+", str(value)))
    ),
    "a whole number of at least 1, -1, a list of indices, or auto",
    2,
)

_PROFILER = Rule(
    lambda value: not isinstance(value, str) or value in ("simple", "advanced", "pytorch", "xla"),
    "simple, advanced, pytorch or null",
    "simple",
)

RULES: dict[str, Rule] = {
    "seed": whole(min=0, max=2**32 - 1, example=1),
    "name": label(or_=[None]),
    "note": text(or_=[None]),
    "identity.ignore": _NAMES,
    "identity.also_ignore": _NAMES,
    "sweep.repetitions": _NAMES,
    "monitor.metric": text(or_=[None]),
    "monitor.mode": choice("max", "min"),
    "checkpoint.keep": whole(min=1, or_=[-1], example=3),
    "checkpoint.every_n_steps": whole(min=1, or_=[None], example=500),
    "checkpoint.every_minutes": number(above=0, or_=[None], example=30),
    "objective": text(or_=[None]),
    "objective_mode": choice(None, "min", "max"),
    "init_from": text(or_=[None]),
    "init_strict": Rule(
        lambda value: isinstance(value, bool) or _NAMES.holds(value), "true, false, or a list of patterns", "false"
    ),
    "test": choice(True, False),
    "validate": choice("only", None),
    "compile": choice(False, True),
    "matmul_precision": choice("highest", "high", "medium"),
    "scale_lr": choice(False, True),
    "decay_norm_and_bias": choice(True, False),
    "data.root": text(or_=[None]),
    "data.download": choice(True, False),
    "data.batch_size": whole(min=1, example=64),
    "data.eval_batch_size": whole(min=1, example=1000),
    "data.val_size": whole(min=0, example=5000),
    "data.split_seed": whole(min=0, example=0),
    "data.shuffle": choice(True, False),
    "data.loader": choice("memory", "torch"),
    "data.num_workers": whole(min=0, example=2),
    "data.augment": choice(True, False),
    "model.dropout": Rule(
        lambda value: type(value) in (int, float) and 0 <= value < 1, "a probability from 0 to below 1", 0.1
    ),
    **{f"model.{name}": _SIZE if name in ("hidden", "widths") else whole(min=1, example=1) for name in _SIZES},
    "optimizer.lr": number(above=0, example=1e-3),
    "optimizer.weight_decay": number(min=0, example=0.01),
    "optimizer.momentum": number(min=0, example=0.9),
    "sweep.name": Rule(
        _is_place,
        f"the name of a directory, of at most {_PLACE} bytes, without .. and backslashes",
        "first",
    ),
    "sweep.on_failure": choice("continue", "stop"),
    "sweep.job_timeout": number(above=0, or_=[None], example=3600),
    "sweep.retries": whole(min=0, example=3),
    "sweep.rerun": choice(None, "failed", "all"),
    "trainer.max_epochs": whole(min=1, or_=[None, -1], example=5),
    "trainer.min_epochs": whole(min=1, or_=[None], example=1),
    "trainer.max_steps": whole(min=1, or_=[-1], example=1000),
    "trainer.min_steps": whole(min=1, or_=[None], example=100),
    "trainer.limit_train_batches": _BATCH_LIMIT,
    "trainer.limit_val_batches": _BATCH_LIMIT,
    "trainer.limit_test_batches": _BATCH_LIMIT,
    "trainer.precision": _PRECISION,
    "trainer.devices": _DEVICES,
    "trainer.profiler": _PROFILER,
    "trainer.num_nodes": whole(min=1, example=1),
    "trainer.log_every_n_steps": whole(min=1, or_=[None], example=50),
    "trainer.check_val_every_n_epoch": whole(min=1, or_=[None], example=1),
    "trainer.accumulate_grad_batches": whole(min=1, example=1),
    "trainer.gradient_clip_val": number(above=0, or_=[None], example=1.0),
    "trainer.gradient_clip_algorithm": choice(None, "norm", "value"),
    "trainer.logger": choice(None),
    "trainer.callbacks": choice(None),
    "trainer.enable_checkpointing": choice(True, False),
}

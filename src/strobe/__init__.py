"""Strobe: PyTorch Lightning experiments, composed by Hydra.

From Python, in a script or a notebook::

    import strobe

    run = strobe.train(["model=cnn", "trainer.max_epochs=3"])
    run.evaluate()

To import it takes no time: torch and Hydra are imported when something is asked for that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strobe import errors as errors
    from strobe.api.composing import compose as compose
    from strobe.api.evaluation import Evaluation as Evaluation
    from strobe.api.listing import runs as runs
    from strobe.api.run import Run as Run
    from strobe.api.run import load_run as load_run
    from strobe.api.sweeping import Sweep as Sweep
    from strobe.api.sweeping import sweep as sweep
    from strobe.api.table import Table as Table
    from strobe.api.training import train as train

_PLACES = {
    "compose": "composing",
    "train": "training",
    "load_run": "run",
    "runs": "listing",
    "sweep": "sweeping",
    "Run": "run",
    "Sweep": "sweeping",
    "Evaluation": "evaluation",
    "Table": "table",
}
"""Each name with the module of `strobe.api` that it is in."""

__all__ = ["Evaluation", "Run", "Sweep", "Table", "compose", "load_run", "runs", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name == "errors":  # to be caught, before anything else is asked for
        return import_module("strobe.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'strobe' has no attribute {name!r}; there are: {', '.join(__all__)}")
    value = getattr(import_module(f"strobe.api.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

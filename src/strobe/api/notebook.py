"""Whether there is a notebook to show something in."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Callback


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, and not a terminal or a script."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def callbacks_of_a_notebook() -> "list[Callable[[], Callback]]":
    """What makes the callbacks that show a training there."""
    if not in_notebook():
        return []
    from strobe.callbacks.notebook import InNotebook  # IPython: there is none elsewhere

    return [InNotebook]

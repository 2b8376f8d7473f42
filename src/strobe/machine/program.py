"""How this program's commands are typed where it runs."""

import os
import sys

VARIABLE = "STROBE_TYPED"
"""Of the environment: how the command was typed that has started this process on another machine."""

_IN_CHECKOUT = "python -m src"


def typed(command: str) -> list[str]:
    """The words that start a command: ``python -m src.train`` in a checkout, ``strobe train`` elsewhere."""
    return ["python", "-m", f"src.{command}"] if style() == _IN_CHECKOUT else ["strobe", command]


def style() -> str:
    """What commands begin with here: as the person has typed this one, or the one that has started it elsewhere."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name.startswith("src."):
        return _IN_CHECKOUT
    return os.environ.get(VARIABLE, "strobe")

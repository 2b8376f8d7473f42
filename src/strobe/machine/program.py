"""How this program's commands are typed where it runs."""

import sys


def typed(command: str) -> list[str]:
    """The words that start a command: ``python -m src.train`` in a checkout, ``strobe train`` elsewhere."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    in_checkout = spec is not None and spec.name.startswith("src.")
    return ["python", "-m", f"src.{command}"] if in_checkout else ["strobe", command]

"""A dotted path -> the object that it names, without torch."""

import importlib
from types import ModuleType

from strobe.config.spelling import nearest


def resolve(target: str) -> object:
    """The object that a dotted path names, found as Hydra finds it; nothing is called.

    Raises:
        ImportError: If there is no such module or attribute, or its name is one that has a module run.
    """
    first, *parts = target.split(".")
    if not all(part.isidentifier() for part in (first, *parts)):
        raise ImportError("is not the name of a class, <module>.<Class>")
    if odd := [part for part in (first, *parts) if part.startswith("__")]:
        raise ImportError(f"is refused, because no class is named {odd[0]!r}, and a module of that name is a program")
    name = first
    try:
        named: object = importlib.import_module(first)
    except ModuleNotFoundError as error:
        if error.name != first:
            raise
        raise ImportError(f"there is no module {first!r}") from None
    for part in parts:
        within, name = name, f"{name}.{part}"
        if not hasattr(named, part) and isinstance(named, ModuleType):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
        if not hasattr(named, part):
            known = [key for key in vars(named) if not key.startswith("_")] if hasattr(named, "__dict__") else []
            guess = nearest(part, known)
            raise ImportError(f"{within} has no {part!r}{f'; did you mean {guess!r}?' if guess else ''}")
        named = getattr(named, part)
    return named


def found(target: object) -> tuple[object, str]:
    """What a target names, or else what is wrong with it."""
    if not isinstance(target, str):
        return None, "must be a text, <module>.<Class>"
    try:
        return resolve(target), ""
    except ModuleNotFoundError as error:  # of another module than those that the target names
        return None, f"needs the package {error.name!r}, which is not installed"
    except ImportError as error:
        return None, str(error)
    except (Exception, SystemExit) as error:  # a module of the user's own that fails as it is imported
        return None, f"importing it failed: {type(error).__name__}: {error}"

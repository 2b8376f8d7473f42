"""What a parameter's annotation says about the plain values that a config can hold."""

import math
import types
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Union


def accepts(hint: Any, value: Any) -> bool:
    """Whether a plain value (number, text, list, None) can be meant for a parameter with this annotation.

    Annotations that say nothing about plain values (protocols, type variables) accept everything.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(accepts(argument, value) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if hint is Any or hint is object:
        return True
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if hint in (str, Path):
        return isinstance(value, str)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        items = list(value) if isinstance(value, list) else []
        return len(items) == len(arguments) and all(accepts(a, item) for a, item in zip(arguments, items, strict=True))
    if isinstance(origin, type) and issubclass(origin, dict):
        return isinstance(value, dict)
    if isinstance(origin, type) and issubclass(origin, Collection | typing.Iterable):
        return isinstance(value, list | dict) and all(accepts(arguments[0], item) for item in value)
    if isinstance(hint, type):
        return isinstance(value, hint) if hint.__module__ == "builtins" else not _is_plain(value)
    return True


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str | list | dict)


def describe(hint: Any) -> str:
    """An annotation in words a person can act on."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(argument) for argument in arguments))
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in arguments)
    if hint is type(None):
        return "null"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if hint in words:
        return words[hint]
    if origin is not None and arguments:
        return f"a list of {describe(arguments[0])}s".replace("a list of a ", "a list of ")
    return getattr(hint, "__name__", str(hint))

"""What a parameter's annotation says about what a config can hold for it: plain values, and objects made of nodes."""

import math
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union


@dataclass(frozen=True)
class Made:
    """What stands in a config's value for an object that a node makes.

    Attributes:
        cls: The object's class; None if nobody can tell before it is made.
        factory: Whether the node makes a factory of such objects, ``_partial_: true``.
    """

    cls: type | None
    factory: bool = False


def accepts(hint: Any, value: Any) -> bool:
    """Whether a value (number, text, list, None, or `Made`) can be meant for a parameter with this annotation.

    Annotations that say nothing about values (protocols, type variables) accept everything.
    """
    origin, arguments = _parts(hint)
    if origin in (Union, types.UnionType):
        return any(accepts(argument, value) for argument in arguments)
    if hint is Any or hint is object:
        return True
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if hint is None or hint is type(None):
        return value is None
    if origin in (Callable, type) or hint in (Callable, type):  # plain values are neither
        return isinstance(value, Made) and origin is not type and hint is not type and _can_be_called(value)
    if isinstance(value, Made):
        return _accepts_made(origin if isinstance(origin, type) else hint, value)
    if origin is not None:
        return _accepts_container(origin, arguments, value)
    return _accepts_plain(hint, value) if isinstance(hint, type) else True


def expects(hint: Any, cls: type) -> bool:
    """Whether an annotation names this class or one above it, apart from ``object``."""
    return any(named in cls.__mro__ for named in _classes(hint) if named is not object)


def describe(hint: Any) -> str:
    """An annotation in words a person can act on."""
    origin, arguments = _parts(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(argument) for argument in arguments))
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in arguments)
    if hint is None or hint is type(None):
        return "null"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Callable: "a function"}
    if (origin or hint) in words:
        return words[origin or hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(hint.__members__)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if origin is type:
        return "a class"
    if origin is not None and arguments:
        return f"a list of {describe(arguments[0])}s".replace("a list of a ", "a list of ")
    return getattr(hint, "__name__", str(hint))


def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """What an annotation is a form of, and what of; (None, ()) for a plain class."""
    return typing.get_origin(hint), typing.get_args(hint)


def _accepts_plain(hint: type, value: Any) -> bool:
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if issubclass(hint, str | os.PathLike) and not issubclass(hint, Enum):
        return isinstance(value, str)
    if issubclass(hint, Enum):  # by name, as torchvision takes its weights, or by value
        names = hint.__members__
        return value in [member.value for member in names.values()] or str(value).rpartition(".")[2] in names
    if issubclass(hint, tuple | set | frozenset):
        return isinstance(value, list)
    if typing.is_typeddict(hint):
        return isinstance(value, dict)
    try:
        return isinstance(value, hint)
    except TypeError:  # a protocol
        return True


def _accepts_container(origin: Any, arguments: tuple[Any, ...], value: Any) -> bool:
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        items = list(value) if isinstance(value, list) else []
        return len(items) == len(arguments) and all(accepts(a, item) for a, item in zip(arguments, items, strict=True))
    if not (isinstance(origin, type) and issubclass(origin, Collection | Iterable)):
        return True
    if issubclass(origin, Mapping):
        return isinstance(value, dict) and all(accepts(arguments[-1], item) for item in value.values() if arguments)
    return isinstance(value, list | dict) and all(accepts(arguments[0], item) for item in value if arguments)


def _accepts_made(hint: Any, made: Made) -> bool:
    if not isinstance(hint, type):
        return True
    if made.cls is None:  # anything but what a plain value would be for
        return hint.__module__ != "builtins" and not issubclass(hint, Path | Enum)
    # A factory too: `optimizer: Optimizer` is what many write for what is to make one.
    return _is_subclass(made.cls, hint)


def _can_be_called(made: Made) -> bool:
    return made.factory or made.cls is None or any("__call__" in vars(base) for base in made.cls.__mro__)


def _classes(hint: Any) -> Iterator[type]:
    """All classes in an annotation, ``X`` and ``Y`` in ``list[X] | Y``."""
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        yield hint
    elif typing.get_origin(hint) not in (Literal, type, Callable):
        for argument in typing.get_args(hint):
            yield from _classes(argument)


def _is_subclass(cls: type, hint: type) -> bool:
    try:
        return issubclass(cls, hint)
    except TypeError:  # a protocol
        return True

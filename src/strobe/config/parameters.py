"""What a class or function takes, as its signature and annotations say."""

import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from types import SimpleNamespace
from typing import Any, Self

_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_MAKING = ("__new__", "__init__")
_ANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Parameters:
    """The parameters of a class or function.

    Attributes:
        owner: The name of the class or function.
        by_name: The parameters, in order.
        hints: Their annotations; those that can't be looked up are left out.
    """

    owner: str
    by_name: Mapping[str, Parameter]
    hints: Mapping[str, Any]

    @classmethod
    def of(cls, named: Any) -> Self | None:
        """Those of a class or function; None for one written in C that can't be asked."""
        try:
            by_name = inspect.signature(named).parameters
        except (ValueError, TypeError):
            return None
        making = named
        if isinstance(named, type):  # the nearest class decides, as when Python makes the object
            making = next(vars(base)[name] for base in named.__mro__ for name in _MAKING if name in vars(base))
        return cls(getattr(named, "__name__", str(named)), by_name, _hints(making))

    @property
    def required(self) -> list[str]:
        """Those without a default."""
        return [key for key, each in self.by_name.items() if each.default is each.empty and each.kind not in _ANY]

    def take(self, key: str) -> bool:
        """Whether an argument may be given by this name."""
        named = key in self.by_name and self.by_name[key].kind not in (*_ANY, Parameter.POSITIONAL_ONLY)
        return named or any(each.kind is each.VAR_KEYWORD for each in self.by_name.values())

    def hint(self, key: str) -> Any:
        """The annotation of a parameter; Any for one without, or that only ``**kwargs`` takes."""
        return self.hints.get(key, Any) if key in self.by_name else Any

    def is_none_by_default(self, key: str) -> bool:
        """Whether None is what the parameter is if it isn't given, whatever its annotation says."""
        return key in self.by_name and self.by_name[key].default is None

    def places(self, values: Sequence[Any]) -> list[str] | None:
        """The parameters that arguments without names are for; None if there are too many of them."""
        places = [key for key, each in self.by_name.items() if each.kind in _BY_PLACE]
        rest = [key for key, each in self.by_name.items() if each.kind is each.VAR_POSITIONAL]
        if len(values) > len(places) and not rest:
            return None
        return [*places, *rest * len(values)][: len(values)]


def _hints(making: Any) -> dict[str, Any]:
    """The annotations of a function, without those that only exist for type checkers."""
    function = inspect.unwrap(making)
    hints: dict[str, Any] = {}
    for key, annotation in getattr(function, "__annotations__", {}).items():
        try:
            alone = SimpleNamespace(__annotations__={key: annotation})
            hints |= typing.get_type_hints(alone, getattr(function, "__globals__", {}))
        except Exception:  # whatever an annotation raises as it is looked up
            continue
    return hints

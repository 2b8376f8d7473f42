"""torch's compiler, put off until something is compiled: a second of the three for which a run imports.

Lightning imports ``torch._dynamo`` to recognize what has been compiled, torchvision to decide whether it may compile,
and every optimizer of torch to be left alone by it. As long as nothing is compiled there is nothing to recognize and
nothing to be left alone by, and three names answer for it. Whatever else is asked for, by whomever, imports the real
one, which then takes its place for good.
"""

import importlib
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from inspect import isroutine
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"  # private, but what is imported by Lightning, torchvision and torch themselves
_UTILS = f"{_COMPILER}.utils"


def put_off_the_compiler() -> None:
    """Have whoever imports the compiler from now on get what stands in for it; nothing changes if it is there."""
    if _COMPILER not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def is_compiler_there() -> bool:
    """Whether the compiler has been imported: only then can anything be compiled."""
    return _COMPILER in sys.modules and not _stands_in(_COMPILER)


def _stands_in(name: str) -> bool:
    return isinstance(sys.modules.get(name), _StandIn)


_lock = threading.RLock()


def _real(name: str) -> ModuleType:
    """The module itself, which is imported with all of the compiler if it has not been yet."""
    with _lock:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        for module in (_COMPILER, _UTILS):
            if _stands_in(module):
                del sys.modules[module]
                parent, _, child = module.rpartition(".")
                if parent in sys.modules:
                    vars(sys.modules[parent]).pop(child, None)  # or it would be found there, instead of the real one
        return importlib.import_module(name)


class _StandIn(ModuleType):
    """Has the few names that are asked for where nothing is compiled; any other is the real module's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # importlib looks for these
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_real(self.__name__), name)


class _Finder(MetaPathFinder, Loader):
    """Finds what stands in for the compiler; another of its modules can't do without the real one."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _COMPILER:
            found = PathFinder.find_spec(name, path)
            if found is None or found.submodule_search_locations is None:
                return None
            spec = ModuleSpec(name, self, origin=found.origin, is_package=True)
            spec.submodule_search_locations = list(found.submodule_search_locations)
            return spec
        if name == _UTILS and _stands_in(_COMPILER):
            return ModuleSpec(name, self)
        if name.startswith(f"{_COMPILER}.") and _stands_in(_COMPILER):
            _real(_COMPILER)
            if name in sys.modules:  # now, but not when it was looked for
                return ModuleSpec(name, _Found(sys.modules[name]))
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_ANSWERS[module.__name__])


class _Found(Loader):
    """Gives a module that has been imported on the way."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # importlib has put its own there


class _Compiled(type):
    """Of a class whose instances only the compiler makes."""

    def __instancecheck__(cls, instance: object) -> bool:
        return is_compiler_there() and isinstance(instance, _real(_COMPILER).OptimizedModule)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return is_compiler_there() and issubclass(subclass, _real(_COMPILER).OptimizedModule)


class _OptimizedModule(metaclass=_Compiled):
    """What ``torch.compile`` makes of a module."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real(_COMPILER).OptimizedModule(*args, **kwargs)


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **how: Any) -> Any:
    """A function that the compiler is to leave alone: as it is, until there is a compiler."""
    if fn is None:
        return partial(_disable, recursive=recursive, **how)
    if not isroutine(fn):
        return _real(_COMPILER).disable(fn, recursive, **how)
    left_alone: Any = None

    @wraps(fn)
    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal left_alone
        if left_alone is None:
            if not is_compiler_there():
                return fn(*args, **kwargs)
            left_alone = _real(_COMPILER).disable(fn, recursive, **how)
        return left_alone(*args, **kwargs)

    return called


def _graph_break(*args: Any, **kwargs: Any) -> None:
    """Tells the compiler where a graph ends; it is called on every step, and there is no graph."""


def _is_compile_supported(device_type: Any) -> Any:
    return _real(_UTILS).is_compile_supported(device_type)


_ANSWERS: dict[str, dict[str, Any]] = {
    _COMPILER: {"OptimizedModule": _OptimizedModule, "disable": _disable, "graph_break": _graph_break},
    _UTILS: {"is_compile_supported": _is_compile_supported},
}

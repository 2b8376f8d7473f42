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
    if _COMPILER not in sys.modules and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def is_compiler_there() -> bool:
    """Whether the compiler has been imported: only then can anything be compiled."""
    return _COMPILER in sys.modules and not _stands_in(_COMPILER)


def _stands_in(name: str) -> bool:
    return isinstance(sys.modules.get(name), _StandIn)


_lock = threading.Lock()


def _real(name: str) -> ModuleType:
    """The module itself, which is imported with all of the compiler if it has not been yet."""
    with _lock:  # for a moment: whoever waits for a module must not keep others from theirs
        _finder.stands_in = False
        for module in (_COMPILER, _UTILS):
            if _stands_in(module):
                stand_in = sys.modules.pop(module)
                for answer in _ANSWERS[module]:
                    vars(stand_in).pop(answer, None)  # whoever holds it is given the real ones from now on
                parent, _, child = module.rpartition(".")
                if parent in sys.modules:
                    vars(sys.modules[parent]).pop(child, None)  # or it would be found there
    return importlib.import_module(name)


class _StandIn(ModuleType):
    """Has the few names that are asked for where nothing is compiled; any other is the real module's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # importlib and inspect look for these
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_real(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__") or isinstance(value, _StandIn):  # as importlib does
            super().__setattr__(name, value)
        else:
            setattr(_real(self.__name__), name, value)


class _Finder(MetaPathFinder, Loader):
    """Finds what stands in for the compiler; another of its modules can't do without the real one.

    Nothing is imported while something is looked for: all other imports wait for that.

    Attributes:
        stands_in: Until the real one is asked for.
    """

    def __init__(self) -> None:
        self.stands_in = True

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not self.stands_in:
            return None
        if name == _COMPILER:
            found = PathFinder.find_spec(name, path)
            if found is None or found.submodule_search_locations is None:
                return None
            spec = ModuleSpec(name, self, origin=found.origin, is_package=True)
            spec.submodule_search_locations = list(found.submodule_search_locations)
            return spec
        if name == _UTILS:
            return ModuleSpec(name, self)
        return ModuleSpec(name, _Submodule()) if name.startswith(f"{_COMPILER}.") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_ANSWERS[module.__name__])


_finder = _Finder()


class _Submodule(Loader):
    """Imports the whole compiler and gives one of its modules, as that has been imported on the way."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        _real(_COMPILER)
        module = importlib.import_module(spec.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self._spec  # importlib has put its own there; a module of settings refuses others


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

    vars(called).update(  # by these the compiler knows what it has made itself
        _torchdynamo_disable=True,
        _torchdynamo_disable_msg=how.get("reason"),
        _torchdynamo_disable_recursive=recursive,
        _torchdynamo_orig_callable=fn,
        _torchdynamo_wrapper_id=id(called),
    )
    return called


def _graph_break(*args: Any, **kwargs: Any) -> None:
    """Tells the compiler where a graph ends; it is called on every step, and there is no graph."""


vars(_graph_break)["_torchdynamo_disable"] = True  # who holds on to it, breaks a graph later: none is traced through it


def _is_compile_supported(device_type: Any) -> Any:
    return _real(_UTILS).is_compile_supported(device_type)


vars(_is_compile_supported)["_dynamo_marked_constant"] = True  # as the real one


_ANSWERS: dict[str, dict[str, Any]] = {
    _COMPILER: {"OptimizedModule": _OptimizedModule, "disable": _disable, "graph_break": _graph_break},
    _UTILS: {"is_compile_supported": _is_compile_supported},
}

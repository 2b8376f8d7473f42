"""Parameters in groups, by patterns of their names: each with options of its own for the optimizer, or frozen."""

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from strobe.errors import ConfigError, require
from strobe.record.initial import matches

Groups = Sequence[Mapping[str, Any]]
"""As ``optimizer.groups`` gives them: ``match``, and ``freeze`` or options of the optimizer."""

_PATH = "optimizer.groups"
_ANYTHING = inspect.Parameter.VAR_KEYWORD
_NOT_NEGATIVE = ("lr", "weight_decay", "lr_factor")
_WRAPPED = "_fsdp_wrapped_module."


def problems(groups: Any, optimizer: Callable[..., Any]) -> list[str]:
    """What is wrong with groups whatever the net is, one line each.

    Args:
        groups: From a config; None for none.
        optimizer: The optimizer's class, or a partial of it; it is not called.
    """
    if groups is None:
        return []
    if not isinstance(groups, Sequence) or isinstance(groups, str):
        return [f"{_PATH}={groups!r}: must be a list, such as [{{match: 'layer4.*', lr: 1e-4}}]"]
    wrong: list[str] = []
    for index, group in enumerate(groups):
        path = f"{_PATH}[{index}]"
        if isinstance(group, Mapping):
            wrong += _group_problems(path, group, optimizer)
        else:
            wrong.append(f"{path}={group!r}: must be a mapping, such as {{match: 'layer4.*', lr: 1e-4}}")
    return wrong


def freeze(named: Iterable[tuple[str, nn.Parameter]], groups: Groups) -> None:
    """Take the parameters of groups with ``freeze: true`` out of training.

    To be called before a strategy wraps the module: DDP waits for the gradients of all that needed one then.

    Args:
        named: As `nn.Module.named_parameters` gives them.
        groups: Without `problems`.

    Raises:
        ConfigError: If a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(named)
    for names, group in zip(_assigned(list(parameters), groups), groups, strict=True):
        if group.get("freeze"):
            for name in names:
                parameters[name].requires_grad_(False)
    if parameters and not any(parameter.requires_grad for parameter in parameters.values()):
        raise ConfigError(f"{_PATH}: every parameter is frozen; leave some to train")


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    groups: Groups,
    *,
    optimizer: Callable[..., Any],
    weights: Iterable[str] | None = None,
    lr_scale: float = 1.0,
) -> list[dict[str, Any]]:
    """What to give an optimizer: first the parameters of no group, then the groups in their order.

    A parameter belongs to the first group of which a pattern matches its name. Frozen ones are left out, whoever froze
    them, and so are groups without parameters.

    Args:
        named: As `nn.Module.named_parameters` gives them: all, frozen or not.
        groups: Without `problems`.
        optimizer: The optimizer's class, or a partial of it, whose ``lr`` is what a group's ``lr_factor`` multiplies.
        weights: Names of those to which weight decay applies; the others get none, unless their group says which. None
            for all.
        lr_scale: What a group's ``lr`` is multiplied by, as the optimizer's own has been already.

    Raises:
        ConfigError: If groups have problems, a pattern matches nothing, or all that a group would train is frozen.
    """
    require(problems(groups, optimizer))
    parameters = {name.replace(_WRAPPED, ""): parameter for name, parameter in named}
    assigned = _assigned(list(parameters), groups)
    freeze(parameters.items(), groups)
    decayed = None if weights is None else {name.replace(_WRAPPED, "") for name in weights}
    taken = {name for names in assigned for name in names}
    built = _split([name for name in parameters if name not in taken], parameters, {}, decayed)
    for index, (names, group) in enumerate(zip(assigned, groups, strict=True)):
        options = _options(group, optimizer, lr_scale)
        parts = _split(names, parameters, options, decayed)
        if not parts and not group.get("freeze"):
            raise ConfigError(f"{_PATH}[{index}].match={group['match']!r}: all that it matches is frozen already")
        built += parts
    return built


def _split(
    names: Sequence[str],
    parameters: Mapping[str, nn.Parameter],
    options: Mapping[str, Any],
    decayed: set[str] | None,
) -> list[dict[str, Any]]:
    """One group; or one for those with weight decay, one for those without."""
    trained = [name for name in names if parameters[name].requires_grad]
    parts: list[tuple[list[str], dict[str, float]]] = [(trained, {})]
    if decayed is not None and "weight_decay" not in options:
        weights = [name for name in trained if name in decayed]
        others = [name for name in trained if name not in decayed]
        parts = [(weights, {}), (others, {"weight_decay": 0.0})]
    return [{"params": [parameters[name] for name in part], **options, **more} for part, more in parts if part]


def _options(group: Mapping[str, Any], optimizer: Callable[..., Any], lr_scale: float) -> dict[str, Any]:
    """A group's options as the optimizer takes them."""
    options: dict[str, Any] = {}
    for key, value in group.items():
        if key not in ("match", "freeze"):
            options[key] = tuple(value) if isinstance(value, list) else value
    if "lr" in options:
        options["lr"] *= lr_scale
    if "lr_factor" in options:
        options["lr"] = options.pop("lr_factor") * _parameters(optimizer)["lr"].default
    return options


def _assigned(names: Sequence[str], groups: Groups) -> list[list[str]]:
    """The names that belong to each group.

    Raises:
        ConfigError: If a pattern matches nothing, or a group has nothing that does not belong to an earlier one.
    """
    clean = [name.replace(_WRAPPED, "") for name in names]
    assigned: list[list[str]] = []
    wrong = []
    left = dict(zip(names, clean, strict=True))
    for index, group in enumerate(groups):
        path = f"{_PATH}[{index}].match"
        idle = [pattern for pattern in _patterns(group) if not any(matches(name, [pattern]) for name in clean)]
        wrong += [f"{path}: {pattern!r} matches no parameter; {_alike(pattern, clean)}" for pattern in idle]
        own = [name for name, plain in left.items() if matches(plain, _patterns(group))]
        if not own and not idle:
            wrong.append(f"{path}={group['match']!r}: all that it matches belongs to the groups before it")
        assigned.append(own)
        left = {name: plain for name, plain in left.items() if name not in set(own)}
    require(wrong)
    return assigned


def _patterns(group: Mapping[str, Any]) -> list[str]:
    match = group["match"]
    return [match] if isinstance(match, str) else list(match)


def _alike(pattern: str, names: Sequence[str]) -> str:
    """Names to choose from, those most like a pattern first."""
    plain = [name.removeprefix("net.").removeprefix("body.") for name in names]
    parts = {".".join(name.split(".")[:depth]): None for name in plain for depth in range(1, name.count(".") + 2)}
    close = difflib.get_close_matches(pattern.strip("*."), parts, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    first = list({name.split(".")[0]: None for name in plain})
    return f"the names begin with {', '.join(first[:8])}{', ...' if len(first) > 8 else ''}"


def _group_problems(path: str, group: Mapping[Any, Any], optimizer: Callable[..., Any]) -> Iterator[str]:
    match = group.get("match")
    patterns = [match] if isinstance(match, str) else match
    if not isinstance(patterns, Sequence) or not patterns or not all(isinstance(each, str) for each in patterns):
        yield f"{path}.match={match!r}: must be a pattern of parameter names, such as 'layer4.*', or a list of them"
    takes = _parameters(optimizer)
    rest = [key for key in group if key not in ("match", "freeze")]
    frozen = group.get("freeze", False)
    if not isinstance(frozen, bool):
        yield f"{path}.freeze={frozen!r}: must be true or false"
    elif frozen and rest:
        yield f"{path}: freeze: true leaves nothing for {', '.join(map(str, rest))} to act on; take out either"
    if "lr" in group and "lr_factor" in group:
        yield f"{path}: give lr, or lr_factor, which multiplies optimizer.lr; not both"
    open_ended = any(parameter.kind is _ANYTHING for parameter in takes.values())
    known = [name for name, parameter in takes.items() if parameter.kind is not _ANYTHING]
    for key in rest:
        value = group[key]
        if key == "lr_factor":
            has_rate = "lr" in takes and _is_number(takes["lr"].default)
            yield from [] if has_rate else [f"{path}.lr_factor: the optimizer has no lr that it could multiply"]
            yield from _value_problems(f"{path}.{key}", key, value, 1.0)
        elif key in known:
            yield from _value_problems(f"{path}.{key}", key, value, takes[key].default)
        elif not open_ended:
            guess = difflib.get_close_matches(str(key), [*known, "match", "freeze", "lr_factor"], n=1)
            hint = f"did you mean {guess[0]}? It takes" if guess else "it takes"
            yield f"{path}.{key!s}: no such option; {hint} match, freeze, lr_factor, {', '.join(known)}"


def _value_problems(path: str, key: str, value: Any, default: Any) -> Iterator[str]:
    """What is wrong with a value, by what the optimizer takes where none is given."""
    if key in _NOT_NEGATIVE or _is_number(default):
        least = 0 if key in _NOT_NEGATIVE else -math.inf
        if not _is_number(value) or not least <= value < math.inf:
            yield f"{path}={value!r}: must be a {'number from 0' if least == 0 else 'finite number'}"
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            yield f"{path}={value!r}: must be true or false"
    elif isinstance(default, tuple):
        fits = isinstance(value, list | tuple) and len(value) == len(default) and all(map(_is_number, value))
        yield from [] if fits else [f"{path}={value!r}: must be {len(default)} numbers, such as {list(default)}"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parameters(optimizer: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What the optimizer takes; as defaults what a partial gives."""
    takes = dict(inspect.signature(optimizer).parameters)
    given = optimizer.keywords if isinstance(optimizer, partial) else {}
    found = {}
    for name, parameter in takes.items():
        if name != "params":
            found[name] = parameter.replace(default=given[name]) if name in given else parameter
    return found

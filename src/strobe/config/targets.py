"""A config -> everything wrong with what it names. Nothing it names is called."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from strobe.config.annotations import Made, accepts, describe
from strobe.config.kinds import (
    COLLECTIONS,
    FACTS,
    LISTS,
    NODES,
    Kind,
    made_by,
    may_be_within,
    not_taken,
    refusal,
    why_not,
)
from strobe.config.parameters import Parameters
from strobe.config.resolving import found, resolve
from strobe.config.seen import Seen
from strobe.config.spelling import nearest
from strobe.data.datamodule import ImageDataModule
from strobe.record.settings import leaves

__all__ = ["known_facts", "problems_with_targets", "resolve"]

_OF_HYDRA = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
_NEEDED = ("model", "optimizer", "loss")  # what these groups make, a task that asks for it can't do without


def problems_with_targets(cfg: DictConfig | Mapping[Any, Any], right: Seen | None = None) -> list[str]:
    """Everything wrong with the targets of a config, or of a part of one, and with their arguments.

    Args:
        cfg: The config, or its values.
        right: Groups of other configs with which nothing was wrong: they are not gone through again. Takes these too.
    """
    config = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else cfg
    assert isinstance(config, Mapping), "a DictConfig becomes a dict"
    groups = {str(key): value for key, value in config.items()}
    check = _Check(groups)
    wrong: list[str] = []
    for key, value in groups.items():
        if key not in NODES and key not in COLLECTIONS:
            wrong += _stray(key, value)
        elif right is None or (looked_at := [key, value, *check.looks_at]) not in right:
            found_here = list(check.place(key, value))
            wrong += found_here
            if right is not None and not found_here:
                right.add(looked_at)
    return list(dict.fromkeys(wrong))


def known_facts(data: Any) -> frozenset[str] | None:
    """The facts that a config's data tells before it is built; None where nobody can know which it will tell."""
    if data is None:
        return frozenset()
    try:
        named = resolve(data["_target_"])
    except Exception:  # said where the data itself is looked at
        return None
    if not isinstance(named, type):
        return None
    if issubclass(named, ImageDataModule):
        own = getattr(named, "facts", None) is not getattr(ImageDataModule, "facts", None)
        return None if own else FACTS
    return None if hasattr(named, "facts") else frozenset()


class _Check:
    """Looks at one config.

    Args:
        config: Plain containers.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.facts = known_facts(config["data"]) if "data" in config else None
        data = config.get("data")
        absent = [group for group in _NEEDED if group in config and config[group] is None]
        self.looks_at = (data.get("_target_") if isinstance(data, dict) else data, absent)
        """All of the config that counts for what is wrong with a group, beside the group itself."""

    def place(self, path: str, value: Any) -> Iterator[str]:
        """What is wrong with a place that takes nodes of one kind."""
        if value is None:
            return
        if path in NODES:
            kind = NODES[path]
            if isinstance(value, dict):
                yield from self.node(path, value, kind)
            elif not kind.text:
                yield f"{path}={value}: must be a node with a _target_, or null"
        elif isinstance(value, dict):
            for name, node in value.items():
                yield from self._member(f"{path}.{name!s}", node, COLLECTIONS[path])
        elif isinstance(value, list) and path in LISTS:
            for index, node in enumerate(value):
                yield from self._member(f"{path}[{index}]", node, COLLECTIONS[path])
        else:
            yield f"{path}={value}: must be a mapping of names to nodes with a _target_"

    def within(self, path: str, value: Any, hint: Any) -> Iterator[str]:
        """What is wrong with the nodes within a value, however deep in lists and mappings.

        Args:
            path: Of the value.
            value: What an argument of a node is.
            hint: The annotation of the parameter it is for.
        """
        if isinstance(value, dict) and "_target_" in value:
            yield from self.node(path, value, None, hint)
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from self.within(f"{path}.{key!s}", item, hint)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.within(f"{path}[{index}]", item, hint)

    def node(self, path: str, node: Mapping[str, Any], kind: Kind | None, hint: Any = None) -> Iterator[str]:
        """What is wrong with a node.

        Args:
            path: Where it is.
            node: The node.
            kind: What its place takes; None within another node.
            hint: The annotation of the parameter that a node within another is for.
        """
        if "_target_" not in node:
            yield f"{path}: names no class; add {path}._target_=<module>.<Class>"
            return
        target = node["_target_"]
        named, wrong = found(target)
        if not wrong:
            top = path.partition(".")[0].partition("[")[0]
            fits = may_be_within(named, top, hint) if kind is None else kind.holds(named)
            wrong = refusal(named) if fits else why_not(named, kind)
        if wrong:
            yield f"{path}._target_={target!r}: {wrong}"
            return
        if kind is not None and kind.factory and node.get("_partial_") is not True:
            later = ", ".join(kind.given)
            yield f"{path}._partial_: must be true, because {later} comes later; add {path}._partial_=true"
        yield from self._arguments(path, node, named, kind or Kind((), ""))

    def _member(self, path: str, node: Any, kind: Kind) -> Iterator[str]:
        if isinstance(node, dict):
            yield from self.node(path, node, kind)
        elif node is not None:
            yield f"{path}={node}: must be a node with a _target_, or null"

    def _arguments(self, path: str, node: Mapping[str, Any], named: object, kind: Kind) -> Iterator[str]:
        takes = Parameters.of(named)
        if takes is None:
            for key in node.keys() - set(_OF_HYDRA):
                yield from self.within(f"{path}.{key!s}", node[key], Any)
            return
        by_place, wrong = _by_place(path, node, takes, kind)
        yield from wrong
        for at, (key, value) in by_place.items():
            yield from self._argument(at, value, key, node, takes, kind)
        for key in (str(key) for key in node if key not in _OF_HYDRA):
            at, value = f"{path}.{key}", node[key]
            if key in kind.further:
                yield from self.within(at, value, Any)
            elif key in kind.given or not takes.take(key):
                yield _unknown(path, key, takes, kind)
            elif why := not_taken(named, path, key):
                yield f"{at}: {why}"
            elif _is_place(at, value) and (path != "data" or _serves_images(named)):
                yield from self.place(at, value)
            else:
                yield from self._argument(at, value, key, node, takes, kind)
        by_build = kind.given_to(takes.by_name, self.facts)
        unknown_yet = kind.classes == () and node.get("_partial_") is True  # whoever gets the factory gives the rest
        for key in takes.required:
            if key in node or key in {key for key, _ in by_place.values()} or unknown_yet or wrong:
                continue
            if key in by_build:
                yield from self._offer(path, key, takes)
            else:
                yield self._missing(path, key, takes, kind)

    def _argument(
        self, at: str, value: Any, key: str, node: Mapping[str, Any], takes: Parameters, kind: Kind
    ) -> Iterator[str]:
        hint = takes.hint(key)
        wrong = list(self.within(at, value, hint))
        yield from wrong
        left_open = value is None and (key in kind.filled or takes.is_none_by_default(key))
        # With _recursive_=false the class gets the nodes as they are, and makes the objects itself.
        raw = node.get("_recursive_") is False and isinstance(value, dict | list)
        if not (wrong or left_open or raw or accepts(hint, _with_made(value))):
            yield f"{at}={value!r}: {takes.owner} takes {describe(hint)}"

    def _offer(self, path: str, key: str, takes: Parameters) -> Iterator[str]:
        """That a task asks for what no group makes."""
        group = "model" if key == "net" else key
        no_one_makes_it = path == "task" and group in _NEEDED and group in self.config and self.config[group] is None
        if no_one_makes_it and not (key in takes.hints and accepts(takes.hints[key], None)):
            yield f"task.{key}: {takes.owner} needs it, and {group}=null; choose {group}=<option>"

    def _missing(self, path: str, key: str, takes: Parameters, kind: Kind) -> str:
        reason = ""
        if kind.facts and isinstance(self.config.get("data"), dict) and self.facts is not None and not self.facts:
            data = self.config["data"]["_target_"].rpartition(".")[2]
            reason = f", and {data} has no facts()"
        return f"{path}.{key}: {takes.owner} needs it{reason}; add +{path}.{key}=<value>"


def _stray(key: str, value: Any) -> Iterator[str]:
    """Nodes below a key of the top that nothing is made of."""
    for path, each in leaves(value, key, into_lists=True):
        if "_target_" in path.split("."):
            yield f"{path}={each!r}: refused, because no object belongs below {key}"


def _is_place(path: str, value: Any) -> bool:
    """Whether a value stands where nodes of one kind do; a text in the place of one is an argument as any other."""
    return path in COLLECTIONS or (path in NODES and (isinstance(value, dict) or not NODES[path].text))


def _serves_images(named: object) -> bool:
    return isinstance(named, type) and issubclass(named, ImageDataModule)


def _unknown(path: str, key: str, takes: Parameters, kind: Kind) -> str:
    known = [name for name in takes.by_name if name not in kind.given]
    guess = nearest(key, known)
    hint = f"did you mean {path}.{guess}? It" if guess else "it"
    return f"{path}.{key}: {takes.owner} takes no such argument; {hint} takes {', '.join(known) or 'none'}"


def _by_place(
    path: str, node: Mapping[str, Any], takes: Parameters, kind: Kind
) -> tuple[dict[str, tuple[str, Any]], list[str]]:
    """The arguments of ``_args_``, by their path: the parameter that each is for, its value; and what is wrong."""
    values = node.get("_args_", [])
    at = f"{path}._args_"
    if not isinstance(values, list):
        return {}, [f"{at}={values!r}: must be a list"]
    if values and kind.given:
        return {}, [f"{at}={values!r}: {takes.owner} gets its {', '.join(kind.given)} first; give arguments by name"]
    names = takes.places(values)
    if names is None:
        return {}, [f"{at}={values!r}: {takes.owner} takes no {len(values)} arguments by their place; give them names"]
    twice = [f"{path}.{name}: is given twice, in {at} too" for name in names if name in node]
    return {f"{at}[{index}]": (name, values[index]) for index, name in enumerate(names)}, twice


def _with_made(value: Any) -> Any:
    """A value with `Made` in the place of its nodes."""
    if isinstance(value, dict) and "_target_" in value:
        named, _ = found(value["_target_"])
        return Made(made_by(named), factory=value.get("_partial_") is True)
    if isinstance(value, dict):
        return {key: _with_made(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_made(item) for item in value]
    return value

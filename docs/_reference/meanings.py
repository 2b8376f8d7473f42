"""What a key of a config file means: its comment, or what it takes its meaning from."""

from collections.abc import Iterator, Mapping

from strobe.commands.config_files import ConfigFiles, Entry, Keys
from strobe.commands.help import _docstring as first_line  # read, not imported: no torch to build a page

_OF_HYDRA = {
    "_target_": "the class that is made of the keys beside it",
    "_partial_": "made later, when all of its arguments are known",
}
_IN_HYDRA = {"hydra.mode": "MULTIRUN: a sweep, as with -m"}


class Meanings:
    """The meanings of all keys in some config files.

    Args:
        files: The config files.
    """

    def __init__(self, files: ConfigFiles) -> None:
        self.files = files
        self.groups = files.groups()
        self._whole: dict[str, str] = {}  # a key by its whole name -> its comment, wherever that stands
        for name, comment in self._comments():
            if comment:
                self._whole.setdefault(name, comment)

    def of(self, name: str, entry: Entry) -> str:
        """What a key means; empty where nothing says so.

        Args:
            name: Of the whole config, as in ``trainer.max_epochs``.
            entry: Where it stands.
        """
        if entry.comment:
            return entry.comment
        key = name.rpartition(".")[2]
        if key == "_target_" and entry.value:
            about = first_line(entry.value)
            return f"the class: {about}" if about else _OF_HYDRA[key]
        if key in _OF_HYDRA:
            return _OF_HYDRA[key]
        if name.startswith("hydra.sweeper.params."):
            return "values that the sweep tries"
        if name in self.groups and not entry.keys:
            return f"see the group {name}"
        return _IN_HYDRA.get(name, "") or self._whole.get(name, "")

    def _comments(self) -> Iterator[tuple[str, str]]:
        yield from names(self.files.file("train").keys)
        for group, options in self.groups.items():
            place = group.replace("/", ".")
            for option in options:
                file = self.files.option(group, option)
                yield from names(file.keys, "" if file.everywhere else f"{place}.")


def names(keys: Keys, before: str = "") -> Iterator[tuple[str, str]]:
    """Every key by its whole name, with its comment."""
    for key, entry in keys.items():
        yield f"{before}{key}", entry.comment
        yield from names(entry.keys, f"{before}{key}.")


def leaves(keys: Keys, before: str = "") -> Iterator[tuple[str, Entry]]:
    """The keys that have a value, by their whole names; and those above them that say something."""
    for key, entry in keys.items():
        if entry.value is not None or not entry.keys:
            yield f"{before}{key}", entry
            continue
        if entry.comment:
            yield f"{before}{key}", entry
        yield from leaves(entry.keys, f"{before}{key}.")


def of_groups(groups: Mapping[str, object]) -> list[str]:
    """The groups in the order in which a person meets them."""
    first = ("data", "model", "task", "loss", "optimizer", "scheduler", "metrics", "trainer", "callbacks", "logger")
    later = ("experiment", "debug", "sweep", "hydra/launcher", "hydra/sweeper")
    known = [group for group in (*first, *later) if group in groups]
    return [*known, *(group for group in groups if group not in known)]

"""A wrong key or option -> the overrides that were meant."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from strobe.config.spelling import listed, nearest
from strobe.config.vocabulary import key_here, option_here, setting_here, word

_ALSO = {
    "layers": ("depth", "blocks_per_stage"),
    "depth": ("layers", "blocks_per_stage"),
    "hidden": ("widths", "width", "dim"),
    "width": ("hidden", "dim", "widths"),
    "widths": ("hidden", "width"),
    "dim": ("width", "hidden"),
}
"""A key of a net -> what says about the same in another."""

_WITH_KEYS = ("model", "optimizer", "scheduler", "loss", "data", "callbacks")
_FIRST = ("mlp", "cnn", "sgd", "adam", "step", "cosine", "plateau")  # named before others that have the key, too
_EARLY_STOPPING = (
    "+callbacks.early_stopping._target_=lightning.pytorch.callbacks.EarlyStopping "
    "+callbacks.early_stopping.monitor=val/loss"
)


@dataclass(frozen=True)
class Known:
    """What a command may name.

    Attributes:
        keys: Of the config, dotted.
        groups: And their options.
        choices: The option that is chosen of each.
        folders: Where the options' files are.
    """

    keys: Sequence[str]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[Path] = ()

    def for_key(self, key: str, value: str) -> tuple[str | None, str]:
        """The overrides that are meant by a key that is not there, and what is to be said of it before them."""
        early = self._early_stopping(key, value)
        if early is not None:
            return early, ""
        setting = setting_here(key, value)
        if setting is not None and self._holds(setting):
            return setting, ""
        usual = key_here(key)
        if usual is not None and usual in self.groups:
            return self.for_option(usual, value) or f"{usual}={value}", ""
        if usual is not None and (usual in self.keys or usual.startswith("hydra.")):
            return f"{usual}={value}", ""
        if (near := self._alike(key)) is not None:
            return self._set(near, value), ""
        wanted = usual or key
        if (found := self._elsewhere(wanted, value)) is not None:
            return found
        if (near := self._nearest(key)) is not None:
            return self._set(near, value), ""
        return None, ""

    def for_option(self, group: str, option: str) -> str | None:
        """The overrides that are meant by an option that a group does not have."""
        if re.fullmatch(r"[^,()\[\]]+(,[^,()\[\]]+)+", option):  # of a sweep
            each = [self.for_option(group, name) or f"{group}={name}" for name in option.split(",")]
            together = ",".join(meant.partition("=")[2] for meant in each)
            alike = all(meant.startswith(f"{group}=") and " " not in meant for meant in each)
            return f"{group}={together}" if alike else None
        for name in (option, word(option)):
            if name in self.groups.get(group, ()):
                return f"{group}={name}"
        if group == "callbacks" and word(option) in ("early_stopping", "earlystopping", "early_stop"):
            return "callbacks=early_stopping" if self._has_early_stopping() else _EARLY_STOPPING
        meant = option_here(group, option)
        if meant is not None and self._holds(meant):
            return meant
        guess = nearest(option, self.groups.get(group, ()))
        return None if guess is None else f"{group}={guess}"

    def for_word(self, text: str) -> str | None:
        """The override that is meant by the name of an option, or a directory of a run, alone."""
        for group, options in self.groups.items():
            if "/" not in group and group not in ("base", "hydra") and word(text) in options:
                return f"{group}={word(text)}"
        if (Path(text) / "report.json").is_file():
            return f"resume={text}"
        for group in ("model", "data", "optimizer"):
            meant = option_here(group, text) if "/" not in text else None
            if meant is not None and self._holds(meant):
                return meant
        return None

    def unknown(self, key: str, value: str, *, deletes: bool = False) -> str:
        """What is wrong with a key that is not there, in a line."""
        if deletes:
            near = self._alike(key) or self._nearest(key)
            meant, why = None if near is None else f"~{near}", ""
        else:
            meant, why = self.for_key(key, value)
        if meant is not None:
            return f"{key}: no such key; {why}did you mean {meant}?"
        parent = key.rpartition(".")[0]
        others = [name for name in self._siblings(parent) if not name.endswith("_")]
        others = others or [name for name in self._public(key) if "." not in name]
        return f"{key}: no such key; there are: {listed(others)}"

    def _set(self, key: str, value: str) -> str:
        if key in self.groups and "." not in key:
            return self.for_option(key, value) or f"{key}={value}"
        return f"{key}={value}"

    def _holds(self, setting: str) -> bool:
        """Whether overrides choose options that are there."""
        for each in setting.split():
            key, _, value = each.partition("=")
            if self.groups and key in self.groups and value not in (*self.groups[key], "null"):
                return False
        return True

    def _public(self, key: str) -> list[str]:
        return [name for name in self.keys if key.startswith("hydra") or name.partition(".")[0] != "hydra"]

    def _siblings(self, parent: str) -> list[str]:
        return [name for name in self.keys if parent and name.rpartition(".")[0] == parent]

    def _alike(self, key: str) -> str | None:
        """The same key in lower case, with dots; or the same under its parent."""
        lower = key.lower().replace("/", ".").replace("-", "_")
        names = [*self._public(key), *self.groups]
        same = next((name for name in names if name.lower() == lower), None)
        if same is not None or "." in key:
            return same
        return next((name for name in names if name.rpartition(".")[2].lower() == lower), None)

    def _nearest(self, key: str) -> str | None:
        parent, _, last = key.rpartition(".")
        siblings = self._siblings(parent)
        if not siblings:
            top = parent.partition(".")[0]
            if top in self.groups and top in self.choices:  # nothing is chosen that could have the key
                return None
            return nearest(key, [*self._public(key), *(group for group in self.groups if "/" not in group)])
        close = nearest(last, [name.rpartition(".")[2] for name in siblings])
        return None if close is None or _is_far(last, close) else f"{parent}.{close}"

    def _elsewhere(self, key: str, value: str) -> tuple[str, str] | None:
        """The same key of another option of the group, and that the chosen one doesn't have it."""
        parent, _, last = key.rpartition(".")
        if "." in parent or (parent and parent not in self.choices):
            return None
        for group in [parent] if parent else _WITH_KEYS:
            chosen = str(self.choices.get(group))
            for other in _ALSO.get(last, ()) if parent else ():
                if f"{group}.{other}" in self.keys:
                    return f"{group}.{other}={value}", f"{chosen} has no {last}; "
            options = self._options_with(group, last)
            if options:
                has_none = f"{group}=none" if chosen in ("none", "None") else chosen
                return f"{group}={options[0]} {group}.{last}={value}", f"{has_none} has no {last}; "
        return None

    def _options_with(self, group: str, key: str) -> list[str]:
        line = re.compile(rf"^{re.escape(key)}:", re.MULTILINE)
        files = [path for folder in self.folders for path in (folder / group).glob("*.yaml")]
        names = {path.stem for path in files if line.search(path.read_text(encoding="utf-8", errors="replace"))}
        return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))

    def _early_stopping(self, key: str, value: str) -> str | None:
        lower = word(key)
        if not re.fullmatch(r"patience|early_?stop(ping)?|(callbacks\.)?early_?stop(ping)?\.\w+", lower):
            return None
        last = lower.rpartition(".")[2]
        if "callbacks.early_stopping" in self.keys and "." in lower:  # chosen already, perhaps with others
            return f"+callbacks.early_stopping.{last}={value}"
        added = f" callbacks.early_stopping.{last}={value}" if "." in lower or last == "patience" else ""
        if self._has_early_stopping():
            return f"callbacks=early_stopping{added}"
        return _EARLY_STOPPING + added.replace(" ", " +")

    def _has_early_stopping(self) -> bool:
        return "early_stopping" in self.groups.get("callbacks", ())


def _is_far(typed: str, close: str) -> bool:
    """Whether a key of the same parent is alike by chance: a few letters of short words."""
    return SequenceMatcher(None, typed.lower(), close.lower()).ratio() < 0.7

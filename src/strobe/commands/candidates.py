"""What may stand where the cursor is: commands, flags, groups, options, keys, values, runs; without Hydra and torch."""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from strobe.commands.config_files import ConfigFiles, Entry
from strobe.commands.names import COMMANDS
from strobe.config.place import CONF
from strobe.config.rules import RULES
from strobe.config.slips import in_full
from strobe.record.find import LATEST, OUTPUTS, run_directories
from strobe.record.shapes import STATUSES

Candidate = tuple[str, str]
"""A word, and what it is for. One that ends with ``=``, ``.``, ``/`` or ``,`` goes on."""

_MODULE = "src."  # `python -m src.train`
_COMPOSED = ("train", "summary", "evaluate")  # take overrides
_OF_RUNS = ("evaluate", "predict", "export", "trust", "report", "rm", "runs")
_RUN_KEYS = ("resume", "init_from")
_MOST = 60  # runs to choose from
_WORDS = re.compile(r"(\w[\w.-]*(?:, \w[\w.-]*)+)(?=$|;|, \.\.\.)")
_TARGETS = ("_target_", "_partial_")

_FILTERS = ("--name", "--tag", "--status", "--since", "--note")
FLAGS = {
    "train": (
        *("--multirun", "-m", "--help", "--trust", "--cfg", "--package", "--resolve", "--info"),
        *("--config-dir", "--config-path", "--config-name", "--hydra-help", "--version"),
    ),
    "summary": ("--config-dir", "--help", "--version"),
    "evaluate": ("--trust", "--checkpoint", "--details", "--out", "--json", "--help", "--version"),
    "predict": (
        *("--trust", "--checkpoint", "--top", "--as-is", "--invert", "--json", "--csv"),
        *("--help", "--version"),
    ),
    "export": ("--format", "--raw", "--dtype", "--output", "--trust", "--checkpoint", "--help", "--version"),
    "trust": ("--show", "--help", "--version"),
    "report": ("--out", "--diff", "--no-details", *_FILTERS, "--help", "--version"),
    "runs": (*_FILTERS, "--all", "--json", "--help", "--version"),
    "rm": ("--failed", "--yes", "--help", "--version"),
    "new": ("--help", "--version"),
    "doctor": ("--root", "--help", "--version"),
    "benchmark": (
        *("--quick", "--rounds", "--root", "--output", "--beside", "--jobs"),
        *("--models", "--batch-sizes", "--precisions", "--help", "--version"),
    ),
    "completion": ("--help", "--version"),
}
"""The flags of every command."""

VALUES = {
    "--format": ("onnx", "torch_export", "torchscript"),
    "--dtype": ("uint8", "float32"),
    "--checkpoint": ("best.ckpt", "last.ckpt"),
    "--cfg": ("job", "hydra", "all"),
    "--status": STATUSES,
    "--since": ("today", "1d", "7d"),
    "benchmark": ("commands", "start", "steps", "ddp", "sweep", "memory", "scale"),
    "completion": ("bash", "zsh", "fish"),
}
"""Words after a flag, or of a command."""


def candidates(words: Sequence[str]) -> list[Candidate]:
    """What may stand in the place of the last word.

    Args:
        words: Of the command line up to the cursor, the program among them; the last may be empty.
    """
    module = "-m" in words[:-1] and words[words.index("-m") + 1].startswith(_MODULE)
    rest = list(words[words.index("-m") + 1 :] if module else words[1:])
    if not rest:
        return []
    rest[0] = rest[0].removeprefix(_MODULE) if module else rest[0]
    command, *typed = rest
    if not typed:
        before = _MODULE if module else ""
        flags = [] if module else [("--help", ""), ("--version", "")]
        names = [*COMMANDS.items(), *flags] if command.startswith("-") else COMMANDS.items()
        return [(f"{before}{name}", about) for name, about in names if name.startswith(command)]
    if command not in COMMANDS:
        return []
    *before_it, current = typed
    found = dict(_of_command(command, before_it, current))
    return [(word, about) for word, about in found.items() if word.startswith(current)]


def words_of(line: str) -> list[str]:
    """A command line as words, the last of which may have a quote without an end."""
    for ending in ("", "'", '"'):
        try:
            words = shlex.split(line + ending)
        except ValueError:
            continue
        words += [""] if not ending and line[-1:].isspace() else []
        while words and re.fullmatch(r"\w+=.*", words[0]):  # variables for the command
            del words[0]
        return words
    return []


def _of_command(command: str, before: Sequence[str], current: str) -> Iterator[Candidate]:
    last = before[-1] if before else ""
    if last in VALUES and last.startswith("-"):
        yield from ((word, "") for word in VALUES[last])
    elif last in ("--config-dir", "-cd", "--config-path", "--out", "--output", "--root", "--beside"):
        yield from _folders(current)
    elif current.startswith("-"):
        yield from ((flag, "") for flag in FLAGS[command])
    elif command == "train" and before and {"-h", "--help"} & set(before):
        yield from ((group, "") for group in ConfigFiles([*_own(before), CONF]).groups())
    elif command in _OF_RUNS and (command in ("report", "rm", "runs") or not _named(before)):
        yield from _runs(current, folders=command in ("report", "rm", "runs"))
    elif command in _COMPOSED:
        yield from _overrides(before, current)
    else:
        yield from ((word, "") for word in VALUES.get(command, ()) if not _named(before))


def _named(before: Iterable[str]) -> bool:
    """Whether a command has its first argument."""
    return any(not word.startswith("-") for word in before)


def _own(before: Sequence[str]) -> list[Path]:
    """The user's own config directory."""
    pairs = zip(before, [*before[1:], ""], strict=False)
    return [
        Path(word.partition("=")[2] or following).expanduser()
        for word, following in pairs
        if in_full(word.partition("=")[0]) == "--config-dir"
    ]


def _overrides(before: Sequence[str], current: str) -> Iterator[Candidate]:
    files = ConfigFiles([*_own(before), CONF])
    groups = files.groups()
    pairs = [word.lstrip("+").partition("=") for word in before if "=" in word and not word.startswith("-")]
    keys = files.whole({group: option for group, _, option in pairs if option in groups.get(group, ())})
    mark = re.match(r"[+~]*", current)
    sign = mark[0] if mark else ""
    key, equals, value = current[len(sign) :].partition("=")
    if equals:
        # Of several values, and within a list that is open, the last.
        head = f"{sign}{key}={value[: max(value.rfind(','), value.rfind('[')) + 1]}"
        end = "]" if value.startswith("[") else ""
        yield from ((f"{head}{word}{end}", about) for word, about in _values(groups, keys, key, value))
        return
    parent, dot, _ = key.rpartition(".")
    below = _entry(keys, parent).keys if dot else keys
    for name, entry in below.items():
        full = f"{sign}{parent}{dot}{name}"
        if not dot and name in groups:
            yield f"{full}=", ", ".join(groups[name])
        if entry.value is None and any(inner not in _TARGETS for inner in entry.keys):
            yield f"{full}.", entry.comment
        elif entry.value is not None and name not in _TARGETS:
            yield f"{full}=", " ".join(filter(None, [f"{entry.value}", entry.comment and f"# {entry.comment}"]))
    if not dot:
        yield from ((f"{sign}{group}=", ", ".join(options)) for group, options in groups.items())


def _values(groups: dict[str, list[str]], keys: dict[str, Entry], key: str, value: str) -> Iterator[Candidate]:
    """What may be given to a key; of several values, the last."""
    if key in groups:
        yield from ((option, "") for option in groups[key])
        return
    if key in _RUN_KEYS:
        yield from _runs(value)
        return
    entry = _entry(keys, key)
    if entry.value is None:
        return
    allowed = RULES[key].allowed.split(", ") if key in RULES else []
    words = [word for word in allowed if re.fullmatch(r"[\w-]+", word)]
    if entry.value in ("true", "false"):
        words += ["true", "false"]
    listed = _WORDS.match(entry.comment)
    words += listed[1].split(", ") if listed else []
    if words:
        yield from ((word, "") for word in dict.fromkeys([*words, entry.value]))


def _entry(keys: dict[str, Entry], path: str) -> Entry:
    entry = Entry(None, "", keys)
    for part in path.split("."):
        entry = entry.keys.get(part, Entry("null"))
    return entry


def _runs(current: str, *, folders: bool = False) -> Iterator[Candidate]:
    """Run directories below ``outputs``, those of the latest days first, else the folders that begin so."""
    if LATEST.startswith(current):
        yield LATEST, "the newest run"
    below = f"{OUTPUTS}/"
    top = Path(current.rpartition("/")[0]) if current.startswith(below) else OUTPUTS
    runs = map(str, run_directories(top)) if current.startswith(below) or below.startswith(current) else ()
    found = list(islice((run for run in runs if run.startswith(current)), _MOST))
    yield from ((run, "") for run in found)
    if not found or folders:
        yield from _folders(current)


def _folders(current: str) -> Iterator[Candidate]:
    folder, slash, start = current.rpartition("/")
    place = Path(folder + slash or ".").expanduser()
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.is_dir())
    except OSError:
        return
    yield from (
        (f"{folder}{slash}{name}/", "")
        for name in names
        if name.startswith(start) and (start or not name.startswith("."))
    )

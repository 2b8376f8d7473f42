"""What `python -m src.train --help` says: the configs as they read, at 80 columns, with their comments."""

import ast
import difflib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from strobe.commands.arguments import flag_values, parts_of
from strobe.commands.config_files import ConfigFiles, Entry, File, Keys
from strobe.commands.names import COMMANDS
from strobe.commands.parser import as_typed
from strobe.config.place import CONF
from strobe.errors import ConfigError
from strobe.machine.program import typed
from strobe.machine.text import printable

_WIDTH = 80
_COLUMN = 30  # where comments begin at the latest
_ROOM = 24  # columns that a comment needs beside its value

_START = """\
Strobe: train one model with one line.

  {train}                          SimpleNN on MNIST
  {train} model=mlp optimizer.lr=0.01   another net, another rate
  {train} -m seed=1,2,3            a sweep
  {train} resume=latest            the newest run goes on
  {train} resume=<run dir> --trust <package>
                      someone else's run, which names classes in a package

Any key below can be overridden (key=value), any option chosen (group=option).
  --help <group>      the options of a group, as in --help model
  <group>=<option> --help   the keys of an option, as in model=cnn --help
  --help <key>        one key, as in --help trainer.precision
  --hydra-help        flags of Hydra itself, such as --cfg job and --config-dir
"""


def help_of_train(arguments: Sequence[str]) -> str:
    """What the command's help says, on everything or on what was named.

    Args:
        arguments: Of the command.

    Raises:
        ConfigError: If there is no such group, option or key.
    """
    own = [Path(folder).expanduser() for folder in flag_values(arguments, "--config-dir")]
    files = ConfigFiles([*own, CONF])
    groups = files.groups()
    _, of_hydra, others = parts_of(arguments)
    words = [*of_hydra, *others]
    pairs = [text.lstrip("+").split("=", 1) for text in words if "=" in text]
    options = [(group, option) for group, option in pairs if group in groups]
    topics = [text for text in words if "=" not in text]
    parts = [_of_topic(files, groups, topic) for topic in topics]
    parts += [_of_option(files, groups, group, option) for group, option in options]
    return as_typed("\n\n".join(parts) or _everything(files, groups))


def _everything(files: ConfigFiles, groups: Mapping[str, Sequence[str]]) -> str:
    chosen = files.choices({})
    train = " ".join(typed("train"))
    lines = [_aligned_start(train), f"Commands: {' '.join(typed('<command>'))}, each with --help"]
    lines += (f"  {name:<12}{what}" for name, what in COMMANDS.items())
    lines += ["", "Groups and their options (* is the default)"]
    for group, options in groups.items():
        names = ", ".join(f"{option}*" if chosen.get(group) == option else option for option in options)
        lines += textwrap.wrap(f"{group}: {names}", _WIDTH, initial_indent="  ", subsequent_indent=" " * 14)
    keys = {key: entry for key, entry in files.whole({}).items() if key != "hydra"}
    return "\n".join([*lines, "", "Keys and their values", *rendered(keys)])


def _aligned_start(train: str) -> str:
    """The examples, their remarks in one column whatever the program is called."""
    lines = _START.format(train=train).splitlines()
    wide = max(len(line.partition("   ")[0]) for line in map(str.strip, lines[2:5])) + 4
    pairs = [line.strip().partition("   ") for line in lines[2:6]]
    lines[2:6] = [f"  {command:<{wide}}{remark.strip()}" for command, _, remark in pairs]
    return "\n".join([*lines, ""])


def _of_topic(files: ConfigFiles, groups: Mapping[str, Sequence[str]], topic: str) -> str:
    if topic in groups:
        return _of_group(files, groups, topic)
    if topic in COMMANDS and topic != "train":
        return f"{topic}: {COMMANDS[topic]}; see {' '.join(typed(topic))} --help"
    keys = files.whole({})
    entry = Entry(None, "", keys)
    for part in topic.split("."):
        if part not in entry.keys:
            known = [*groups, *COMMANDS, *_names(keys)]
            close = difflib.get_close_matches(topic, known, n=1) or [
                name for name in known if name.rpartition(".")[2] == topic
            ]
            guess = f"; did you mean --help {close[0]}?" if close else f"; groups are: {', '.join(groups)}"
            raise ConfigError(f"--help {printable(topic)}: there is no such group or key{guess}")
        entry = entry.keys[part]
    return "\n".join(rendered({topic: entry}))


def _of_group(files: ConfigFiles, groups: Mapping[str, Sequence[str]], group: str) -> str:
    chosen = files.choices({}).get(group)
    wide = max(map(len, groups[group])) + 4
    lines = [f"{group}=<option> is one of (* is the default)"]
    for option in groups[group]:
        name = f"  {option}{'*' if option == chosen else ''}"
        about = _about(files.option(group, option)) or _aliased(files.file(f"{group}/{option}"))
        lines += _beside(f"{name:<{wide}}", about)
    example = f"{group}={groups[group][0]}"
    return "\n".join([*lines, "", f"The keys of one: {' '.join(typed('train'))} {example} --help"])


def _of_option(files: ConfigFiles, groups: Mapping[str, Sequence[str]], group: str, option: str) -> str:
    if option not in groups[group]:
        close = difflib.get_close_matches(option, groups[group], n=1)
        guess = f"did you mean {group}={close[0]}? " if close else ""
        raise ConfigError(f"{group}={printable(option)}: no such option; {guess}There are: {', '.join(groups[group])}")
    file = files.option(group, option)
    lines = [f"{group}={option}"]
    for line in file.about or [_about(file)]:
        lines += textwrap.wrap(line, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    if file.everywhere and file.chosen:
        choices = ", ".join(f"{name}={value}" for name, value in file.chosen.items())
        lines += textwrap.wrap(f"chooses {choices}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
    shown = file.keys if file.everywhere else {group: Entry(None, "", file.keys)}
    return "\n".join([*lines, "", *rendered(shown)])


def rendered(keys: Keys, indent: int = 0) -> Iterator[str]:
    """Keys as YAML, comments beside them or, where there is no room, below."""
    starts = {key: " " * indent + f"{key}:{_value(entry)}" for key, entry in keys.items()}
    commented = [len(starts[key]) for key, entry in keys.items() if entry.comment]
    column = min(max(commented, default=0) + 2, _COLUMN + indent)
    for key, entry in keys.items():
        start = starts[key]
        if entry.comment:
            yield from _beside(f"{start:<{column}}", f"# {entry.comment}", column, mark="# ")
        else:
            yield from textwrap.wrap(start, _WIDTH, subsequent_indent=" " * (indent + 4), break_on_hyphens=False)
        yield from rendered(entry.keys, indent + 2)


def _value(entry: Entry) -> str:
    if entry.value is None:
        return "" if entry.keys else " {}"
    return f" {printable(entry.value)}"


def _beside(start: str, text: str, column: int | None = None, mark: str = "") -> list[str]:
    """A line that starts with one text, another wrapped beside it; below it where the first is long."""
    column = len(start) if column is None else column
    if len(start) > column:
        start += "  "
    if _WIDTH - len(start) < min(_ROOM, len(text)):
        head, first = [start.rstrip()], " " * column
    else:
        head, first = [], start
    wrapped = textwrap.wrap(
        printable(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first) + mark,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return [*head, *(wrapped or [start.rstrip()])]


def _names(keys: Keys, before: str = "") -> Iterator[str]:
    for key, entry in keys.items():
        yield f"{before}{key}"
        yield from _names(entry.keys, f"{before}{key}.")


def _about(file: File) -> str:
    """An option in a line: the first comment of its file that is no command, else what its class says of itself."""
    told = next((line for line in file.about if not line.startswith(("python -m", "strobe "))), None)
    if told is not None:
        return told
    entries = [file.keys.get("dataset", Entry(None)).keys.get("_target_"), file.keys.get("_target_")]
    target = next((entry.value for entry in entries if entry is not None and entry.value), None)
    return "" if target is None else _docstring(target) or target


def _aliased(file: File) -> str:
    """What a file without keys of its own amounts to."""
    names = [str(default) for default in file.defaults if isinstance(default, str) and default != "_self_"]
    return f"as {', '.join(names)}" if names else "nothing"


def _docstring(target: str) -> str:
    """The first line of a class of ours, read and not imported: that would take torch."""
    module, _, name = target.rpartition(".")
    if not module.startswith("strobe."):
        return ""
    try:
        spec = find_spec(module)
        tree = ast.parse(Path(str(spec.origin if spec else None)).read_text(encoding="utf-8"))
    except (ImportError, OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""

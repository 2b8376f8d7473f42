"""The reference's page of the commands, made of their own parsers."""

import argparse
from collections.abc import Iterator
from importlib import import_module
from unittest import mock

from _reference.configuration import code, prose, table
from strobe.commands.candidates import FLAGS
from strobe.commands.names import COMMANDS

OF_CONFIGS = ("train", "summary")
"""Commands whose arguments are overrides; they have no parser."""

FLAGS_OF_CONFIGS = {
    "--multirun": "a sweep: a run for each combination of values, as in `optimizer.lr=1e-2,1e-3`",
    "-m": "the same",
    "--help": "every group, option and key; `--help <group>`, `--help <key>`",
    "--trust": "a package whose classes a run of someone else's may name, beside `resume=`",
    "--cfg": "show the config and do nothing: `job`, `hydra` or `all`",
    "--package": "with `--cfg`: this part of it",
    "--resolve": "with `--cfg`: with references replaced by their values",
    "--info": "what Hydra knows: `all`, `config`, `defaults`, `defaults-tree`, `plugins`, `searchpath`",
    "--config-dir": "a directory of your own options, beside those that are shipped",
    "--config-path": "a directory in place of those that are shipped",
    "--config-name": "a file in place of `train.yaml`",
    "--hydra-help": "Hydra's own flags",
    "--version": "what is installed",
}


class _CapturedError(Exception):
    """Carries a parser out of the command that has made it."""


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command, which is stopped before it parses anything."""

    def captured(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _CapturedError(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", captured):
        try:
            import_module(f"strobe.commands.{command}").main([])
        except _CapturedError as error:
            parser: argparse.ArgumentParser = error.args[0]
            return parser
    raise AssertionError(f"{command} parses nothing")


def commands() -> dict[str, str]:
    """The page by its address."""
    return {"reference/commands.md": "\n".join(_page())}


def _page() -> Iterator[str]:
    yield "# Commands\n"
    yield "`python -m src.<command>` in a checkout, `strobe <command>` where it is installed. `--help` beside each says"
    yield "the same as this page. What they exit with: [statuses and exit codes](statuses.md).\n"
    yield from table(("command", ""), ([f"[`{name}`](#{name})", prose(about)] for name, about in COMMANDS.items()))
    for name, about in COMMANDS.items():
        yield f"## {name} {{ #{name} }}\n\n{about[0].upper()}{about[1:]}.\n"
        if name in OF_CONFIGS:
            yield f"    python -m src.{name} [<group>=<option> ...] [<key>=<value> ...] [flags]\n"
            yield "`+key=value` adds a key, `~key` takes one away: see [configuration](configuration.md).\n"
            yield from table(("flag", ""), ([code(flag), FLAGS_OF_CONFIGS.get(flag, "")] for flag in FLAGS[name]))
            continue
        parser = parser_of(name)
        usage = parser.format_usage().removeprefix("usage: ").split()
        words = " ".join(usage).removeprefix(parser.prog)
        yield f"    python -m src.{name}{words}\n"
        yield from table(("argument", ""), _arguments(parser))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    formatter = parser._get_formatter()  # argparse has no public way to expand %(default)s
    for action in parser._actions:
        if "-h" in action.option_strings:
            continue
        shown = ", ".join(code(flag) for flag in action.option_strings) or code(action.dest)
        text = formatter._expand_help(action) if action.help else ""
        yield [shown, prose(text)]

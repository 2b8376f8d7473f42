"""What is installed, as `--version` of every command says it."""

import argparse
from typing import Any

_PACKAGES = ("strobe", "torch", "lightning", "hydra-core")


def versions() -> str:
    """The versions of what results depend on, a line each."""
    # rich: not for a command that asks for something else
    from strobe.machine.table import aligned
    from strobe.record.environment import installed_version

    return aligned((package, installed_version(package) or "not installed") for package in _PACKAGES)


class Version(argparse.Action):
    """A flag that prints them and ends the command."""

    def __init__(self, option_strings: list[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=settings["help"])

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print, and end."""
        print(versions())
        parser.exit()

"""Train one model: `python -m src.train [overrides]`; with `-m`, many."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from strobe.commands.ahead import begin_server
from strobe.commands.surroundings import look_around, settle
from strobe.commands.traces import take_back
from strobe.errors import ConfigError
from strobe.machine.collecting import held_off
from strobe.machine.secrets import learn_typed
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(handed: "DictConfig | None" = None) -> int:
    """The command; returns its exit code.

    Args:
        handed: The config that Hydra would compose of what is typed, where that has been done.

    Returns:
        0 completed, 1 failed, 2 the command or config is wrong, 130 interrupted, 143 preempted.
    """
    settle()
    learn_typed(sys.argv[1:])
    if {"-h", "--help"} & set(sys.argv[1:]):
        return _helped(sys.argv[1:])
    if not {"-c", "--cfg"} & set(sys.argv[1:]):  # it may well train
        look_around()
    try:
        begin_server(sys.argv[1:])
        with held_off():
            from strobe.commands.through_hydra import trained  # Hydra: the server comes first
    except KeyboardInterrupt as interrupt:
        return exit_code(interrupt)

    code = trained(handed)
    if code == ConfigError.exit_code:
        take_back()
    return code


def _helped(arguments: Sequence[str]) -> int:
    from strobe.commands.help import help_of_train  # a parser of sources: not where a model is trained

    try:
        return answer(help_of_train(arguments))
    except ConfigError as error:
        return exit_code(error)

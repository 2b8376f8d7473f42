"""Sign a run of someone else's, after a look at what it names: `python -m src.trust <run dir> [--show]`."""

import argparse
from collections.abc import Sequence

from strobe.commands.parser import Parser
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import run_directory
from strobe.errors import ConfigError
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code
from strobe.machine.text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("trust", description=__doc__)
    parser.add_argument("run", type=run_directory, help="a run directory, or latest")
    parser.add_argument("--show", action="store_true", help="only say what its config names; sign nothing")
    options = parser.parse_args(arguments)
    try:
        # Hydra: not for --help
        from strobe.config.saved import loaded, named_by
        from strobe.record.config_file import read_config
        from strobe.record.files import write_atomically
        from strobe.record.report import read_report
        from strobe.record.signature import NoKeyError, signed, user_key, without_signature

        require_run(options.run, "trust")
        read_report(options.run)
        text = read_config(options.run)
        loaded(text)
        lines = list(named_by(text))
        if text.own or options.show:
            return _told(*lines, f"{options.run} is {'' if text.own else 'not '}signed by you")
        try:
            user_key()
        except NoKeyError as error:
            raise ConfigError(f"{options.run} can't be signed: {error}") from None
        write_atomically(text.path, signed(without_signature(text.text)))
        return _told(*lines, f"{options.run} is signed by you now: it is evaluated, exported and resumed as yours")
    except OSError as error:
        return exit_code(ConfigError(f"{options.run} can't be signed: {error.strerror}"))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)


def _told(*lines: str) -> int:
    return answer("\n".join(map(printable, lines)))


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust`` to the command of a parser."""
    text = "a package whose classes the run may name although you have not signed it; may be repeated"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=text)

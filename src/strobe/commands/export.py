"""Write a run's net to a file that needs no Strobe: `python -m src.export <run dir> --format onnx`."""

from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import run_directory
from strobe.commands.trust import add_flag
from strobe.errors import ConfigError, RunError
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code
from strobe.machine.text import printable
from strobe.machine.transient import doing
from strobe.record.layout import BEST, FORMATS


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("export", description=__doc__)
    parser.add_argument("run", type=run_directory, help="a run directory, or latest")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="the file to write (default: <run dir>/export/model.<ending>)")
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    options = parser.parse_args(arguments)
    path = options.output or options.run / "export" / f"model{FORMATS[options.format]}"
    log_to_terminal()
    try:
        require_run(options.run, "export")
        if options.output is None and not path.parent.resolve().is_relative_to(options.run.resolve()):
            raise ConfigError(f"{path.parent} leads out of the run directory; say where to write with --output <file>")
        with doing("importing torch and Lightning"):  # not for --help or a wrong flag
            from strobe.run.export import export
            from strobe.run.saved import saved_net

        with doing(f"exporting to {options.format}, and comparing with the net itself"):
            difference = export(saved_net(options.run, options.checkpoint, options.trust), options.format, path)
    except OSError as error:
        return exit_code(RunError(f"can't write {path}: {error.strerror}"))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    checked = "not compared: onnxruntime is not installed" if difference is None else f"logits within {difference:.1e}"
    return answer(f"{printable(str(path))}  ({path.stat().st_size:,} bytes, {checked})")

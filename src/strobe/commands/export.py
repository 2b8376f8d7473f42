"""Write a run's net to a file that needs no Strobe: `python -m src.export <run dir> --format onnx`."""

from collections.abc import Sequence
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import run_with_weights
from strobe.commands.surroundings import importing
from strobe.commands.trust import add_flag
from strobe.errors import ConfigError, RunError
from strobe.machine.logs import log_to_terminal
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code, tell
from strobe.machine.text import printable
from strobe.machine.transient import doing
from strobe.record.layout import BEST, FORMATS

_PIXEL_TYPES = ("uint8", "float32")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("export", description=__doc__)
    parser.add_argument("run", type=run_with_weights, help="a run directory, or latest")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: %(default)s")
    parser.add_argument("--raw", action="store_true", help="take pictures of 0 to 255: all before the net is inside")
    parser.add_argument("--dtype", choices=_PIXEL_TYPES, help="of those pictures (default: uint8)")
    parser.add_argument(
        "--output", type=Path, help="the file to write (default: <run dir>/export/model[_raw].<ending>)"
    )
    add_flag(parser)
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    options = parser.parse_args(arguments)
    path = options.output or options.run / "export" / f"model{'_raw' * options.raw}{FORMATS[options.format]}"
    log_to_terminal()
    try:
        if options.dtype and not options.raw:
            raise ConfigError(
                f"--dtype {options.dtype}: is the type of pictures of 0 to 255; add --raw, or leave it out"
            )
        require_run(options.run, "export")
        if options.output is None and not path.parent.resolve().is_relative_to(options.run.resolve()):
            raise ConfigError(f"{path.parent} leads out of the run directory; say where to write with --output <file>")
        with importing():  # not for --help or a wrong flag
            from strobe.run.export import export
            from strobe.run.exported.facts import origin_of
            from strobe.run.exported.inputs import pictures_at_hand
            from strobe.run.saved import saved_net

        with doing(f"exporting to {options.format}, and comparing with the net itself"):
            net = saved_net(options.run, options.checkpoint, options.trust)
            exported = export(
                net,
                options.format,
                path,
                raw=(options.dtype or "uint8") if options.raw else None,
                test_pictures=pictures_at_hand(options.run, net),
                origin=origin_of(options.run, options.checkpoint),
            )
    except OSError as error:
        return exit_code(RunError(f"can't write {path}: {error.strerror}"))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if options.format == "torchscript":
        tell("TorchScript is deprecated by PyTorch: choose --format torch_export or onnx unless something needs it")
    lines = [f"{printable(str(path))}  ({path.stat().st_size:,} bytes)", exported.signature, exported.compared()]
    return answer("\n".join(lines))

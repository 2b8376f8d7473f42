"""The console script: `strobe <command> ...`, in any directory."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from strobe.machine.streams import settle_streams
from strobe.machine.terminal import tell
from strobe.machine.text import printable

COMMANDS = {
    "train": "train one model, or with -m many",
    "evaluate": "test a run's best checkpoint again",
    "predict": "name the class of pictures",
    "export": "write a run's net as ONNX, torch.export or TorchScript",
    "trust": "sign a run of someone else's, after a look at what it names",
    "report": "compare runs and sweeps",
    "summary": "parameters, operations and shapes of models",
    "doctor": "check the installation",
    "benchmark": "measure speed beside something to compare",
}
_VERSIONS = ("strobe", "torch", "lightning", "hydra-core")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in COMMANDS:
        if str(Path.cwd()) not in sys.path and "" not in sys.path:
            sys.path.insert(0, str(Path.cwd()))  # a person's own models, as with `python -m`
        sys.argv = [f"strobe {command}", *rest]
        # A command imports what it needs, and no other command does.
        exit_code: int = import_module(f"strobe.commands.{command}").main()
        return exit_code
    settle_streams()
    # rich and Hydra: where one of them is missing, `doctor` is to say so.
    from strobe.config.overrides import nearest
    from strobe.machine.table import aligned
    from strobe.record.environment import installed_version

    if command in ("-h", "--help"):
        print(f"usage: strobe <command> [arguments]\n\n{aligned(COMMANDS.items(), indent=2)}\n")
        print("strobe <command> --help tells more of each; strobe --version, what is installed.")
        return 0
    if command in ("-V", "--version"):
        print(aligned((package, installed_version(package) or "not installed") for package in _VERSIONS))
        return 0
    guess = nearest(command, COMMANDS)
    hint = f"did you mean strobe {guess}? " if guess else ""
    tell(printable(f"strobe {command}: no such command; {hint}There are: {', '.join(COMMANDS)}"))
    return 2

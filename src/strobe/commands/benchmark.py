"""Measure speed, side by side with something to compare: `python -m src.benchmark [commands | start | ...]`."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from strobe.benchmark.child import scratch
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Effort, Result
from strobe.commands.parser import Parser
from strobe.config.place import CONF
from strobe.config.spelling import nearest
from strobe.data.root import default_root
from strobe.errors import require
from strobe.machine.disk import disk_error
from strobe.machine.terminal import exit_code
from strobe.machine.transient import doing
from strobe.record.find import OUTPUTS

_ABOUT = {
    "commands": "whole commands: the default one, a hand-written loop, the classic script, plain Lightning, "
    "Lightning and Hydra as templates have them (this is the default)",
    "start": "to the first step, from the last line to the end, and commands that train nothing",
    "steps": "images per second beside a hand-written loop, on a GPU if there is one",
    "ddp": "one process and two",
    "sweep": "jobs per minute, beside scripts",
    "memory": "the peak of whole commands",
    "scale": "a plan of many jobs, a report over many runs, a run of many epochs",
}
_WARMED = ("commands", "start", "sweep", "memory")
_ROUNDS = 3
_MODELS, _BATCH_SIZES, _PRECISIONS = ["simple_nn", "cnn", "resnet"], [64, 512, 4096], ["32", "16-mixed"]
_KNOWN_PRECISIONS = ("32", "16-mixed", "bf16-mixed")  # that the hand-written loop has too


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        require(_problems(options))
        return _measured(options)
    except OSError as error:
        return exit_code(disk_error(error, options.output or OUTPUTS))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)


def _parser() -> Parser:
    parser = Parser("benchmark", description=__doc__)
    about = ". ".join(f"{name}: {text}" for name, text in _ABOUT.items())
    parser.add_argument("what", nargs="?", choices=tuple(_ABOUT), default="commands", help=about)
    parser.add_argument("--quick", action="store_true", help="a look in less than a minute: less work, one round")
    parser.add_argument(
        "--rounds", type=int, help=f"how often each is measured, in turn (default: {_ROUNDS}; of scale, or --quick, 1)"
    )
    parser.add_argument("--root", type=Path, help="where datasets are kept (default: the per-user cache)")
    parser.add_argument(
        "--output", type=Path, help="a directory for report.json and chart.svg (default: outputs/benchmark/<time>)"
    )
    parser.add_argument("--beside", type=Path, help="another checkout, in the same rounds; of commands, sweep, memory")
    parser.add_argument("--jobs", type=int, help="of scale: how many are planned and reported (default: 1000)")
    parser.add_argument("--models", nargs="+", help=f"of steps (default: {' '.join(_MODELS)})")
    parser.add_argument(
        "--batch-sizes", nargs="+", type=int, help=f"of steps (default: {' '.join(map(str, _BATCH_SIZES))})"
    )
    parser.add_argument("--precisions", nargs="+", help=f"of steps (default: {' '.join(_PRECISIONS)})")
    return parser


def _problems(options: argparse.Namespace) -> list[str]:
    """What is wrong with the flags, a line each."""
    problems = [
        f"{flag} {value}: has to be 1 or more"
        for flag, values in (
            ("--rounds", [options.rounds]),
            ("--jobs", [options.jobs]),
            ("--batch-sizes", options.batch_sizes or []),
        )
        for value in values
        if value is not None and value < 1
    ]
    for flag, of in (
        ("beside", ("commands", "sweep", "memory")),
        ("jobs", ("scale",)),
        ("models", ("steps",)),
        ("batch_sizes", ("steps",)),
        ("precisions", ("steps",)),
    ):
        if getattr(options, flag) is not None and options.what not in of:
            problems.append(f"--{flag.replace('_', '-')}: is of {', '.join(of)}, and {options.what} has no use for it")
    known = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
    for model in options.models or []:
        if model not in known:
            guess = nearest(model, known)
            hint = f"did you mean {guess}? " if guess else ""
            problems.append(f"--models {model}: no such option; {hint}There are: {', '.join(known)}")
    problems += [
        f"--precisions {precision}: there are: {', '.join(_KNOWN_PRECISIONS)}"
        for precision in options.precisions or []
        if precision not in _KNOWN_PRECISIONS
    ]
    if options.beside is not None and not (options.beside / "src" / "strobe").is_dir():
        problems.append(f"--beside {options.beside}: is no checkout, there is no src/strobe in it")
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        problems.append(f"--output {options.output}: is a file; name a directory")
    return problems


def _measured(options: argparse.Namespace) -> int:
    from strobe.benchmark.output import now, table, write  # not for --help

    rounds = options.rounds or (1 if options.quick or options.what == "scale" else _ROUNDS)
    effort = Effort(rounds, options.quick, options.what in _WARMED and not options.quick)
    root = (options.root or default_root()).resolve()
    directory = options.output or OUTPUTS / "benchmark" / time.strftime("%Y-%m-%d_%H-%M-%S")
    with scratch() as place_of_all:
        place = Place(place_of_all, root, effort, options.beside)
        with doing("preparing"):
            threads = place.prepare()
        began = now()
        result = _subjects(options, place)
        report = write(directory, result, effort, began, threads)
    print(table(result, effort), flush=True)
    from strobe.benchmark.chart import CHART, redraw  # matplotlib: once nothing is measured any more

    redraw(report, directory / CHART)
    print(f"\nwritten: {report}, {CHART}")
    return 0


def _subjects(options: argparse.Namespace, place: Place) -> Result:
    # Nothing of it needs torch, which would raise the peak of memory that children begin with.
    match options.what:
        case "commands":
            from strobe.benchmark.commands import compare

            return compare(place)
        case "start":
            from strobe.benchmark.start import start

            return start(place)
        case "sweep":
            from strobe.benchmark.sweep import sweep

            return sweep(place)
        case "memory":
            from strobe.benchmark.memory import peaks

            return peaks(place)
        case "scale":
            from strobe.benchmark.scale import scale

            return scale(place, options.jobs)
        case "ddp":
            from strobe.benchmark.throughput import scaling

            return scaling(place)
    from strobe.benchmark.throughput import steps

    how = (options.models or _MODELS, options.batch_sizes or _BATCH_SIZES, options.precisions or _PRECISIONS)
    return steps(place, *how)

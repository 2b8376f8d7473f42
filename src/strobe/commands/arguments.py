"""What a typed command is rewritten to before Hydra sees it; without torch."""

from collections.abc import Sequence
from pathlib import Path

from strobe.config.compose import CONF
from strobe.distributed import slurm
from strobe.errors import ConfigError
from strobe.machine.secrets import to_give_again
from strobe.record.layout import CONFIG
from strobe.record.report import read_report


def flag_first(arguments: Sequence[str]) -> list[str]:
    """Hydra takes overrides only in one piece, so a ``-m`` between them has to move."""
    flags = [argument for argument in arguments if argument in ("-m", "--multirun")]
    return [*flags, *(argument for argument in arguments if argument not in flags)]


def with_absolute_path(arguments: Sequence[str]) -> list[str]:
    """Have ``--config-path`` mean what a person means by a path; to Hydra, a relative one is relative to our source."""
    rewritten = list(arguments)
    for index, argument in enumerate(rewritten):
        name, separator, value = argument.partition("=")
        if name not in ("--config-path", "-cp"):
            continue
        if separator:
            rewritten[index] = f"{name}={Path(value).expanduser().resolve()}"
        elif index + 1 < len(rewritten):
            rewritten[index + 1] = str(Path(rewritten[index + 1]).expanduser().resolve())
    return rewritten


def with_resume(arguments: Sequence[str]) -> list[str]:
    """Rewrite ``resume=<run dir> ...`` to the command that composes the saved config in its own directory.

    The saved config is the primary one, so that a run continues as it was although files under ``conf/`` have changed.

    Raises:
        ConfigError: If the directory is not that of a run.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    if not given and (requeued := slurm.requeued_directory(arguments)) is not None:
        given = [f"resume={requeued}"]
        arguments = [*given, *to_give_again(arguments)]  # the saved config has the rest
    value = given[-1].removeprefix("resume=") if given else "null"
    if value == "null":
        return list(arguments)
    if value == "":
        raise ConfigError("resume= is empty: give a run directory, as in resume=outputs/train/<date>/<time>")
    if any(argument in ("-m", "--multirun") for argument in arguments):
        raise ConfigError("resume= continues one run and can't be combined with -m")
    directory = Path(value.strip("'\"")).resolve()
    read_report(directory)
    if not (directory / CONFIG).is_file():
        raise ConfigError(f"{directory} can't be resumed: it has no {CONFIG}")
    quoted = "'" + str(directory).replace("'", r"\'") + "'"
    rest = [argument for argument in arguments if not argument.startswith("resume=")]
    return [
        f"--config-path={directory}",
        f"--config-name={Path(CONFIG).stem}",
        f"--config-dir={CONF}",
        "+hydra=default",
        f"hydra.run.dir={quoted}",
        "hydra.output_subdir=null",  # Hydra's record stays that of the first command
        f"resume={quoted}",
        *rest,
    ]


def without_resume(overrides: Sequence[str]) -> list[str]:
    """The overrides that a person typed, of those that `with_resume` made of them."""
    return [override for override in overrides if not override.startswith(("resume=", "+hydra="))]

"""`resume=<run dir> ...`: what the run goes on with, and what Hydra is told; without torch.

The saved config is data. It is read, changed and checked here; Hydra composes what it composes for any command, of
which a resumed run takes Hydra's own part alone.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from strobe.commands.arguments import flag_values, parts_of
from strobe.config.compose import CONF
from strobe.config.values import problems
from strobe.errors import ConfigError, require
from strobe.machine.rank import process_rank
from strobe.machine.secrets import to_give_again

RESUME_IN_A_FILE = "resume: stands in a config file; it has to be typed: resume=<run dir>"


@dataclass(frozen=True)
class Resumed:
    """A run that goes on.

    Attributes:
        cfg: With what.
        overrides: Those that were typed.
        arguments: For Hydra.
    """

    cfg: DictConfig
    overrides: list[str]
    arguments: list[str]


def resumed_run(arguments: Sequence[str], trusted: Sequence[str]) -> Resumed | None:
    """The run that a command continues, typed or found because SLURM has queued the command again; None for a new one.

    Args:
        arguments: Of the command.
        trusted: Packages that a config which this user has not signed may name classes of.

    Raises:
        ConfigError: If the directory is not that of a run, or its config, or what was typed, is wrong.
    """
    flags, of_hydra, others = parts_of(arguments)
    given = [argument for argument in others if argument.lstrip("+").startswith("resume=")]
    typed = [argument for argument in others if argument not in given]
    if not given and (requeued := _requeued(arguments)) is not None:
        given = [f"resume={requeued}"]
        typed = to_give_again(typed)  # the saved config has the others
        of_hydra = [override for override in of_hydra if not override.startswith("hydra.run.dir=")]
    value = given[-1].partition("=")[2] if given else "null"
    if value == "null":
        if trusted:
            raise ConfigError("--trust: a new run may name anything; it is for resume=<run dir>")
        return None
    if value == "":
        raise ConfigError("resume= is empty: give a run directory, as in resume=outputs/train/<date>/<time>")
    if any(flag in ("-m", "--multirun") for flag in flags):
        raise ConfigError("resume= continues one run and can't be combined with -m")
    if elsewhere := [override for override in of_hydra if override.lstrip("+").startswith("hydra.run.dir=")]:
        raise ConfigError(f"{elsewhere[0]}: a run is resumed in its own directory; leave it out")
    # what reads a saved config: only where there is one
    from strobe.config.saved import damage_named, not_signed, saved_config
    from strobe.config.strangers import Allowed, links_out
    from strobe.record.config_file import read_config
    from strobe.record.lock import require_idle

    directory = Path(value.strip("'\"")).resolve()
    allowed = Allowed.of(trusted, arguments, [CONF, *_config_folders(flags, of_hydra)])
    cfg = saved_config(directory, typed, allowed)
    if not read_config(directory).own and (link := next(links_out(directory), None)) is not None:
        raise ConfigError(f"{link} leads out of the run directory, and {not_signed(directory)}: take the link away")
    if process_rank() == 0:  # the others come while the first may have begun
        require_idle(directory)
    cfg.resume = str(directory)
    with damage_named(directory):
        require(problems(cfg))
    quoted = "'" + str(directory).replace("'", r"\'") + "'"
    # Hydra's record stays that of the first command.
    ours = [f"hydra.run.dir={quoted}", "hydra.output_subdir=null", f"resume={quoted}"]
    return Resumed(cfg, typed, [*flags, *of_hydra, *ours])


def _requeued(arguments: Sequence[str]) -> str | None:
    """The run that this command was in when SLURM queued its job again."""
    if "SLURM_RESTART_COUNT" not in os.environ:
        return None
    from strobe.distributed.slurm import requeued_directory  # psutil and subprocess: only there

    return requeued_directory(arguments)


def _config_folders(flags: Sequence[str], of_hydra: Sequence[str]) -> Iterator[Path]:
    """The config directories that a command names."""
    for folder in flag_values(flags, "--config-dir", "--config-path"):
        yield Path(folder).expanduser()
    for override in of_hydra:
        key, _, value = override.partition("=")
        if key.lstrip("+") == "hydra.searchpath":
            for entry in value.strip("[]").split(","):
                yield Path(entry.strip(" '\"").removeprefix("file://"))

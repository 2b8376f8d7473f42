"""The run directory that a command was given, looked at before torch is imported: what else it may be, in words."""

from collections.abc import Iterable
from pathlib import Path

from strobe.errors import ConfigError
from strobe.machine.program import typed
from strobe.machine.text import printable
from strobe.record.find import OUTPUTS, run_directories
from strobe.record.layout import CHECKPOINTS, REPORT


def require_run(run: Path, command: str, others: Iterable[Path] = ()) -> None:
    """Refuse what is no run directory, and say which was meant; one that is there is not looked into.

    Args:
        run: As typed.
        command: Its name.
        others: What else was typed, among which the run may be.

    Raises:
        ConfigError: If it is no run directory.
    """
    if _is_run(run):
        return
    shown, words = printable(str(run)), " ".join(typed(command))
    if (behind := next((other for other in others if _is_run(other)), None)) is not None:
        raise ConfigError(f"{shown} is not a run directory: the run comes first: {words} {behind} {shown}")
    if "=" in str(run) or str(run).startswith("~"):
        raise ConfigError(f"{shown} is not a run directory: that comes first: {words} <run dir> {shown}")
    within = next((parent for parent in run.absolute().parents if _is_run(parent)), None)
    if within is not None and run.exists():
        near = _as_typed(within)
        chosen = f" --checkpoint={run.name}" if run.suffix == ".ckpt" and run.parent.name == CHECKPOINTS else ""
        chosen = chosen if command in ("evaluate", "predict", "export") else ""
        raise ConfigError(f"{shown} is not a run directory, but within one: {words} {near}{chosen}")
    if run.is_file():
        from strobe.data.picture import ENDINGS  # its reader: only where it may be a picture

        what = "a picture; the run comes first" if run.suffix.lower() in ENDINGS else "a file"
        raise ConfigError(f"{shown} is not a run directory: it is {what}: {words} <run dir>{_newest()}")
    if run.is_dir():
        found = list(run_directories(run))
        if found:
            newest = printable(str(_newest_run(run) or found[0]))
            raise ConfigError(
                f"{shown} is not a run directory, but holds {len(found)}; name one, the newest for example: "
                f"{words} {newest}"
            )
        raise ConfigError(f"{shown} is not a run directory: it has no {REPORT}{_newest()}")
    raise ConfigError(f"{shown} is not a run directory: there is no such directory{_newest()}")


def _is_run(path: Path) -> bool:
    try:
        return (path / REPORT).is_file()
    except OSError:  # no directory can have such a name
        return False


def _newest() -> str:
    found = _newest_run(OUTPUTS)
    return "" if found is None else f"; the newest here is {printable(str(found))}"


def _newest_run(top: Path) -> Path | None:
    from strobe.report.listing import newest_run  # a table's library: not where the run is there

    return newest_run(top)


def _as_typed(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

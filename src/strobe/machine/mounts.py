"""Whether the locks of a directory's file system hold between machines: on NFS, its mount decides."""

from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_ALONE = {"nolock", "local_lock=flock", "local_lock=all"}  # options of NFS with which flock() asks no server


def locks_stay_here(directory: Path, table: Path = _TABLE) -> str | None:
    """The option of an NFS mount by which a lock in a directory is not seen by other machines.

    Args:
        directory: Exists.
        table: The mounts of this process, as Linux lists them.

    Returns:
        The option; None where locks hold everywhere, as those of NFS 4 do, or nothing tells.
    """
    try:
        lines = table.read_text(errors="replace").splitlines()
        inside = directory.resolve()
    except OSError:
        return None
    deepest, options = -1, ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        fields, of_system = mount.split(" "), rest.split(" ")
        if len(fields) < 5 or len(of_system) < 3:
            continue
        point = Path(fields[4].encode().decode("unicode_escape", errors="replace"))  # a space is \040
        if inside.is_relative_to(point) and len(point.parts) >= deepest:  # the later mount lies on the earlier one
            deepest = len(point.parts)
            options = of_system[2] if of_system[0] in ("nfs", "nfs4") else ""
    return next((option for option in options.split(",") if option in _ALONE), None)


def warning_about_locks(directory: Path) -> str | None:
    """What a person has to know who starts a sweep in a directory whose locks other machines don't see; else None."""
    option = locks_stay_here(directory)
    return option and (
        f"{directory} is on NFS mounted with {option}, so other machines don't see its locks: let one machine at a "
        "time drive this sweep"
    )

"""The function that a job's process is started with; light, because the driver imports it too."""

from collections.abc import Mapping, Sequence


def start(module: str, arguments: Sequence[str], directory: str, environment: Mapping[str, str], cwd: str) -> None:
    """Hand over to `src.sweeps.worker`, which imports torch; in a fork of the warm server that is done already."""
    from src.sweeps.worker import run_job

    run_job(module, arguments, directory, environment, cwd)

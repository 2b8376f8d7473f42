"""The lines of pages that can't be tried here, or only in part, each with its reason."""

import re
from collections.abc import Mapping

NOT_CHECKED: Mapping[str, str] = {
    r"--config-dir conf task=sign": "a project that the page writes: tests/test_docs.py runs it",
    r"--config-dir (conf|my_conf)\b": "a project of a user: those under examples/ have tests of their own",
}
"""Patterns of commands whose arguments are not even checked."""

REFUSED: Mapping[str, str] = {
    r"optimzer\.lr=0\.1 model=mpl": "shows how a slip is answered",
}
"""Commands that a page prints to show a refusal: they exit with 2."""

ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    r"trainer=(ddp|fsdp)(\s|$)": ("trainer.accelerator=cpu", "trainer.strategy=ddp", "trainer.devices=2"),
    r"trainer=gpu(\s|$)": ("trainer.accelerator=cpu",),
    r"sweep=optuna .*hydra/launcher=slurm": ("hydra.launcher.cluster=local",),
}
"""Patterns of commands that need other machines -> what has them checked on this one."""

NOT_EXECUTED: Mapping[str, str] = {
    **NOT_CHECKED,
    r"^torchrun|^srun|^sbatch": "several machines",
    r"hydra/launcher=slurm(?!.*cluster=local)|hydra/launcher=ray": "a cluster: tests/cluster starts one",
    r"trainer=(ddp|fsdp|gpu)(\s|$)": "GPUs",
    r"^tensorboard|^jupyter|mkdocs serve": "a server, which would stay",
    r"^pip |^git |^apt|^sudo|^uv |^conda|^curl": "the network",
    r"^docker": "Docker",
    r"^pytest|^ruff|^mypy|^pre-commit": "the tests themselves",
    r"^mkdocs build": "tests/docs/test_reference.py builds the site",
    r"^(cd|\.|source|export|ls|cat|mkdir)\s": "a shell's own",
    r"^python3?\s+-m\s+(venv|tests|build)\b": "an environment, or what CI does",
    r"^(xdg-open|open|chromium|ssh)\b": "a screen, or another machine",
    r"src\.benchmark|^strobe benchmark": "minutes, on a machine that does nothing else",
    r"model\.weights=DEFAULT": "the network: weights of torchvision",
    r"logger=(wandb|mlflow)": "packages that are extras; their own tests are offline",
    r"^wandb|^mlflow": "a service",
    r"^strobe new|src\.new": "its own tests make a project and run its tests",
}
"""Patterns of commands that are checked, and not run."""


def reason(table: Mapping[str, object], text: str) -> object | None:
    """What a table says of a command; None if nothing."""
    return next((said for pattern, said in table.items() if re.search(pattern, text)), None)

"""The command lines that pages print: found, taken apart, and made fit to be tried."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

PROGRAMS = (
    *("python", "python3", "strobe", "pip", "pytest", "mkdocs", "tensorboard", "torchrun", "srun", "sbatch", "eval"),
    *(
        "export",
        "git",
        "cd",
        ".",
        "source",
        "docker",
        "jupyter",
        "ruff",
        "mypy",
        "pre-commit",
        "chromium",
        "wandb",
        "mlflow",
    ),
    *("apt", "apt-get", "sudo", "cat", "ls", "mkdir", "curl", "ssh", "xdg-open", "open", "cp", "rm", "uv", "conda"),
)
"""What a line of commands may begin with."""

_FENCE = re.compile(r"^ {0,3}(?P<marks>`{3,}|~{3,}) *(?P<language>\w*)")
_OF_A_SHELL = ("bash", "sh", "shell", "console", "zsh", "fish")
_REMARK = re.compile(r"\s+#\s.*$")
_NAMED = re.compile(r"^(?:[A-Z_]+=(?:\$\([^)]*\)|\S+)\s+)*")  # variables for one command


@dataclass(frozen=True)
class Line:
    """A command as a page prints it.

    Attributes:
        page: The page's path in the repository.
        number: Of its line there.
        text: Without prompt and remark, in one line.
    """

    page: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}: {self.text}"


def pages() -> list[Path]:
    """What people read first: README and docs."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(path for path in found if "_reference" not in path.parts)]


def commands(page: Path) -> list[Line]:
    """The commands of a page, in their order."""
    name = page.relative_to(ROOT).as_posix()
    found = []
    for number, language, block in _blocks(page.read_text(encoding="utf-8").splitlines()):
        found += [Line(name, number + offset, text) for offset, text in _of_block(language, block)]
    return found


def is_known(line: Line) -> bool:
    """Whether a line begins with a program that is known here."""
    return _program(line.text) in PROGRAMS


def filled(text: str, run: str, folder: str) -> str:
    """A line with its placeholders replaced.

    Args:
        text: As printed.
        run: A run directory.
        folder: One of pictures, in a folder for each class.
    """
    text = re.sub(r"outputs/train/<date>/<time>|<run dir>|<run>", run, text)
    return re.sub(r"<[^<>\s][^<>]*>", "1", text.replace("<dir>", folder).replace("<host>", "127.0.0.1"))


def parts(text: str) -> list[list[str]]:
    """A line as commands of words, which `&&`, `;`, a pipe or a substitution had joined; no variables before them."""
    inner = re.findall(r"\$\((.*?)\)", text)
    pieces = inner or re.split(r"\s&&\s|\s\|\s|;\s", text)
    return [words for piece in pieces if (words := shlex.split(_NAMED.sub("", piece.strip(), count=1)))]


def command_of(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The command of ours in some words, wherever it stands, and its arguments; None where there is none."""
    for index, word in enumerate(words):
        if word == "-m" and words[index + 1 : index + 2] and words[index + 1].startswith("src."):
            return words[index + 1].removeprefix("src."), list(words[index + 2 :])
    return (words[1], list(words[2:])) if words[0] == "strobe" and len(words) > 1 else None


def _program(text: str) -> str:
    return (_NAMED.sub("", text.strip()).split() or [""])[0]


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, str, list[str]]]:
    """Blocks of code: the number of their first line, their language, their lines; indented ones have none."""
    index = 0
    while index < len(lines):
        if fence := _FENCE.match(lines[index]):
            start = index = index + 1
            while index < len(lines) and not lines[index].lstrip().startswith(fence["marks"]):
                index += 1
            yield start + 1, fence["language"] or "text", lines[start:index]
        elif lines[index].startswith("    ") and (index == 0 or not lines[index - 1].strip()):
            start = index
            while index < len(lines) and (lines[index].startswith("    ") or not lines[index].strip()):
                index += 1
            yield start + 1, "", [line[4:] for line in lines[start:index]]
            continue
        index += 1


def _of_block(language: str, block: Sequence[str]) -> Iterator[tuple[int, str]]:
    if language and language not in _OF_A_SHELL:
        return
    whole = list(_whole(block))
    prompted = [(offset, text[2:]) for offset, text in whole if text.startswith("$ ")]
    if prompted:
        whole = prompted
    elif not language and not any(_program(text) in PROGRAMS for _, text in whole):
        return  # a tree, a table, what a command prints
    yield from ((offset, _REMARK.sub("", text)) for offset, text in whole)


def _whole(block: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Lines that end with a backslash joined with the next; without remarks that have a line of their own."""
    begun, text = 0, ""
    for offset, line in enumerate(block):
        begun = begun if text else offset
        text = f"{text} {line.strip()}".strip() if text else line.rstrip()
        if text.endswith("\\"):
            text = text[:-1].rstrip()
            continue
        if text.strip() and not text.lstrip().startswith("#"):
            yield begun, text
        text = ""

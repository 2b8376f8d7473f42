"""Make a project of your own, with a package, configs and tests that pass: `python -m src.new my_project`.

It lies in a new folder of that name, trains as it is, and says in its README.md what to change first.
"""

import keyword
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.metadata import distributions
from pathlib import Path

from strobe.commands.parser import Parser
from strobe.errors import ConfigError, RunError
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code

_TEMPLATE = Path(__file__).parent / "project"
_ENDING = ".template"  # so that no tool takes the files of the template for some of Strobe's own
_PACKAGE, _NAME = "my_project", "my-project"  # of the template
_ALLOWED = re.compile(r"[a-z](?:[a-z0-9_-]{0,38}[a-z0-9])?")  # longer ones would have lines wrapped
_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d")
_FOLDERS = ("conf", "outputs", "src", "tests")  # that lie beside the package, or in many a project


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser("new", description=__doc__)
    parser.add_argument("name", help="of the folder to make here; the package is called so too, with _ for -")
    options = parser.parse_args(arguments)
    directory = Path(options.name)
    try:
        package = package_name(options.name)
        files = make(directory, package)
    except OSError as error:
        return exit_code(RunError(f"can't make {directory}: {error.strerror or error}; nothing is left of it"))
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    return answer(
        f"{directory}{os.sep}  ({files} files; its package is {package})\n\n"
        f"  cd {directory}\n"
        "  strobe train --config-dir conf experiment=baseline\n"
        "  pytest\n\n"
        "README.md says what to change first. It is no git repository yet: git init makes it one."
    )


def package_name(name: str) -> str:
    """What the package of a project is called: as the project, in small letters and with ``_`` for ``-``.

    Raises:
        ConfigError: If it can't be, or something else is called so.
    """
    if not name:
        raise ConfigError("the name is empty; write one, as in strobe new my_project")
    if "/" in name or "\\" in name or name in (".", ".."):
        raise ConfigError(f"name={name!r} is a path; cd to where the project is to lie, and give its name alone")
    if _ALLOWED.fullmatch(name.lower()) is None or not name.isascii():
        allowed = (
            "it takes a letter first, then letters, digits, - and _, 40 characters at most, none of them - or _ last"
        )
        raise ConfigError(f"name={name!r} can't be imported everywhere: {allowed}; try strobe new {_mended(name)}")
    package = name.lower().replace("-", "_")
    if (what := _taken(package)) is not None:
        raise ConfigError(f"name={name!r} is taken: {what}; try strobe new my_{package}")
    return package


def make(directory: Path, package: str) -> int:
    """Write the project of a package; returns the number of its files. They are there all at once, or none of them.

    Args:
        directory: That is not there yet, or is empty.
        package: Its name.

    Raises:
        ConfigError: If something is there.
    """
    if os.path.lexists(directory) and (directory.is_symlink() or not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is there already, and not empty: nothing was changed; choose another name")
    with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=directory.parent) as scratch:
        made = Path(scratch) / package
        files = [path for path in sorted(_TEMPLATE.rglob(f"*{_ENDING}")) if path.is_file()]
        for path in files:
            target = made / _for(package, str(path.relative_to(_TEMPLATE)).removesuffix(_ENDING))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_for(package, path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
        if directory.is_dir():
            directory.rmdir()  # Windows moves nothing to where something is
        made.rename(directory)
    return len(files)


def _for(package: str, text: str) -> str:
    """A text of the template as one of the project."""
    return text.replace(_PACKAGE, package).replace(_NAME, package.replace("_", "-"))


def _mended(name: str) -> str:
    """The allowed name that is nearest to one that is not."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "_", plain)[:40].strip("_")
    if not words:
        return _PACKAGE
    return words if _ALLOWED.fullmatch(words) and _taken(words) is None else f"my_{words}"[:40].rstrip("_")


def _taken(package: str) -> str | None:
    """What else has the name of a package, in words."""
    if keyword.iskeyword(package) or package in ("true", "false", "none"):
        return "it is a word of Python's own"
    if package in sys.stdlib_module_names:
        return "a module of Python's own is called so"
    if _DEVICES.fullmatch(package):  # a repository that has such a file can't be checked out there
        return "Windows keeps that name for a device"
    if package in _FOLDERS:
        return "a folder beside the package is called so"
    here = Path.cwd()  # where only the project itself, of an earlier day, would be found
    elsewhere = [place for place in sys.path if Path(place).resolve() != here]
    if package == "strobe" or PathFinder.find_spec(package, elsewhere) is not None:
        return "an installed package is called so, and could not be imported any more"
    # pip would take the project for a new version of it.
    if any(_plain(str(each.name)) == _plain(package) for each in distributions(path=elsewhere)):
        return "something installed is called so, and pip would replace it"
    return None


def _plain(name: str) -> str:
    """A name as indexes of packages compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()

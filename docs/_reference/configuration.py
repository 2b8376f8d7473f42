"""The reference's pages of the configuration: every group, option and key."""

import re
from collections.abc import Iterable, Iterator

from _reference.meanings import Meanings, leaves, of_groups
from _reference.words import GROUPS, KEYS
from strobe.commands.config_files import ConfigFiles, Entry, File
from strobe.commands.help import _about, _aliased
from strobe.config.place import CONF

_BAR = "\\|"
_STAR = "\\*"


def configuration() -> dict[str, str]:
    """The pages by their addresses: one of keys that belong to no group, one for each group."""
    files = ConfigFiles([CONF])
    meanings = Meanings(files)
    pages = {f"reference/{page_of(group)}": "\n".join(_group(meanings, group)) for group in meanings.groups}
    return {"reference/configuration.md": "\n".join(_overview(meanings)), **pages}


def page_of(group: str) -> str:
    """The file name of a group's page."""
    return f"config-{group.replace('/', '-')}.md"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table of Markdown; cells are Markdown too."""
    titles = list(head)
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    for row in rows:
        cells = " | ".join(cell.replace("|", _BAR) for cell in row)
        yield f"| {cells} |"
    yield ""


def code(text: str) -> str:
    """As code within a line."""
    return f"`{text}`" if text else ""


def prose(text: str) -> str:
    """A comment of a config file as Markdown, which must not take its signs for marks: only backticks are ones."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if index % 2 else _plain(part) for index, part in enumerate(parts))


def _plain(text: str) -> str:
    for sign in "\\`*_<>[]{}$":
        text = text.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return text


def _overview(meanings: Meanings) -> Iterator[str]:
    yield "# Configuration\n"
    yield "A command chooses one option of each group (`group=option`) and may change any key (`key=value`)."
    yield "`python -m src.train --help` tells the same in a terminal. The options that are taken where nothing is"
    yield "typed have a star.\n\n## Groups\n"
    chosen = meanings.files.choices({})
    rows = []
    for group in of_groups(meanings.groups):
        options = ", ".join(
            f"[{option}]({page_of(group)}#{anchor(group, option)})" + (_STAR if chosen.get(group) == option else "")
            for option in meanings.groups[group]
        )
        rows.append([f"[`{group}`]({page_of(group)})", GROUPS.get(group, ""), options])
    yield from table(("group", "what it is", "options"), rows)
    yield "## Keys of no group\n"
    yield from _keys(meanings, meanings.files.file("train"), "")


def anchor(group: str, option: str) -> str:
    """Of an option's heading."""
    return f"{group.replace('/', '-')}-{option}"


def _group(meanings: Meanings, group: str) -> Iterator[str]:
    yield f"# Group: {group}\n"
    yield f"{GROUPS.get(group, '')}\n"
    chosen = meanings.files.choices({}).get(group)
    rows = []
    for option in meanings.groups[group]:
        file = meanings.files.option(group, option)
        about = _about(file) or _aliased(meanings.files.file(f"{group}/{option}"))
        star = _STAR if option == chosen else ""
        rows.append([f"[`{group}={option}`](#{anchor(group, option)}){star}", prose(about)])
    yield from table(("option", ""), rows)
    for option in meanings.groups[group]:
        file = meanings.files.option(group, option)
        yield f"## {group}={option} {{ #{anchor(group, option)} }}\n"
        for line in file.about:
            command = line.startswith(("python -m", "strobe "))
            yield f"\n    {line}\n" if command else f"{prose(line)}"
        yield ""
        if file.chosen:
            yield f"Chooses {', '.join(code(f'{name}={value}') for name, value in file.chosen.items())}.\n"
        yield from _keys(meanings, file if file.keys else _of_a_class(group, option), f"{group.replace('/', '.')}.")


def _keys(meanings: Meanings, file: File, before: str) -> Iterator[str]:
    before = "" if file.everywhere else before
    rows = [
        [code(name), code(_shown(entry)), prose(meanings.of(name, entry) or KEYS.get(name, ""))]
        for name, entry in leaves(file.keys, before)
    ]
    if rows:
        yield from table(("key", "default", "what it means"), rows)
    else:
        yield "It has no keys.\n"


def _shown(entry: Entry) -> str:
    value = entry.value or ""
    return value if len(value) <= 60 else f"{value[:57]}..."


def _of_a_class(group: str, option: str) -> File:
    """An option that is no file: its keys are the fields of what Hydra's plugins register."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from hydra_plugins.strobe import plugins  # noqa: F401  registers them

    stored = ConfigStore.instance().repo.get("hydra", {}).get(group.removeprefix("hydra/"), {}).get(f"{option}.yaml")
    if stored is None:
        return File()
    values = OmegaConf.to_container(stored.node)
    assert isinstance(values, dict)
    return File(keys={str(key): Entry("null" if value is None else str(value)) for key, value in values.items()})

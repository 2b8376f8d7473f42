"""All pages of the reference, made once for a build."""

from functools import cache

from _reference.api import api
from _reference.commands import commands
from _reference.configuration import configuration
from _reference.links import pages_of_examples
from _reference.record import record
from strobe.config.place import CONF


@cache
def reference() -> dict[str, str]:
    """The pages by their addresses."""
    return {
        "reference/index.md": _START,
        "reference/examples.md": _examples(),
        **configuration(),
        **commands(),
        **record(),
        **api(),
    }


_START = """\
# Reference

Made from the code and the config files when this site is built: nothing here is written twice.

- [Configuration](configuration.md): every group, option and key, with its default
- [Commands](commands.md): every command and flag
- [Statuses and exit codes](statuses.md): how a run can end
- [A run's directory](run-directory.md): every file, every field of `report.json`
- [Metrics](metrics.md): what their names mean
- [Environment variables](environment.md)
- [Python](api.md): `import strobe`
- [Examples](examples.md): whole projects that use Strobe
"""


def _examples() -> str:
    lines = [
        "# Examples\n",
        "Projects of a user, each with its own package, configs and tests, in the folder `examples/`.\n",
    ]
    for source, page in pages_of_examples(CONF.parent).items():
        title = (CONF.parent / source).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}](../{page})")
    return "\n".join([*lines, ""])

"""Has the pages' links, which are right in the repository, lead to the right pages of the site."""

import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from _reference.configuration import anchor, page_of

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)(?P<path>[^()\s#]+)(?P<part>#[^()\s]*)?(?=\))")
_OPTION = re.compile(r"conf/(?P<group>.+)/(?P<option>[^/]+)\.yaml")

PAGES = {"README.md": "index.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository that the site shows, or has another page for -> that page."""


def pages_of_examples(root: Path) -> dict[str, str]:
    """The examples' READMEs and the pages that show them."""
    found = sorted((root / "examples").glob("*/README.md"))
    return {path.relative_to(root).as_posix(): f"examples/{path.parent.name}.md" for path in found}


def targets(markdown: str, source: str) -> list[str]:
    """The files of the repository that a page links to.

    Args:
        markdown: The page.
        source: Its path in the repository.
    """
    return [_resolved(link["path"], source) for link in _LINK.finditer(markdown)]


def relinked(markdown: str, source: str, page: str, pages: Mapping[str, str]) -> str:
    """A page with links that hold on the site.

    Args:
        markdown: The page.
        source: Its path in the repository.
        page: Its address on the site.
        pages: Files and folders of the repository -> their addresses on the site.
    """

    def on_the_site(link: re.Match[str]) -> str:
        target = _resolved(link["path"], source)
        part = link["part"] or ""
        if option := _OPTION.fullmatch(target):
            found, part = f"reference/{page_of(option['group'])}", f"#{anchor(option['group'], option['option'])}"
        else:
            found = pages.get(target, target.removeprefix("docs/"))
        return os.path.relpath(found, posixpath.dirname(page) or ".") + part

    return _LINK.sub(on_the_site, markdown)


def _resolved(link: str, source: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))

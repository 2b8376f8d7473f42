"""What MkDocs calls while it builds the site: adds the reference, the other files' pages, and the navigation."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "src"), str(ROOT)]  # this checkout, whatever is installed

from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402

from _reference.links import PAGES, pages_of_examples, relinked, targets  # noqa: E402
from _reference.navigation import navigation  # noqa: E402
from _reference.pages import reference  # noqa: E402

_shown: dict[str, str] = {}  # files of the repository -> pages that are made of them
_sources: dict[str, str] = {}  # pages -> files of the repository that they were made of


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write the navigation: pages of the tutorial and the how-tos that exist, and those that are made."""
    config.nav = navigation(ROOT, reference())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for address, text in reference().items():
        files.append(File.generated(config, address, content=text))
    _shown.clear()
    _shown.update({source: page for source, page in PAGES.items() if page != "index.md"}, **pages_of_examples(ROOT))
    pages = {
        f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages() if not file.generated_by
    }
    pages |= {source: (ROOT / source).read_text(encoding="utf-8") for source in _shown}
    for source, text in list(pages.items()):
        for target in targets(text, source):
            if not target.startswith(("docs/", "conf/")) and (ROOT / target).is_file() and target not in PAGES:
                _shown.setdefault(target, f"source/{target}.md")
    for source, page in _shown.items():
        files.append(File.generated(config, page, content=_content(source)))
    _sources.clear()
    _sources.update({page: source for source, page in _shown.items()})
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Have links that are right in the repository be right on the site."""
    address = page.file.src_uri
    if address in reference():
        return markdown
    places = {**PAGES, **_shown}
    places |= {
        source.removesuffix("/README.md"): page for source, page in places.items() if source.endswith("/README.md")
    }
    places["examples"] = "reference/examples.md"
    return relinked(markdown, _sources.get(address, f"docs/{address}"), address, places)


def _content(source: str) -> str:
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".md"):
        return text
    fence = "````"
    return f"# {source}\n\n{fence}{Path(source).suffix.lstrip('.') or 'text'}\n{text}\n{fence}\n"

"""The guidelines that stand beside the rows: data/guidelines.md as HTML."""

from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from ftzard.core.escaping import visible

#: Where a team writes how it labels, in Markdown.
FILE = "data/guidelines.md"


def guidelines(root: Path) -> Markup | None:
    """Return a workspace's guidelines as HTML, or None if there are none.

    HTML in them is shown as text, and pictures are left out: the page loads nothing from elsewhere.
    """
    path = root / FILE
    if not path.is_file():
        return None
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(reader.render(visible(path.read_text(encoding="utf-8", errors="replace"))))

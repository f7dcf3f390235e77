"""Labels and texts that would command whatever shows them, and what no medium may make of them."""

import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

from ftzard.reporting import html

HOST = "evil.example"
#: Each by what a careless medium would do with it.
HOSTILE = {
    "markup": "[spam]", "closing markup": "[/bold]", "ansi": "\x1b[31mred\x1b[0m",
    "link": f"\x1b]8;;http://{HOST}\x07click\x1b]8;;\x07", "script": "<script>alert(1)</script>",
    "textarea": "</textarea><img src=x onerror=alert(1)>",
    "markdown": f"a | b [x](http://{HOST}) ![p](http://{HOST}/p.png) **b**",
    "formula": f'=HYPERLINK("http://{HOST}","x")',
    "direction": "\u202egnp.exe\u202c zero\u200bwidth",
    "lines": "two\nlines\x9b31m", "templates": "${oc.env:HOME} {{ 7*7 }} %(x)s {0}",
}
#: What each must leave in a medium that shows it, where nothing else could have written it.
TRACES = {
    "markup": "[spam]", "closing markup": "[/bold]", "ansi": r"\x1b[31mred",
    "link": r"\x1b]8;;", "script": "<script>", "textarea": "</textarea><img",
    "markdown": f"[x](http://{HOST}) ![p](http://{HOST}/p.png) **b**",
    "formula": "=HYPERLINK(", "direction": r"\u202egnp.exe",
    "lines": r"lines\x9b31m", "templates": "${oc.env:HOME} {{ 7*7 }}",
}


def unseen(text: str) -> set[str]:
    """Return the signs of a text that command a terminal, turn the direction or have no width."""
    return {f"U+{ord(sign):04X}" for sign in text
            if sign != "\n" and unicodedata.category(sign) in ("Cc", "Cf", "Cs")}


def traces(text: str) -> set[str]:
    """Return which of the hostile texts can be read in a text, however its lines are folded."""
    plain = re.sub(r"\s+", "", text)
    return {name for name, trace in TRACES.items() if re.sub(r"\s+", "", trace) in plain}

PAGE_SCRIPT = (Path(html.__file__).parent / "templates/page.js").read_text("utf-8").strip()


class Page(HTMLParser):
    """The elements, attributes and words of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.words.append(data)


def page_is_safe(page: str) -> str:
    """Assert that a page has no element, attribute or sign from outside; return its words."""
    read = Page(page)
    assert not {"img", "textarea", "iframe"} & set(read.tags)
    assert read.tags.count("script") == page.count(PAGE_SCRIPT)  # the page's own and no other
    for name, value in read.attributes:
        assert not name.startswith("on"), (name, value)
        assert name not in ("href", "src") or HOST not in (value or ""), (name, value)
    assert unseen(page) == set()
    return "".join(read.words)


def markdown_is_safe(text: str) -> str:
    """Assert that Markdown renders no link, picture or HTML from outside; return its words."""
    words = []
    for block in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        assert block.type not in ("html_block", "hr", "code_block"), block
        for token in block.children or []:
            assert token.type not in ("link_open", "image", "html_inline"), token
            words.append(token.content)
        words.append("\n")
    assert unseen(text) == set()
    return "".join(words)

"""HTML from the Jinja2 templates beside this module; every value is escaped unless it is Markup.

`table`, `figure` and their like are the macros of templates/elements.html.j2: sections that are
written in Python and templates use the same ones.
"""

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ftzard.core.escaping import visible


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{digits}f} %"


def p_value(p: float) -> str:
    """Return a p-value with its sign of equality."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def role_colour(role: str) -> str:
    """Return the colour of a model's line in the table of models."""
    return {"challenger": "var(--blue)", "champion": "var(--ink)"}.get(role, "var(--mark)")


def signed(share: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−") if abs(share) >= 5e-4 else "0.0"


def plural(n: int, word: str) -> str:
    """Return a noun in the number of n; 'batch' becomes 'batches'."""
    return word if n == 1 else word + ("es" if word.endswith("ch") else "s")


def thousands(n: float) -> str:
    """Return a number with separators of thousands."""
    return f"{n:,}"


def text(value: Any) -> Any:
    """Make every character of a value visible; a number and its % or unit stay on one line."""
    if hasattr(value, "__html__"):
        return value
    return re.sub(r"(\d) (%|points?\b)", "\\1\u00a0\\2", visible(value))


@functools.cache
def environment() -> Environment:
    """Return the templates' environment; an unknown name in a template is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True,
        undefined=StrictUndefined, finalize=text, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(percent=percent, signed=signed, plural=plural, thousands=thousands)
    made.globals.update(zip=functools.partial(zip, strict=True))
    made.tests.update(sha256=lambda value: bool(re.fullmatch(r"[0-9a-f]{64}", str(value))))
    return made


def render(template: str, **values: Any) -> Markup:
    """Return a template of reporting/templates, filled in."""
    return Markup(environment().get_template(f"{template}.html.j2").render(values))


def _element(name: str) -> Any:
    """Return a macro of elements.html.j2 as a function."""
    def call(*args: Any, **kwargs: Any) -> Markup:
        return getattr(environment().get_template("elements.html.j2").module, name)(*args, **kwargs)
    return call


table = _element("table")
picture = _element("figure")
missing = _element("missing")
opening = _element("lead")
pairs = _element("definitions")
digits = _element("short_hash")
shortened = _element("truncated")
detailed = _element("detailed")
badge = _element("badge")
key_figures = _element("key_figures")
_interval_bar = _element("interval_bar")


def tag(name: str, *children: object, **attributes: str | None) -> Markup:
    """Return one element; children are escaped, `class_` stands for class, None is left out."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items() if value is not None)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), given, joined(children))


def joined(parts: Iterable[object] | Markup) -> Markup:
    """Return the parts one after the other; what is Markup already stays as it is."""
    if isinstance(parts, Markup):
        return parts
    return Markup("").join(map(text, parts))


def range_bar(value: float, lower: float, upper: float, low: float, high: float, *, colour: str,
              label: str) -> Markup:
    """Draw a value and its interval as a mark on a line, on the scale that a whole table shares."""
    return _interval_bar(value, lower, upper, low, high, colour, label)


def page(title: str, header: Markup, sections: Iterable[Markup], footer: Markup,
         links: Iterable[tuple[str, str]] = ()) -> str:
    """Return the whole document; links: (anchor, heading) of the navigation."""
    return render("page", title=title, header=header, sections=list(sections), footer=footer,
                  links=list(links))

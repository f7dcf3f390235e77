"""The pieces of a self-contained page: its style sheet, and small builders of HTML.

Every builder that takes text escapes it; what is already HTML travels as `Markup`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ftzard.core.escaping import html as escape

LONGEST_TEXT = 320

CSS = """
:root { --ink:#1f2933; --soft:#5b6773; --pale:#b8c2cc; --line:#e3e8ec; --wash:#f5f7f9;
  --blue:#0064a4; --green:#0b7a5b; --orange:#c2410c; --grey:#5b6773; --accent:var(--blue); }
* { box-sizing:border-box; }
html { -webkit-text-size-adjust:100%; }
body { margin:0; background:#fff; color:var(--ink); font:15px/1.55 system-ui,"Segoe UI",Roboto,
  "Helvetica Neue",Arial,"Liberation Sans",sans-serif; font-variant-numeric:tabular-nums; }
main, header.top, footer { max-width:1080px; margin:0 auto; padding:0 28px; }
header.top { padding-top:40px; }
h1 { font-size:27px; line-height:1.2; letter-spacing:-.01em; margin:0; font-weight:650; }
h2 { font-size:20px; line-height:1.3; margin:0 0 4px; font-weight:650; letter-spacing:-.005em; }
h3 { font-size:15px; margin:0 0 2px; font-weight:650; }
p { margin:0 0 10px; max-width:72ch; }
.soft { color:var(--soft); } .small { font-size:13px; }
.sub { color:var(--soft); margin:6px 0 0; }
nav { margin:16px 0 0; padding-bottom:4px; display:flex; flex-wrap:wrap; gap:4px 20px;
  font-size:13.5px; }
nav a { color:var(--blue); text-decoration:none; } nav a:hover { text-decoration:underline; }
section { border-top:1px solid var(--line); padding:30px 0 24px; }
section:first-child { border-top:0; padding-top:0; }
section > .lead { color:var(--soft); margin-bottom:18px; }
.promote { --accent:var(--green); } .refuse, .no-champion-yet { --accent:var(--orange); }
.cannot-tell { --accent:var(--grey); }
.verdict { margin:26px 0 30px; padding:20px 24px 16px; border-left:6px solid var(--accent);
  background:var(--wash); border-radius:0 6px 6px 0; }
.verdict strong.word { display:block; font-size:23px; line-height:1.25; color:var(--accent);
  letter-spacing:-.01em; margin-bottom:8px; }
.verdict ul { margin:0; padding-left:20px; } .verdict li { margin:0 0 4px; max-width:80ch; }
.verdict .warning { margin:12px 0 6px; padding:8px 12px; background:#fff7e6;
  border:1px solid #f0d9a8; border-radius:4px; }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(145px,1fr)); gap:16px 28px;
  margin:0 0 26px; }
.figures div b { display:block; font-size:25px; line-height:1.2; font-weight:650;
  letter-spacing:-.015em; }
.figures div span { color:var(--soft); font-size:13px; line-height:1.35; display:block; }
.two { display:grid; grid-template-columns:repeat(2,minmax(0,1fr)); gap:30px 36px; }
figure { margin:0; min-width:0; } figure.wide { margin-top:6px; }
figcaption { margin-bottom:8px; } figcaption p { margin:0; color:var(--soft); font-size:13.5px; }
figure svg { display:block; width:100%; height:auto; }
.missing { color:var(--soft); border:1px dashed var(--pale); border-radius:4px; padding:10px 14px;
  margin:0; font-size:14px; }
.scroll, figure.wide { overflow-x:auto; }
.scroll { background:linear-gradient(to right,#fff 30%,#fff0) 0 0/40px 100% no-repeat local,
  linear-gradient(to left,#fff 30%,#fff0) 100% 0/40px 100% no-repeat local,
  linear-gradient(to right,#1f29331f,#fff0) 0 0/10px 100% no-repeat scroll,
  linear-gradient(to left,#1f29331f,#fff0) 100% 0/10px 100% no-repeat scroll; }
h2 + .two { margin-top:16px; } h2 + .missing { margin-top:12px; }
.missing:first-child { margin-top:24px; } .two > .missing { margin-top:0; align-self:start; }
table { border-collapse:collapse; width:100%; font-size:14px; }
th { text-align:left; font-weight:600; color:var(--soft); font-size:12.5px; }
th, td { padding:7px 14px 7px 0; border-bottom:1px solid var(--line); vertical-align:top; }
td.number, th.number { text-align:right; white-space:nowrap; }
th:last-child, td:last-child { padding-right:0; }
td.id, td.whole { white-space:nowrap; } td.id code, td.whole code { overflow-wrap:normal; }
td.text { overflow-wrap:anywhere; min-width:220px; }
tr.strong td { font-weight:650; }
td svg { display:block; }
td.bar { width:34%; min-width:170px; }
.tag { display:inline-block; font-size:12px; line-height:1.5; padding:0 7px; border-radius:9px;
  border:1px solid var(--accent); color:var(--accent); white-space:nowrap; font-weight:600; }
code { font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;
  overflow-wrap:anywhere; }
dl { display:grid; grid-template-columns:max-content minmax(0,1fr); gap:4px 18px; margin:0;
  font-size:13.5px; } dt { color:var(--soft); } dd { margin:0; overflow-wrap:anywhere; }
.two > div > h3 { margin-bottom:8px; } .gap { margin-top:28px; }
.example { border-top:1px solid var(--line); padding:14px 0 16px; }
.example:first-child { border-top:0; }
.example p { white-space:pre-wrap; overflow-wrap:anywhere; margin:0; font-size:14px;
  line-height:1.45; }
.example .asked { max-width:none; background:var(--wash); border-radius:4px; padding:8px 12px;
  margin-bottom:12px; }
.example .said { display:grid; grid-template-columns:repeat(auto-fit,minmax(190px,1fr));
  gap:10px 24px; }
.example .said > div { border-left:3px solid var(--line); padding-left:10px; min-width:0; }
.example .said > div.wanted { border-color:var(--pale); }
.example .said > div.challenger { border-color:var(--blue); }
.example h4 { margin:0 0 3px; font-size:12.5px; font-weight:600; color:var(--soft); }
details summary { cursor:pointer; color:var(--blue); font-size:13.5px; margin-top:14px; }
footer { border-top:1px solid var(--line); padding-top:16px; padding-bottom:40px;
  color:var(--soft); font-size:13px; }
@media (max-width:720px) {
  main, header.top, footer { padding-left:16px; padding-right:16px; }
  header.top { padding-top:24px; } h1 { font-size:23px; }
  .two { grid-template-columns:minmax(0,1fr); } .figures { grid-template-columns:1fr 1fr; }
  .verdict { padding:16px; margin:20px 0 24px; } td.bar { min-width:120px; }
  figure.wide svg { min-width:640px; } th, td { padding-right:10px; } table { font-size:13px; }
  td.id, th.id, td.bar, th.bar { display:none; } td.text { min-width:150px; }
  dl:not(.numbers) { grid-template-columns:minmax(0,1fr); gap:0; }
  dl:not(.numbers) dd { margin-bottom:6px; }
}
@media print {
  body { font-size:11px; } nav { display:none; } main, header.top, footer { max-width:none; }
  figure, table tr, .verdict, .figures { break-inside:avoid; }
  h2, h3, figcaption { break-after:avoid; }
  .example { break-inside:avoid; }
  .verdict, .tag { print-color-adjust:exact; -webkit-print-color-adjust:exact; }
  section { padding:18px 0 14px; }
}
"""


class Markup(str):
    """Text that is HTML already and is not escaped again."""


def text(value: object) -> Markup:
    """Escape a value for the page; a number and its % or unit stay on one line."""
    if isinstance(value, Markup):
        return value
    return Markup(re.sub(r"(\d) (%|points?\b)", "\\1\u00a0\\2", escape(value)))


def tag(name: str, *children: object, **attributes: str | None) -> Markup:
    """Return one element; children are escaped, `class_` stands for class, None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(text(c) for c in children)}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Return the parts one after the other."""
    return Markup("".join(text(p) for p in parts))


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    kinds: Sequence[str | None],
    strong: Sequence[int] = (),
) -> Markup:
    """Return a table; kinds: a CSS class per column or None.

    'number' is set to the right, 'text' may break anywhere, 'whole' never does; 'id' and 'bar'
    are left out on narrow screens.
    """
    headings = (
        tag("th", h, class_=kind if kind != "text" else None, scope="col")
        for h, kind in zip(head, kinds, strict=True)
    )
    lines = (
        tag(
            "tr",
            *(tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)),
            class_="strong" if i in strong else None,
        )
        for i, row in enumerate(rows)
    )
    whole = tag("table", tag("thead", tag("tr", *headings)), tag("tbody", *lines))
    return tag("div", whole, class_="scroll")


def picture(title: str, caption: str, drawing: str, wide: bool = False) -> Markup:
    """Return a figure with a title that names it and a caption that says what it shows."""
    words = tag("figcaption", tag("h3", title), tag("p", caption))
    image = drawing.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    return tag("figure", words, Markup(image), class_="wide" if wide else None)


def missing(what: str) -> Markup:
    """Say plainly what the report was not told."""
    return tag("p", what, class_="missing")


def opening(sentence: str) -> Markup:
    """Return the sentence that opens a section."""
    return tag("p", sentence, class_="lead")


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{digits}f} %"


def signed(share: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−") if abs(share) >= 5e-4 else "0.0"


def plural(n: int, one: str) -> str:
    """Return a word for one or for many; 'batch' becomes 'batches'."""
    return one if n == 1 else one + ("es" if one.endswith("ch") else "s")


def pairs(told: Sequence[tuple[str, Any]], numbers: bool = False) -> Markup:
    """Return names with their values; what is None or empty is said to be not recorded."""
    cells = []
    kind = "span" if numbers else "code"
    for name, value in told:
        known = value is not None and value != ""
        hashed = re.fullmatch(r"[0-9a-f]{64}", str(value))
        shown = digits(value) if hashed else tag(kind, value) if known else tag(
            "span", "not recorded", class_="soft")
        cells += [tag("dt", name), tag("dd", shown)]
    return tag("dl", *cells, class_="numbers" if numbers else None)


def digits(value: object) -> Markup:
    """Return the first 12 digits of a hash, with all of them as hover text."""
    whole = str(value)
    return tag("code", whole[:12], title=whole if len(whole) > 12 else None)


def shortened(value: Any, longest: int = LONGEST_TEXT) -> Markup:
    """Return a text, cut after `longest` characters with a word on how many there are."""
    words = "" if value is None else str(value)
    if not words.strip():
        return tag("span", "(empty)", class_="soft")
    if len(words) <= longest:
        return text(words)
    return joined(
        [words[:longest], "… ", tag("span", f"({len(words):,} characters)", class_="soft")]
    )


def range_bar(
    value: float, lower: float, upper: float, low: float, high: float, *, colour: str, label: str
) -> Markup:
    """Draw a value and its interval as a mark on a line, on the scale that a whole table shares."""
    span = (high - low) or 1
    start, end, dot = (4 + 292 * (v - low) / span for v in (lower, upper, value))
    return Markup(
        '<svg viewBox="0 0 300 18" width="100%" height="18" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">'
        '<line x1="0" y1="9" x2="300" y2="9" stroke="#e3e8ec" '
        'vector-effect="non-scaling-stroke"/>'
        f'<line x1="{start:.1f}" y1="9" x2="{end:.1f}" y2="9" stroke="{colour}" '
        'stroke-width="3" vector-effect="non-scaling-stroke"/>'
        f'<line x1="{dot:.1f}" y1="2.5" x2="{dot:.1f}" y2="15.5" stroke="{colour}" '
        'stroke-width="3" vector-effect="non-scaling-stroke"/></svg>'
    )


def page(title: str, header: Markup, sections: Iterable[Markup], footer: Markup) -> str:
    """Return the whole document."""
    body = joined(
        [
            tag("header", header, class_="top"),
            tag("main", *sections),
            tag("footer", footer),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )

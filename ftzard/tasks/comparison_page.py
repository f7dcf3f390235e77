"""The page of two models side by side: which is better, by how much, and where they disagree."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ftzard.reporting.html import (
    Markup,
    detailed,
    joined,
    missing,
    opening,
    page,
    percent,
    table,
    tag,
)
from ftzard.tasks.comparison import Comparison

LONGEST_TEXT = 320


def render(comparison: Comparison, examples: int, others: Sequence[Comparison] = ()) -> str:
    """Return a comparison as self-contained HTML, with so many rows on which the models disagree.

    Args:
        others: Comparisons of the same first model with more models, on the same rows.
    """
    pairs = [comparison, *others]
    first = comparison.names[0]
    title = f"{first} and {', '.join(pair.names[1] for pair in pairs)}"
    header = Markup(tag("h1", title) + tag("p", comparison.subtitle(), class_="sub"))
    parts = [("overview", "All models", _overview(pairs))] if others else []
    for pair in pairs:
        name = f"{pair.names[1]}: " if others else ""
        parts += [(f"{pair.anchor}-{number}", f"{name}{heading}", content)
                  for number, (heading, content) in enumerate(_parts(pair, examples))]
    sections = [tag("section", tag("h2", heading), *content, id=anchor)
                for anchor, heading, content in parts]
    note = tag("p", f"Differences are the other model minus {first}, with paired bootstrap "
                    f"intervals of {percent(comparison.confidence, 0)}.")
    return page(title, header, sections, note, [(anchor, heading) for anchor, heading, _ in parts])


def _parts(comparison: Comparison, examples: int) -> list[tuple[str, list[Markup]]]:
    """Return (heading, content) of the sections on two models."""
    first, second = comparison.names
    return [
        ("Scores", [opening(comparison.verdict()), *_scores(comparison, first, second)]),
        *comparison.sections(),
        ("Cost", [costs([asdict(speed) for speed in comparison.speeds], first, second)]),
        (comparison.disagreements_title, _disagreements(comparison, examples))]


def _overview(pairs: Sequence[Comparison]) -> list[Markup]:
    """Return the scores of more than two models, each with its difference from the first."""
    lines = [pair.score_lines() for pair in pairs]
    rows = [(line[0], line[1], *(detailed(of[number][2], of[number][3]) for of in lines))
            for number, line in enumerate(lines[0])]
    names = (pairs[0].names[0], *(pair.names[1] for pair in pairs))
    return [table(("", *names), rows, ("whole", *("number" for _ in names))),
            *(tag("p", pair.verdict()) for pair in pairs)]


def _scores(comparison: Comparison, first: str, second: str) -> list[Markup]:
    kinds = ("whole", "number", "number", "number")
    parts = [table(("", first, second, "difference"), comparison.score_lines(), kinds)]
    classes = comparison.class_lines()
    if classes:
        parts += [tag("h3", "F1 of each class", class_="gap"),
                  table(("label", "rows", first, second), classes, kinds)]
    return parts


def costs(speeds: Sequence[Mapping], first: str, second: str) -> Markup:
    """Return the table of what either model costs: time, memory, texts cut."""
    one, two = speeds
    lines = [(name, *(write(speed) for speed in (one, two))) for name, write in (
        ("one row", lambda s: speed_of(s, "latency_ms")),
        ("rows per second", lambda s: speed_of(s, "rows_per_second")),
        ("tokens per second", lambda s: speed_of(s, "tokens_per_second")),
        ("peak memory", lambda s: "not known" if s["peak_bytes"] is None else
         f"{s['peak_bytes'] / 1e6:,.0f} MB"),
        ("loading", lambda s: f"{s['load_s']:.1f} s"),
        ("texts cut", lambda s: f"{s['cut_rows']:,}"),
        ("on", lambda s: f"{s['device']}, {s['threads']} threads"))]
    note = (f"Both were timed in turns, {one['passes']} passes each: the median, and the range of "
            "the passes." if one.get("passes") else
            "They were not timed: they could not take turns, since they have no room in memory "
            "side by side.")
    return joined([table(("", first, second), lines, ("whole", "number", "number")),
                   tag("p", note, class_="soft small")])


def speed_of(speed: Mapping, key: str) -> str:
    """Return a time or a throughput of `benchmark.Speed` with the range of its passes."""
    if speed.get(key) is None:
        return "not timed"
    digits, unit = (1, " ms") if key == "latency_ms" else (0, "")
    value = f"{speed[key]:,.{digits}f}{unit}"
    low, high = speed.get(f"{key}_range") or (speed[key], speed[key])
    return f"{value} ({low:,.{digits}f}–{high:,.{digits}f})"


def _disagreements(comparison: Comparison, examples: int) -> list[Markup]:
    if comparison.disagreements.empty:
        return [missing("They give the same answer to every row.")]
    lines = comparison.disagreement_lines(examples)
    lead = comparison.disagreements_summary() + (
        f"; the first {len(lines):,} are shown." if len(lines) < len(comparison.disagreements)
        else ".")
    names = (f"{name} says" for name in comparison.names)
    return [opening(lead), table((*comparison.disagreement_columns, *names),
                                 [tuple(_cut(text) for text in line) for line in lines],
                                 ("text", "text", "text", "text"))]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"

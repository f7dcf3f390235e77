"""The page of two models side by side: which is better, by how much, and where they disagree."""

from collections.abc import Mapping

from ftzard.reporting.html import (
    Markup,
    joined,
    missing,
    opening,
    page,
    percent,
    signed,
    table,
    tag,
)

NAMES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}
LONGEST_TEXT = 320


def render(told: Mapping, verdict: str) -> str:
    """Return a comparison (as `compare.Comparison.to_dict` gives it) as self-contained HTML."""
    first, second = (model["name"] for model in told["models"])
    rows = told["rows"]
    header = Markup(tag("h1", f"{first} and {second}") + tag(
        "p", f"{rows['n']:,} rows of {rows['source']}", class_="sub"))
    sections = [
        tag("section", tag("h2", "Scores"), opening(verdict), *_scores(told, first, second)),
        tag("section", tag("h2", "Cost"), costs(told, first, second)),
        tag("section", tag("h2", "Where they disagree"), *_apart(told, first, second)),
    ]
    return page(f"{first} and {second}", header, sections,
                tag("p", f"Differences are {second} minus {first}, with paired bootstrap "
                         f"intervals of {percent(told['confidence'], 0)}."))


def _scores(told: Mapping, first: str, second: str) -> list[Markup]:
    lines = []
    for key, name in NAMES.items():
        score = told["scores"][key]
        lines.append((name, _share(score["first"]), _share(score["second"]),
                      f"{signed(score['difference']['value'])} points "
                      f"({signed(score['difference']['lower'])} to "
                      f"{signed(score['difference']['upper'])})"))
    for key, name in (("loss", "loss (nats)"), ("ece", "calibration error")):
        one, two = told["first"][key], told["second"][key]
        lines.append((name, f"{one:.3f}", f"{two:.3f}", f"{two - one:+.3f}".replace("-", "−")))
    for name, found in told.get("own_metrics", {}).items():
        one, two = found["first"], found["second"]
        lines.append((name, f"{one:.4g}", f"{two:.4g}", f"{two - one:+.4g}".replace("-", "−")))
    kinds = ("whole", "number", "number", "number")
    classes = [(label, f"{scores['support']:,}", f"{scores['f1']:.3f}",
                f"{told['second']['per_class'][label]['f1']:.3f}")
               for label, scores in told["first"]["per_class"].items()]
    return [table(("", first, second, "difference"), lines, kinds),
            tag("h3", "F1 of each class", class_="gap"),
            table(("label", "rows", first, second), classes, kinds)]


def _share(score: Mapping) -> str:
    return f"{percent(score['value'])} ({percent(score['lower'])} to {percent(score['upper'])})"


def costs(told: Mapping, first: str, second: str) -> Markup:
    """Return the table of what either model costs: time, memory, texts cut."""
    one, two = (model["speed"] for model in told["models"])
    lines = [(name, *(write(speed) for speed in (one, two))) for name, write in (
        ("one row", lambda s: speed_of(s, "latency_ms")),
        ("rows per second", lambda s: speed_of(s, "rows_per_second")),
        ("tokens per second", lambda s: speed_of(s, "tokens_per_second")),
        ("peak memory", lambda s: "not known" if s["peak_bytes"] is None else
         f"{s['peak_bytes'] / 1e6:,.0f} MB"),
        ("loading", lambda s: f"{s['load_s']:.1f} s"),
        ("texts cut", lambda s: f"{s['cut_rows']:,}"),
        ("on", lambda s: f"{s['device']}, {s['threads']} threads"))]
    told = (f"Both were timed in turns, {one['passes']} passes each: the median, and the range of "
            "the passes." if one.get("passes") else
            "They were not timed: they could not take turns, since they have no room in memory "
            "side by side.")
    return joined([table(("", first, second), lines, ("whole", "number", "number")),
                   tag("p", told, class_="soft small")])


def speed_of(speed: Mapping, key: str) -> str:
    """Return a time or a throughput of `measured.Speed` with the range of its passes."""
    if speed.get(key) is None:
        return "not timed"
    digits, unit = (1, " ms") if key == "latency_ms" else (0, "")
    said = f"{speed[key]:,.{digits}f}{unit}"
    low, high = speed.get(f"{key}_range") or (speed[key], speed[key])
    return f"{said} ({low:,.{digits}f}–{high:,.{digits}f})"


def _apart(told: Mapping, first: str, second: str) -> list[Markup]:
    shown, in_all = told["disagreements"], told["disagreements_in_all"]
    if not in_all:
        return [missing("They give the same answer to every row.")]
    lead = (f"{in_all:,} rows; {first} alone is right on {told['only_first']:,}, {second} alone on "
            f"{told['only_second']:,}. Those both are surest of come first"
            + (f"; the first {len(shown):,} are shown." if len(shown) < in_all else "."))
    lines = [(_cut(row["text"]), row["label"],
              f"{row['first']} ({row['first_confidence']:.2f})",
              f"{row['second']} ({row['second_confidence']:.2f})") for row in shown]
    return [opening(lead), table(("text", "true label", f"{first} says", f"{second} says"), lines,
                                 ("text", "whole", "whole", "whole"))]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"

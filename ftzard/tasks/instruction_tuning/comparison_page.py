"""The page of two models that write answers: which is better, by how much, what they say."""

from collections.abc import Mapping

from ftzard.evaluation import metric_info
from ftzard.reporting.html import Markup, missing, opening, page, percent, table, tag
from ftzard.tasks.classification.comparison_page import LONGEST_TEXT, costs


def render(told: Mapping, verdict: str) -> str:
    """Return a comparison (as `AnswerComparison.to_dict` gives it) as self-contained HTML."""
    first, second = (model["name"] for model in told["models"])
    rows = told["rows"]
    header = Markup(tag("h1", f"{first} and {second}") + tag(
        "p", f"{told['n']:,} rows of {rows['source']}, {told['generated']:,} of them answered",
        class_="sub"))
    sections = [
        tag("section", tag("h2", "Scores"), opening(verdict), _scores(told, first, second)),
        tag("section", tag("h2", "Cost"), costs(told, first, second)),
        tag("section", tag("h2", "Where their answers differ"), *_apart(told, first, second)),
    ]
    return page(f"{first} and {second}", header, sections,
                tag("p", f"Differences are {second} minus {first}, with paired bootstrap "
                         f"intervals of {percent(told['confidence'], 0)}."))


def _scores(told: Mapping, first: str, second: str) -> Markup:
    lines = []
    for key, score in told["scores"].items():
        measure, gap = metric_info.of(key), score["difference"]
        lines.append((measure.title, *(
            f"{measure.value(score[side]['value'])} "
            f"({measure.range(score[side]['lower'], score[side]['upper'])})"
            for side in ("first", "second")),
            f"{measure.gain(gap['value'])} ({measure.gain(gap['lower'], unit=False)} to "
            f"{measure.gain(gap['upper'], unit=False)})"))
    return table(("", first, second, "difference"), lines, ("whole", "number", "number", "number"))


def _apart(told: Mapping, first: str, second: str) -> list[Markup]:
    shown, in_all = told["disagreements"], told["disagreements_in_all"]
    if not in_all:
        return [missing("They give the same answer to every row.")]
    lead = (f"{in_all:,} of {told['generated']:,} rows, those first on which their ROUGE-L differs "
            "most" + (f"; the first {len(shown):,} are shown." if len(shown) < in_all else "."))
    lines = [tuple(_cut(row[key]) for key in ("text", "label", "first", "second"))
             for row in shown]
    return [opening(lead), table(("text", "wanted", f"{first} says", f"{second} says"), lines,
                                 ("text", "text", "text", "text"))]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"

"""What the report's sections of several tasks have in common."""

from collections.abc import Callable, Mapping, Sequence

from ftzard.evaluation.gate import means
from ftzard.reporting import batch_names
from ftzard.reporting.html import Markup, joined, table, tag
from ftzard.reporting.report_data import Facts

#: Rows in a list of mistakes.
MISTAKES = 20
#: A part of the test rows: its name, the score of the challenger, that of the other, its rows.
Part = tuple[str, float, float, int]


def parts(facts: Facts, per_class: str | None = None) -> list[Part]:
    """Return (name, challenger, other, rows) over all test rows, each test set and each class.

    Args:
        facts: With a comparison.
        per_class: How a class is named, with its label for {}; None leaves classes out.
    """
    verdict = facts.comparison
    lines = [("all test rows", *means(verdict)[:2], verdict["n"])]
    if len(verdict["per_test_set"]) > 1:
        lines += [(batch_names.named(p["name"], facts.delivered_as), p["challenger"],
                   p["champion"], p["n"]) for p in verdict["per_test_set"]]
    if per_class is not None:
        lines += [(per_class.format(p["label"]), p["challenger"], p["champion"], p["n"])
                  for p in verdict["per_class"]]
    return lines


def parts_table(verdict: Mapping, lines: Sequence[Part], write: Callable[[float], str],
                more: Sequence[tuple[str, ...]] = ()) -> Markup:
    """Return the table of `parts`, and lines of text below them."""
    rows = [(name, write(new), write(old), f"{n:,}") for name, new, old, n in lines]
    return table(("", "challenger", verdict.get("against", "champion"), "rows"), [*rows, *more],
                 (None, "number", "number", "number"), strong=[0])


def rule(sentence: str, limits: Mapping) -> list[Markup]:
    """Return what the challenger had to show, and how many rows the gate needs."""
    return [tag("p", f"{sentence} Below {limits['min_rows']:,} rows the gate does not decide.",
                class_="soft small gap")]


def mistakes(rows: Sequence[tuple], note: str, none: str) -> Markup:
    """Return the surest mistakes: (text, true, predicted, confidence, row), and a note on them.

    Args:
        none: What stands there if no row is wrong.
    """
    heading = tag("h3", "The most confident mistakes", class_="gap")
    if not rows:
        return joined([heading, tag("p", none, class_="soft")])
    note = f"{note} Worth reading: some will be wrong labels rather than wrong answers."
    return joined([heading, tag("p", note, class_="soft small"), table(
        ("text", "true", "predicted", "confidence", "row"), rows,
        ("text", None, None, "number", "id"))])

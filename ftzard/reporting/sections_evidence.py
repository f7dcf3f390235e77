"""Report sections on the evidence: the error budget, and accuracy estimated before labels."""

from collections.abc import Mapping

from ftzard.evaluation.error_budget import percent as share
from ftzard.reporting import batch_names, plots
from ftzard.reporting.html import Markup, badge, joined, missing, opening, percent, table, tag
from ftzard.reporting.report_data import Facts

#: How the words of a decision are shown.
DECISIONS = {"promote": "promoted", "refuse": "refused"}


def error_budget(facts: Facts) -> Markup:
    """Return what each decision spent of the error budget, and what is left."""
    budget = facts.error_budget
    if not budget:
        return missing("There is no error budget (gate.error_budget is null): each decision is "
                       "tested at gate.confidence, however many there were.")
    if not budget["history"]:
        return missing("No decision was made yet.")
    lines = [
        (f"v{line['version']}",
         str(line["round"]) if line["counted"] else "–",
         share(line["level"]) if line["counted"] else "–",
         share(line["earned"]) if line["earned"] else "–",
         share(line["left"]), f"{line['fresh_rows']:,}",
         badge(DECISIONS.get(line["decision"], line["decision"]), line["decision"]))
        for line in reversed(budget["history"])]
    return joined([
        opening(budget["sentence"]),
        table(("version", "decision", "tested at", "earned back", "left", "fresh test rows",
               "verdict"), lines,
              (None, "number", "number", "number", "number", "number", None)),
        tag("p", "The chance that any promotion of this line is of a model no better than its "
                 f"champion is at most {share(budget['budget'])} over {budget['rounds']} "
                 "decisions. Fresh test rows are used by no earlier decision; a promotion that "
                 "they show alone earns its level back. A dash is a decision that could promote "
                 "nothing, or the first model, which replaces no champion: it spends nothing.",
            class_="soft small gap")])


def estimates(facts: Facts) -> Markup:
    """Return the accuracy that was estimated of each batch before its labels, and what it was."""
    lines = list(facts.estimates)
    if not lines:
        return missing("No accuracy was estimated of an unlabelled batch yet.")
    last = lines[-1]
    drawn = [line for line in lines if line["estimate"] is not None]
    return joined([
        opening(batch_names.with_names(last["sentence"], facts.delivered_as)),
        tag("div", plots.svg(plots.estimates(drawn, facts.delivered_as)), class_="wide")
        if drawn else "",
        table(("batch", "model", "rows", "estimated", "95 % interval", "measured", ""),
              [_line(line, facts.delivered_as) for line in reversed(lines)],
              (None, None, "number", "number", "number", "number", None)),
        tag("p", "Circles: estimated from calibrated probabilities before anybody had labelled the "
                 "batch. Diamonds: measured on its audit rows, which are drawn by chance. Covered "
                 "means that the two sampling errors allow the difference.",
            class_="soft small gap")])


def _line(line: Mapping, delivered_as: Mapping[str, str]) -> tuple:
    audit = line.get("audit")
    measured = "not yet" if audit is None else (
        f"{percent(audit['measured'])} of {audit['n']:,}")
    if line["estimate"] is None:
        return (batch_names.named(line["batch"], delivered_as), f"v{line['champion']}",
                f"{line['n']:,}", "cannot be estimated", "–", measured, line["why"])
    covered = "" if audit is None else "covered" if audit["covered"] else "missed"
    return (batch_names.named(line["batch"], delivered_as), f"v{line['champion']}",
            f"{line['n']:,}", percent(line["estimate"]),
            f"{percent(line['lower'])} – {percent(line['upper'])}", measured, covered)

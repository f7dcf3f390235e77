"""The sections of the report on a multi-label classifier: models, comparison, each label."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ftzard.evaluation.gate import confidence_of, means
from ftzard.evaluation.metric_info import SAMPLES_F1
from ftzard.reporting import plots
from ftzard.reporting.html import (
    Markup,
    digits,
    key_figures,
    missing,
    opening,
    p_value,
    percent,
    picture,
    range_bar,
    role_colour,
    shortened,
    signed,
    table,
    tag,
)
from ftzard.reporting.report_data import Facts, TaskSections
from ftzard.reporting.sections_rounds import new_labels
from ftzard.tasks.multi_label import figures, label_sets
from ftzard.tasks.multi_label.evaluation import MOST_FREQUENT, LabelSetEvaluation
from ftzard.tasks.multi_label.predictor import confidence
from ftzard.tasks.report_parts import MISTAKES, mistakes, parts, parts_table, rule

MEANING = ("F1 of a row is that of its right and its predicted labels, 1 where both are none; "
           "intervals are of 95 %, from resampled rows.")


def facts(evaluation: LabelSetEvaluation, rows: pd.DataFrame, names: Mapping[str, str],
          prepared: Mapping) -> dict:
    """Return the facts of a round that only multi-label classification has.

    Args:
        evaluation: of the round.
        rows: all tokenized rows.
        names: of models in the report, by role.
        prepared: what preprocessing recorded.
    """
    of_labels = rows[["split", "label"]].assign(label=rows["label"].map(label_sets.split))
    of_labels = of_labels.explode("label").dropna()
    answers, test = evaluation.answers["challenger"], evaluation.rows
    sure = confidence(answers.probabilities, answers.chosen)
    given = label_sets.from_indicators(answers.chosen, evaluation.classes)
    wrong = [i for i in np.argsort(-sure, kind="stable") if given[i] != test["label"].iloc[i]]
    return {
        "class_counts": {label: part["split"].value_counts().to_dict()
                         for label, part in of_labels.groupby("label")},
        "task_facts": {
            "models": [{**line, "name": names.get(line["model"], line["model"])}
                       for line in evaluation.table().to_dict("records")],
            "metrics": evaluation.metrics("challenger"), "per_label": evaluation.per_label(),
            "wrong": len(wrong),
            "mistakes": [{
                "text": test["text"].iloc[i], "id": test["id"].iloc[i], "confidence": sure[i],
                "true": test["label"].iloc[i], "given": given[i]} for i in wrong[:MISTAKES]]}}


def sections(facts: Facts) -> TaskSections:
    """Return what the report says of a multi-label classifier."""
    own = facts.task_facts or {}
    least = {"margin": "a label lies on its threshold", "entropy": "every label is equally likely "
             "and unlikely"}.get(facts.strategy or "", "a label is equally likely and unlikely")
    return TaskSections(
        figures=_figures(facts, own), models=[_models(own)], comparison=_comparison(facts),
        answers=_answers(own), meaning=MEANING,
        no_better="no better than always giving the most frequent label set",
        predicted="{n} rows{of} without labels were predicted.",
        asked=" A person was asked to label {asked} of them.",
        uncertainty=f" 0: the model is sure of every label; 1: {least}.")


def _figures(facts: Facts, own: Mapping) -> Markup:
    cells, verdict = [], facts.comparison
    lead = next((m for m in own.get("models", ()) if m["model"] == "challenger"), None)
    if lead:
        cells.append((percent(lead["score"]), f"mean F1 of the rows' labels, "
                      f"{percent(lead['lower'])} to {percent(lead['upper'])} on {lead['n']:,} test "
                      "rows"))
    if verdict:
        cells.append((f"{signed(verdict['difference'])} points",
                      f"against the {verdict.get('against', 'champion')}, "
                      f"{signed(verdict['lower'])} to {signed(verdict['upper'])}"))
    if lead:
        cells.append((percent(lead["micro_f1"]), "micro F1, over all labels of all rows"))
        cells.append((percent(lead["subset_accuracy"]), "of the rows have exactly their labels"))
        worst = min(own["per_label"], key=lambda name: own["per_label"][name]["recall"])
        cells.append((percent(own["per_label"][worst]["recall"]),
                      f"recall of its weakest label, “{worst}”"))
    return key_figures([*cells, *new_labels(facts.rounds, "labelled")])


def _models(own: Mapping) -> Markup:
    models = own.get("models")
    if not models:
        return missing("No model was measured in this round.")
    low, high = min(m["lower"] for m in models), max(m["upper"] for m in models)
    known = ("challenger", "champion", "base")
    return table(
        ("model", "role", "F1 per row", "95 % interval", "", "micro F1", "macro F1", "exact",
         "rows"),
        [(m["name"], m["model"] if m["model"] in known else "baseline", percent(m["score"]),
          f"{100 * m['lower']:.1f} – {100 * m['upper']:.1f} %",
          range_bar(m["score"], m["lower"], m["upper"], low, high,
                    colour=role_colour(m["model"] if m["model"] in known else "baseline"),
                    label=f"{100 * m['lower']:.1f} to {100 * m['upper']:.1f} percent"),
          percent(m["micro_f1"]), percent(m["macro_f1"]), percent(m["subset_accuracy"]),
          f"{m['n']:,}") for m in models],
        (None, None, "number", "number", "bar", "number", "number", "number", "number id"),
        strong=[i for i, m in enumerate(models) if m["model"] == "challenger"])


def _comparison(facts: Facts) -> list[Markup]:
    """Challenger against champion with intervals, over all rows, each test set and each label."""
    verdict = facts.comparison
    if not verdict:
        return []
    other = verdict.get("against", "champion")
    lead = (f"Both answered the same {verdict['n']:,} rows; on {verdict['discordant']:,} of them "
            f"the F1 of their labels differs (exact test p {p_value(means(verdict)[2])}).")
    if other == MOST_FREQUENT:
        lead += (" There was no champion yet, so the challenger had to beat the most frequent "
                 "label set, given to every row.")
    drawing = picture(
        f"Challenger minus {other}",
        "Difference in points with its interval: of F1 over rows, of recall over labels. The line "
        "at zero means no difference.",
        plots.svg(plots.comparison(verdict, facts.delivered_as)))
    counts = tag("div", tag("h3", "F1 of rows, and recall of each label"),
                 parts_table(verdict, parts(facts, "recall of {}"), percent), *_rules(verdict))
    return [opening(lead), tag("div", drawing, counts, class_="two")]


def _rules(verdict: Mapping) -> list[Markup]:
    """Say what the challenger had to show, in the numbers of this round."""
    limits = verdict.get("limits")
    if not limits:
        return []
    sure = f"{100 * confidence_of(verdict):.4g} %"
    sentence = f"The rule: the {sure} interval of the difference lies above "
    if verdict.get("against", "champion") != "champion":
        sentence += ("zero, and the best baseline is not surely better by more than "
                     f"{100 * limits['first_baseline_margin']:g} points.")
    else:
        sentence += (
            f"zero and the gain is at least {100 * limits['min_gain']:g} points. A label vetoes if "
            f"its recall surely fell by more than {100 * limits['max_class_loss']:g} points, a "
            f"test set if its {SAMPLES_F1.title} surely fell by more than "
            f"{100 * limits['max_forgetting']:g} points.")
    return rule(sentence, limits)


def _answers(own: Mapping) -> list[Markup]:
    """Each label's scores and threshold, labels that come together, and the surest mistakes."""
    if not own:
        return [missing("The report was given no test rows, so there are no scores of labels.")]
    scores = own["metrics"]
    lead = (f"{scores['n']:,} test rows: micro F1 {percent(scores['micro_f1'])}, macro F1 "
            f"{percent(scores['macro_f1'])}, {percent(scores['subset_accuracy'])} with exactly "
            "their labels.")
    labels = picture(
        "Each label", "Precision, recall and F1 on test rows (how many have the label), and the "
        "threshold from which it is given, fitted on validation rows.",
        plots.svg(figures.per_label(own["per_label"])))
    together = picture(
        "Labels that come together", "How many test rows with the label on the left also have the "
        "one below; color is their share.",
        plots.svg(figures.co_occurrence(scores["co_occurrence"], scores["classes"])))
    lines = table(
        ("label", "precision", "recall", "F1", "threshold", "rows"),
        [(name, percent(s["precision"]), percent(s["recall"]), percent(s["f1"]),
          f"{s['threshold']:.2f}", f"{s['support']:,}") for name, s in own["per_label"].items()],
        (None, "number", "number", "number", "number", "number"))
    return [opening(lead), tag("div", labels, together, class_="two"),
            tag("div", lines, class_="gap"), _mistakes(own)]


def _mistakes(own: Mapping[str, Any]) -> Markup:
    return mistakes(
        [(shortened(m["text"]), m["true"], m["given"], percent(m["confidence"]), digits(m["id"]))
         for m in own["mistakes"]],
        f"{len(own['mistakes'])} of {own['wrong']:,} rows whose labels are not exactly right, the "
        "surest first.", none="Every test row has exactly its labels.")

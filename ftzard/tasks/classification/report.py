"""The sections of the report on a classifier: figures, models, comparison, how it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ftzard.evaluation.gate import confidence_of, means
from ftzard.evaluation.gate_sentences import unknown_rows
from ftzard.evaluation.intervals import class_indices, wilson_interval
from ftzard.reporting import confusion, plots
from ftzard.reporting.html import (
    Markup,
    digits,
    joined,
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
from ftzard.reporting.report_data import Facts, Model, TaskSections, Test
from ftzard.reporting.sections_rounds import new_labels
from ftzard.tasks.classification import calibration
from ftzard.tasks.classification.evaluation import LabelEvaluation
from ftzard.tasks.classification.metrics import classification_metrics, reliability
from ftzard.tasks.report_parts import MISTAKES, mistakes, parts, parts_table, rule

#: A confusion matrix of so many classes has room beside another picture.
NARROW = 4


def facts(evaluation: LabelEvaluation, rows: pd.DataFrame, names: Mapping[str, str],
          prepared: Mapping) -> dict:
    """Return the facts of a round that only classification has.

    Args:
        evaluation: of the round.
        rows: all tokenized rows.
        names: of models in the report, by role.
        prepared: what preprocessing recorded.
    """
    return {
        "models": [Model(
            name=names.get(line["model"], line["model"]),
            role=line["model"] if line["model"] in ("challenger", "champion", "base")
            else "baseline",
            **{key: line[key] for key in ("accuracy", "n", "lower", "upper", "macro_f1")})
            for line in evaluation.table().to_dict("records")],
        "class_counts": {label: part["split"].value_counts().to_dict()
                         for label, part in rows.groupby("label")},
        "test": Test(evaluation.classes, evaluation.rows["label"].tolist(),
                     evaluation.answers["challenger"], evaluation.rows["text"].tolist(),
                     evaluation.rows["id"].tolist(), evaluation.calibration.temperature,
                     evaluation.calibration.validation_rows)}


def sections(facts: Facts) -> TaskSections:
    """Return what the report says of a classifier."""
    strategy = ("the two likeliest classes" if facts.strategy == "margin" else "all classes")
    return TaskSections(
        figures=_figures(facts), models=[_models(facts), *_word_counts(facts)],
        comparison=_comparison(facts), answers=_answers(facts),
        meaning="Accuracies are shares of test rows with 95 % intervals.",
        no_better="no better than always naming the most frequent class",
        predicted="{n} rows{of} without labels were predicted.",
        asked=" A person was asked to label {asked} of them.",
        uncertainty=f" 0: the model is sure; 1: {strategy} are equally likely.")


def _comparison(facts: Facts) -> list[Markup]:
    """Challenger against champion with intervals, over all rows, each test set and each class."""
    verdict = facts.comparison
    if not verdict:
        return []
    other = verdict.get("against", "champion")
    lead = (
        f"Both answered the same {verdict['n']:,} rows; on {verdict['discordant']:,} of them "
        "exactly one of the two is right (exact McNemar test p "
        f"{p_value(means(verdict)[2])})."
    )
    if other != "champion":
        lead += (
            " There was no champion yet, so the challenger had to beat the most frequent class, "
            "which is always right on that class and never on another."
        )
    drawing = picture(
        f"Challenger minus {other}",
        "Difference in points with its interval; the line at zero means no difference.",
        plots.svg(plots.comparison(verdict, facts.delivered_as)),
    )
    counts = tag("div", tag("h3", "Accuracy"), _shares(facts), *_rules(verdict))
    return [opening(lead), tag("div", drawing, counts, class_="two")]


def _answers(facts: Facts) -> list[Markup]:
    """Confusion matrix, reliability, what abstaining would gain, and the surest mistakes."""
    test = facts.test
    if test is None:
        return [
            missing(
                "The report was given no test rows, so there is no confusion matrix, no "
                "reliability diagram and no list of mistakes."
            )
        ]
    scores = classification_metrics(test.labels, test.probabilities, test.classes)
    bins = reliability(test.labels, test.probabilities, test.classes)
    surety = float(np.asarray(test.probabilities, dtype=float).max(axis=1).mean())
    lean = surety - scores["accuracy"]
    manner = (
        "is surer than it should be"
        if lean > 0.01
        else "claims less than it could"
        if lean < -0.01
        else "has a confidence that matches its accuracy"
    )
    lead = (
        f"{scores['n']:,} test rows, {percent(scores['accuracy'])} right; balanced accuracy "
        f"{percent(scores['balanced_accuracy'])}, macro F1 {percent(scores['macro_f1'])}. "
        f"{_worst_confusion(scores)}"
    )
    lines = confusion.cells(_tested(test))
    matrix = tag("div", tag("h3", "Confusion matrix"), tag(
        "p", "True classes down, predicted ones across; percentages are of the line. A number "
             "leads to rows of its cell.", class_="soft small"), confusion.matrix(lines))
    scaled, scaling, cooled = [], "", np.asarray(test.probabilities, dtype=float)
    if test.temperature is not None:
        cooled = calibration.scaled(np.log(_above_zero(test.probabilities)), test.temperature)
        scaled = reliability(test.labels, cooled, test.classes)
        after = classification_metrics(test.labels, cooled, test.classes)
        scaling = (
            f" With the temperature {test.temperature:.2f}, fitted on "
            f"{test.validation_rows or 0:,} validation rows, it is {100 * after['ece']:.1f} points."
        )
    trust = picture(
        "Reliability",
        f"Mean confidence {percent(surety)} against {percent(scores['accuracy'])} right: it "
        f"{manner}. Expected calibration error {100 * scores['ece']:.1f} points.{scaling}",
        plots.svg(plots.reliability_diagram(bins, scaled)),
    )
    curve = calibration.abstention(test.labels, test.probabilities, test.classes)
    half = min(curve, key=lambda p: abs(p["coverage"] - 0.5))
    silence = picture(
        "Coverage and accuracy",
        f"If only the surest {100 * half['coverage']:.0f} % of the rows were answered, those with "
        f"a confidence of at least {percent(half['confidence'])}, {percent(half['accuracy'])} of "
        "them would be right. The band is the 95 % interval.",
        plots.svg(plots.abstention(curve)),
    )
    first = ([tag("div", matrix, trust, class_="two"), tag("div", silence, class_="two gap")]
             if len(test.classes) <= NARROW else
             [matrix, tag("div", trust, silence, class_="two gap")])
    return [
        opening(lead), *first,
        tag("div", _levels(curve), _threshold(test, cooled), class_="two gap"),
        _mistakes(test), tag("h3", "Rows behind the confusion matrix", class_="gap"),
        confusion.cell_rows(lines),
    ]


def _tested(test: Test) -> confusion.Tested:
    scores = np.asarray(test.probabilities, dtype=float)
    return confusion.Tested(test.classes, class_indices(test.labels, test.classes),
                            scores.argmax(axis=1), scores.max(axis=1), test.texts, test.ids)


def _threshold(test: Test, probabilities: np.ndarray) -> Markup:
    """Return the slider on the confidence as `ftzard predict` shows it, after the temperature."""
    right = probabilities.argmax(axis=1) == class_indices(test.labels, test.classes)
    note = "" if test.temperature is None else " (calibrated, as ftzard predict shows it)"
    return confusion.threshold(probabilities.max(axis=1), right, start=0.5, note=note)


def _figures(facts: Facts) -> Markup:
    cells = []
    verdict, test = facts.comparison, facts.test
    lead = next((m for m in facts.models if m.role == "challenger"), None)
    if lead:
        lower, upper = _interval(lead)
        cells.append(
            (
                percent(lead.accuracy),
                f"accuracy of the challenger, {percent(lower)} to {percent(upper)} "
                f"on {lead.n:,} test rows",
            )
        )
    if verdict:
        cells.append(
            (
                f"{signed(verdict['difference'])} points",
                f"against the {verdict.get('against', 'champion')}, "
                f"{signed(verdict['lower'])} to {signed(verdict['upper'])}",
            )
        )
    if test is not None:
        scores = classification_metrics(test.labels, test.probabilities, test.classes)
        worst = min(scores["per_class"], key=lambda c: scores["per_class"][c]["recall"])
        recall = scores["per_class"][worst]["recall"]
        cells.append((percent(recall), f"recall of its weakest class, “{worst}”"))
        cells.append(
            (f"{100 * scores['ece']:.1f} points", "expected calibration error: how far its "
             "confidence is off")
        )
    cells += new_labels(facts.rounds, "labelled")
    return key_figures(cells)


def _models(facts: Facts) -> Markup:
    models = facts.models
    if not models:
        return missing("No model was measured in this round.")
    ranges = [_interval(m) for m in models]
    low = min([lower for lower, _ in ranges])
    high = max([upper for _, upper in ranges])
    rows = [
        (
            model.name,
            model.role,
            percent(model.accuracy),
            f"{100 * lower:.1f} – {100 * upper:.1f} %",
            range_bar(model.accuracy, lower, upper, low, high,
                      colour=role_colour(model.role),
                      label=f"{100 * lower:.1f} to {100 * upper:.1f} percent"),
            "–" if model.macro_f1 is None else percent(model.macro_f1),
            f"{model.n:,}",
        )
        for model, (lower, upper) in zip(models, ranges, strict=True)
    ]
    listed = table(
        ("model", "role", "accuracy", "95 % interval", "", "macro F1", "rows"),
        rows,
        (None, None, "number", "number", "bar", "number", "number id"),
        strong=[i for i, m in enumerate(models) if m.role == "challenger"],
    )
    note = unknown_rows(facts.comparison or {})
    return joined([listed, tag("p", note, class_="soft small gap")]) if note else listed


def _word_counts(facts: Facts) -> list[Markup]:
    """Say so if counting words does as well as the model: no gain over it is shown."""
    baselines = [b for b in (facts.comparison or {}).get("baselines", [])
             if b["name"] == "TF-IDF" and b["lower"] <= 0]
    return [
        tag("p", f"A baseline that counts words (TF-IDF) is "
                 f"{'better' if b['upper'] < 0 else 'as good'}, as far as these {b['n']:,} rows "
                 "can tell: this task may not need a language model.", class_="soft small gap")
        for b in baselines]


def _shares(facts: Facts) -> Markup:
    verdict = facts.comparison
    return parts_table(verdict, parts(facts, "{}"), percent, [
        (f"{p['label']} (new)", percent(p["recall"]), "does not know it", f"{p['n']:,}")
        for p in verdict.get("new_labels") or ()])


def _rules(verdict: Mapping) -> list[Markup]:
    """Say what the challenger had to show, in the numbers of this round."""
    limits = verdict.get("limits")
    if not limits:
        return []
    sure = f"{100 * confidence_of(verdict):.4g} %"
    if verdict.get("against", "champion") != "champion":
        sentence = f"The rule: the {sure} interval of the difference lies above zero."
        if "first_baseline_margin" in limits:
            sentence += (
                " The best baseline must not be surely better by more than "
                f"{100 * limits['first_baseline_margin']:g} points, and the calibrated confidence "
                f"may be off by {100 * limits['first_calibration_error']:g} points at most.")
    elif verdict.get("new_labels"):
        sentence = (
            "The rule for a new label: its recall is surely above zero, and on the rows of the "
            f"other labels the {sure} interval of the difference lies above "
            f"{-100 * limits['max_class_loss']:g} points. Classes and test sets veto as ever."
        ).replace("-", "−")
    else:
        sentence = (
            f"The rule: the {sure} interval of the difference lies above zero and the gain is at "
            f"least {100 * limits['min_gain']:g} points. A class vetoes if its recall surely fell "
            f"by more than {100 * limits['max_class_loss']:g} points, a test set if its accuracy "
            f"surely fell by more than {100 * limits['max_forgetting']:g} points."
        )
    return rule(sentence, limits)


def _mistakes(test: Test) -> Markup:
    scores = np.asarray(test.probabilities, dtype=float)
    names = np.asarray([str(c) for c in test.classes])
    guess = names[scores.argmax(axis=1)]
    surety = scores.max(axis=1)
    wrong = np.flatnonzero(guess != np.asarray([str(v) for v in test.labels]))
    worst = wrong[np.argsort(-surety[wrong], kind="stable")][:MISTAKES]
    return mistakes(
        [(shortened(test.texts[i]), str(test.labels[i]), guess[i], percent(surety[i]),
          digits(test.ids[i])) for i in worst],
        f"{len(worst)} of {len(wrong):,} wrong rows, the surest first.",
        none="Not one test row is wrong.")


def _levels(curve: Sequence[Mapping]) -> Markup:
    """Say how many rows could be answered at accuracies a reader may want."""
    everything = curve[-1]["accuracy"]
    wanted = [a for a in (0.8, 0.85, 0.9, 0.95, 0.98, 0.99) if a > everything][:4]
    if not wanted:
        return missing(f"No table: accuracy on all rows is {percent(everything)} already.")
    rows = []
    for accuracy in wanted:
        coverage = calibration.coverage_at(curve, accuracy)
        surest = [p for p in curve if p["coverage"] == coverage]
        rows.append((
            percent(accuracy, 0), percent(coverage, 0) if coverage else "none",
            percent(surest[0]["confidence"]) if surest else "–"))
        if not coverage:
            break
    return tag("div", tag("h3", "Accuracy targets"), table(
        ("accuracy", "rows answered", "with a confidence from"), rows,
        ("number", "number", "number")))


def _above_zero(probabilities: Any) -> np.ndarray:
    return np.clip(np.asarray(probabilities, dtype=float), 1e-300, None)


def _worst_confusion(scores: dict) -> str:
    counts = np.array(scores["confusion"])
    np.fill_diagonal(counts, 0)
    if not counts.sum():
        return "Not one is wrong."
    i, j = np.unravel_index(counts.argmax(), counts.shape)
    classes = scores["classes"]
    return (
        f"The most frequent mistake is to take “{classes[i]}” for “{classes[j]}”: "
        f"{counts[i, j]:,} of {counts.sum():,} wrong rows."
    )


def _interval(model: Model) -> tuple[float, float]:
    if model.lower is not None and model.upper is not None:
        return model.lower, model.upper
    return wilson_interval(round(model.accuracy * model.n), model.n)

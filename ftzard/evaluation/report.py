"""The page of a round that a person forwards: the verdict first, then why, then where from.

Pure but for `write`: facts in, HTML out. Each section is one function; a section that was told
nothing says so in words and never shows an empty chart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ftzard.artifact import write_atomically
from ftzard.evaluation import calibration, plots
from ftzard.evaluation.facts import Facts, Model, Test, Trial, measured
from ftzard.evaluation.metrics import classification_metrics, reliability, wilson_interval
from ftzard.evaluation.page import (
    Markup,
    joined,
    missing,
    opening,
    page,
    percent,
    picture,
    plural,
    signed,
    table,
    tag,
    text,
)
from ftzard.evaluation.report_story import drift, forgetting, rounds

MISTAKES = 20
LONGEST_TEXT = 320
EXAMPLES = 12
SECTIONS = (
    ("glance", "At a glance"),
    ("comparison", "Champion against challenger"),
    ("answers", "How it answers"),
    ("learning", "How it learned"),
    ("data", "The data"),
    ("labelling", "What to label next"),
    ("rounds", "All rounds"),
    ("forgetting", "What was forgotten"),
    ("drift", "Drift"),
    ("lineage", "Where it comes from"),
)
ROLE_COLOURS = {"challenger": "#0064a4", "champion": "#1f2933"}


def write(facts: Facts | Mapping[str, Any], path: Path) -> Path:
    """Render the facts and put the page under `path`, complete or not at all."""
    html = render(facts)
    return write_atomically(path, lambda part: part.write_text(html, encoding="utf-8"))


def render(facts: Facts | Mapping[str, Any]) -> str:
    """Return the page of one round as self-contained HTML.

    facts: `Facts`, or nested dicts with the same names. Raises DataError for an unknown name and
    for facts that contradict each other.
    """
    told = Facts.of(facts)
    builders = (
        glance,
        comparison,
        answers,
        learning,
        data,
        labelling,
        rounds,
        forgetting,
        drift,
        lineage,
    )
    sections = [
        tag("section", *build(told), id=anchor)
        if anchor == "glance"
        else tag("section", tag("h2", heading), *build(told), id=anchor)
        for (anchor, heading), build in zip(SECTIONS, builders, strict=True)
    ]
    created = f"Made {told.created[:16].replace('T', ' ')} UTC. " if told.created else ""
    footer = tag("p", f"{created}Accuracies are shares of test rows with 95 % intervals.")
    return page(told.title, _header(told), sections, footer)


def glance(facts: Facts) -> list[Markup]:
    """The verdict in words, the figures a reader remembers, and the table of models."""
    return [_verdict(facts), _figures(facts), tag("h2", "The models, on the same test rows"),
            _models(facts)]


def comparison(facts: Facts) -> list[Markup]:
    """Challenger minus champion with intervals, over all rows, each test set and each class."""
    verdict = facts.comparison
    if not verdict:
        return [missing("No comparison was made in this round, so there is no interval to show.")]
    other = verdict.get("against", "champion")
    lead = (
        f"Both answered the same {verdict['n']:,} rows; {verdict['discordant']:,} of them only one "
        f"of the two got right (exact McNemar test p {_p_value(verdict['mcnemar_p'])})."
    )
    if other != "champion":
        lead += (
            " There was no champion yet, so the challenger had to beat the most frequent class, "
            "which is always right on that class and never on another."
        )
    drawing = picture(
        f"Challenger minus {other}",
        "Difference in points with its interval; the line at zero means no difference.",
        plots.svg(plots.comparison(verdict)),
    )
    counts = tag("div", tag("h3", "Share that is right"), _shares(verdict), *_rules(verdict))
    return [opening(lead), tag("div", drawing, counts, class_="two")]


def answers(facts: Facts) -> list[Markup]:
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
        else "claims about what it can do"
    )
    lead = (
        f"{scores['n']:,} test rows, {percent(scores['accuracy'])} right; balanced accuracy "
        f"{percent(scores['balanced_accuracy'])}, macro F1 {percent(scores['macro_f1'])}. "
        f"{_worst_confusion(scores)}"
    )
    matrix = picture(
        "Confusion matrix",
        "Rows are the true classes, columns what the model said; percentages are of the row.",
        plots.svg(plots.confusion_matrix(scores["confusion"], test.classes)),
    )
    scaled, told = [], ""
    if test.temperature is not None:
        cooled = calibration.scaled(np.log(_above_zero(test.probabilities)), test.temperature)
        scaled = reliability(test.labels, cooled, test.classes)
        after = classification_metrics(test.labels, cooled, test.classes)
        told = (
            f" With the temperature {test.temperature:.2f}, fitted on "
            f"{test.validation_rows or 0:,} validation rows, it is {100 * after['ece']:.1f} points."
        )
    trust = picture(
        "Reliability",
        f"Mean confidence {percent(surety)} against {percent(scores['accuracy'])} right: it "
        f"{manner}. Expected calibration error {100 * scores['ece']:.1f} points.{told}",
        plots.svg(plots.reliability_diagram(bins, scaled)),
    )
    curve = calibration.abstention(test.labels, test.probabilities, test.classes)
    half = min(curve, key=lambda p: abs(p["coverage"] - 0.5))
    silence = picture(
        "What silence would gain",
        f"If only the surest {100 * half['coverage']:.0f} % of the rows were answered, those with "
        f"a confidence of at least {percent(half['confidence'])}, {percent(half['accuracy'])} of "
        "them would be right. The band is the 95 % interval.",
        plots.svg(plots.abstention(curve)),
    )
    return [
        opening(lead), tag("div", matrix, trust, class_="two"),
        tag("div", silence, _levels(curve), class_="two gap"), _mistakes(test),
    ]


def learning(facts: Facts) -> list[Markup]:
    """Learning curves of all trials and what each tried."""
    trials = facts.trials
    if not trials:
        return [missing("No trial was reported in this round, so there are no learning curves.")]
    curves = [{"name": t.name, "best": t.best, "history": list(t.history)} for t in trials]
    drawn = [
        picture(title, caption, plots.svg(plots.learning_curves(curves, [measure])))
        if any(
            measured(entry, side, measure) is not None
            for t in trials
            for entry in t.history
            for side in ("train", "validation")
        )
        else missing(f"No trial recorded its {measure} per epoch, so there are no such curves.")
        for measure, title, caption in (
            ("loss", "Loss", "Mean cross entropy of every trial after each epoch."),
            ("accuracy", "Accuracy", "Share of rows that every trial gets right."),
        )
    ]
    tried = tag("div", tag("h3", "What each trial tried"), _trials_table(trials), class_="gap")
    return [opening(_trials_sentence(trials)), tag("div", *drawn, class_="two"), tried]


def data(facts: Facts) -> list[Markup]:
    """Class balance, token lengths with what was cut, rejected rows with examples."""
    first = tag("div", _classes(facts), _lengths(facts), class_="two")
    second = tag("div", *_rejected(facts), class_="two gap")
    return [opening(_data_sentence(facts)), first, second, _leaks(facts)]


def labelling(facts: Facts) -> list[Markup]:
    """How uncertain the model was about the new rows and which ones a person is asked for."""
    if facts.uncertainty is None or len(facts.uncertainty) == 0:
        return [missing("No unlabelled batch was predicted in this round; nothing was picked.")]
    n = len(facts.uncertainty)
    lead = f"{n:,} new rows without labels were predicted."
    if facts.asked is not None:
        lead += f" A person is asked to label {facts.asked:,} of them."
    if facts.threshold is None:
        lead += " No threshold was reported, so none is marked."
    how = f"Rows were ranked by {facts.strategy}." if facts.strategy else (
        "Higher means the model is less sure of its answer."
    )
    drawing = plots.svg(plots.uncertainty_histogram(facts.uncertainty, facts.threshold))
    values = np.asarray(facts.uncertainty, dtype=float)
    told = [
        ("rows predicted", f"{n:,}"),
        ("median uncertainty", f"{np.median(values):.3f}"),
        ("threshold", None if facts.threshold is None else f"{facts.threshold:.3f}"),
        ("rows at or above it", None if facts.threshold is None
         else f"{int((values >= facts.threshold).sum()):,}"),
        ("rows asked for", None if facts.asked is None else f"{facts.asked:,}"),
    ]
    numbers = tag("div", tag("h3", "In numbers"), _pairs(told, numbers=True))
    return [
        opening(lead),
        tag("div", picture("Uncertainty of the new rows", how, drawing), numbers, class_="two"),
    ]


def lineage(facts: Facts) -> list[Markup]:
    """What one needs to make this model again."""
    told = facts.lineage
    if told is None:
        return [missing("The report was given no lineage: it does not say what it was made from.")]
    made_from = [
        ("model version", told.model_version),
        ("base model", told.base),
        ("base weights", told.base_hash),
        ("tokenizer", told.tokenizer_hash),
        ("git commit", told.git_commit),
        ("config", told.config_hash),
        ("Dagster run", told.dagster_run),
        ("seed", told.seed),
        *told.more.items(),
    ]
    runs = list(told.mlflow_runs.items())
    versions = list(told.data_versions.items())
    left = tag("div", tag("h3", "Made from"), _pairs(made_from))
    right = tag(
        "div",
        tag("h3", "Data versions (git commits)"),
        _pairs(versions) if versions else missing("No data version was recorded."),
        tag("h3", "MLflow runs", class_="gap"),
        _pairs(runs) if runs else missing("No MLflow run was recorded."),
    )
    packages = (
        tag(
            "details",
            tag("summary", f"{len(told.packages)} package versions"),
            _pairs(sorted(told.packages.items())),
        )
        if told.packages
        else tag("p", "Package versions were not recorded.", class_="soft small")
    )
    return [tag("div", left, right, class_="two"), packages]


def _header(facts: Facts) -> Markup:
    links = (tag("a", heading, href=f"#{anchor}") for anchor, heading in SECTIONS)
    return joined(
        [
            tag("h1", facts.title),
            tag("p", facts.subtitle, class_="sub") if facts.subtitle else Markup(""),
            tag("nav", *links),
        ]
    )


def _verdict(facts: Facts) -> Markup:
    verdict = facts.comparison
    if not verdict:
        return missing("No verdict: this round compared no challenger with the champion.")
    decision, first = verdict["decision"], verdict.get("against", "champion") != "champion"
    headline = {
        ("promote", True): "Promoted: the first champion",
        ("promote", False): "Promoted: the challenger becomes the champion",
        ("refuse", True): "Refused: no better than always naming the most frequent class",
        ("refuse", False): "Refused: the champion stays",
        ("cannot tell", True): "Cannot tell: too few test rows to accept a first model",
        ("cannot tell", False): "Cannot tell: too few test rows, so the champion stays",
    }[decision, first]
    parts = [
        tag("strong", headline, class_="word"),
        tag("ul", *(tag("li", reason) for reason in verdict["reasons"])),
        *(tag("p", f"Warning: {w}", class_="warning") for w in verdict.get("warnings", [])),
    ]
    return tag("div", *parts, class_=f"verdict {decision.replace(' ', '-')}")


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
    if facts.rounds and facts.rounds[-1].labels is not None:
        cells.append((f"{facts.rounds[-1].labels:,}", "labels given by people for this round"))
    return tag(
        "div", *(tag("div", tag("b", big), tag("span", small)) for big, small in cells),
        class_="figures",
    )


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
            _range_bar(model, lower, upper, low, high),
            "–" if model.macro_f1 is None else percent(model.macro_f1),
            f"{model.n:,}",
        )
        for model, (lower, upper) in zip(models, ranges, strict=True)
    ]
    return table(
        ("model", "role", "accuracy", "95 % interval", "", "macro F1", "rows"),
        rows,
        (None, None, "number", "number", "bar", "number", "number id"),
        strong=[i for i, m in enumerate(models) if m.role == "challenger"],
    )


def _range_bar(model: Model, lower: float, upper: float, low: float, high: float) -> Markup:
    """Draw accuracy and interval as a dot on a line, on the scale that the whole table shares."""
    span = (high - low) or 1
    start, end, dot = (4 + 292 * (v - low) / span for v in (lower, upper, model.accuracy))
    colour = ROLE_COLOURS.get(model.role, "#8a96a3")
    return Markup(
        '<svg viewBox="0 0 300 18" width="100%" height="18" preserveAspectRatio="none" '
        f'role="img" aria-label="{100 * lower:.1f} to {100 * upper:.1f} percent">'
        '<line x1="0" y1="9" x2="300" y2="9" stroke="#e3e8ec" '
        'vector-effect="non-scaling-stroke"/>'
        f'<line x1="{start:.1f}" y1="9" x2="{end:.1f}" y2="9" stroke="{colour}" '
        'stroke-width="3" vector-effect="non-scaling-stroke"/>'
        f'<line x1="{dot:.1f}" y1="2.5" x2="{dot:.1f}" y2="15.5" stroke="{colour}" '
        'stroke-width="3" vector-effect="non-scaling-stroke"/></svg>'
    )


def _shares(verdict: Mapping) -> Markup:
    parts = [("all test rows", verdict["challenger_accuracy"], verdict["champion_accuracy"],
              verdict["n"])]
    if len(verdict["per_test_set"]) > 1:
        parts += [(p["name"], p["challenger"], p["champion"], p["n"])
                  for p in verdict["per_test_set"]]
    parts += [(p["label"], p["challenger"], p["champion"], p["n"]) for p in verdict["per_class"]]
    rows = [(name, percent(new), percent(old), f"{n:,}") for name, new, old, n in parts]
    return table(
        ("", "challenger", verdict.get("against", "champion"), "rows"),
        rows,
        (None, "number", "number", "number"),
        strong=[0],
    )


def _rules(verdict: Mapping) -> list[Markup]:
    """Say what the challenger had to show, in the numbers of this round."""
    limits = verdict.get("limits")
    if not limits:
        return []
    sure = f"{100 * limits['confidence']:g} %"
    if verdict.get("against", "champion") != "champion":
        rule = f"The rule: the {sure} interval of the difference lies above zero."
    else:
        rule = (
            f"The rule: the {sure} interval of the difference lies above zero and the gain is at "
            f"least {100 * limits['min_gain']:g} points. A class vetoes if its recall surely fell "
            f"by more than {100 * limits['max_class_loss']:g} points, a test set if its accuracy "
            f"surely fell by more than {100 * limits['max_forgetting']:g} points."
        )
    return [tag("p", f"{rule} Below {limits['min_rows']:,} rows the gate does not decide.",
                class_="soft small gap")]


def _mistakes(test: Test) -> Markup:
    scores = np.asarray(test.probabilities, dtype=float)
    names = np.asarray([str(c) for c in test.classes])
    guess = names[scores.argmax(axis=1)]
    surety = scores.max(axis=1)
    wrong = np.flatnonzero(guess != np.asarray([str(v) for v in test.labels]))
    heading = tag("h3", "The most confident mistakes", class_="gap")
    if not len(wrong):
        return joined([heading, tag("p", "Not one test row is wrong.", class_="soft")])
    worst = wrong[np.argsort(-surety[wrong], kind="stable")][:MISTAKES]
    note = (
        f"{len(worst)} of {len(wrong):,} wrong rows, the surest first. Worth reading: some will be "
        "wrong labels rather than wrong answers."
    )
    rows = [
        (_shortened(test.texts[i]), str(test.labels[i]), guess[i], percent(surety[i]),
         tag("code", str(test.ids[i])))
        for i in worst
    ]
    listed = table(
        ("text", "true", "predicted", "confidence", "row"),
        rows,
        ("text", None, None, "number", "id"),
    )
    return joined([heading, tag("p", note, class_="soft small"), listed])


def _trials_sentence(trials: Sequence[Trial]) -> str:
    lead = f"{len(trials)} {plural(len(trials), 'trial')}."
    best = next((t for t in trials if t.best), None)
    if best is None:
        return lead + " None is marked as chosen."
    peak = _peak(best)
    if peak is None:
        return lead + f" {best.name} was chosen."
    return (
        f"{lead} {best.name} was chosen; its best validation accuracy is {percent(peak[0])}, "
        f"after epoch {peak[1]:g}."
    )


def _trials_table(trials: Sequence[Trial]) -> Markup:
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    head = ["trial", *(key.rsplit(".", 1)[-1].replace("_", " ") for key in keys),
            "validation accuracy"]
    rows = []
    for trial in trials:
        peak = _peak(trial)
        result = "–" if peak is None else percent(peak[0])
        rows.append(
            [trial.name + (" (chosen)" if trial.best else ""),
             *(_value(trial.params.get(key, "")) for key in keys), result]
        )
    kinds = [None, *("number" for _ in keys), "number"]
    return table(head, rows, kinds, strong=[i for i, t in enumerate(trials) if t.best])


def _peak(trial: Trial) -> tuple[float, float] | None:
    """Return the best validation accuracy and the first epoch that reached it."""
    found = [(measured(entry, "validation", "accuracy"), entry["epoch"]) for entry in trial.history]
    known = [(accuracy, -epoch) for accuracy, epoch in found if accuracy is not None]
    if not known:
        return None
    accuracy, epoch = max(known)
    return accuracy, -epoch


def _data_sentence(facts: Facts) -> str:
    usable = sum(n for by_split in (facts.class_counts or {}).values() for n in by_split.values())
    parts = []
    if facts.rows_read is not None:
        parts.append(f"{facts.rows_read:,} raw rows were read")
    if facts.rejected is not None:
        parts.append(f"{sum(facts.rejected.values()):,} were rejected")
    if usable:
        parts.append(f"{usable:,} are in use")
    return ", ".join(parts) + "." if parts else "The counts of rows were not reported."


def _classes(facts: Facts) -> Markup:
    counts = facts.class_counts
    if not counts:
        return missing("The rows per class were not reported.")
    total = sum(sum(by_split.values()) for by_split in counts.values())
    caption = f"{total:,} usable rows in {len(counts)} classes."
    return picture("Class balance", caption, plots.svg(plots.class_balance(counts)))


def _lengths(facts: Facts) -> Markup:
    lengths, limit = facts.token_lengths, facts.max_length
    if lengths is None or len(lengths) == 0 or limit is None:
        return missing("Token lengths were not reported, so it is not known what was cut.")
    values = np.asarray(lengths)
    rows, tokens = int((values > limit).sum()), int(np.clip(values - limit, 0, None).sum())
    share = tokens / values.sum() if values.sum() else 0
    caption = f"Half of the {len(values):,} texts have at most {np.median(values):,.0f} tokens. "
    caption += (
        f"{rows:,} ({percent(rows / len(values))}) were cut at {limit:,}, which lost "
        f"{tokens:,} tokens ({percent(share)})."
        if rows
        else f"None was cut at {limit:,}."
    )
    return picture("Token lengths", caption, plots.svg(plots.token_lengths(values, limit)))


def _rejected(facts: Facts) -> list[Markup]:
    if facts.rejected is None:
        return [missing("Rejected rows were not reported.")]
    total = sum(facts.rejected.values())
    if not total:
        return [tag("div", tag("h3", "Rejected rows"), tag("p", "None: every row was usable."))]
    part = f" of {facts.rows_read:,}" if facts.rows_read else ""
    share = f" ({percent(total / facts.rows_read)})" if facts.rows_read else ""
    shown = {reason: n for reason, n in facts.rejected.items() if n}
    drawing = picture(
        "Rejected rows",
        f"{total:,}{part} rows{share} could not be used; they are kept in the rejected file.",
        plots.svg(plots.rejected_rows(shown)),
    )
    if not facts.rejected_examples:
        return [drawing, missing("No example of a rejected row was given.")]
    rows = [
        (e.get("reason", ""), "" if e.get("row") is None else f"{int(e['row']):,}",
         _shortened(e.get("text"), 120))
        for e in facts.rejected_examples[:EXAMPLES]
    ]
    examples = table(("reason", "row", "text"), rows, (None, "number", "text"))
    return [drawing, tag("div", tag("h3", "Examples of them"), examples)]


def _leaks(facts: Facts) -> Markup:
    """Say how many rows left training because they stand on the test side, or nearly."""
    if facts.leaks is None:
        return missing("It was not reported whether test rows were found in training.")
    heading = tag("h3", "Test rows kept out of training", class_="gap")
    found = {reason: n for reason, n in facts.leaks.items() if n}
    if not found:
        return joined([heading, tag("p", "None was found among the training rows.", class_="soft")])
    rows = [(reason, f"{n:,}") for reason, n in sorted(found.items(), key=lambda x: -x[1])]
    return joined([
        heading,
        tag("p", "These rows were in a delivery or among the labels, and left training because "
                 "they repeat a test or validation row, up to one word or to the case of letters. "
                 "Test rows like one learned before stay in the test: models of before have an "
                 "easier time with them.", class_="soft small"),
        table(("what they were", "rows"), rows, (None, "number")),
    ])


def _levels(curve: Sequence[Mapping]) -> Markup:
    """Say how many rows could be answered at accuracies a reader may want."""
    everything = curve[-1]["accuracy"]
    wanted = [a for a in (0.8, 0.85, 0.9, 0.95, 0.98, 0.99) if a > everything][:4]
    if not wanted:
        return missing("All rows are answered as well as one could ask.")
    rows = []
    for accuracy in wanted:
        coverage = calibration.coverage_at(curve, accuracy)
        surest = [p for p in curve if p["coverage"] == coverage]
        rows.append((
            percent(accuracy, 0), percent(coverage, 0) if coverage else "none",
            percent(surest[0]["confidence"]) if surest else "–"))
        if not coverage:
            break
    return tag("div", tag("h3", "To be right on at least"), table(
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


def _pairs(pairs: Sequence[tuple[str, Any]], numbers: bool = False) -> Markup:
    cells = []
    kind = "span" if numbers else "code"
    for name, value in pairs:
        known = value is not None and value != ""
        shown = tag(kind, value) if known else tag("span", "not recorded", class_="soft")
        cells += [tag("dt", name), tag("dd", shown)]
    return tag("dl", *cells, class_="numbers" if numbers else None)


def _interval(model: Model) -> tuple[float, float]:
    if model.lower is not None and model.upper is not None:
        return model.lower, model.upper
    return wilson_interval(round(model.accuracy * model.n), model.n)


def _shortened(value: Any, longest: int = LONGEST_TEXT) -> Markup:
    words = "" if value is None else str(value)
    if not words.strip():
        return tag("span", "(empty)", class_="soft")
    if len(words) <= longest:
        return text(words)
    return joined(
        [words[:longest], "… ", tag("span", f"({len(words):,} characters)", class_="soft")]
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"

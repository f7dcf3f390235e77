"""The page of a round that a person forwards: the verdict first, then why, then where from.

Pure but for `write`: facts in, HTML out. Each section is one function; a section that was told
nothing says so in words and never shows an empty chart.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ftzard.core.artifacts import write_atomically
from ftzard.evaluation import gate
from ftzard.reporting import batch_names, html, plots
from ftzard.reporting.html import Markup, joined, missing, tag
from ftzard.reporting.report_data import Facts, Round, TaskSections
from ftzard.reporting.sections_evidence import agreement, error_budget, estimates, next_labels
from ftzard.reporting.sections_rounds import drift, forgetting, listed, rounds
from ftzard.reporting.sections_training import data, learning

SectionsOf = Callable[[Facts], TaskSections]
SECTIONS = (
    ("glance", "Verdict"),
    ("comparison", "Champion against challenger"),
    ("budget", "Error budget"),
    ("answers", "Test results"),
    ("people", "Agreement between people"),
    ("learning", "Training"),
    ("data", "Data"),
    ("labelling", "Labelling"),
    ("next", "What the next labels bring"),
    ("rounds", "Rounds"),
    ("forgetting", "Forgetting"),
    ("drift", "Drift"),
    ("estimates", "Accuracy before labels"),
    ("lineage", "Lineage"),
)


def write(facts: Facts | Mapping[str, Any], sections_of: SectionsOf, path: Path) -> Path:
    """Render the facts and put the page under `path`, complete or not at all."""
    page = render(facts, sections_of)
    return write_atomically(path, lambda part: part.write_text(page, encoding="utf-8"))


def render(facts: Facts | Mapping[str, Any], sections_of: SectionsOf) -> str:
    """Return the page of one round as self-contained HTML.

    facts: `Facts`, or nested dicts with the same names; sections_of: of the task's `report`. Raises
    DataError for an unknown name and for facts that contradict each other.
    """
    checked = Facts.of(facts)
    task = sections_of(checked)
    contents = {
        "glance": glance(checked, task),
        "comparison": task.comparison or missing(
            "No comparison was made in this round, so there is no interval to show."),
        "budget": error_budget(checked),
        "answers": task.answers,
        "people": agreement(checked),
        "learning": learning(checked),
        "data": data(checked),
        "labelling": labelling(checked, task),
        "next": next_labels(checked),
        "rounds": rounds(checked),
        "forgetting": forgetting(checked),
        "drift": drift(checked),
        "estimates": estimates(checked),
        "lineage": lineage(checked),
    }
    sections = [(anchor, heading, joined(contents[anchor])) for anchor, heading in SECTIONS]
    return html.render("report", facts=checked, sections=sections,
                       meaning=task.meaning)


def file_name(model: str, version: int) -> str:
    """Return the name of the report of a version's round."""
    return f"{model}-{version}.html"


def write_index(rounds: Sequence[Round], title: str, path: Path) -> Path:
    """Write the page that lists the reports of all rounds, the newest first; return its path."""
    page = html.render("reports", title=title, rounds=listed(rounds))
    return write_atomically(path, lambda part: part.write_text(page, encoding="utf-8"))


def glance(facts: Facts, task: TaskSections) -> list[Markup]:
    """Return the verdict in words, the figures a reader remembers, and the table of models."""
    return [_verdict(facts, task), task.figures, tag("h2", "The models, on the same test rows"),
            *task.models, *_own_metrics(facts)]


def _own_metrics(facts: Facts) -> list[Markup]:
    """Return the table of the workspace's own metrics, a line per model, or nothing."""
    own = facts.own_metrics
    if not own:
        return []
    metrics = list(dict.fromkeys(metric for values in own.values() for metric in values))
    lines = [(name, *(f"{values[metric]:,.4g}" for metric in metrics))
             for name, values in own.items()]
    return [tag("h3", "This workspace's own metrics, of the same models", class_="gap"),
            html.table(("model", *metrics), lines, (None, *("number" for _ in metrics)))]


def labelling(facts: Facts, task: TaskSections) -> Markup:
    """How uncertain the model was about the new rows and which ones a person is asked for."""
    if facts.uncertainty is None or len(facts.uncertainty) == 0:
        return missing("No unlabelled batch was predicted in this round; nothing was picked.")
    n = len(facts.uncertainty)
    of = "" if facts.asked_of is None else (
        f" of {batch_names.called(facts.asked_of, facts.delivered_as)}")
    lead = task.predicted.format(n=f"{n:,}", of=of)
    if facts.asked is not None:
        lead += task.asked.format(asked=f"{facts.asked:,}")
    if facts.threshold is None:
        lead += " No threshold was reported, so none is marked."
    how = f"Rows were ranked by {facts.strategy}." if facts.strategy else (
        "Higher means the model is less sure of its answer."
    )
    how += task.uncertainty
    values = np.asarray(facts.uncertainty, dtype=float)
    return html.render(
        "labeling", lead=lead, ranking=how,
        histogram=plots.svg(plots.uncertainty_histogram(facts.uncertainty, facts.threshold)),
        numbers=[
            ("rows predicted", f"{n:,}"),
            ("median uncertainty", f"{np.median(values):.3g}"),
            ("quantile that a row has to reach", None if facts.quantile is None
             else f"{facts.quantile:g}"),
            ("threshold", None if facts.threshold is None else f"{facts.threshold:.3g}"),
            ("rows at or above it", None if facts.threshold is None
             else f"{int((values >= facts.threshold).sum()):,}"),
            ("rows asked for", None if facts.asked is None else f"{facts.asked:,}"),
        ])


def lineage(facts: Facts) -> Markup:
    """Return what is needed to make this model again."""
    source = facts.lineage
    if source is None:
        return missing("The report was given no lineage: it does not say what it was made from.")
    links = [(name, address) for name, address in source.links.items()
             if address.startswith(("http://", "https://"))]
    return html.render("lineage", lineage=source, links=links, made_from=[
        ("model version", source.model_version),
        ("base model", source.base),
        ("base weights", source.base_hash),
        ("tokenizer", source.tokenizer_hash),
        ("git commit", source.git_commit),
        ("config", source.config_hash),
        ("Dagster run", source.dagster_run),
        ("seed", source.seed),
        *source.more.items(),
    ])


def _verdict(facts: Facts, task: TaskSections) -> Markup:
    verdict = facts.comparison
    if not verdict:
        return missing("No verdict: this round compared no challenger with the champion.")
    decision, first = verdict["decision"], verdict.get("against", "champion") != "champion"
    headline = {
        ("promote", True): "Promoted: the first champion",
        ("promote", False): "Promoted: the challenger becomes the champion",
        ("refuse", True): f"Refused: {task.no_better}",
        ("refuse", False): "Refused: the champion stays",
        (gate.NO_CHAMPION, True): "No champion yet: the first model is not good enough",
        ("cannot tell", True): "Cannot tell: too few test rows to accept a first model",
        ("cannot tell", False): "Cannot tell: too few test rows, so the champion stays",
    }[decision, first]
    if decision == "cannot tell" and not (verdict.get("label_noise") or {"holds": True})["holds"]:
        headline = "Cannot tell: people disagree on more than the gain, so the champion stays"
    warnings = [f"Warning: {warning}" for warning in verdict.get("warnings", [])]
    return html.render(
        "verdict", verdict=verdict, headline=headline,
        reasons=[batch_names.with_names(reason, facts.delivered_as)
                 for reason in verdict["reasons"]],
        warnings=warnings + ([gate.TRIAL] if gate.is_trial(verdict) else []))

"""Report sections of one training: the trials, and the rows they were trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftzard.reporting import plots
from ftzard.reporting.html import (
    Markup,
    missing,
    percent,
    picture,
    plural,
    render,
    shortened,
    table,
    tag,
)
from ftzard.reporting.report_data import Answers, Facts, Trial, measured

EXAMPLES = 12
#: What is drawn per epoch: measure, title, caption.
OF_CLASSES = {
    "loss": ("Loss", "Mean cross entropy{of} after each epoch."),
    "accuracy": ("Accuracy", "Share of rows that {it} gets right after each epoch."),
    "micro_f1": ("Micro F1", "F1 over all labels of all rows, of {it} after each epoch, each label "
                             "given by the threshold that suits the rows best."),
}
OF_ANSWERS = (
    ("loss", "Loss", "Nats per token of the wanted answers{of}, after each epoch."),
    ("token_accuracy", "Token accuracy", "Share of the wanted answers' tokens that {it} thinks the "
                                         "most likely, given those before."),
)


def learning(facts: Facts) -> Markup:
    """Return the learning curves of all trials and the values each of them used."""
    trials, free = facts.trials, facts.answers is not None
    metric = "loss" if free else facts.curves[-1]
    if not trials:
        return missing("No trial was reported in this round, so there are no learning curves.")
    many = len(trials) > 1
    return render(
        "learning",
        lead=_trials_sentence(trials, metric),
        confidence=_confidence_sentence(trials),
        curves=_curves(trials, OF_ANSWERS if free else [
            (name, *OF_CLASSES[name]) for name in facts.curves]),
        search=_search(trials, metric),
        heading="What each trial tried" if many else "Values used",
        trials=_trials_table(trials, metric))


def data(facts: Facts) -> Markup:
    """Return class balance or supervised tokens, lengths with truncation, rejected rows, leaks."""
    answers = facts.answers
    rejected, examples = _rejected(facts)
    leaks = None if facts.leaks is None else [
        (reason, f"{n:,}") for reason, n in sorted(facts.leaks.items(), key=lambda x: -x[1]) if n]
    return render(
        "data",
        lead=_data_sentence(facts),
        balance=_classes(facts) if answers is None else _supervised(answers),
        lengths=_lengths(facts),
        sources=_sources(answers) if answers is not None and len(answers.rows or ()) > 1 else "",
        rejected=rejected,
        examples=examples,
        leaks=leaks,
        arrived=sum((facts.arrived_leaks or {}).values()),
        learned_before=facts.learned_before)


def _curves(trials: Sequence[Trial], measures: Sequence[tuple]) -> list[tuple[str, str, str]]:
    """Return title, caption and plot of each measure; without values, a sentence and no plot."""
    drawn = [{"name": t.name, "best": t.best, "history": list(t.history),
              "best_epoch": t.best_epoch} for t in trials]
    many = len(trials) > 1
    words = {"of": " of every trial" if many else "", "it": "every trial" if many else "the model"}
    curves = []
    for measure, title, caption in measures:
        recorded = any(measured(entry, side, measure) is not None
                       for t in trials for entry in t.history for side in ("train", "validation"))
        curves.append((title, caption.format(**words),
                       plots.svg(plots.learning_curves(drawn, [measure]))) if recorded else (
            title, f"No trial recorded its {measure.replace('_', ' ')} per epoch, so there are no "
                   "such curves.", ""))
    return curves


def _trials_sentence(trials: Sequence[Trial], metric: str) -> str:
    only = len(trials) == 1
    best = trials[0] if only else next((t for t in trials if t.best), None)
    if best is None:
        return f"{len(trials)} trials; none is marked as chosen."
    chosen = f"{best.name[:1].upper()}{best.name[1:]} of {len(trials)} was chosen"
    peak, free = _peak(best, metric), metric == "loss"
    if peak is None:
        return "It was trained once." if only else f"{chosen}."
    whose = "The" if only else f"{chosen}; its"
    if best.best_epoch is not None:
        clause = (f"validation loss is {peak[0]:.3f} nats per token" if free
                  else f"validation {_words(metric)} is {percent(peak[0])}")
        return f"{whose} {clause} with the weights of epoch {peak[1]:g}, which were kept."
    clause = (f"lowest validation loss is {peak[0]:.3f} nats per token" if free
              else f"best validation {_words(metric)} is {percent(peak[0])}")
    return f"{whose} {clause}, after epoch {peak[1]:g}."


def _confidence_sentence(trials: Sequence[Trial]) -> str | None:
    """Say whether the epoch that was kept is surer than it should be, if training measured it."""
    best = trials[0] if len(trials) == 1 else next((t for t in trials if t.best), None)
    best_entry = None if best is None or best.best_epoch is None else next(
        (e for e in best.history if e["epoch"] == best.best_epoch), None)
    if best_entry is None or best_entry.get("temperature") is None:
        return None
    temperature = best_entry["temperature"]
    how = ("surer than it should be" if temperature > 1.05 else
           "less sure than it could be" if temperature < 0.95 else "as sure as it should be")
    return (f"In that epoch it is {how}: the loss is {best_entry['validation_loss']:.3f} on "
            f"validation rows and {best_entry['train_loss']:.3f} on training rows, and with its "
            f"logits divided by {temperature:.2f} it is {best_entry['calibrated_loss']:.3f} on "
            "validation rows.")


def _search(trials: Sequence[Trial], metric: str) -> str:
    """Return the plot of a search, empty if fewer than two trials have a result."""
    tried = [{"name": t.name, "params": t.params, "best": t.best, "pruned": t.pruned,
              "value": peak[0]} for t in trials if (peak := _peak(t, metric)) and t.params]
    return "" if len(tried) < 2 else plots.svg(
        plots.trials(tried, "validation_loss" if metric == "loss" else metric))


def _trials_table(trials: Sequence[Trial], metric: str) -> Markup:
    free = metric == "loss"
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    many = len(trials) > 1
    head = ["trial" if many else "",
            *(key.rsplit(".", 1)[-1].replace("_", " ") for key in keys),
            *(("validation loss", "perplexity") if free else (f"validation {_words(metric)}",))]
    rows = []
    for trial in trials:
        peak = _peak(trial, metric)
        if free:
            results = ("–", "–") if peak is None else (
                f"{peak[0]:.3f}", f"{np.exp(min(peak[0], 700.0)):,.2f}")
        else:
            results = ("–" if peak is None else percent(peak[0]),)
        rows.append(
            [trial.name + (" (chosen)" if trial.best and many else "")
             + (" (stopped early)" if trial.pruned else ""),
             *(_value(trial.params.get(key, "")) for key in keys), *results]
        )
    kinds = [None, *("number" for _ in head[1:])]
    return table(head, rows, kinds, strong=[i for i, t in enumerate(trials) if t.best and many])


def _words(metric: str) -> str:
    return metric.replace("_f1", " F1")


def _peak(trial: Trial, metric: str) -> tuple[float, float] | None:
    """Return the metric on validation rows of the epoch that was kept, and which epoch it is.

    Where it is not known which one was kept, the best one counts, and the first that reached it.
    """
    sign = -1 if metric == "loss" else 1
    values = [(measured(entry, "validation", metric), entry["epoch"]) for entry in trial.history
              if trial.best_epoch in (None, entry["epoch"])]
    known = [(sign * value, -epoch) for value, epoch in values if value is not None]
    if not known:
        return None
    value, epoch = max(known)
    return sign * value, -epoch


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)


def _data_sentence(facts: Facts) -> str:
    by_split = (facts.class_counts if facts.answers is None else facts.answers.rows) or {}
    usable = sum(n for splits in by_split.values() for n in splits.values())
    rejected = None if facts.rejected is None else sum(facts.rejected.values())
    like_test = None if facts.leaks is None else sum(facts.leaks.values())
    lost = 0 if facts.answers is None else facts.answers.lost_rows or 0
    parts = []
    if facts.rows_read is not None:
        parts.append(f"{facts.rows_read:,} raw rows were read")
    if rejected is not None:
        parts.append(f"{rejected:,} were rejected")
    dropped = facts.dropped_by_own_code or {}
    for step, count in dropped.items():
        parts.append(f"{count:,} were dropped by this workspace's own code in the {step} step")
    if like_test:
        parts.append(f"{like_test:,} left training because they are like a test or validation row")
    if lost:
        parts.append(f"{lost:,} had no room for a token of their answer")
    if usable:
        parts.append(f"{usable:,} are in use")
    if not parts:
        return "The counts of rows were not reported."
    sentence = ", ".join(parts) + "."
    if not usable or None in (facts.rows_read, rejected, like_test):
        return sentence
    away = facts.rows_read - rejected - like_test - lost - usable - sum(dropped.values())
    return sentence if not away else (
        f"{sentence} These counts are {abs(away):,} {plural(abs(away), 'row')} apart: they come "
        "from steps that ran on different data.")


def _classes(facts: Facts) -> Markup:
    counts = facts.class_counts
    if not counts:
        return missing("The rows per class were not reported.")
    total = sum(sum(by_split.values()) for by_split in counts.values())
    caption = f"{total:,} usable rows in {len(counts)} classes."
    return picture("Class balance", caption, plots.svg(plots.class_balance(counts)))


def _supervised(answers: Answers) -> Markup:
    """Say how many tokens were learned, how many stood before them, and what was lost."""
    tokens = answers.supervised_tokens
    prompts, rows = answers.prompt_tokens or {}, answers.rows or {}
    if not tokens:
        return missing("The supervised tokens were not reported.")
    lines = []
    for split, n in tokens.items():
        count = sum(by_split.get(split, 0) for by_split in rows.values())
        before = prompts.get(split)
        lines.append((split, f"{count:,}" if count else "–",
                      "–" if before is None else f"{before:,}", f"{n:,}",
                      "–" if before is None else percent(n / max(n + before, 1))))
    return render("supervised_tokens", splits=lines, settings=[
        ("put to the model as", answers.template),
        ("short rows packed together", None if answers.packing is None
         else "yes" if answers.packing else "no"),
        ("answers cut by the length limit", None if answers.cut_answers is None
         else f"{answers.cut_answers:,}"),
        ("rows left out, no token of their answer left", None if answers.lost_rows is None
         else f"{answers.lost_rows:,}"),
    ])


def _sources(answers: Answers) -> Markup:
    total = sum(sum(by_split.values()) for by_split in answers.rows.values())
    return picture("Where the rows come from",
                   f"{total:,} usable rows of {len(answers.rows)} sources.",
                   plots.svg(plots.class_balance(answers.rows)))


def _lengths(facts: Facts) -> Markup:
    lengths, limit = facts.token_lengths, facts.max_length
    if lengths is None or len(lengths) == 0 or limit is None:
        return missing("Token lengths were not reported, so it is not known what was cut.")
    values = np.asarray(lengths)
    rows, tokens = int((values > limit).sum()), int(np.clip(values - limit, 0, None).sum())
    share = tokens / values.sum() if values.sum() else 0
    free = facts.answers is not None
    whose = "rows have at most {:,.0f} tokens, instruction and answer together. " if free else (
        "texts have at most {:,.0f} tokens. ")
    caption = f"Half of the {len(values):,} {whose.format(np.median(values))}"
    caption += (
        f"{rows:,} ({percent(rows / len(values))}) were cut at {limit:,}, which lost "
        f"{tokens:,} tokens ({percent(share)})."
        if rows
        else f"None was cut at {limit:,}."
    )
    return picture("Token lengths", caption,
                   plots.svg(plots.token_lengths(values, limit, "row" if free else "text")))


def _rejected(facts: Facts) -> tuple[Markup, Markup | str]:
    """Return how many rows were rejected and why, and examples of them."""
    if facts.rejected is None:
        return missing("Rejected rows were not reported."), ""
    total = sum(facts.rejected.values())
    if not total:
        return tag("div", tag("h3", "Rejected rows"), tag("p", "None: every row was usable.")), ""
    part = f" of {facts.rows_read:,}" if facts.rows_read else ""
    share = f" ({percent(total / facts.rows_read)})" if facts.rows_read else ""
    drawing = picture(
        "Rejected rows",
        f"{total:,}{part} rows{share} could not be used; they are kept in the rejected file.",
        plots.svg(plots.rejected_rows({reason: n for reason, n in facts.rejected.items() if n})),
    )
    if not facts.rejected_examples:
        return drawing, missing("No example of a rejected row was given.")
    rows = [
        (e.get("reason", ""), "" if e.get("row") is None else f"{int(e['row']):,}",
         shortened(e.get("text"), 120))
        for e in facts.rejected_examples[:EXAMPLES]
    ]
    return drawing, tag("div", tag("h3", "Examples of them"), table(
        ("reason", "row", "text"), rows, (None, "number", "text")))

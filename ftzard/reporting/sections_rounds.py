"""The sections of the page that tell of all rounds: scores and verdicts, forgetting, drift."""

from collections.abc import Mapping, Sequence

from ftzard.evaluation import metric_info
from ftzard.reporting import batch_names, plots
from ftzard.reporting.html import (
    Markup,
    joined,
    missing,
    opening,
    percent,
    picture,
    plural,
    table,
    tag,
)
from ftzard.reporting.report_data import Facts, Round

WORDS = {"promote": "promoted", "refuse": "refused", "cannot tell": "cannot tell"}


def rounds(facts: Facts) -> list[Markup]:
    """The story so far: each round's score, verdict and reason."""
    if not facts.rounds:
        return [missing("No earlier round is known, so there is no story to tell yet.")]
    story = list(facts.rounds)
    promoted = sum(r.verdict == "promote" for r in story)
    lead = (
        f"{len(story)} {plural(len(story), 'round')} so far, {promoted} "
        f"{plural(promoted, 'promotion')}."
    )
    spent = sum(r.labels or 0 for r in story)
    if spent:
        given = "labelled" if facts.answers is None else "answered"
        lead += f" {spent:,} {given} rows came in with them."
    parts = [opening(lead)]
    measure = metric_info.of(story[-1].measure)
    together = [r for r in story if not r.apart]
    told = [vars(r) for r in together if r.value is not None and r.measure == measure.name]
    if len(told) > 1:
        parts.append(
            picture(
                f"{measure.title[0].upper()}{measure.title[1:]} over rounds",
                "Each round's challenger with its interval, all measured on the same rows"
                f"{_of_rows(together[-1])}; the grey line is who was champion after each round.",
                plots.svg(plots.rounds(told)),
                wide=True,
            )
        )
    return [*parts, tag("div", _rounds_table(facts), class_="gap" if len(parts) > 1 else None),
            *_apart(story)]


def new_labels(story: Sequence[Round], given: str) -> list[tuple[str, str]]:
    """Return the figure of the rows that came in with the newest round, if it is known.

    given: what a person did with them, 'labelled' or 'answered'.
    """
    if not story or story[-1].labels is None:
        return []
    said = f"{given} rows new in this round"
    if story[-1].new_training_rows is not None:
        said += f", {story[-1].new_training_rows:,} of them to train on"
    return [(f"{story[-1].labels:,}", said)]


def _of_rows(item: Round) -> str:
    return f": {item.measured_on}" if item.measured_on else ""


def _apart(story: Sequence[Round]) -> list[Markup]:
    """Tell, by themselves, of the rounds whose versions have no score on the newest rows."""
    apart = [r for r in story if r.apart]
    if not apart:
        return []
    rows = [(item.name, item.apart, _score(item, several=True), item.measured_on or "not recorded")
            for item in reversed(apart)]
    return [tag("h3", "Measured on other rows", class_="gap"),
            tag("p", "These scores say nothing beside those above or beside each other.",
                class_="soft small"),
            table(("round", "why", "score then", "of"), rows, ("whole", "text", "number", "text"))]


def forgetting(facts: Facts) -> list[Markup]:
    """How each version does on each batch's test set, and what that amounts to."""
    matrix = facts.forgetting
    measure = metric_info.told_in(matrix)
    if not matrix or not matrix["versions"]:
        return [missing("No version was measured batch by batch, so nothing shows what was "
                        "forgotten.")]
    lead = (
        "Every version that was measured, on the test set of every batch: read down a column to "
        "see what became of what was once learnt."
    )
    many = len(matrix["batches"]) > 4
    drawing = picture(
        f"{measure.title[0].upper()}{measure.title[1:]} by version and batch",
        "A frame: this version was trained on that batch. A dot after a name: it was promoted. "
        "n: test rows. A column holds scores of the same rows; a dot in a cell: not measured on "
        "them.",
        plots.svg(plots.forgetting(matrix, facts.delivered_as)),
        wide=many,
    )
    told = [r for r in facts.rounds if r.average is not None and r.measure == measure.name]
    rows = [
        (r.name, measure.value(r.average, unit=measure.scale == 100),
         *("–" if v is None else measure.gain(v) for v in (r.backward_transfer, r.forgetting)))
        for r in reversed(told)
    ]
    numbers = (
        table(("version", f"average {measure.short}", "backward transfer", "forgetting"), rows,
              ("whole", "number", "number", "number"))
        if rows
        else missing("No version's average was recorded.")
    )
    meaning = (
        f"Average {measure.short}: mean over batches, each counting the same. Backward transfer: "
        "what an earlier batch's test set has gained since the version that first learnt it. "
        "Forgetting: what it has lost against the best version before. Both follow the versions "
        "that were promoted."
    )
    if measure.lower_is_better:
        meaning += f" A {measure.short} that rose is a negative transfer and was forgotten."
    return [
        opening(lead),
        tag("div", drawing, tag("div", tag("h3", "In numbers"), numbers,
                                tag("p", meaning, class_="soft small gap"),
                                class_="gap" if many else None),
            class_=None if many else "two"),
    ]


def drift(facts: Facts) -> list[Markup]:
    """The latest batch against what the champion was trained on, and all batches over time."""
    entries = [e for e in facts.drift if e.get("score") is not None]
    if not entries:
        return [missing("No incoming batch was compared with the training data yet.")]
    last = entries[-1]
    alarms = sum(bool(e["alarm"]) for e in entries)
    lead = (
        f"{batch_names.told(last['sentence'], facts.delivered_as)} {len(entries)} "
        f"{plural(len(entries), 'batch')} compared so far, {alarms} with an alarm."
    )
    latest = picture(
        f"The latest batch, {batch_names.named(last['batch'], facts.delivered_as)}",
        f"{last['rows']:,} rows against {last['reference_rows']:,} test rows of the champion's own "
        "training data, each statistic as its distance from what is usual over that of its limit.",
        plots.svg(plots.drift(last)),
    )
    rows = [
        (s["name"], *_either_side(s), f"{s['value']:.3g}", f"{s['upper']:.3g}")
        for s in last["statistics"]
    ]
    numbers = table(
        ("", "this batch", "training data", "distance", "limit"),
        rows,
        (None, "number", "number", "number", "number"),
        strong=[i for i, s in enumerate(last["statistics"]) if s["beyond"]],
    )
    settings = last["settings"]
    how = (
        f"The limits are measured: of {settings['draws']:,} batches of the same size drawn from "
        f"the training data's own test rows, {percent(settings['false_alarms'], 0)} pass one of "
        "them. An alarm stays until a batch is as usual as "
        f"{percent(1 - settings['clearing'], 0)} of these."
    )
    parts = [
        opening(lead),
        tag("div", latest, tag("div", tag("h3", "In numbers"), numbers,
                               tag("p", how, class_="soft small gap")), class_="two"),
    ]
    if len(entries) > 1:
        parts.append(
            picture(
                "Drift over time",
                "Each batch's furthest statistic, in the unit of the picture above (the line at 1 "
                "is the upper threshold); below the dashes an alarm is cleared. Shaded: an alarm "
                "stands. Under each batch: the champion it was compared with.",
                plots.svg(plots.drift_over_time(entries, facts.delivered_as)),
                wide=True,
            )
        )
    return parts


def _rounds_table(facts: Facts) -> Markup:
    story = list(facts.rounds)
    rows, known = [], {item.measure for item in story}
    heading = metric_info.of(story[-1].measure).short if len(known) == 1 else "score"
    for item in reversed(story):
        badge = tag(
            "span",
            WORDS.get(item.verdict, item.verdict),
            class_=f"tag {item.verdict.replace(' ', '-')}",
        )
        score = "measured on other rows, see below" if item.apart else (
            _score(item, several=len(known) > 1))
        rows.append(
            (
                item.name,
                (item.date or "")[:16].replace("T", " "),
                tag("code", item.data_version[:8]) if item.data_version else "not recorded",
                item.model or "",
                "–" if item.labels is None else f"{item.labels:,}",
                score,
                joined([badge, tag("div", batch_names.told(item.reason or "", facts.delivered_as),
                                   class_="soft small")]),
            )
        )
    return table(
        ("round", "date", "data version", "challenger",
         "new labels" if facts.answers is None else "new answers", heading, "verdict"),
        rows,
        ("whole", "id", "id", "id", "number", "number", "text"),
    )


def _score(item: Round, several: bool) -> Markup | str:
    """Return a round's score with its interval; several: rounds have more than one measure."""
    measure = metric_info.of(item.measure)
    score = measure.value(item.value, unit=measure.scale == 100)
    if several:
        score = f"{measure.short} {score}"
    if item.lower is None or item.upper is None:
        return score
    return joined([score, tag("div", measure.range(item.lower, item.upper), class_="soft small")])


def _either_side(statistic: Mapping) -> tuple[str, str]:
    batch, reference = statistic["batch"], statistic["reference"]
    if isinstance(batch, Mapping):
        label = max(batch, key=lambda c: abs(batch[c] - reference[c]))
        return tuple(f"{100 * side[label]:.0f} % {label}" for side in (batch, reference))
    if batch is None:
        return "–", "–"
    return f"{batch:.3g}", f"{reference:.3g}"

"""Report sections over all rounds: scores and verdicts, forgetting, drift."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from ftzard.evaluation import metric_info
from ftzard.evaluation.metric_info import Measure
from ftzard.reporting import batch_names, plots
from ftzard.reporting.html import (
    Markup,
    badge,
    detailed,
    joined,
    missing,
    plural,
    render,
    tag,
)
from ftzard.reporting.report_data import Facts, Round

DECISIONS = {"promote": "promoted", "refuse": "refused", "cannot tell": "cannot tell"}


def rounds(facts: Facts) -> Markup:
    """Return each round's score, verdict and reason."""
    if not facts.rounds:
        return missing("No earlier round is known, so there is no history to show yet.")
    all_rounds = list(facts.rounds)
    classes = facts.answers is None
    measures = {item.measure for item in all_rounds}
    measure = metric_info.of(all_rounds[-1].measure)
    comparable = [r for r in all_rounds if not r.apart]
    drawn = [vars(r) for r in comparable if r.value is not None and r.measure == measure.name]
    measured_on = comparable[-1].measured_on if comparable else None
    return render(
        "rounds",
        lead=_summary(all_rounds, "labelled" if classes else "answered"),
        title=f"{_capitalized(measure.title)} over rounds",
        rows=f": {measured_on}" if measured_on else "",
        drawing=plots.svg(plots.rounds(drawn)) if len(drawn) > 1 else "",
        new_rows="new labels" if classes else "new answers",
        score=measure.short if len(measures) == 1 else "score",
        rounds=[_row(r, facts.delivered_as, several=len(measures) > 1)
                for r in reversed(all_rounds)],
        apart=[(r.name, r.apart, _score(r, several=True), r.measured_on or "not recorded")
               for r in reversed(all_rounds) if r.apart])


def new_labels(rounds: Sequence[Round], given: str) -> list[tuple[str, str]]:
    """Return the key figure of the rows that are new in the latest round, if it is known.

    Args:
        rounds: All rounds, the newest last.
        given: What a person did with the rows, 'labelled' or 'answered'.
    """
    if not rounds or rounds[-1].labels is None:
        return []
    meaning = f"{given} rows new in this round"
    if rounds[-1].new_training_rows is not None:
        meaning += f", {rounds[-1].new_training_rows:,} of them to train on"
    return [(f"{rounds[-1].labels:,}", meaning)]


def forgetting(facts: Facts) -> Markup:
    """Return each version's score on each batch's test set, and the averages."""
    matrix = facts.forgetting
    measure = metric_info.measure_of(matrix)
    if not matrix or not matrix["versions"]:
        return missing("No version was measured batch by batch, so nothing shows what was "
                       "forgotten.")
    averaged = [r for r in facts.rounds if r.average is not None and r.measure == measure.name]
    return render(
        "forgetting",
        measure=measure,
        title=f"{_capitalized(measure.title)} by version and batch",
        drawing=plots.svg(plots.forgetting(matrix, facts.delivered_as)),
        wide=len(matrix["batches"]) > 4,
        versions=[
            (r.name, measure.value(r.average, unit=measure.scale == 100),
             *("–" if v is None else measure.gain(v) for v in (r.backward_transfer, r.forgetting)))
            for r in reversed(averaged)])


def drift(facts: Facts) -> Markup:
    """Return the latest batch against the champion's training data, and all batches over time."""
    entries = [e for e in facts.drift if e.get("score") is not None]
    if not entries:
        return missing("No incoming batch was compared with the training data yet.")
    last = entries[-1]
    alarms = sum(bool(e["alarm"]) for e in entries)
    return render(
        "drift",
        lead=f"{batch_names.with_names(last['sentence'], facts.delivered_as)} {len(entries)} "
             f"{plural(len(entries), 'batch')} compared so far, {alarms} with an alarm.",
        last=last,
        batch=batch_names.named(last["batch"], facts.delivered_as),
        drawing=plots.svg(plots.drift(last)),
        statistics=[(s["name"], *_batch_and_reference(s), f"{s['value']:.3g}", f"{s['upper']:.3g}")
                    for s in last["statistics"]],
        beyond=[i for i, s in enumerate(last["statistics"]) if s["beyond"]],
        over_time=plots.svg(plots.drift_over_time(entries, facts.delivered_as))
        if len(entries) > 1 else "")


def _summary(all_rounds: Sequence[Round], given: str) -> str:
    promoted = sum(r.verdict == "promote" for r in all_rounds)
    rows = sum(r.labels or 0 for r in all_rounds)
    text = (f"{len(all_rounds)} {plural(len(all_rounds), 'round')} so far, {promoted} "
            f"{plural(promoted, 'promotion')}.")
    return f"{text} {rows:,} {given} rows came in with them." if rows else text


def _row(item: Round, delivered_as: Mapping[str, str], several: bool) -> tuple:
    decision = badge(DECISIONS.get(item.verdict, item.verdict), item.verdict)
    return (
        _linked(item),
        (item.date or "")[:16].replace("T", " "),
        tag("code", item.data_version[:8]) if item.data_version else "not recorded",
        item.model or "",
        "–" if item.labels is None else f"{item.labels:,}",
        "measured on other rows, see below" if item.apart else _score(item, several),
        joined([decision, tag("div", batch_names.with_names(item.reason or "", delivered_as),
                              class_="soft small")]),
    )


def listed(rounds: Sequence[Round]) -> list[tuple]:
    """Return (report, date, model, score, verdict with its reason) of all rounds, newest first."""
    rows = [_row(item, {}, several=True) for item in reversed(rounds)]
    return [(row[0], row[1], row[3], row[5], row[6]) for row in rows]


def _linked(item: Round) -> Markup | str:
    """Return a round's name, as a link to its report where there is one."""
    return tag("a", item.name, href=quote(item.page)) if item.page else item.name


def _score(item: Round, several: bool) -> Markup:
    """Return a round's score with its interval; several: rounds have more than one measure."""
    measure: Measure = metric_info.of(item.measure)
    score = measure.value(item.value, unit=measure.scale == 100)
    interval = "" if item.lower is None or item.upper is None else measure.range(
        item.lower, item.upper)
    return detailed(f"{measure.short} {score}" if several else score, interval)


def _batch_and_reference(statistic: Mapping) -> tuple[str, str]:
    """Return a statistic's value on the batch and on the training data.

    Of class shares, that of the class that differs most.
    """
    batch, reference = statistic["batch"], statistic["reference"]
    if isinstance(batch, Mapping):
        label = max(batch, key=lambda c: abs(batch[c] - reference[c]))
        return tuple(f"{100 * shares[label]:.0f} % {label}" for shares in (batch, reference))
    if batch is None:
        return "–", "–"
    return f"{batch:.3g}", f"{reference:.3g}"


def _capitalized(words: str) -> str:
    return words[:1].upper() + words[1:]

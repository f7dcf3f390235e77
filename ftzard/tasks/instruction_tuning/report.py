"""The sections of the page that tell of free answers: figures, models, comparison, generations."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from ftzard.evaluation import metric_info
from ftzard.evaluation.gate import confidence_of, means
from ftzard.evaluation.metric_info import EXACT_MATCH, LOSS, ROUGE_L, Measure
from ftzard.reporting import plots
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
    plural,
    range_bar,
    role_colour,
    shortened,
    table,
    tag,
)
from ftzard.reporting.report_data import AnsweringModel, Answers, Facts, TaskSections
from ftzard.reporting.sections_rounds import new_labels
from ftzard.tasks.instruction_tuning.answer_metrics import APART, DRAWN, normalised
from ftzard.tasks.instruction_tuning.evaluation import AnswerEvaluation
from ftzard.tasks.report_parts import parts, parts_table, rule

LONGEST_ANSWER = 600
#: Rows of either side of the comparison that the page lists, and their longest text.
ROWS_APART, LONGEST_TEXT = 100, 240
NATS = "Loss is in nats per token: the training loss; lower is better."
MEANING = ("Losses are nats per token of the wanted answers, over all such tokens of the test "
           "rows; perplexity is the loss's exponential. ROUGE-L is the F-measure of the longest "
           "common subsequence of words, from 0 to 1. Intervals are of 95 %, from resampled rows.")


def facts(evaluation: AnswerEvaluation, rows: pd.DataFrame, names: Mapping[str, str],
          prepared: Mapping) -> dict:
    """Return the facts of a round that only instruction tuning has.

    Args:
        evaluation: of the round.
        rows: all tokenized rows.
        names: of models in the report, by role.
        prepared: what preprocessing recorded.
    """
    instructions = evaluation.config.task.instructions
    answers = (rows["length"] - rows["prompt_length"]).groupby(rows["split"]).sum()
    known = {f.name for f in fields(AnsweringModel)}
    return {"answers": Answers(
        measure=evaluation.measure,
        models=[AnsweringModel(
            name=names[line["model"]], role=line["model"],
            **{key: value for key, value in line.items() if key in known})
            for line in evaluation.table().to_dict("records")],
        generations=evaluation.examples().to_dict("records"),
        differences=evaluation.differences().tolist(), apart=evaluation.rows_by_difference(),
        template=instructions.template, packing=instructions.packing,
        supervised_tokens={side: int(count) for side, count in answers.items()},
        prompt_tokens={side: int(count) for side, count in
                       rows.groupby("split")["prompt_length"].sum().items()},
        rows={source or "one file": part["split"].value_counts().to_dict()
              for source, part in rows.groupby("source")},
        cut_answers=int((rows["cut"] > 0).sum()), lost_rows=prepared.get("rows_without_room"),
        max_new_tokens=instructions.max_new_tokens)}


def sections(facts: Facts) -> TaskSections:
    """Return what the report says of models that write answers."""
    return TaskSections(
        figures=_figures(facts), models=[_models(facts)],
        comparison=_comparison(facts) if facts.comparison else [], answers=_generations(facts),
        meaning=MEANING, no_better="no better than the bare base",
        predicted="{n} instructions{of} were answered.",
        asked=" A person was asked to write the answers of {asked} of them.",
        uncertainty=" Uncertainty is 1 less the confidence, which is the geometric mean of the "
                    "probabilities of an answer's tokens.")


def _figures(facts: Facts) -> Markup:
    """Return the figures a reader remembers, those of the challenger first."""
    answers, verdict, cells = facts.answers, facts.comparison, []
    measure = metric_info.of(answers.measure)
    lead = next((m for m in answers.models if m.role == "challenger"), None)
    before = next((m for m in answers.models if m.role == "champion"), None) or next(
        (m for m in answers.models if m.role == "base"), None)
    if lead and _score(lead, measure) is not None:
        of = f"{measure.title} of the challenger"
        if measure.lower_is_better:
            of += f", in{measure.unit}"
        if lead.lower is not None:
            of += f", {measure.range(lead.lower, lead.upper).replace('–', 'to')}"
        cells.append((measure.value(_score(lead, measure), unit=measure.scale == 100),
                      f"{of} on {_rows(lead, measure):,} test rows"))
    if verdict:
        cells.append((measure.gain(verdict["difference"], unit=measure.scale == 100),
                      f"gain over the {verdict.get('against', 'champion')}, "
                      f"{measure.gain(verdict['lower'], unit=False)} to "
                      f"{measure.gain(verdict['upper'], unit=False)}"))
    if lead:
        than = f", the {before.role}'s {before.perplexity:,.2f}" if before else ""
        cells.append((f"{lead.perplexity:,.2f}", f"perplexity of the wanted answers{than}"))
        for other in (ROUGE_L, EXACT_MATCH):
            value = getattr(lead, other.name)
            if other is measure or value is None:
                continue
            than = getattr(before, other.name) if before else None
            of = "" if than is None else f", the {before.role}'s {other.value(than)}"
            cells.append((other.value(value), f"{other.short} of {lead.generated:,} generated "
                                              f"answers{of}"))
    cells += new_labels(facts.rounds, "answered")
    return key_figures(cells)


def _models(facts: Facts) -> Markup:
    """Return the table of models: what the gate compared first, with its interval."""
    lines, measure = facts.answers.models, metric_info.of(facts.answers.measure)
    if not lines:
        return missing("No model was measured in this round.")
    ends = [(m.lower, m.upper) if m.lower is not None and m.upper is not None
            else (_score(m, measure),) * 2 for m in lines]
    known = [end for pair in ends for end in pair if end is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    others = [m for m in (LOSS, ROUGE_L, EXACT_MATCH) if m is not measure]
    rows = []
    for model, (lower, upper) in zip(lines, ends, strict=True):
        value = _score(model, measure)
        rows.append((
            model.name, model.role, measure.value(value, unit=measure.scale == 100),
            "–" if model.lower is None else measure.range(lower, upper),
            "" if value is None else range_bar(
                value, lower, upper, low, high, colour=role_colour(model.role),
                label=measure.range(lower, upper).replace("–", "to")),
            f"{model.perplexity:,.2f}",
            *(o.value(getattr(model, o.name), unit=o.scale == 100) for o in others),
            f"{model.n:,}", f"{model.generated:,}"))
    listed = table(
        ("model", "role", measure.short, "95 % interval", "", "perplexity",
         *(o.short for o in others), "rows", "answered"),
        rows,
        (None, None, "number", "number", "bar", "number", *("number" for _ in others), "number id",
         "number id"),
        strong=[i for i, m in enumerate(lines) if m.role == "challenger"],
    )
    return joined([tag("p", NATS, class_="soft small"), listed])


def _comparison(facts: Facts) -> list[Markup]:
    """Return the gain with its intervals, over all rows and each test set, and row by row."""
    verdict, answers = facts.comparison, facts.answers
    measure, other = metric_info.measure_of(verdict), verdict.get("against", "champion")
    lead = (
        f"Both were measured on the same {verdict['n']:,} rows; on {verdict['discordant']:,} of "
        f"them their {measure.short} differs (test of the signs, p {p_value(means(verdict)[2])})."
    )
    if other != "champion":
        lead += " There was no champion yet, so the challenger had to beat the bare base."
    drawing = picture(
        f"The challenger's gain over the {other}",
        f"By how much its {measure.title} is better, with its interval; the line at zero means no "
        "difference.",
        plots.svg(plots.comparison(verdict, facts.delivered_as)),
    )
    unit = measure.scale == 100
    counts = [tag("h3", measure.title[0].upper() + measure.title[1:]),
              parts_table(verdict, parts(facts), lambda value: measure.value(value, unit)),
              *_rules(verdict, measure)]
    if answers.differences is None or not len(answers.differences):
        return [opening(lead), tag("div", drawing, tag("div", *counts), class_="two")]
    row_by_row = picture(
        "Row by row", "How many test rows the challenger answers better, and by how much; a mean "
        "can hide a few rows that are far off.",
        plots.svg(plots.score_differences(answers.differences, measure.name, other)))
    return [opening(lead), tag("div", drawing, row_by_row, class_="two"),
            tag("div", *counts, class_="gap"), *_apart(answers.apart, measure, other)]


def _apart(rows: Sequence[Mapping[str, Any]], measure: Measure, other: str) -> list[Markup]:
    """Return the rows that one of the two answers better, the furthest apart first."""
    unit = measure.scale == 100
    parts = []
    for title, sign in ((f"The challenger is better than the {other}", 1),
                        (f"The challenger is worse than the {other}", -1)):
        there = [row for row in rows if sign * row["difference"] > 0]
        shown = there[:ROWS_APART]
        if shown:
            listed = table(("instruction", "wanted answer", f"gain in {measure.short}", "row"), [
                (shortened(row["text"], LONGEST_TEXT), shortened(row["label"], LONGEST_TEXT),
                 measure.gain(row["difference"], unit=unit), digits(row["id"])) for row in shown],
                ("text", "text", "number", "id"))
            count = f"{title}: {len(there):,} {plural(len(there), 'row')}"
            count += f", the {len(shown):,} furthest apart" if len(shown) < len(there) else ""
            parts.append(tag("details", tag("summary", count), listed, class_="cell"))
    return [tag("h3", "Rows behind the comparison", class_="gap"), *parts] if parts else []


def _generations(facts: Facts) -> list[Markup]:
    """Return generated answers of all models under their instructions."""
    answers = facts.answers
    lead = next((m for m in answers.models if m.role == "challenger"), None)
    if not answers.generations:
        return [missing("No generated answers were given, so there is nothing to read here.")]
    text = "The models answered the same instructions, taking the likeliest token each time."
    if lead and lead.generated:
        text = (f"The models answered {lead.generated:,} of the {lead.n:,} test rows, taking the "
                "likeliest token each time")
        text += f", at most {answers.max_new_tokens:,} tokens." if answers.max_new_tokens else "."
    if lead and lead.finished is not None:
        text += f" {percent(lead.finished, 0)} of the challenger's answers ended by themselves."
    parts = [opening(text)]
    headings = {DRAWN: "Rows drawn by chance",
                APART: "Rows on which the challenger and the model before it differ most"}
    for why in dict.fromkeys(row.get("why", DRAWN) for row in answers.generations):
        rows = [row for row in answers.generations if row.get("why", DRAWN) == why]
        parts += [tag("h3", headings.get(why, why), class_="gap" if len(parts) > 1 else None),
                  tag("div", *(_example(row) for row in rows))]
    return parts


def _example(row: Mapping[str, Any]) -> Markup:
    roles = [r for r in ("base", "champion", "challenger") if r in row]
    columns = [tag("div", tag("h4", "wanted"), tag("p", shortened(row["wanted"], LONGEST_ANSWER)),
                class_="wanted")]
    for role in roles:
        heading, score = [role], row.get(f"{role} score")
        if normalised(row[role]) == normalised(row["wanted"]):
            heading.append(" · exact")
        elif score is not None:
            heading.append(f" · {ROUGE_L.short} {ROUGE_L.value(score)}")
        columns.append(tag("div", tag("h4", joined(heading)),
                        tag("p", shortened(row[role], LONGEST_ANSWER)), class_=role))
    return tag("div", tag("p", shortened(row["text"], LONGEST_ANSWER), class_="asked"),
               tag("div", *columns, class_="said"), class_="example")


def _rules(verdict: Mapping, measure: Measure) -> list[Markup]:
    """Say what the challenger had to show, in the numbers of this round."""
    limits = verdict.get("limits")
    if not limits:
        return []
    sure = f"{100 * confidence_of(verdict):.4g} %"
    sentence = f"The rule: the {sure} interval of the gain lies above zero"
    if verdict.get("against", "champion") != "champion":
        sentence += "."
    else:
        moved = "rose" if measure.lower_is_better else "fell"
        sentence += (
            f" and the gain is at least {measure.gain(limits['min_gain'], sign=False)}. A test set "
            f"vetoes if its {measure.short} surely {moved} by more than "
            f"{measure.gain(limits['max_forgetting'], sign=False)}.")
    return rule(sentence, limits)


def _score(model: AnsweringModel, measure: Measure) -> float | None:
    return getattr(model, measure.name) if model.score is None else model.score


def _rows(model: AnsweringModel, measure: Measure) -> int:
    return model.n if measure is LOSS else model.generated or model.n

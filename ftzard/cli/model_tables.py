"""Terminal tables of registered models and of the comparison of two."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from ftzard.cli.layout import Column, Table, Tree
from ftzard.cli.tables import size, time
from ftzard.core import escaping
from ftzard.evaluation import metric_info

if TYPE_CHECKING:
    from ftzard.tasks.comparison import Comparison

LONGEST_TEXT = 90


def list_table(lines: list[Mapping]) -> Table:
    """Return the table of `lookup.listing`: a line per version."""
    judged = {line["measure"] for line in lines} - {None}
    what = "accuracy" if judged <= {"accuracy"} else "score"
    apart = any(line.get("apart") for line in lines)
    table = Table((
        Column("model"), Column("aliases", prose=True), Column(what, prose=True),
        *((Column(f"{what} on other rows", prose=True),) if apart else ()),
        Column("verdict", prose=True, rank=1, tone=verdict_tone),
        Column("base", rank=3), Column("data version", rank=5),
        Column("size", right=True, rank=4), Column("registered (UTC)", rank=2)),
        more="'ftzard models show NAME@VERSION' and --json show all")
    for line in lines:
        scores = (_score(line),) if not apart else (
            ("-", _score(line)) if line.get("apart") else (_score(line), "-"))
        table.add_row(f"{line['model']}@{line['version']}", ", ".join(line["aliases"]) or "-",
                      *scores, _verdict(line),
                      line["base"] or "-", (line["data_version"] or "-")[:10],
                      size(line["size_bytes"]), time(line["created"]))
    rows = {line["model"]: line["measured_on"] for line in lines
            if line.get("measured_on") and not line.get("apart")}
    if rows:
        table.caption = "\n".join(f"{what} of {model}: on {used}" for model, used in rows.items())
    return table


def model_tree(model: Mapping) -> Tree:
    """Return the tree of one version, as `lookup.describe` gives it."""
    aliases = ", ".join(model["aliases"])
    tree = Tree(f"{model['model']}@{model['version']}  {aliases}".rstrip(), "bold")
    tree.add_branch("registered", [f"{time(model['created'])} UTC, {size(model['size_bytes'])} in "
                                 f"MLflow, {model['source']}"])
    tree.add_branch("record", [model["record"] or "none in this workspace"])
    if model["task"] != "classification":
        tree.add_branch("task", [model["task"]])
    tree.add_branch("labels", [", ".join(model["labels"])] if model["labels"] else [])
    where = model.get("measured_on")
    if where and model.get("apart"):
        where += f"; {model['apart']}"
    tree.add_branch("metrics" + (f", on {where}" if where else ""),
            [_metrics(role, scores) for role, scores in model["metrics"].items()])
    if model["verdict"] or model["trial"]:
        tree.add_branch("verdict", [_verdict(model), *model["reasons"]])
    calibration = model["calibration"]
    if calibration:
        tree.add_branch("calibration", [
            f"error {calibration['ece_before']:.3f}, {calibration['ece_after']:.3f} at temperature "
            f"{calibration['temperature']:.2f}"])
    tree.add_branch("data", [f"{name} at {(commit or 'no version')[:10]}"
                           for name, commit in model["data"].items()])
    base = model["base"]
    tree.add_branch("base", [
        f"{base['source'] or base['name'] or 'unknown'}, revision {base['revision'] or 'none'}",
        f"weights {base['weight_hash'] or 'unknown'}",
        *([f"registered as {base['registered']}"] if base["registered"] else [])])
    tree.add_branch("parent", [f"{model['model']}@{model['parent']}"] if model["parent"] else [])
    run = model["run"]
    tree.add_branch("run", ["  ".join(filter(None, (
        run["name"] or "not in this store", run["state"], run["id"])))])
    tree.add_branch("promoted by hand", [f"{p['time'][:19]} by {p['who']}: {p['reason']}"
                                       for p in model["promotions"]])
    tree.add_branch("tags", [f"{key} = {value}" for key, value in model["tags"].items()])
    return tree


def _verdict(line: Mapping) -> str:
    """Return a version's verdict, and whether it was spoken in a trial workspace."""
    verdict = line["verdict"] or ("-" if line["kind"] != "base" else "bare base")
    return f"{verdict} (trial)" if line["trial"] else verdict


def score_table(comparison: "Comparison") -> Table:
    """Return the scores and costs of a comparison, with intervals, a column per model."""
    from ftzard.tasks.comparison_page import speed_of  # pandas: only a comparison needs it

    first, second = comparison.names
    table = Table((Column(""), Column(first, right=True), Column(second, right=True),
                   Column("difference", right=True, rank=1)), more="--json shows it")
    for line in comparison.score_lines():
        table.add_row(*line)
    one, two = (asdict(speed) for speed in comparison.speeds)
    for key, name in (("latency_ms", "one row"), ("rows_per_second", "rows per second"),
                      ("tokens_per_second", "tokens per second")):
        table.add_row(name, speed_of(one, key), speed_of(two, key), _times(one, two, key))
    table.add_row("loading, s", f"{one['load_s']:,.1f}", f"{two['load_s']:,.1f}", "")
    table.add_row(f"peak memory ({one['device']})", size(one["peak_bytes"]),
                  size(two["peak_bytes"]), "")
    table.add_row("texts cut", f"{one['cut_rows']:,}", f"{two['cut_rows']:,}", "")
    return table


def _times(one: Mapping, two: Mapping, key: str) -> str:
    """Say by how much the second is faster or slower, if the passes of the two do not overlap."""
    if not one.get(key) or two.get(key) is None:
        return ""
    (low, high), (least, most) = (s.get(f"{key}_range") or (s[key], s[key]) for s in (one, two))
    return f"{two[key] / one[key]:.2f} ×" if least > high or most < low else "alike"


def rows_compared(comparison: "Comparison", examples: int) -> list[str]:
    """Return sentences on the rows: how many, from where, what was left out, where they differ."""
    rows = comparison.rows
    lines = [f"rows: {rows['n']:,} of {rows['source']}, {len(rows['batches'])} "
             f"batch{'es' if len(rows['batches']) > 1 else ''}"]
    if rows["rejected"]:
        lines.append("left out: " + ", ".join(f"{n:,} {why}" for why, n in
                                              rows["rejected"].items()))
    if comparison.disagreements.empty:
        return [*lines, "They give the same answer to every row."]
    shown = min(examples, len(comparison.disagreements))
    return [*lines, comparison.disagreements_summary() + (f"; {shown} of them:" if shown else ".")]


def disagreement_table(comparison: "Comparison", examples: int) -> Table:
    """Return the rows on which two models disagree: text, true label, what either says."""
    table = Table([Column(title, prose=True) for title in (
        *comparison.disagreement_columns, *(f"{name} says" for name in comparison.names))])
    for line in comparison.disagreement_lines(examples):
        table.add_row(*(_short(text) for text in line))
    return table


def verdict_tone(verdict: str) -> str | None:
    """Return the tone of a gate's decision."""
    return {"promote": "good", "refuse": "bad", "cannot tell": "warn"}.get(verdict)


def _short(text: str) -> str:
    text = escaping.one_line(text)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _score(line: Mapping) -> str:
    if line["score"] is None:
        return "-"
    measure = metric_info.measure_of(line)
    if measure is not metric_info.ACCURACY:
        return (f"{measure.short} {measure.value(line['score'], unit=False)} "
                f"({measure.range(line['lower'], line['upper'])}) of {line['test_rows']:,}")
    return (f"{100 * line['accuracy']:.1f} % ({100 * line['lower']:.1f}–"
            f"{100 * line['upper']:.1f}) of {line['test_rows']:,}")


def _metrics(role: str, metrics: Mapping) -> str:
    if "accuracy" in metrics and "lower" in metrics:
        return (f"{role}: {metrics['accuracy']:.1%} "
                f"({metrics['lower']:.1%}–{metrics['upper']:.1%}) of {metrics['n']:,} test rows, "
                f"macro F1 {metrics['macro_f1']:.3f}")
    if "measure" in metrics:
        return f"{role}: {metric_info.sentence(metrics)}"
    return f"{role}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items()
                                   if isinstance(value, (int, float)))

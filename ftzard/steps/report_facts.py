"""The facts of a round, gathered for the report from what the steps left in the workspace."""

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from ftzard.config import compose
from ftzard.config.pipeline import STEPS
from ftzard.core.artifacts import write_atomically
from ftzard.data import storage
from ftzard.evaluation import metric_info
from ftzard.registry import model_records, promotions
from ftzard.registry.model_record import ModelRecord
from ftzard.reporting import report
from ftzard.reporting.report_data import (
    Facts,
    Lineage,
    Round,
    Trial,
)
from ftzard.reporting.standings import Standings
from ftzard.steps import candidate, gate_budget, report_links
from ftzard.steps.step_run import StepRun
from ftzard.steps.trials import curves
from ftzard.tasks.evaluation import Evaluation
from ftzard.tracking import record
from ftzard.tracking.model_version import Version
from ftzard.workspace import batch_log

#: What preprocessing counts among the leaks although it stays, on the test side.
ALL_REPORTS = "all.html"
LEARNED_BEFORE = "test row like one learned before"


def write_report(run: StepRun, version: Version, evaluation: Evaluation,
                 rows: pd.DataFrame) -> Path:
    """Write the report of this round, record it with the run and return its path.

    It is reports/index.html, and once more under the name of the version, which later rounds leave
    alone.
    """
    report_facts = facts(run, version, evaluation, rows)
    path = report.write(report_facts, run.task.report.sections, run.workspace.report)
    own = path.with_name(report.file_name(version.name, version.number))
    write_atomically(own, lambda part: shutil.copyfile(path, part))
    report.write_index(report_facts.rounds, f"Reports of {version.name}",
                       path.with_name(ALL_REPORTS))
    run.mlflow_run.artifact(path, "report")
    return path


def facts(run: StepRun, version: Version, evaluation: Evaluation,
          rows: pd.DataFrame) -> Facts:
    """Return what the report tells of this round."""
    config, steps = run.config, _metadata(run)
    rejected = run.previous("rejected")
    cleaning = steps.get("cleaning", {}).get("facts", {})
    dropped = {name: count for name in ("cleaning", "preprocessing")
               if (count := steps.get(name, {}).get("facts", {}).get("rows_dropped_by_own_code"))}
    names = _names(version, evaluation)
    trained = steps.get("tuning" if run.step.name == "choosing" else "retraining", {})
    return Facts(
        title=f"{version.name}: {_what(run, evaluation, version)}",
        subtitle=f"{config.tracking.experiment}, base {config.model.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        comparison=evaluation.verdict.to_dict(),
        token_lengths=(rows["length"] + rows["cut"]).tolist(),
        max_length=config.model.max_length,
        cut_rows=int((rows["cut"] > 0).sum()),
        cut_tokens=int(rows["cut"].sum()),
        rejected=rejected["reason"].value_counts().to_dict() if rejected is not None else None,
        rejected_examples=_examples(rejected),
        rows_read=int(cleaning["rows_in_all"] + len(rejected) + dropped.get("cleaning", 0))
        if cleaning else None,
        dropped_by_own_code=dropped,
        **leaks(steps),
        trials=[Trial(**t) for t in curves(trained.get("facts", {}).get("trials", []))],
        curves=run.task.model.CURVES,
        rounds=rounds(run, version),
        forgetting=candidate.matrix(run, version).to_dict(),
        drift=batch_log.DRIFT.entries(run.workspace),
        estimates=batch_log.ESTIMATES.entries(run.workspace),
        agreement=run.facts.get("agreement"),
        next_labels=run.facts.get("next_labels"),
        error_budget=gate_budget.standing(run.workspace, version.name, config.gate),
        delivered_as=run.delivered_as,
        pages=ALL_REPORTS,
        lineage=_lineage(run, version, steps),
        own_metrics={names.get(role, role): own for role in evaluation.answers
                     if (own := evaluation.own(role))},
        **run.task.report.facts(
            evaluation, rows, names, steps.get("preprocessing", {}).get("facts", {})),
        **_uncertainty(run, steps))


def rounds(run: StepRun, version: Version) -> list[Round]:
    """Return the story so far from the models' records, oldest first.

    Scores are those of the newest evaluation, of the same rows for all; a version that is not among
    them is told with its own, apart.
    """
    records = model_records.records(run.workspace, version.name)
    table, champions = Standings.of(records), champions_after(records)
    pages = {number: name for entry in records if (number := int(entry["version"]))
             and _is_written(run, version, name := report.file_name(version.name, number), number)}
    return [_round(entry, table, champions[int(entry["version"])],
                   pages.get(int(entry["version"]))) for entry in records
            if entry.get("verdict") and (entry.get("metrics") or {}).get("challenger")]


def _is_written(run: StepRun, version: Version, name: str, number: int) -> bool:
    """Return whether the report of a version is there, or is about to be written."""
    return number == version.number or run.workspace.report.with_name(name).is_file()


def _round(entry: Mapping[str, Any], table: Standings, champion: int | None, page: str | None
           ) -> Round:
    number, verdict = int(entry["version"]), entry["verdict"]
    scores, apart = table.line(number), table.apart_of(number)
    line = apart.line if scores is None else scores
    measure = metric_info.measure_of(line)
    accurate = measure is metric_info.ACCURACY
    return Round(
        name=f"v{number}", verdict=verdict["decision"],
        **({"accuracy": line["accuracy"]} if accurate
           else {"measure": measure.name, "score": line["score"]}),
        lower=line["lower"], upper=line["upper"], n=line["n"], date=entry["created"],
        apart=apart and apart.why, measured_on=apart.rows if apart else table.rows,
        champion=None if champion is None else f"v{champion}",
        data_version=(entry["data"]["tokenized"]["commit"] or "")[:10] or None,
        model=f"{entry['model']}@{number}", page=page, **_labels(entry),
        reason=" ".join([*verdict["reasons"][1:], *_by_hand(entry)]),
        **{("average_score" if not accurate and name.startswith("average_") else name): value
           for name, value in entry.get("forgetting", {}).items()})


def _labels(entry: Mapping[str, Any]) -> dict[str, int | None]:
    """Return how many labeled rows came in with a round, and how many of them are trained on.

    A record of before does not say it, but for the first version, to which all rows were new.
    """
    rows = entry.get("new_rows")
    if rows is None and int(entry["version"]) == 1:
        rows = entry["rows"]
    if rows is None:
        return {"labels": None, "new_training_rows": None}
    return {"labels": sum(rows.values()), "new_training_rows": rows.get("train", 0)}


def champions_after(records: Sequence[Mapping[str, Any]]) -> dict[int, int | None]:
    """Return, for each version, who was champion once the round that judged it was over.

    That includes what a person decided before the next version was made.
    """
    chain = promotions.on_record(records)
    champions: dict[int, int | None] = {}
    standing, done = None, 0
    begun = [str(entry.get("created") or "") for entry in records[1:]]
    for entry, next_one in zip_longest(records, begun):
        number = int(entry["version"])
        own = next((i for i, d in enumerate(chain) if d.version == number and not d.by_hand), -1)
        if own >= done:
            standing, done = number, own + 1
        while done < len(chain) and chain[done].by_hand and chain[done].version <= number and (
                next_one is None or chain[done].time <= next_one):
            standing, done = chain[done].version, done + 1
        champions[number] = standing
    return champions


def _by_hand(entry: dict[str, Any]) -> list[str]:
    """Return a sentence for each time a person made this version champion."""
    return [f"Made champion by {p['who']} on {p['time'][:10]}: {p['reason'].rstrip('.')}."
            for p in entry.get("promotions") or []]


def leaks(steps: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of rows that repeat a test row, or nearly: what left training, what stays.

    Args:
        steps: Every step's metadata, by name.
    """
    prepared = steps.get("preprocessing", {}).get("facts", {})
    if prepared.get("leaks") is None:
        return {}
    return {"leaks": {reason: n for reason, n in prepared["leaks"].items()
                      if reason != LEARNED_BEFORE},
            "learned_before": prepared["leaks"].get(LEARNED_BEFORE, 0),
            "arrived_leaks": steps.get("inference_preprocessing", {}).get("facts", {}).get("leaks")}


def _metadata(run: StepRun) -> dict[str, dict[str, Any]]:
    """Return the latest metadata of every step that has run, this one's as it stands."""
    metadata = {step.name: json.loads(path.read_text(encoding="utf-8")) for step in STEPS
                if (path := run.workspace.metadata / f"{step.name}.json").is_file()}
    return {**metadata, run.step.name: {"facts": run.facts, "run_id": run.mlflow_run.id}}


def _what(run: StepRun, evaluation: Evaluation, version: Version) -> str:
    if evaluation.verdict.promoted:
        return f"version {version.number} is the new champion"
    before = evaluation.champion
    outcome = f"version {before.number} stays champion" if before else "no champion yet"
    return f"{outcome}, version {version.number} was not promoted"


def _names(version: Version, evaluation: Evaluation) -> dict[str, str]:
    now = " (now champion)" if evaluation.verdict.promoted else ""
    return {"challenger": f"challenger {version}{now}",
            "champion": f"champion {evaluation.champion}",
            "base": "base, before fine-tuning", "majority": "majority class"}


def _examples(rejected: pd.DataFrame | None, each: int = 2) -> list[dict[str, Any]]:
    if rejected is None or rejected.empty:
        return []
    first = rejected.groupby("reason", sort=False).head(each)
    return first[["reason", "text", "row"]].to_dict("records")


def _uncertainty(run: StepRun, steps: dict[str, Any]) -> dict[str, Any]:
    """Return the latest unlabeled batch's uncertainty, in the round that was trained on it."""
    path, sampled = run.artifact_path("predictions"), steps.get("sampling")
    if run.step.name != "evaluation" or sampled is None or not path.is_file():
        return {}
    predictions = storage.read_parquet(path)
    sampling = sampled["facts"]
    scores = run.task.evaluation.uncertainty(predictions, sampling["shown_by"])
    return {"uncertainty": scores.tolist(), "threshold": sampling["shown_threshold"],
            "strategy": sampling["strategy"].replace("_", " "),
            "quantile": sampling.get("quantile"),
            "asked": sampling["uncertain_rows_asked"] + sampling["audit_rows_asked"],
            "asked_of": sampling.get("batch")}


def _lineage(run: StepRun, version: Version, steps: dict[str, Any]) -> Lineage:
    entry = model_records.read_record(run.workspace, version) or ModelRecord()
    base = entry.get("base", {})
    versions = {h["name"]: h["commit"] for m in steps.values() for h in m.get("artifacts", [])
                if h.get("commit")}
    commit = run.tracking.client.get_run(run.mlflow_run.id).data.tags.get("git_commit")
    return Lineage(
        git_commit=commit, links=report_links.links(run, commit),
        config_hash=compose.digest(run.config), model_version=str(version),
        base=" ".join(filter(None, (base.get("source") or base.get("name"), base.get("revision")))),
        base_hash=base.get("weight_hash"), tokenizer_hash=base.get("tokenizer_hash"),
        dagster_run=run.dagster_run_id, seed=run.config.seed, data_versions=versions,
        mlflow_runs={name: m["run_id"] for name, m in steps.items() if m.get("run_id")},
        packages=record.package_versions(),
        more={"parent": f"version {entry['parent']}" if entry.get("parent") else "none"})

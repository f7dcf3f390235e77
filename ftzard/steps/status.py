"""The state of a workspace as plain values."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftzard.compute import waiting as cluster_jobs
from ftzard.config.pipeline import STEPS
from ftzard.config.schema import Config
from ftzard.evaluation import error_budget, gate
from ftzard.registry import model_records
from ftzard.registry.model_record import ModelRecord
from ftzard.reporting import batch_names
from ftzard.reporting.standings import Standings
from ftzard.steps.delivery_files import delivered_as
from ftzard.tracking import sqlite_reading
from ftzard.tracking.model_version import CHALLENGER, CHAMPION, Version
from ftzard.tracking.sqlite_reading import Reading
from ftzard.versioning import git, own_code
from ftzard.versioning.publish import unpushed, why_not_pushed
from ftzard.workspace import (
    batch_log,
    drop_folders,
    drop_tally,
    result_cache,
)
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace


def gather(workspace: Workspace) -> dict[str, Any]:
    """Return what `ftzard status` shows: commit, models, steps, waiting files, drift, pushes."""
    config = workspace.config()
    store = sqlite_reading.of_workspace(workspace, config)
    name = config.tracking.registered_model
    entries = model_records.records(workspace, name)
    table = Standings.of(entries)
    waiting = _waiting(workspace, workspace.root / config.paths.cleaned)
    local = unpushed(workspace.root)
    return {
        "workspace": str(workspace.root),
        "git_commit": git.head(workspace.root),
        "trial": config.gate.trial,
        "champion": _model(workspace, store.by_alias(name, CHAMPION), table),
        "challenger": _model(workspace, store.by_alias(name, CHALLENGER), table),
        "labels_not_known": _not_known(workspace, config, store.by_alias(name, CHAMPION)),
        "steps": {step.name: _step(store, step.run_name) for step in STEPS},
        "identity": identity(workspace, config),
        "rows_waiting_for_labels": waiting,
        "raw_files_waiting": drop_tally.not_in_table(
            workspace, workspace.root / config.paths.cleaned),
        "dropped": {name: {**tally.to_dict(), "sentence": tally.sentence()}
                    for name, tally in (drop_tally.of(workspace) or {}).items()},
        "not_taken": drop_folders.passed_over(workspace),
        "drift": _named(batch_log.DRIFT.last(workspace), workspace, store),
        "cluster": [{**job, "sentence": cluster_jobs.sentence(job)}
                    for job in cluster_jobs.jobs(workspace.state)],
        "estimate": _named(batch_log.ESTIMATES.last(workspace), workspace, store),
        "error_budget": error_budget.standing(
            entries, config.gate.error_budget, config.gate.rounds,
            cap=(1 - config.gate.confidence) / 2),
        "commits_not_pushed": [{"commit": c.sha, "subject": c.subject, "ours": c.ours}
                               for c in local],
        "not_pushed_reason": why_not_pushed(workspace.root) if local else None,
        "code_not_committed": own_code.uncommitted(workspace),
    }


def _named(entry: dict[str, Any] | None, workspace: Workspace, store: Reading
           ) -> dict[str, Any] | None:
    """Return the latest entry of a log of batches with the batch's name in the report."""
    if entry is None:
        return None
    names = delivered_as(workspace, store)
    return {**entry, "called": batch_names.called(entry["batch"], names),
            "sentence": batch_names.with_names(entry["sentence"], names)}


def _model(workspace: Workspace, version: Version | None, table: Standings | None
           ) -> dict[str, Any] | None:
    """Return the shown values of a version, with its metrics on the newest test rows, if any.

    apart: why it has none; its metrics are then of its own rows. measured_on: which rows.
    """
    if version is None:
        return None
    line = table.line(version.number) if table else None
    apart = table.apart_of(version.number) if table else None
    entry = model_records.read_record(workspace, version) or ModelRecord()
    base = entry.get("base", {})
    return {
        "name": version.name,
        "version": version.number,
        "metrics": line or (apart.line if apart else None),
        "measured_on": table.rows if line else apart.rows if apart else None,
        "apart": None if line or not apart else apart.why,
        "verdict": (entry.get("verdict") or {}).get("decision"),
        "trial": gate.is_trial(entry.get("verdict")),
        "data_version": (entry.get("data", {}).get("tokenized") or {}).get("commit"),
        "base_model": base.get("source") or base.get("name"),
        "mlflow_run": version.run_id,
    }


def _not_known(workspace: Workspace, config: Config, champion: Version | None) -> list[str]:
    """Return the names of data.labels that the champion does not know and may still learn."""
    record = model_records.read_record(workspace, champion) if champion else None
    if not record or not record.get("labels") or not record.task.labels_grow:
        return []
    return sorted({*(config.data.labels or {}).values()} - {*map(str, record["labels"])})


def _step(store: Reading, run_name: str) -> dict[str, Any]:
    count, last = store.latest(run_name)
    return {
        "runs": count,
        "state": last.status if last else None,
        "time": datetime.fromtimestamp(last.began / 1000, UTC).isoformat(
            timespec="seconds") if last else None,
        "seconds": round((last.ended - last.began) / 1000, 1) if last and last.ended else None,
    }


def _waiting(workspace: Workspace, cleaned: Path) -> int:
    """Count the rows in queues without a label."""
    queues = sorted(workspace.labelling.glob("*.csv"))
    if not queues:
        return 0
    beside = [path.with_suffix(".json") for path in queues]  # which texts were asked
    facts = [*map(result_cache.content, (*queues, *beside)), result_cache.version(cleaned)]
    return result_cache.remembered(workspace, "rows_waiting", facts,
                                  lambda: _count_waiting(workspace, cleaned))


def _count_waiting(workspace: Workspace, cleaned: Path) -> int:
    import pandas as pd

    from ftzard.data.labeling import submissions
    from ftzard.data.storage import read_parquet

    queue = submissions.queues(workspace.labelling)
    known = read_parquet(cleaned, columns=["id"])["id"] if cleaned.is_file() else pd.Series([])
    return int((~queue["id"].isin(known)).sum())

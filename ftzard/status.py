"""The state of a workspace at a glance, as plain values."""

from datetime import UTC, datetime

import pandas as pd

from ftzard import drift_log, drop_folders, drop_tally, own_code
from ftzard.dataset import handed_in
from ftzard.dataset.storage import read_parquet
from ftzard.evaluation import batches, gate
from ftzard.evaluation.standings import Standings
from ftzard.frozen_rules import identity
from ftzard.notebooks import model_files
from ftzard.notebooks.chapter import connect
from ftzard.history.delivered import delivered_as
from ftzard.steps import STEPS
from ftzard.tracking import registry, runs
from ftzard.versioning import git
from ftzard.versioning.publish import last_push, unpushed
from ftzard.workspace import Workspace


def gather(workspace: Workspace) -> dict:
    """Return what `ftzard status` shows: commit, models, steps, what waits, drift, not pushed."""
    config = workspace.config()
    tracking = connect(workspace, config)
    name = config.tracking.registered_model
    table = Standings.of(model_files.records(workspace, name))
    waiting = _waiting(workspace, workspace.root / config.paths.cleaned)
    push = last_push(workspace.root) or {}
    return {
        "workspace": str(workspace.root),
        "git_commit": git.head(workspace.root),
        "trial": config.gate.trial,
        "champion": _model(workspace, registry.by_alias(tracking, name, registry.CHAMPION), table),
        "challenger": _model(workspace, registry.by_alias(tracking, name, registry.CHALLENGER),
                             table),
        "steps": {step.name: _step(tracking, step.run_name) for step in STEPS},
        "identity": identity(workspace, config),
        "rows_waiting_for_labels": waiting,
        "raw_files_waiting": drop_tally.not_in_table(
            workspace, workspace.root / config.paths.cleaned),
        "dropped": {name: {**tally.to_dict(), "sentence": tally.sentence()}
                    for name, tally in (drop_tally.of(workspace) or {}).items()},
        "not_taken": drop_folders.passed_over(workspace),
        "drift": _drift(workspace, tracking),
        "commits_not_pushed": [{"commit": c.sha, "subject": c.subject, "ours": c.ours}
                               for c in unpushed(workspace.root)],
        "not_pushed_reason": push.get("reason"),
        "code_not_committed": own_code.uncommitted(workspace),
    }


def _drift(workspace: Workspace, tracking: runs.Tracking) -> dict | None:
    """Return the latest batch's entry in the log of drift, and how the report calls the batch."""
    last = drift_log.last(workspace)
    if last is None:
        return None
    names = delivered_as(workspace, tracking)
    return {**last, "called": batches.called(last["batch"], names),
            "sentence": batches.told(last["sentence"], names)}


def _model(workspace: Workspace, version, table: Standings | None) -> dict | None:
    """Return what is shown of a version; its metrics are of the newest test rows, if it has such.

    apart: why it has none; its metrics are then of its own rows. measured_on: which rows.
    """
    if version is None:
        return None
    line = table.line(version.number) if table else None
    apart = table.apart_of(version.number) if table else None
    entry = model_files.read_record(workspace, version) or {}
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


def _step(tracking: runs.Tracking, run_name: str) -> dict:
    found = runs.children(tracking, run_name)
    last = found[0] if found else None
    return {
        "runs": len(found),
        "state": last.info.status if last else None,
        "time": datetime.fromtimestamp(last.info.start_time / 1000, UTC).isoformat(
            timespec="seconds") if last else None,
        "seconds": round((last.info.end_time - last.info.start_time) / 1000, 1)
        if last and last.info.end_time else None,
    }


def _waiting(workspace: Workspace, cleaned) -> int:
    """Count the rows that were asked for and have no label yet."""
    queue = handed_in.queues(workspace.labelling)
    if queue is None:
        return 0
    known = read_parquet(cleaned, columns=["id"])["id"] if cleaned.is_file() else pd.Series([])
    return int((~queue["id"].isin(known)).sum())

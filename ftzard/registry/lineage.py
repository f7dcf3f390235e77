"""Lineage both ways: from an artifact to the models trained on it, from a model to what made it.

git tells the story: `.dvc` files, model records and the run's id in each commit. MLflow adds names,
states and notebooks where it knows the run; in a clone it does not, and the answer says so. Values
only: `ftzard.cli.tables` draws them.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ftzard.config.pipeline import BY_NAME
from ftzard.config.schema import Config, Paths
from ftzard.errors import WorkspaceError, nearest
from ftzard.registry import promotions
from ftzard.registry.model_record import ModelRecord
from ftzard.reporting.standings import Standings
from ftzard.tracking import sqlite_reading
from ftzard.tracking.model_version import ALIASES, CHAMPION, role_with_version
from ftzard.tracking.workspace_store import NOT_HERE, store
from ftzard.versioning import git, versions
from ftzard.versioning.versions import Version
from ftzard.workspace import result_cache
from ftzard.workspace.artifact_names import ELSEWHERE, name_of, select
from ftzard.workspace.record_file import read_record_file
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.tracking.runs import Tracking
    from ftzard.tracking.sqlite_reading import Reading

#: What a training run was fed, beside the deliveries: named in its record by this chain.
CHAIN = ("cleaned", "tokenized")


def history(workspace: Workspace, artifact: str | None = None) -> list[dict]:
    """Return the versions of an artifact (of all, without a name), newest first.

    Args:
        artifact: Its name in the config's paths ('cleaned'), 'delivery', 'base', 'adapter',
            'record', or a path. Each version says: artifact, path, commit, time (UTC), rows, size
            in bytes, md5, the run that made it, whether it is pushed, and the models trained on
            it.
    """
    root, config = workspace.root, workspace.config()
    entries = versions.every_version(root, paths=(versions.POINTERS, versions.RECORDS))
    if artifact is not None:
        chosen = set(select(workspace, config, artifact, (v.path for v in entries)))
        entries = [version for version in entries if version.path in chosen]
    registry = sqlite_reading.of_workspace(workspace, config)
    known = _known_runs(registry if registry.is_there else None)
    pushed, models = versions.whether_pushed(root), _models_of(workspace)
    return [{**_entry(version, config.paths, known, pushed),
             "models": models.get(f"{version.commit} {version.path}", [])} for version in entries]


def lineage(workspace: Workspace, model: str | None = None) -> dict:
    """Return all that a model is made of.

    Args:
        model: 'MODEL', 'MODEL@VERSION' or a role. Without a model: the configured one; without a
            version: the champion, or where no registry says who that is, the version that was
            promoted last.

    Raises:
        WorkspaceError: For a model or version that has no record, or if none was promoted.
    """
    root, config = workspace.root, workspace.config()
    tracking, model_records = store(workspace, config), records(root)
    name, number, roles = _which(model, model_records, config, tracking)
    record = model_records[name][number]
    commits = versions.every_version(root, paths=[f":(top,literal)models/{name}/{number}.yaml"])
    made_at = commits[-1].commit if commits else None
    tokenized = (record["data"].get("tokenized") or {}).get("commit")
    by_version = _by_version(root, "HEAD", tokenized)
    used = _used(root, record, model_records, made_at, by_version)
    adapter = f"models/{name}/{number}.zip"
    own = by_version.get((adapter, _in_force(root, made_at).get(adapter, "")))
    known, pushed = _known_runs(tracking), versions.whether_pushed(root)
    stood = {**_in_force(root, tokenized), **used}.items()
    data = [{**_entry(version, config.paths, known, pushed), "used": key in used.items()}
            for key, version in by_version.items() if key in stood]
    feeding = [v for v in reversed(data) if v["used"] and v["artifact"] != "adapter"]
    trained = _run(record["mlflow_run"], known, record["step"], record.get("dagster_run"))
    runs = [*(v["run"] for v in feeding), *_searched(record, known), trained,
            *(_run(v.run_id, known, _step_of(v.subject)) for v in reversed(commits))]
    tags = known.get(record["mlflow_run"], {}).get("tags", {})
    return {
        "model": name,
        "version": number,
        "roles": sorted(role for role, holder in roles.items() if holder == number),
        "created": record["created"],
        "record": {"path": f"models/{name}/{number}.yaml", "made_at": made_at,
                   "commit": commits[0].commit if commits else None},
        "store": None if tracking is not None else NOT_HERE,
        "runs": [_with_notebook(run, workspace, tracking) for run in _once(runs)],
        "config": record["config"],
        "config_hash": record["config_hash"],
        "params": ModelRecord(record).trained_params,
        "recipe": record.get("recipe"),
        "labels": record["labels"],
        "rows": record["rows"],
        "batches": record["batches"],
        "data_version": tokenized,
        "data_here": tokenized is not None and versions.is_here(root, tokenized),
        "data": data,
        "adapter": _entry(own, config.paths, known, pushed) if own else None,
        "base": record["base"],
        "parents": _parents(record, model_records),
        "code": {"commit": record.get("git_commit") or tags.get("git_commit"),
                 "code_hash": record.get("code_hash") or tags.get("code_hash"),
                 "notebook_hash": tags.get("notebook_hash"),
                 "packages": record["packages"]},
        "verdict": record.get("verdict"),
        "promotions": record.get("promotions") or [],
        "deleted": record.get("deleted"),
        **_scores(record, model_records[name].values()),
    }


def _scores(record: Mapping, others: Iterable[Mapping]) -> dict:
    """Return a version's scores on the newest test rows, or on its own, and which they are."""
    table, number = Standings.of(others), int(record["version"])
    line, apart = (table.line(number), table.apart_of(number)) if table else (None, None)
    if line is not None:
        return {"metrics": dict(line), "measured_on": table.rows}
    return {"metrics": dict(apart.line) if apart else None,
            "measured_on": f"{apart.rows}: {apart.why}" if apart else None}


def records(root: Path) -> dict[str, dict[int, dict]]:
    """Return every model record of the workspace by model and version."""
    by_model: dict[str, dict[int, dict]] = {}
    for path in _record_files(root):
        by_model.setdefault(path.parent.name, {})[int(path.stem)] = read_record_file(path)
    return by_model


def _which(asked: str | None, model_records: Mapping, config: Config, tracking: "Tracking | None"
           ) -> tuple[str, int, dict[str, int]]:
    """Return (model, version, roles of the model's versions)."""
    own = config.tracking.registered_model
    name, _, version = (asked or own).partition("@")
    if name in ALIASES and name not in model_records:
        numbers, roles = sorted(model_records.get(own, {})), _roles(tracking, own)
        if version:
            holder = f"{own}@{roles[name]}" if name in roles else None
            raise role_with_version(name, version, own, numbers, holder)
        if name in roles and roles[name] in numbers:
            return own, roles[name], roles
        if name != CHAMPION:
            raise WorkspaceError(f"'{own}' has no {name} with a record; name one of its versions"
                                 + (f", as in {own}@{numbers[-1]}." if numbers else "."))
        name = own
    if not model_records:
        raise WorkspaceError(f"there is no model '{name}': models/ holds no record yet; run "
                             "'ftzard run training_pipeline_job' first.")
    if name not in model_records:
        raise WorkspaceError(f"there is no model '{name}' in models/{nearest(name, model_records)}")
    roles = _roles(tracking, name)
    if version:
        if not version.isdigit() or int(version) not in model_records[name]:
            raise WorkspaceError(f"the model '{name}' has no version '{version}' with a record; it "
                                 f"has {', '.join(map(str, sorted(model_records[name])))}.")
        return name, int(version), roles
    number = roles.get("champion") or _last_promoted(model_records[name])
    if number not in model_records[name]:
        raise WorkspaceError(
            f"the model '{name}' has no champion with a record; name one of its versions, as in "
            f"{name}@{max(model_records[name])}")
    return name, number, roles


def _last_promoted(numbered: Mapping[int, Mapping]) -> int | None:
    """Return the version that was promoted last, by the gate or by hand; None if none was.

    One that was deleted from the registry is not it.
    """
    last = promotions.latest(numbered.values())
    return last[-1].version if last else None


def _roles(tracking: "Tracking | None", name: str) -> dict[str, int]:
    """Return {role: version} as the registry has it; empty where there is no store."""
    if tracking is None:
        return {}
    from ftzard.tracking import registry

    versions_of = {role: registry.by_alias(tracking, name, role)
                   for role in (registry.CHAMPION, registry.CHALLENGER, registry.PREVIOUS)}
    return {role: version.number for role, version in versions_of.items() if version is not None}


def _by_version(root: Path, *revisions: str | None) -> dict[tuple[str, str], Version]:
    """Return {(path, commit): version} of all artifacts in the histories of revisions."""
    return {(v.path, v.commit): v for revision in revisions
            if revision and versions.is_here(root, revision)
            for v in versions.every_version(root, revision)}


def _models_of(workspace: Workspace) -> dict[str, list[str]]:
    """Return {commit and path of a version: the models that were trained on it}."""
    root = workspace.root
    # What this repository holds decides it: its history, how deep that goes, and the records.
    facts = [git.head(root), result_cache.content(root / ".git" / "shallow"),
             *([path.as_posix(), result_cache.content(path)] for path in _record_files(root))]
    return result_cache.remembered(workspace, "models_trained_on", facts, lambda: {
        f"{commit} {path}": models for (path, commit), models in _trained(workspace).items()})


def _record_files(root: Path) -> list[Path]:
    return [path for path in sorted((root / "models").glob("*/*.yaml")) if path.stem.isdigit()]


def _trained(workspace: Workspace) -> dict[tuple[str, str], list[str]]:
    """Return {(path, commit): the models that were trained on that version}."""
    root, model_records = workspace.root, records(workspace.root)
    by_version = _by_version(root, "HEAD") if model_records else {}
    # Newest first, so what stays of each record is the commit that brought it.
    made = {v.path: v.commit for v in versions.every_version(root, paths=(versions.RECORDS,))}
    models: dict[tuple[str, str], list[str]] = {}
    for name, numbered in model_records.items():
        for number, record in sorted(numbered.items()):
            made_at = made.get(f"models/{name}/{number}.yaml")
            for version in _used(root, record, model_records, made_at, by_version).items():
                models.setdefault(version, []).append(f"{name}@{number}")
    return models


def _used(root: Path, record: Mapping, model_records: Mapping, made_at: str | None,
          by_version: Mapping[tuple[str, str], Version]) -> dict[str, str]:
    """Return {path: commit} of the versions that a model is made of, its own adapter left out.

    made_at: the commit that brought its record. Of the chain up to the tokenized data, it is the
    versions in force at that data's commit. A delivery is used if the record names its batch, or
    if it is a hand-in: given to cleaning, and no model's batch. A parent's adapter: as of made_at.
    """
    tokenized = record["data"].get("tokenized") or {}
    batches = {batch for models in model_records.values() for r in models.values()
               for batch in r["batches"]}
    paths = {record["config"]["paths"][name] for name in CHAIN} | {tokenized.get("path")}
    if record["base"]["source"] is None:
        paths.add(f"models/bases/{record['base']['name']}.zip")
    used = {}
    for path, commit in _in_force(root, tokenized.get("commit")).items():
        if re.fullmatch(ELSEWHERE["delivery"], path):
            batch, version = PurePosixPath(path).name[:12], by_version.get((path, commit))
            handed_in = batch not in batches and version and _step_of(version.subject) == "cleaning"
            if batch in record["batches"] or handed_in:
                used[path] = commit
        elif path in paths:
            used[path] = commit
    if record["parent"] is not None:
        parent = f"models/{record['model']}/{record['parent']}.zip"
        used |= {p: c for p, c in _in_force(root, made_at).items() if p == parent}
    return used


def _in_force(root: Path, commit: str | None) -> dict[str, str]:
    """Return the versions in force at a commit; none for a commit that is not here."""
    return versions.in_force(root, commit) if commit and versions.is_here(root, commit) else {}


def _parents(record: Mapping, model_records: Mapping) -> list[dict]:
    """Return the models it was trained from, nearest first, up to the first model."""
    parents, name, number = [], record["model"], record["parent"]
    while number is not None:
        parent = model_records[name].get(number)
        parents.append({
            "model": name, "version": number,
            "step": parent and parent["step"],
            "run": parent and parent["mlflow_run"],
            "data_version": parent and (parent["data"].get("tokenized") or {}).get("commit"),
            "verdict": ((parent or {}).get("verdict") or {}).get("decision"),
        })
        number = parent and parent["parent"]
    return parents


def _entry(version: Version, paths: Paths, known: Mapping, pushed: Mapping) -> dict:
    """Return a version of an artifact as plain values."""
    at = datetime.fromisoformat(version.time).astimezone(UTC)
    return {
        "artifact": name_of(version.path, paths), "path": version.path,
        "commit": version.commit, "time": at.isoformat(timespec="seconds"),
        "rows": version.rows, "size": version.size, "md5": version.md5,
        "run": _run(version.run_id, known, _step_of(version.subject)),
        "pushed": pushed.get(version.commit, False),
    }


def _known_runs(store: "Reading | Tracking | None") -> dict[str, dict]:
    """Return {id: what MLflow knows} of every execution of a step."""
    if store is None:
        return {}
    return {run.id: {
        "name": run.name, "state": run.status, "tags": run.tags, "step": run.tags.get("step"),
        "began": run.began, "ended": run.ended} for run in sqlite_reading.of(store).executions()}


def _run(run_id: str | None, known: Mapping, step: str | None, dagster_run: str | None = None
         ) -> dict:
    """Return a run: what MLflow knows of it, else what git does (`in_store` says which)."""
    details = known.get(run_id, {})
    there = details.get("tags", {}).get("dagster_run_id")
    return {"id": run_id, "step": details.get("step") or step, "name": details.get("name"),
            "state": details.get("state"), "in_store": bool(details),
            "dagster_run": there if there not in (None, "none") else dagster_run}


def _step_of(subject: str) -> str | None:
    """Return the step that made a commit, from its first line ('cleaning: …'), or None."""
    step = subject.partition(":")[0]
    return step if step in BY_NAME else None


def _searched(record: Mapping, known: Mapping) -> list[dict]:
    """Return the search whose best trial was chosen: the last that ended before the choice."""
    chosen = known.get(record["mlflow_run"])
    if record["step"] != "choosing" or chosen is None:
        return []
    ended = [(run["ended"], run_id) for run_id, run in known.items() if run["step"] == "tuning"
             and run["state"] == "FINISHED" and run["ended"] <= chosen["began"]]
    return [_run(max(ended)[1], known, "tuning")] if ended else []


def _once(runs: Iterable[dict]) -> list[dict]:
    """Return each run of MLflow's once; other trailers ('restore') are no runs."""
    seen: dict[str, dict] = {}
    for run in runs:
        if run["id"] and re.fullmatch("[0-9a-f]{32}", run["id"]):
            seen.setdefault(run["id"], run)
    return list(seen.values())


def _with_notebook(run: dict, workspace: Workspace, tracking: "Tracking | None") -> dict:
    """Return a run with where its notebook is, as it was executed: artifact in MLflow, and file."""
    artifact = file = None
    if run["in_store"]:
        from ftzard.tracking import runs

        artifact = next(iter(runs.files(tracking, run["id"], "notebook")), None)
    if run["dagster_run"] and run["step"]:
        file = workspace.executed_notebook(run["dagster_run"], run["step"])
    path = workspace.relative(file) if file and file.is_file() else None
    return {**run, "notebook": {"artifact": artifact, "file": path}}

"""A candidate for promotion: checked, registered, placed in the workspace, put on record."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import ftzard
from ftzard.config import compose
from ftzard.core import archive
from ftzard.data import replay
from ftzard.errors import DataError, ModelError, VersioningError
from ftzard.evaluation import forgetting, metric_info
from ftzard.evaluation.forgetting import Matrix
from ftzard.modeling.adapter_meta import read_meta
from ftzard.registry import champion_alias, effective_config, model_records, promotions
from ftzard.registry.register import register as register_adapter
from ftzard.registry.register import register_base
from ftzard.steps import (
    accuracy_estimate,
    drift_reference,
    gate_budget,
    temperature,
    version_scores,
)
from ftzard.steps.step_run import StepRun, scratch
from ftzard.tasks import verification
from ftzard.tasks.evaluation import Evaluation
from ftzard.tracking import record, registry
from ftzard.tracking.card import model_card
from ftzard.tracking.model_version import Version, base_name
from ftzard.training import rows_used
from ftzard.versioning import git
from ftzard.workspace import notices, round_notices
from ftzard.workspace.identity_version import identity_of
from ftzard.workspace.workspace import Workspace


def check(run: StepRun, folder: Path, rows: pd.DataFrame, sample: int = 64) -> float:
    """Refuse an adapter that answers differently when a fresh process opens it.

    Args:
        rows: Tokenized validation rows, of which the first `sample` are answered; the temperature
            of its confidence, if the task has one, is fitted on all of them.

    Returns:
        The largest difference.
    """
    part = run.task.predictor
    spec = model_records.base_spec(run.workspace, run.config.model, run.config.task.kind)
    predictor, sampled = part.open_predictor(folder, spec), rows.head(sample)
    difference = verification.verify_saved(
        folder, spec, sampled, part.fingerprint(predictor, sampled.to_dict("list")))
    temperature.fit(run, predictor, rows)
    run.log(fresh_process_difference=difference)
    return difference


def seen_rows(run: StepRun, champion: Version, record: Mapping[str, Any], train: pd.DataFrame
              ) -> dict[str, Any]:
    """Return the batches that the champion knows, and the rows of them that it has not seen.

    The champion and those it comes from have learned the training rows of its own data version,
    which the working tree or DVC still has; if that version was never committed, its batches count
    as learned as a whole, which is told.

    Args:
        train: Training rows of all batches.

    Raises:
        VersioningError: If the version cannot be had.
    """
    before = model_records.tokenized_rows(run.workspace, record, "train")
    seen = replay.batch_groups(train, before, record["batches"])
    if before is None:
        print(f"the rows that {champion} has learned were never committed: all rows of its "
              f"{len(seen['known'])} batches count as learned, new labels among them too")
    elif seen["fresh"]:
        print(f"{len(seen['fresh'])} rows of batches that {champion} knows are new to it, by their "
              "label or as a whole")
    run.record_facts(learned_by="batches" if before is None else "rows")
    run.log(new_rows_of_known_batches=len(seen["fresh"]))
    return seen


def register(run: StepRun, folder: Path, rows: pd.DataFrame, *, params: dict[str, Any],
             recipe: dict[str, Any], parent: Version | None = None,
             replayed: dict[str, Any] | None = None, trained_rows: int | None = None) -> Version:
    """Register an adapter as a new version and place it and its record in the workspace.

    The new version has no alias yet. Its bare base is registered too, unless that was done before.

    Args:
        rows: All tokenized rows it was made from.
        params: The values the search found.
        recipe: All that `fit` was told, to make it again, which the record's config says too.
        parent: The version whose adapter it started from.
        replayed: What `replay.mix` was told, if earlier rows were replayed.
        trained_rows: How many it was trained on, None for all of the training side.
    """
    workspace, config = run.workspace, run.config
    ran = effective_config.made(config, recipe)
    meta = read_meta(folder)
    _require_own_clean(run, meta)
    train = rows[rows["split"] == "train"]
    if replayed is not None:
        train, _ = replay.mix(train, **replayed, seed=recipe["seed"])
    chosen = rows_used.settle(folder, train, rows[rows["split"] == "validation"])
    if chosen:
        print("the notebook chose the rows of training itself; they are kept with the model")
    run.record_facts(rows_chosen_by_own_code=chosen)
    packed = archive.pack(folder, scratch() / "adapter.zip")
    base = model_records.shipped_base(workspace, config.model, scratch())
    fitted = (temperature.known(run) or {}).get("temperature")
    name, hashes = config.tracking.registered_model, model_records.hashes(meta)
    tags = {"base_model": config.model.source or config.model.name,
            "base_revision": config.model.revision or "none", **hashes}
    example = rows["text"].head(3).tolist()
    bare, _ = register_base(
        run.mlflow_run, base_name(name), spec=meta["base"]["spec"], hashes=hashes,
        labels=meta["labels"], cleaning=run.cleaning, archive=base,
        example=example, tags={**tags, "ftzard_run": run.mlflow_run.id},
        answering={key: meta[key] for key in run.task.predictor_meta if key in meta})
    version = register_adapter(
        run.mlflow_run, name, adapter=packed, base=base, example=example, labels=meta["labels"],
        last_number=model_records.last_number(workspace, name),
        asked={"temperature": fitted, "abstain_below": config.task.abstain_below} if fitted else {},
        tags={**tags, "base_version": bare, **_trial_tag(run),
              "config_hash": compose.digest(ran),
              "data_version": run.inputs["tokenized"].commit or "not versioned",
              "ftzard_run": run.mlflow_run.id})
    place = model_records.adapter_archive(workspace, version)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(packed, place)
    run.add_artifact("adapter", place)
    run.mlflow_run.tags({**hashes, "model_version": str(version)})
    run.record_facts(version=version.number, model=version.name)
    update_record(run, version, {
        "model": version.name,
        "version": version.number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": run.step.name,
        "mlflow_run": run.mlflow_run.id,
        "dagster_run": run.dagster_run_id,
        "parent": parent.number if parent else None,
        "base": {"name": config.model.name, "source": config.model.source,
                 "revision": config.model.revision, "registered": str(bare),
                 "weight_hash": hashes["base_hash"], "tokenizer_hash": hashes["tokenizer_hash"]},
        "labels": meta["labels"],
        "batches": list(dict.fromkeys(rows["batch"])),
        "rows": {k: int(v) for k, v in rows["split"].value_counts().items()},
        "new_rows": new_rows(workspace, version.name, rows),
        "trained_rows": int((rows["split"] == "train").sum()) if trained_rows is None
        else trained_rows,
        "data": {name: {"path": h.path, "sha256": h.sha256, "commit": h.commit}
                 for name, h in run.inputs.items()},
        "identity": identity_of(run.path("tokenized")),
        "params": params,
        **({"temperature": fitted} if fitted else {}),
        "recipe": {**recipe, "replayed": replayed},
        "git_commit": git.head(workspace.root),
        "code_hash": record.code_hash(Path(ftzard.__file__).parent),
        **own_functions(run),
        **({"rows_chosen": True} if chosen else {}),
        "packages": record.package_versions(),
        "config_hash": compose.digest(ran),
        "config": compose.to_record(ran),
    })
    registry.describe(run.tracking, version, model_card(
        model_records.read_record(workspace, version)))
    return version


def _require_own_clean(run: StepRun, meta: Mapping[str, Any]) -> None:
    """Refuse an adapter that does not keep the function with which its texts were cleaned."""
    function, wanted = meta.get("cleaning", {}).get("own"), run.own_clean
    if function == wanted:
        return
    keeps = f"{function['function']} of {function['sha256'][:12]}" if function else "no function"
    raise ModelError(
        f"data.clean is {run.config.data.clean or 'null'}, but the adapter keeps {keeps}: "
        "predictions would not clean texts as training did. Let the notebooks of tuning and "
        "retraining pass extra={'cleaning': run.cleaning}; if they are of an earlier release, "
        "move them away and run 'ftzard init' for new copies; if the function was edited since, "
        "train again.")


def own_functions(run: StepRun) -> dict[str, Any]:
    """Return what a record says of the workspace's own code: which files ran, which functions.

    own_code: {path: sha256}, of files that git has at the record's commit; clean, own_metrics: the
    functions with the hashes of their sources.
    """
    entries: dict[str, Any] = {
        "own_code": {path: used.sha256 for path, used in sorted(run.code.items())}}
    if run.own_clean is not None:
        entries["clean"] = {key: run.own_clean[key] for key in ("function", "sha256")}
    if run.own_metrics:
        entries["own_metrics"] = {name: {key: value[key] for key in ("function", "sha256")}
                                for name, value in run.own_metrics.items()}
    return entries


def update_record(run: StepRun, version: Version, entries: dict[str, Any]) -> None:
    """Add entries to a version's record; Git_Dvc commits it with this step."""
    path = model_records.write_record(run.workspace, version, entries)
    relative = run.workspace.relative(path)
    if relative not in run.records:
        run.records.append(relative)


def apply_verdict(run: StepRun, version: Version, evaluation: Evaluation) -> None:
    """Carry out the gate's verdict: move the aliases, record it with run, version and model."""
    verdict = evaluation.verdict
    recorded = model_records.read_record(run.workspace, version) or {}
    made = gate_budget.with_decision(recorded.get("decisions") or [], verdict)
    counted = {"decisions": made} if made else {}
    again = evaluation.champion is not None and evaluation.champion.number == version.number
    if verdict.promoted and again:
        print(f"{version} is the champion already, by the decision on record")
    elif verdict.promoted:  # on record first: what is cut off here is completed by whoever is next
        decision = promotions.following(model_records.records(run.workspace, version.name))
        with champion_alias.deciding(run.workspace, run.tracking, version, decision["id"]):
            update_record(run, version, {"verdict": verdict.to_dict(), "decision": decision,
                                         **counted})
    else:
        registry.move(run.tracking, version.name, challenger=version)
    registry.tag(run.tracking, version, {
        "gate.decision": verdict.decision, "gate.reasons": " ".join(verdict.reasons),
        "gate.difference": round(verdict.difference, 6), "gate.lower": round(verdict.lower, 6),
        "gate.upper": round(verdict.upper, 6), "gate.n": verdict.n, **_trial_tag(run)})
    run.mlflow_run.tags({"verdict": verdict.decision, "verdict_reasons": " ".join(verdict.reasons),
                      "model_version": str(version), **_trial_tag(run)})
    run.log(**evaluation.flat())
    run.record_facts(verdict=verdict.to_dict(), version=version.number, model=version.name,
                models=evaluation.table().to_dict("records"),
                champion=evaluation.champion.number if evaluation.champion else None)
    update_record(run, version, {
        "verdict": verdict.to_dict(), **counted,
        "challenged": evaluation.champion.number if evaluation.champion else None,
        "metrics": {line["model"]: line for line in evaluation.table().to_dict("records")},
        **evaluation.entries(),
        "tested": evaluation.tested(version),
        "same_rows": version_scores.entry(
            run, evaluation.rows, evaluation.scores(version), evaluation.apart),
    })
    run.log(**_by_version(evaluation, version))
    forgotten = forgetting.summary(matrix(run, version), version.number).flat()
    update_record(run, version, {"forgetting": forgotten})
    run.log(**forgotten)
    run.record_facts(**evaluation.facts())
    drift_reference.remember(run, version, evaluation.sample)
    notices.add(run.workspace, run.config.notify, round_notices.verdict(
        run.workspace, version.name, version.number, verdict.to_dict(),
        run.config.tracking.server))
    accuracy_estimate.remember(run, version, evaluation)
    registry.describe(run.tracking, version,
                      run.mlflow_run.card(model_records.read_record(run.workspace, version)))


def _trial_tag(run: StepRun) -> dict[str, str]:
    """Return the tag of what is made in a trial workspace, or none."""
    return {"gate.trial": "true"} if run.config.gate.trial else {}


def _by_version(evaluation: Evaluation, version: Version) -> dict[str, float]:
    """Return the score of each version on these rows, under a name that tracking takes."""
    return {f"version_{number}_test_{metric_info.measure_of(line).name}": metric_info.score(line)
            for number, line in evaluation.scores(version).items()}


def new_rows(workspace: Workspace, name: str, rows: pd.DataFrame) -> dict[str, int] | None:
    """Return {side: rows} that the last evaluated version's data did not have with this answer.

    Args:
        rows: All tokenized rows; of a model without an evaluated version all are new. None if the
            rows of that version cannot be had any more.
    """
    before = [r for r in model_records.records(workspace, name) if r.get("verdict")]
    if before:
        try:
            earlier = model_records.tokenized_rows(workspace, before[-1])
        except (DataError, VersioningError) as error:
            print(f"how many rows are new in this round is not known: {error}")
            return None
        if earlier is None:
            return None
        rows = rows[replay.is_new(rows, earlier)]
    return {str(side): int(n) for side, n in rows["split"].value_counts().items()}


def matrix(run: StepRun, version: Version) -> Matrix:
    """Return the forgetting matrix of all versions so far, from their records."""
    return Matrix.of(model_records.records(run.workspace, version.name))

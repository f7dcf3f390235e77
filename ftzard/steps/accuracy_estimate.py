"""The accuracy of an unlabelled batch, estimated in step 5 and scored when its labels are back."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ftzard.data import storage
from ftzard.data.labeling import labeling_queue
from ftzard.data.query_strategies import AUDIT
from ftzard.evaluation import estimates
from ftzard.evaluation.drift import Drift
from ftzard.evaluation.estimates import Estimate
from ftzard.registry import model_records
from ftzard.registry.model_record import ModelRecord
from ftzard.reporting import batch_names
from ftzard.steps import drift_reference
from ftzard.steps.step_run import StepRun
from ftzard.tracking.model_version import Version
from ftzard.workspace import batch_log
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.tasks.evaluation import Evaluation


def of_batch(run: StepRun, champion: Version, model: Any, rows: pd.DataFrame, answers: Any,
             drift: Drift) -> Estimate | None:
    """Estimate a predicted batch's accuracy, record and log it; None where that is not done.

    Args:
        run: the step.
        champion: whose predictions they are.
        model: the champion, opened; asked only if its answers to its own test rows are missing.
        rows: tokenized rows of one batch.
        answers: the champion's to them.
        drift: of the batch.
    """
    calibrated = getattr(run.task.evaluation, "calibrated", None)
    if calibrated is None or not run.config.drift.estimate_accuracy:
        return None
    batch = rows["batch"].iloc[0]
    record = model_records.read_record(run.workspace, champion) or ModelRecord()
    known = reference(run, champion, model)
    classes = list(model.labels)
    temperature = record.get("temperature") or 1.0
    before = [entry for entry in batch_log.ESTIMATES.entries(run.workspace)
              if entry["batch"] != batch]
    result = estimates.estimate(
        calibrated(answers, temperature), calibrated(np.stack(known["probabilities"]), temperature),
        known["label"].map(classes.index).to_numpy(), classes,
        drifted=", ".join(drift.raised_by or ["an alarm that stands"]) if drift.alarm else None,
        record=before, confidence=run.config.gate.confidence)
    run.log(**result.flat())
    run.record_facts(estimate=result.to_dict())
    run.mlflow_run.tags({"estimated_accuracy": result.sentence})
    run.add_artifact("estimates", batch_log.ESTIMATES.add(
        run.workspace, result.to_dict(), batch=batch, champion=champion.number))
    return result


def show(result: Estimate | None) -> pd.DataFrame | str:
    """Return the estimate as a table, for the notebook: all rows, and the recall of each class."""
    if result is None:
        return "accuracy without labels is not estimated here (drift.estimate_accuracy)"
    if result.estimate is None:
        return f"accuracy {result.sentence}"
    print(f"accuracy: {result.sentence}")
    lines = [{"of": "accuracy", "estimate": result.estimate, "lower": result.lower,
              "upper": result.upper, "rows": result.n},
             *({"of": f"recall of {c['label']}", "estimate": c["estimate"], "lower": c["lower"],
                "upper": c["upper"], "rows": round(c["rows"])} for c in result.per_class)]
    return pd.DataFrame(lines).round(3)


def reference(run: StepRun, champion: Version, model: Any) -> pd.DataFrame:
    """Return label and probabilities of the champion's own test rows, from the cache or anew."""
    path = _place(run.workspace, champion)
    if not path.is_file():
        rows = drift_reference.test_rows(run.workspace, champion)
        _keep(path, rows, run.task.model.predict(model, rows, on_step=run.progress).answers)
    return storage.read_parquet(path)


def remember(run: StepRun, version: Version, evaluation: "Evaluation") -> None:
    """Keep a version's answers to this step's test rows, if they are those it was trained with."""
    if hasattr(run.task.evaluation, "calibrated") and drift_reference.trained_on_now(run, version):
        _keep(_place(run.workspace, version), evaluation.rows, evaluation.answers["challenger"])


def audit(run: StepRun, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Score the estimates of batches by the audit rows that have labels now; return those scored.

    An audit row counts for the estimate of the model that had suggested its label when it was
    asked.

    Args:
        table: Cleaned rows of all batches.
    """
    logged = batch_log.ESTIMATES.entries(run.workspace)
    if not logged:
        return []
    measured, changed = _measured(run.workspace, table), []
    for entry in logged:
        counts = measured.get((entry["batch"], str(entry["champion"])))
        score = estimates.audit(entry, *counts) if counts else None
        if score is not None and score != entry.get("audit"):
            entry["audit"] = score
            changed.append(entry)
    if changed:
        run.add_artifact("estimates", batch_log.ESTIMATES.replace(run.workspace, logged))
        run.log(estimates_missed=estimates.scored(logged)[0],
                estimates_scored=estimates.scored(logged)[1])
        run.record_facts(estimates_scored=[
            {key: entry[key] for key in ("batch", "champion", "estimate", "audit")}
            for entry in changed])
        for entry in changed:
            name = batch_names.called(entry["batch"], run.delivered_as)
            print(f"accuracy of {name}: {entry['sentence']} Its "
                  f"{entry['audit']['n']:,} audit rows: {entry['audit']['measured']:.1%}, "
                  f"{'covered' if entry['audit']['covered'] else 'missed'}.")
    return changed


def _measured(workspace: Workspace, table: pd.DataFrame) -> dict[tuple[str, str], tuple[int, int]]:
    """Return {(batch, version): (right, rows)} of the audit rows that have labels."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    labels = table.drop_duplicates("id").set_index("id")["label"]
    for file in sorted(workspace.labelling.glob("*.csv")):
        place = labeling_queue.suggestions_file(file)
        if not place.is_file():
            continue
        asked = labeling_queue.read_asked(file)
        asked = asked[(asked["chosen_by"] == AUDIT) & asked["id"].isin(labels.index)]
        suggestions = storage.read_parquet(place).set_index("id")
        for (batch, model), part in asked.assign(
                model=asked["id"].map(suggestions["model"])).groupby(["batch", "model"]):
            right = (part["id"].map(suggestions["suggestion"]).to_numpy()
                     == part["id"].map(labels).to_numpy())
            counts[str(batch), str(model).rpartition("@")[2]] = int(right.sum()), len(right)
    return counts


def _keep(path: Path, rows: pd.DataFrame, answers: np.ndarray) -> None:
    storage.write_parquet(pd.DataFrame({
        "label": rows["label"].astype("str").to_numpy(),
        "probabilities": list(np.asarray(answers, dtype="float32"))}), path)


def _place(workspace: Workspace, version: Version) -> Path:
    """Return where a version's answers are kept, by the hash of the rows it was trained on."""
    return drift_reference.place(workspace, version).with_suffix(".labelled.parquet")

"""What the next labels buy: predicted in step 8, shown in report and status, used by sampling."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from ftzard.evaluation import learning_curve
from ftzard.registry import model_records
from ftzard.steps import candidate, gate_budget
from ftzard.steps.step_run import StepRun

if TYPE_CHECKING:
    from ftzard.tasks.evaluation import Evaluation
    from ftzard.tracking.registry import Version
    from ftzard.workspace.workspace import Workspace

#: Labels that are asked for where nothing is known, and at most, with sampling.budget=auto.
USUAL, MOST = 400, 2000
AUTO = "auto"


def predict(run: StepRun, version: "Version", evaluation: "Evaluation", rows: pd.DataFrame
            ) -> str:
    """Predict what further labels bring, record and log it; return that as a sentence.

    Args:
        run: The step.
        version: The challenger.
        evaluation: Of this round.
        rows: Tokenized rows of all sides.
    """
    config, points = run.config, getattr(evaluation, "points", None)
    if points is None or not config.sampling.predict_gain:
        return "what further labels bring is not predicted here (sampling.predict_gain)"
    records = model_records.records(run.workspace, version.name)
    sizes = {int(entry["version"]): int((entry.get("rows") or {}).get("train", 0))
             for entry in records}
    train = rows[rows["split"] == "train"]
    models, parts = points(version, sizes, train)
    left = gate_budget.standing(run.workspace, version.name, config.gate)
    level = (1 - config.gate.confidence) / 2 if left is None else left["next_level"]
    how: dict[str, Any] = {
        "size": len(train), "least": config.gate.min_gain, "seed": config.seed,
        "trained_share": len(train) / max(1, int((rows["split"] != "test").sum())),
        "confidence": 1 - 2 * max(level, 1e-9), "more_rows": config.sampling.audit_rows}
    wanted = config.sampling.budget
    if wanted == AUTO:
        wanted = learning_curve.budget(models, parts, step=config.sampling.min_labelled, most=MOST,
                                       default=USUAL, **how)
    outlook = learning_curve.outlook(models, parts, int(wanted), **how)
    if outlook is None:
        return "too few rows for a learning curve"
    run.log(**outlook.flat())
    run.record_facts(next_labels=outlook.to_dict())
    candidate.update_record(run, version, {"next_labels": outlook.to_dict()})
    return outlook.sentence


def budget(run: StepRun) -> int:
    """Return how many rows step 6 asks for: `sampling.budget`, or what the last evaluation said."""
    wanted = run.config.sampling.budget
    if wanted != AUTO:
        return int(wanted)
    latest_outlook = latest(run.workspace, run.config.tracking.registered_model)
    rows = USUAL if latest_outlook is None else int(latest_outlook["labels"])
    print(f"sampling.budget=auto: {rows:,} rows"
          + ("; no evaluation has predicted yet what labels bring" if latest_outlook is None
             else f". {latest_outlook['sentence']}"))
    return rows


def latest(workspace: "Workspace", name: str) -> dict[str, Any] | None:
    """Return the newest prediction on record, or None."""
    return next((entry["next_labels"] for entry in reversed(model_records.records(workspace, name))
                 if entry.get("next_labels")), None)

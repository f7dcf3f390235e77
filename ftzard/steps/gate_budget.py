"""The error budget of a workspace's line of champions, from the records of its models.

One challenger, one champion and one set of test rows are decided once: whoever asks again gets the
decision on record, and nothing is spent.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ftzard.config.schema import Gate
from ftzard.core.artifacts import sha256
from ftzard.data import storage
from ftzard.evaluation import error_budget, gate
from ftzard.evaluation.error_budget import Allowance
from ftzard.evaluation.gate import Verdict
from ftzard.modeling.adapter_meta import weights_file
from ftzard.registry import model_records
from ftzard.steps.step_run import StepRun
from ftzard.tasks.evaluation import Evaluation
from ftzard.workspace.workspace import Workspace


def stored_decision(workspace: Workspace, name: str, challenger: Path, champion: Path | None,
                    rows: pd.DataFrame) -> dict[str, Any] | None:
    """Return the decision on record of a challenger against a champion on test rows, or None.

    Args:
        workspace: whose records are read.
        name: of the registered model.
        challenger: its unpacked adapter.
        champion: the champion's, None if there is none.
        rows: the test rows that are compared, with their labels.

    Returns:
        The verdict as `Verdict.to_dict` gives it, with its account under `error_budget`, the
        `version` it was made for and when it was `decided`.
    """
    made = error_budget.decisions(model_records.records(workspace, name))
    return error_budget.stored(made, _key(challenger, champion, rows))


def allow(run: StepRun, challenger: Path, champion: Path | None, rows: pd.DataFrame
          ) -> tuple[Allowance | None, Verdict | None]:
    """Return what the gate may spend in this step, or the decision that is on record already.

    Args:
        run: the step.
        challenger: its unpacked adapter.
        champion: the champion's, None if there is none.
        rows: the test rows that are compared.

    Returns:
        (None, None) without a budget.
    """
    limits = run.config.gate
    if limits.error_budget is None:
        return None, None
    key = _key(challenger, champion, rows)
    made = error_budget.decisions(
        model_records.records(run.workspace, run.config.tracking.registered_model))
    before = error_budget.stored(made, key)
    if before is not None and champion is not None:
        print(f"decided on {before['decided'][:10]} already, as decision "
              f"{before['error_budget']['round']} of the line: the same challenger, champion and "
              "test rows. The decision on record stands, and nothing is spent.")
        run.record_facts(decision_on_record=before["decided"])
        return None, gate.from_dict(before)
    return error_budget.allowance(limits.error_budget, limits.rounds, error_budget.accounts(made),
                                  cap=_cap(limits), key=key), None


def with_decision(before: list[dict[str, Any]], verdict: Verdict) -> list[dict[str, Any]]:
    """Return the decisions of a version's record with this one, once.

    Args:
        before: Those that the record has.
    """
    account = verdict.error_budget
    if account is None or any(d["error_budget"]["key"] == account["key"] for d in before):
        return before
    return [*before, {"decided": datetime.now(UTC).isoformat(timespec="seconds"),
                      **verdict.to_dict()}]


def standing(workspace: Workspace, name: str, limits: Gate) -> dict[str, Any] | None:
    """Return what is left of the budget, as `error_budget.standing` gives it."""
    return error_budget.standing(model_records.records(workspace, name), limits.error_budget,
                                 limits.rounds, cap=_cap(limits))


def show(run: StepRun, evaluation: Evaluation) -> str:
    """Return in a sentence what this step's decision left of the budget, for the notebook."""
    if evaluation.champion is None and run.config.gate.error_budget is not None:
        return "The first model spends nothing of the error budget: it replaces no champion."
    left = standing(run.workspace, run.config.tracking.registered_model, run.config.gate)
    return "gate.error_budget is null: no budget" if left is None else left["sentence"]


def _cap(limits: Gate) -> float:
    return (1 - limits.confidence) / 2


def _key(challenger: Path, champion: Path | None, rows: pd.DataFrame) -> dict[str, Any]:
    return error_budget.key_of(
        sha256(weights_file(challenger)),
        None if champion is None else sha256(weights_file(champion)), storage.rows_digest(rows))

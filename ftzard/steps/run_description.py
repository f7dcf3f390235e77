"""Descriptions and tags of MLflow runs, made from a step's facts.

Runs are named by their time. The description and tags say what distinguishes them in a list: the
round, the delivery, the model version and the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftzard.config.pipeline import BY_NAME, CHAINS
from ftzard.core.escaping import markdown
from ftzard.steps import notebook_shell
from ftzard.steps.inputs import metadata_if_any
from ftzard.tracking import runs
from ftzard.workspace import addresses
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.steps.step_run import StepRun

#: The steps of a delivery without labels.
INFERENCE = CHAINS["inference_pipeline_job"]


@dataclass(frozen=True)
class Summary:
    """A finished execution in short: Markdown for its description, and its tags."""

    note: str
    tags: dict[str, str]


def publish(run: StepRun) -> None:
    """Describe a finished execution on its MLflow page, and as the latest one on its step's page.
    """
    number = round_of(run.workspace, run.config.tracking.registered_model,
                      decided=bool(run.facts.get("verdict")))
    first = "inference_preprocessing" if run.step.name in INFERENCE else "cleaning"
    delivery_facts = (metadata_if_any(first, run.workspace) or {}).get("facts", {})
    dagster = (addresses.dagster_run(run.workspace, run.dagster_run_id)
               if run.dagster_run_id else None)
    summary = of_step(run.step.name, run.facts, {h.name: h.rows for h in run.outputs.values()},
                      round=number, batch=batch_of(run.facts, delivery_facts), dagster=dagster)
    run.mlflow_run.tags({runs.NOTE: summary.note, **summary.tags})
    run.mlflow_run.metrics(notebook_shell.resource_usage())
    base = addresses.mlflow_address(run.workspace, run.config.tracking.server)
    page = addresses.mlflow_run(base, run.tracking.experiment_id, run.mlflow_run.id)
    run.parent.show_latest(
        run.mlflow_run, tags=summary.tags, metrics=run.logged, step=number,
        note=f"Latest execution: [{run.mlflow_run.name}]({page}).\n\n{summary.note}")


def of_step(step: str, facts: Mapping[str, Any], rows: Mapping[str, int | None], *, round: int,
            batch: str | None, dagster: str | None) -> Summary:
    """Return the summary of a step's execution.

    Args:
        step: Name of the step.
        facts: The step's recorded facts.
        rows: The number of rows of each output; None for one that is no table.
        round: The number of the round, from 1.
        batch: The name of the round's delivery, if there is one.
        dagster: The address of the Dagster run's page; None for a notebook run by hand.
    """
    tags = {"round": str(round)}
    if batch:
        tags["batch"] = batch
    if facts.get("version"):
        tags |= {"version": str(facts["version"]),
                 "model_version": f"{facts['model']}@{facts['version']}"}
    verdict = facts.get("verdict") or {}
    if verdict:
        tags["verdict"] = verdict["decision"]
    title = f"**Round {round}**" + (f", {markdown(batch)}" if batch else "")
    result = _verdict(facts, verdict) or _training(facts) or _counts(rows)
    where = f"[Dagster run]({dagster})" if dagster else "Run by hand in its notebook."
    about = BY_NAME[step].about if step in BY_NAME else ""
    return Summary("\n\n".join(part for part in (f"{title}: {result}", about, where) if part),
                   tags)


def of_trial(params: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return the description of a trial: its values, and its scores on validation rows."""
    values = ", ".join(f"{name} {_number(value)}" for name, value in params.items())
    scores = ", ".join(f"{name.replace('_', ' ')} {_number(value)}"
                       for name, value in metrics.items() if name in _SCORES)
    return ": ".join(part for part in (values, scores) if part)


def round_of(workspace: Workspace, model: str, *, decided: bool) -> int:
    """Return the number of a step's round: rounds end with a verdict of the gate.

    Args:
        decided: whether this step recorded the verdict.
    """
    judged = sum("\nverdict:" in path.read_text(encoding="utf-8", errors="replace")
                 for path in Path(workspace.root / "models" / model).glob("*.yaml"))
    return max(judged, 1) if decided else judged + 1


def batch_of(facts: Mapping[str, Any], latest: Mapping[str, Any]) -> str | None:
    """Return the name of a step's delivery, its hash if it has no name, or None.

    Args:
        facts: of the step.
        latest: of the latest step that read a delivery.
    """
    batch = (facts.get("delivered_as") or latest.get("delivered_as") or facts.get("batch")
             or latest.get("batch"))
    return str(batch) if batch else None


_SCORES = ("accuracy", "macro_f1", "validation_loss", "perplexity", "subset_accuracy")


def _verdict(facts: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    if not verdict:
        return ""
    reasons = markdown(" ".join(verdict.get("reasons", [])))
    model = f"{markdown(facts['model'])}@{facts['version']}"
    return f"{model}, verdict {verdict['decision']}. {reasons}"


def _training(facts: Mapping[str, Any]) -> str:
    trials: Sequence[Mapping[str, Any]] = facts.get("trials") or []
    if facts.get("version"):
        return f"registered {markdown(facts['model'])}@{facts['version']}."
    if not trials:
        return ""
    scores = of_trial({}, trials[0].get("metrics", {}))
    count = f"best of {len(trials)} trials" if len(trials) > 1 else "one trial"
    return f"{count}, on validation rows: {scores}." if scores else f"{count}."


def _counts(rows: Mapping[str, int | None]) -> str:
    counted = [f"{name.replace('_', ' ')} {count:,} rows" for name, count in rows.items()
               if count is not None]
    return (", ".join(counted) or "done") + "."


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""Ops of a run that are not executed, since an earlier execution of their step still holds."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import MetadataValue, Output

from ftzard.config.pipeline import BY_NAME
from ftzard.orchestration.dagstermill_import import logger
from ftzard.steps import reuse
from ftzard.workspace import addresses
from ftzard.workspace.step_results import StepResult

GIT_DVC = "Git_Dvc_"


@dataclass(frozen=True)
class ReusedOp:
    """An op that is not executed: its outputs by name, and what its page shows."""

    outputs: Mapping[str, Any]
    metadata: Mapping[str, Any]


#: The ops of this process's run that are not executed, by their keys.
_reused: dict[tuple[str, str], ReusedOp] = {}


def of(experiment, step_key: str) -> ReusedOp | None:
    """Return what an op of this run has taken over, or None for one that is executed."""
    return _reused.get((experiment.run_id, step_key))


def ask(experiment, step_key: str, inputs: Mapping[str, object]) -> reuse.Question | None:
    """Return what the op of a step would compute from; None for a Git_Dvc op."""
    step = BY_NAME.get(step_key)
    return None if step is None else reuse.question(
        step, experiment.workspace, experiment.config, inputs, experiment.run_id)


def take_over(experiment, step_key: str, inputs: Mapping[str, object],
              question: reuse.Question | None, folder: Path) -> Path | None:
    """Return the executed notebook of an op that need not be executed, or None.

    Args:
        question: as `ask` returned it.
        folder: gets the notebook.
    """
    if experiment.force:
        return None
    if step_key.startswith(GIT_DVC):
        return _git_dvc(experiment, step_key, inputs, folder)
    if question is None:
        return None
    step = BY_NAME[step_key]
    answer = reuse.answer(step, experiment.workspace, experiment.config, question)
    if answer.result is None:
        if answer.why:
            logger.info(f"runs: {answer.why}")
        return None
    reuse.show_latest(experiment.workspace, step, answer.result)
    reuse.note(experiment.workspace, experiment.run_id, step.name, answer.result)
    line = reuse.sentence(answer.result)
    logger.info(line)
    metadata = answer.result.metadata
    artifacts = {a["name"]: a for a in metadata["artifacts"]}
    outputs = {**{name: artifacts[name] for name in step.yields}, step.metadata: metadata}
    _reused[experiment.run_id, step_key] = ReusedOp(
        outputs, {"Not run again": line, **_links(experiment, answer.result)})
    return _notebook(experiment, metadata.get("dagster_run_id"), step_key, line, folder)


def _git_dvc(experiment, step_key: str, inputs: Mapping[str, object], folder: Path) -> Path | None:
    """Take a Git_Dvc op over whose step was, if git has everything as it should be."""
    step = BY_NAME[step_key.removeprefix(GIT_DVC)]
    metadata = inputs.get(step.metadata)
    if of(experiment, step.name) is None or not isinstance(metadata, Mapping) or not (
            reuse.is_committed(experiment.workspace, experiment.config, metadata)):
        return None
    line = f"nothing to commit: {metadata['commit'][:10]} has it, {metadata['pushed']}"
    logger.info(line)
    _reused[experiment.run_id, step_key] = ReusedOp(dict(inputs), {"Not run again": line})
    return _notebook(experiment, metadata.get("dagster_run_id"), step_key, line, folder)


def remember(experiment, step_key: str, inputs: Mapping[str, object],
             question: reuse.Question | None) -> None:
    """Store what an op that was executed has left, for later runs."""
    if step_key.startswith(GIT_DVC):
        reuse.committed(BY_NAME[step_key.removeprefix(GIT_DVC)], experiment.workspace)
    elif question is not None and question.facts is not None:
        reuse.remember(BY_NAME[step_key], experiment.workspace, experiment.config, question,
                       ask(experiment, step_key, inputs))


def events(step_context, original, executed: str) -> Iterator[Any]:
    """Yield the outputs of an op: those taken over, or those of its notebook."""
    reused = of(step_context.resources.experiment, step_context.step.key)
    if reused is None:
        yield from original(step_context, executed)
        return
    for name in step_context.op_def.output_dict:
        if name in reused.outputs:
            yield Output(dict(reused.outputs[name]), name)


def _links(experiment, result: StepResult) -> dict[str, MetadataValue]:
    base = addresses.mlflow_address(experiment.workspace, experiment.config.tracking.server)
    page = addresses.mlflow_run_anywhere(base, result.run_id)
    links = {"MLflow page": MetadataValue.url(page), "MLflow run": MetadataValue.text(
        f"{result.metadata['run_name']} ({result.run_id})")}
    if result.commit:
        links["commit"] = MetadataValue.text(result.commit)
    return links


def _notebook(experiment, run_id: str | None, step_key: str, line: str, folder: Path) -> Path:
    """Write the earlier executed notebook with a first cell that says so; return its path."""
    earlier = experiment.workspace.executed_notebook(run_id or "none", step_key)
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    if earlier.is_file():
        notebook = json.loads(earlier.read_text(encoding="utf-8"))
    cell = {"cell_type": "markdown", "id": "reused", "metadata": {},
            "source": f"**Not executed in this run.** {line}."}
    notebook["cells"] = [cell, *(old for old in notebook["cells"] if old.get("id") != "reused")]
    path = folder / "reused-out.ipynb"
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")
    return path

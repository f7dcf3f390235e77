"""Which versions of a model answer today's test rows, and from where their answers come.

Two scores stand beside each other only if they were measured on the same rows. So every evaluation
measures not the challenger and the champion alone but all versions that it can, on all current test
rows. What a version has answered before comes from the workspace's store of answers.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import ftzard
from ftzard.data import storage
from ftzard.errors import ModelError
from ftzard.modeling import prediction_cache
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.prediction_cache import AnswerStore
from ftzard.registry import model_records
from ftzard.steps.step_run import StepRun
from ftzard.tracking import record
from ftzard.tracking.model_version import Version
from ftzard.workspace.workspace import Workspace

#: The newest versions that are measured again beside challenger and champion.
NEWEST = 10
TOO_OLD = f"it is not among the {NEWEST} newest versions"
NO_ADAPTER = "its adapter is not in this workspace"
DELETED = "it was deleted from the registry"


def store(run: StepRun, loaded: LoadedBase) -> AnswerStore:
    """Return the workspace's store of answers, for what computes them here and now."""
    return AnswerStore(run.workspace.cache / "answers", prediction_cache.machinery(
        loaded.device, packages=record.package_versions(),
        code=record.code_hash(Path(ftzard.__file__).parent)))


def earlier(workspace: Workspace, name: str, *without: int | None
            ) -> Iterator[tuple[Version, str | None]]:
    """Yield the evaluated versions of a model, newest first, each with why it is not measured.

    The reason is None for a version that is to be measured: one of the NEWEST whose adapter stands
    in the workspace and that was not deleted.

    Args:
        without: Numbers that are measured anyway, challenger and champion.
    """
    records = [r for r in model_records.records(workspace, name)
               if r.get("verdict") and int(r["version"]) not in without]
    for place, entry in enumerate(reversed(records)):
        version = Version(name, int(entry["version"]), "", {})
        if entry.get("deleted"):
            yield version, DELETED
        elif place >= NEWEST:
            yield version, TOO_OLD
        elif not model_records.adapter_archive(workspace, version).is_file():
            yield version, NO_ADAPTER
        else:
            yield version, None


def reason(error: ModelError) -> str:
    """Return why a version cannot be opened, in one line."""
    return " ".join(str(error).split())


def challenger_number(run: StepRun) -> int | None:
    """Return the number of the version that a step judges, None if it has none yet."""
    return (run.metadata.get("facts") or {}).get("version")


def entry(run: StepRun, rows: pd.DataFrame, scores: Mapping[int, Mapping[str, Any]],
          apart: Mapping[int, str]) -> dict[str, Any]:
    """Return what a record keeps of an evaluation of all versions on the same rows.

    Args:
        rows: The test rows that were compared.
        scores: {version: its line}.
        apart: {version: why it was not measured on them}. See `evaluation.standings`, which reads
            it.
    """
    counts = rows["batch"].value_counts(sort=False)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": {"n": len(rows), "digest": storage.rows_digest(rows),
                 "data_version": run.inputs["tokenized"].commit,
                 "batches": {str(batch): int(n) for batch, n in counts.items()}},
        "scores": {str(number): dict(line) for number, line in sorted(scores.items())},
        "apart": {str(number): why for number, why in sorted(apart.items())},
    }


def sentence(answers: AnswerStore) -> str:
    """Say in a sentence how many answers were computed and how many were known."""
    counts = (f"{answers.computed:,} rows answered, {answers.recalled:,} answers known from "
              "earlier "
              "evaluations")
    if answers.doubt is None:
        return counts
    return f"{counts}; the known ones are not used: {answers.doubt}"

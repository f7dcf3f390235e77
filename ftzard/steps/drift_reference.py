"""What a champion's new batches are compared with: the test rows of what it was trained on.

They are kept once per version as a small file in the workspace's cache: written when the version
is evaluated, since it answers those rows then anyway, and made again where it is missing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ftzard.data import storage
from ftzard.errors import DataError
from ftzard.evaluation import drift
from ftzard.evaluation.drift import Drift, Sample
from ftzard.registry import model_records
from ftzard.registry.model_record import ModelRecord
from ftzard.steps.step_run import StepRun
from ftzard.tracking.model_version import Version
from ftzard.workspace import batch_log, notices, round_notices
from ftzard.workspace.workspace import Workspace


def compare(run: StepRun, champion: Version, model: Any, rows: pd.DataFrame, answers: Any,
            embeddings: np.ndarray) -> Drift:
    """Compare a predicted batch with what the champion was trained on; record and log the result.

    Args:
        run: the step.
        champion: whose batch it is.
        model: the champion, opened; asked only if its reference is missing.
        rows: tokenized rows of one batch.
        answers: the champion's answers to them: probabilities of labels, or a table of texts.
        embeddings: of the rows.
    """
    settings, batch = run.config.drift, rows["batch"].iloc[0]
    arrived = run.task.evaluation.drift_sample(rows, answers, embeddings)
    result = drift.compare(
        arrived, reference(run, champion, model), getattr(model, "labels", ()),
        false_alarms=settings.false_alarms, clearing=settings.clearing, seed=run.config.seed,
        stood=batch_log.is_alarm(
            batch_log.DRIFT.before(run.workspace, batch, champion.number)))
    entry = result.to_dict()
    run.log(**result.flat())
    run.record_facts(drift=entry, batch=batch)
    run.mlflow_run.tags({"drift": result.verdict, "drift_alarm": str(result.alarm).lower()})
    run.add_artifact("drift", batch_log.DRIFT.add(
        run.workspace, entry, batch=batch, champion=champion.number))
    if result.alarm:
        notices.add(run.workspace, run.config.notify, round_notices.alarm(
            run.workspace, batch, champion.number))
    return result


def reference(run: StepRun, version: Version, model: Any) -> Sample:
    """Return a version's reference: from the cache, or else made of its own data version."""
    path = place(run.workspace, version)
    if not path.is_file():
        rows = test_rows(run.workspace, version)
        keep(run.workspace, version, run.task.evaluation.reference_sample(
            model, rows, run.config))
    return read(path)


def read(path: Path) -> Sample:
    """Return a reference from its file."""
    table = storage.read_parquet(path)
    return Sample(**{name: np.stack(values) for name, values in table.items()})


def remember(run: StepRun, version: Version, answered: Sample) -> None:
    """Keep a version's answers to this step's test rows, if they are those it was trained with."""
    if trained_on_now(run, version):
        keep(run.workspace, version, answered)


def trained_on_now(run: StepRun, version: Version) -> bool:
    """Return whether this step's rows are those that a version was trained with."""
    return run.inputs["tokenized"].sha256 == _trained_on(run.workspace, version)["sha256"]


def keep(workspace: Workspace, version: Version, reference: Sample) -> Path:
    """Write a version's reference into the cache, at most 4,000 rows of it, and return the file."""
    reference = drift.fewer(reference, np.random.default_rng(version.number))
    table = pd.DataFrame({name: list(values.astype("float32"))
                          for name, values in reference.columns().items()})
    return storage.write_parquet(table, place(workspace, version))


def place(workspace: Workspace, version: Version) -> Path:
    """Return where a version's reference is kept, by the hash of the rows it was trained on."""
    trained_on = _trained_on(workspace, version)
    return (workspace.cache / "drift"
            / f"{version.name}-{version.number}-{trained_on['sha256'][:16]}.parquet")


def test_rows(workspace: Workspace, version: Version) -> pd.DataFrame:
    """Return the test rows of the data version that a version was trained on.

    They are those of the working tree while it still holds that version, else DVC brings it.
    """
    artifact = _trained_on(workspace, version)
    rows = model_records.tokenized_rows(
        workspace, model_records.read_record(workspace, version) or ModelRecord(), "test")
    if rows is None:
        raise DataError(f"{artifact['path']} has changed since {version} was trained on it, and "
                        "that version was never committed; train again, or run Git_Dvc after each "
                        "step.")
    return rows


def _trained_on(workspace: Workspace, version: Version) -> dict[str, Any]:
    record = model_records.read_record(workspace, version)
    artifact = record.get("data", {}).get("tokenized") if record else None
    if not artifact:
        raise DataError(f"{version} has no record of the rows it was trained on in "
                        f"{workspace.relative(model_records.record_path(workspace, version))}; "
                        "bring it back with git.")
    return artifact

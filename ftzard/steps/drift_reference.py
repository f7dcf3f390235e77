"""What a champion's new batches are compared with: the test rows of what it was trained on.

They are kept once per version as a small file in the workspace's cache: written when the version
is judged, since it answers those rows then anyway, and made again where it is missing.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.data import storage
from ftzard.errors import DataError
from ftzard.evaluation import drift
from ftzard.evaluation.drift import Drift, Sample
from ftzard.registry import model_records
from ftzard.steps.step_run import StepRun
from ftzard.tasks.base import Predictor
from ftzard.tracking.registry import Version
from ftzard.workspace import drift_log
from ftzard.workspace.workspace import Workspace


def compare(run: StepRun, champion: Version, predictor: Predictor, rows: pd.DataFrame,
            sample: Sample) -> Drift:
    """Compare a predicted batch with what the champion was trained on; record, log and keep it.

    Args:
        run: The step.
        champion: The version that predicted.
        predictor: Its model, for a reference that has to be made first.
        rows: Tokenized rows of one batch.
        sample: What drift is measured on, of the predicted rows.
    """
    before = reference(run, champion, predictor)
    settings, batch = run.config.drift, rows["batch"].iloc[0]
    found = drift.compare(
        sample, before, predictor.labels,
        false_alarms=settings.false_alarms, clearing=settings.clearing, seed=run.config.seed,
        stood=drift_log.stood_before(run.workspace, batch, champion.number))
    told = found.to_dict()
    run.log(**found.flat())
    run.record_facts(drift=told, batch=batch)
    run.mlflow_run.tags({"drift": found.verdict, "drift_alarm": str(found.alarm).lower()})
    run.add_artifact("drift", drift_log.add(run.workspace, told, batch=batch,
                                        champion=champion.number))
    return found


def sample(rows: pd.DataFrame, chances: np.ndarray, embeddings: np.ndarray) -> Sample:
    """Return what drift is told of tokenized rows (text, length, cut) and a model's answers."""
    return Sample.of(rows["text"].tolist(), rows["length"] + rows["cut"], chances, embeddings)


def answer_sample(rows: pd.DataFrame, answers: pd.DataFrame, embeddings: np.ndarray) -> Sample:
    """Return what drift is told of prompts (text, prompt_length), answers and embeddings."""
    return Sample.of_answers(rows["text"].tolist(), rows["prompt_length"].tolist(),
                             answers["confidence"].tolist(), embeddings)


def reference(run: StepRun, version: Version, predictor: Predictor) -> Sample:
    """Return a version's reference: as it is kept, or else made of its own data version."""
    path = place(run.workspace, version)
    if not path.is_file():
        test = test_rows(run.workspace, version)
        part = run.task.model
        keep(run.workspace, version,
             part.predict(predictor, part.reference_rows(test, run.config)).sample)
    return kept(path)


def kept(path: Path) -> Sample:
    """Return a reference from its file."""
    found = storage.read_parquet(path)
    return Sample(*(np.stack(found[name]) for name in Sample.__dataclass_fields__))


def remember(run: StepRun, version: Version, answered: Sample) -> None:
    """Keep a version's answers to this step's test rows, if they are those it was trained with."""
    if run.inputs["tokenized"].sha256 == _trained_on(run.workspace, version)["sha256"]:
        keep(run.workspace, version, answered)


def keep(workspace: Workspace, version: Version, reference: Sample) -> Path:
    """Write a version's reference into the cache, at most 4,000 rows of it, and return the file."""
    reference = drift.fewer(reference, np.random.default_rng(version.number))
    table = pd.DataFrame({name: list(getattr(reference, name).astype("float32"))
                          for name in Sample.__dataclass_fields__})
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
    told = _trained_on(workspace, version)
    rows = model_records.tokenized_rows(
        workspace, model_records.read_record(workspace, version), "test")
    if rows is None:
        raise DataError(f"{told['path']} has changed since {version} was trained on it, and that "
                        "version was never committed; train again, or run Git_Dvc after each step.")
    return rows


def _trained_on(workspace: Workspace, version: Version) -> dict:
    record = model_records.read_record(workspace, version)
    told = (record or {}).get("data", {}).get("tokenized")
    if not told:
        raise DataError(f"{version} has no record of the rows it was trained on in "
                        f"{workspace.relative(model_records.record_path(workspace, version))}; bring "
                        "it back with git.")
    return told

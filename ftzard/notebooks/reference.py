"""What a champion's new batches are compared with: the test rows of what it was trained on.

They are kept once per version as a small file in the workspace's cache: written when the version
is judged, since it answers those rows then anyway, and made again where it is missing.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.artifact import sha256
from ftzard.dataset import storage
from ftzard.errors import DataError
from ftzard.evaluation import drift
from ftzard.evaluation.drift import Drift, Sample
from ftzard.history import drift_log
from ftzard.models.prediction import Classifier, probabilities
from ftzard.notebooks import model_files
from ftzard.notebooks.chapter import Chapter
from ftzard.tracking.registry import Version
from ftzard.versioning import Dvc
from ftzard.workspace import Workspace

COLUMNS = ("words", "characters", "tokens", "probabilities", "embeddings")


def compare(chapter: Chapter, champion: Version, classifier: Classifier, rows: pd.DataFrame,
            chances: np.ndarray, embeddings: np.ndarray) -> Drift:
    """Compare a predicted batch with what the champion was trained on; record, log and keep it.

    rows: tokenized rows of one batch; chances, embeddings: the champion's answers to them.
    """
    settings, batch = chapter.config.drift, rows["batch"].iloc[0]
    found = drift.compare(
        sample(rows, chances, embeddings), of(chapter, champion, classifier), classifier.labels,
        false_alarms=settings.false_alarms, clearing=settings.clearing, seed=chapter.config.seed,
        stood=drift_log.stood_before(chapter.workspace, batch, champion.number))
    told = found.to_dict()
    chapter.log(**found.flat())
    chapter.say(drift=told, batch=batch)
    chapter.run.tags({"drift": found.verdict, "drift_alarm": str(found.alarm).lower()})
    chapter.keep("drift", drift_log.add(chapter.workspace, told, batch=batch,
                                        champion=champion.number))
    return found


def sample(rows: pd.DataFrame, chances: np.ndarray, embeddings: np.ndarray) -> Sample:
    """Return what drift is told of tokenized rows (text, length, cut) and a model's answers."""
    return Sample.of(rows["text"].tolist(), rows["length"] + rows["cut"], chances, embeddings)


def of(chapter: Chapter, version: Version, classifier: Classifier) -> Sample:
    """Return a version's reference: as it is kept, or else made of its own data version."""
    path = place(chapter.workspace, version)
    if not path.is_file():
        rows = test_rows(chapter.workspace, version)
        logits, embeddings = classifier.answers(rows["input_ids"].tolist())
        keep(chapter.workspace, version, sample(rows, probabilities(logits), embeddings))
    found = storage.read_parquet(path)
    return Sample(*(np.stack(found[name]) for name in Sample.__dataclass_fields__))


def remember(chapter: Chapter, version: Version, answered: Sample) -> None:
    """Keep a version's answers to this step's test rows, if they are those it was trained with."""
    if chapter.inputs["tokenized"].sha256 == _trained_on(chapter.workspace, version)["sha256"]:
        keep(chapter.workspace, version, answered)


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
    path = workspace.root / told["path"]
    if path.is_file() and sha256(path) == told["sha256"]:
        rows = storage.read_parquet(path)
    else:
        fetched = _fetched(workspace, told, version)
        rows = storage.read_parquet(fetched)
        fetched.unlink()
    return rows[rows["split"] == "test"].reset_index(drop=True)


def _trained_on(workspace: Workspace, version: Version) -> dict:
    record = model_files.read_record(workspace, version)
    told = (record or {}).get("data", {}).get("tokenized")
    if not told:
        raise DataError(f"{version} has no record of the rows it was trained on in "
                        f"{workspace.relative(model_files.record_path(workspace, version))}; bring "
                        "it back with git.")
    return told


def _fetched(workspace: Workspace, told: dict, version: Version) -> Path:
    if not told["commit"]:
        raise DataError(f"{told['path']} has changed since {version} was trained on it, and that "
                        "version was never committed; train again, or run Git_Dvc after each step.")
    target = workspace.cache / "drift" / f"{told['sha256'][:16]}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with Dvc(workspace.root) as dvc:
        dvc.run("get", ".", told["path"], "--rev", told["commit"], "--out", str(target))
    found = sha256(target)
    if found != told["sha256"]:
        raise DataError(f"{told['path']} at {told['commit'][:10]} has sha256 {found[:12]}…, but "
                        f"{version} was trained on {told['sha256'][:12]}…; the record or the data "
                        "was changed by hand.")
    return target

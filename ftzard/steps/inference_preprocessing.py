"""Step 2.1: an unlabelled batch is cleaned and tokenized as the champion's training rows were."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ftzard.data import near_duplicates, reading, splitting
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.tokenizer import load_tokenizer
from ftzard.registry import model_records
from ftzard.steps.step_run import StepRun
from ftzard.tracking import registry
from ftzard.tracking.model_version import Version


@dataclass(frozen=True)
class Champion:
    """The model that will predict: its version, its unpacked adapter, and what that keeps."""

    version: Version
    folder: Path
    meta: dict[str, Any]


def champion(run: StepRun) -> Champion:
    """Return the champion, and tag the run with its version and hashes."""
    version = registry.champion(run.tracking, run.config.tracking.registered_model)
    folder = model_records.version_folder(run.workspace, version)
    meta = read_meta(folder)
    run.mlflow_run.tags({"model_version": str(version), **model_records.hashes(meta)})
    return Champion(version, folder, meta)


def clean(run: StepRun, delivery: Path, rows: pd.DataFrame, champion: Champion, *,
          max_rejected: float) -> pd.DataFrame:
    """Return the rows that can be used, cleaned by the champion's settings.

    Raises:
        DataError: If a larger share of the rows than `max_rejected` cannot be used.
    """
    part = run.task.data
    cleaned, rejected = part.clean(rows, run.config.data, batch=reading.batch_of(delivery),
                                   identity=run.identity, cleaning=champion.meta["cleaning"])
    part.check(cleaned, rejected, min_rows=1, max_rejected=max_rejected)
    run.log(rows_rejected=len(rejected))
    run.record_facts(champion=champion.version.number, batch=reading.batch_of(delivery))
    return cleaned


def assign_splits(run: StepRun, cleaned: pd.DataFrame, *, ratio: dict[str, float], salt: str
                  ) -> pd.DataFrame:
    """Return the rows with their split by text; count those that are like a known test row."""
    rows = splitting.assign(cleaned, ratio=ratio, salt=salt, identity=run.identity)
    known = run.previous("tokenized")
    leaks = near_duplicates.like_test_rows(
        rows["text"], known.loc[known["split"] == "test", "text"], run.identity)
    run.log(rows_like_test_rows=int((leaks != "").sum()))
    run.record_facts(leaks=leaks[leaks != ""].value_counts().to_dict())
    return rows


def tokenize(run: StepRun, rows: pd.DataFrame, champion: Champion) -> pd.DataFrame:
    """Return the rows with their token ids as the champion takes them; log how many there are."""
    tokenized, numbers = run.task.data.tokenize(
        rows, load_tokenizer(champion.folder), run.config, champion.meta)
    run.log(**numbers)
    return tokenized

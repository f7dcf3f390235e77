"""Checks of a step's tables: the identity rules and the cleaning function they were made with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ftzard.data import storage
from ftzard.data.cleaning import cleaned_by
from ftzard.errors import DataError
from ftzard.workspace.identity_version import identity_of

if TYPE_CHECKING:
    from ftzard.steps.step_run import StepRun


def require_identity(run: StepRun, path: Path, identity: int) -> None:
    """Raise DataError if the table at `path` was made under another version of the rules."""
    recorded = identity_of(path)
    if recorded != identity:
        raise DataError(
            f"{run.workspace.relative(path)} was made under version {recorded} of the rules by "
            f"which texts and names are the same, and {run.step.notebook}.ipynb would write it "
            f"under version {identity}: rows could move from training to test. If the notebook is "
            "of another release, move it away and run 'ftzard init .' for a new copy; else begin a "
            "new workspace.")


def require_own_clean(run: StepRun, rows: pd.DataFrame) -> None:
    """Raise DataError if no row was cleaned with the function that `data.clean` names."""
    name = run.config.data.clean
    if name is None or run.labelled:
        return
    current, column = cleaned_by(run.own_clean), rows.get("cleaned_by")
    if column is None or not (column == current).any():
        raise DataError(
            f"data.clean is '{name}', and {run.step.notebook}.ipynb has cleaned no row with it. "
            "Let it call cleaning.clean(run, …); if the notebook is of an earlier release, move it "
            "away and run 'ftzard init .' for a new copy.")
    others = rows[(column != current)
                  & (rows.get("labelled_by", pd.Series("", rows.index)) == "")]
    run.log(rows_cleaned_otherwise=len(others))
    if len(others):
        print(f"{len(others):,} rows of earlier deliveries were cleaned without data.clean="
              f"{name} as it is now; their texts stay as they are, since a text decides its "
              "split. Begin a new workspace to clean them anew.")


def require_rows_cleaned(run: StepRun, own_clean: dict[str, Any] | None) -> None:
    """Raise DataError if no training row was cleaned as the model's inputs will be.

    Args:
        own_clean: the packed `data.clean` function, or None without one.
    """
    path = run.path("tokenized")
    if "cleaned_by" in storage.columns(path):
        rows = storage.read_parquet(path, columns=["split", "cleaned_by"])
        column = rows.loc[rows["split"] == "train", "cleaned_by"]
        fits = column.empty or (column == cleaned_by(own_clean)).any()
    else:
        fits = own_clean is None
    if not fits:
        raise DataError(
            f"data.clean is {run.config.data.clean or 'null'}, and no training row of "
            f"{run.workspace.relative(path)} was cleaned that way; expected rows cleaned as the "
            "model's texts will be. Run 'ftzard run training_pipeline_job', which cleans them; if "
            "Step2_Data_Preprocessing.ipynb is of an earlier release, which loses the column "
            "cleaned_by, move it away and run 'ftzard init .' for a new copy first.")

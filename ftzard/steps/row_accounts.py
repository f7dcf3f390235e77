"""The rows of a step: each input row is in the outputs, rejected, or reported as dropped.

Users edit notebooks, and their code may drop rows. The counts here come from files and handles, not
from a notebook's own facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from ftzard.config.schema import Config
from ftzard.core.artifacts import ArtifactRef
from ftzard.data import storage
from ftzard.errors import VersioningError
from ftzard.evaluation.gate import Verdict
from ftzard.registry import model_records
from ftzard.sources import ingest
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.steps.step_run import StepRun
    from ftzard.tracking.model_version import Version


def dropped(step: str, workspace: Workspace, config: Config, inputs: Mapping[str, ArtifactRef],
            outputs: Mapping[str, ArtifactRef], facts: Mapping[str, Any]) -> int | None:
    """Return the number of rows that the workspace's own code dropped in a step.

    They are those that came in and are neither among its outputs nor counted as rejected. None for
    a step that has no such account, or whose input cannot be counted; below zero if rows were
    added.

    Args:
        step: its name.
        workspace: where it ran.
        config: with which it ran.
        inputs: by name, as are outputs.
        outputs: what it has written.
        facts: its own record of itself.
    """
    came: int | None
    if step == "cleaning" and {"delivery", "cleaned", "rejected"} <= outputs.keys():
        if any(handle.name == "labelled" for handle in inputs.values()):
            return None  # each has its own answer: used, or refused one by one
        delivery = workspace.root / outputs["delivery"].path
        batch = ingest.batch_of(workspace, delivery)
        came = _delivered(workspace, config, outputs, facts)
        if came is not None and config.data.sample_rows is not None:
            came = min(came, config.data.sample_rows)
        left = [int((storage.read_parquet(workspace.root / outputs[name].path, columns=["batch"]
                                          )["batch"] == batch).sum())
                for name in ("cleaned", "rejected")]
    elif step == "preprocessing" and "tokenized" in outputs:
        came = inputs["cleaned"].rows
        left = [outputs["tokenized"].rows, facts.get("near_duplicates", 0)]
    elif step == "inference_preprocessing" and {"delivery", "incoming_tokenized"} <= outputs.keys():
        came = _delivered(workspace, config, outputs, facts)
        left = [outputs["incoming_tokenized"].rows, facts.get("rows_rejected", 0)]
    elif step == "inference" and "predictions" in outputs:
        came, left = inputs["incoming_tokenized"].rows, [outputs["predictions"].rows]
    else:
        return None
    return None if came is None or None in left else (
        came - sum(left) - facts.get("rows_without_room", 0))


def _delivered(workspace: Workspace, config: Config, outputs: Mapping[str, ArtifactRef],
               facts: Mapping[str, Any]) -> int | None:
    """Return the number of rows of the delivery; a step has counted those of a file with lines."""
    counted = facts.get("file_rows")
    return ingest.rows_of(workspace.root / outputs["delivery"].path, config) \
        if counted is None else counted


def record_dropped(run: StepRun) -> None:
    """Record and print the number of input rows that are neither in the outputs nor rejected."""
    count = dropped(run.step.name, run.workspace, run.config, run.inputs, run.outputs, run.facts)
    if count is not None:
        run.log(rows_dropped_by_own_code=count)
        if count:
            print(sentence(count))


def sentence(count: int) -> str:
    """Return a sentence on rows that the workspace's own code has dropped, or added."""
    rows = "1 row" if abs(count) == 1 else f"{abs(count):,} rows"
    if count < 0:
        return f"{rows} more come out than went in: this workspace's code has added them"
    return f"{rows} went in that are neither kept nor rejected: this workspace's code dropped them"


def vanished_test_rows(workspace: Workspace, champion: Version | None, rows: pd.DataFrame
                       ) -> dict[str, int]:
    """Return {batch: number} of the champion's test rows that do not exist any more.

    Nothing is returned if its data version cannot be had; that is said.

    Args:
        rows: Tokenized rows of now.
    """
    record = None if champion is None else model_records.read_record(workspace, champion)
    if record is None:
        return {}
    try:
        before = model_records.tokenized_rows(workspace, record, "test")
    except VersioningError as error:
        print(f"whether test rows of {champion} have disappeared is not known: {error}")
        return {}
    if before is None:
        return {}
    now = set(rows.loc[rows["split"] == "test", "id"])
    gone = before[~before["id"].isin(now)]
    return {str(batch): int(count) for batch, count in
            gone["batch"].value_counts(sort=False).items()}


def with_vanished(verdict: Verdict, vanished: dict[str, int], champion: Version | None
                  ) -> Verdict:
    """Return the gate's verdict with a warning of vanished test rows, if there are any."""
    if not vanished:
        return verdict
    return replace(verdict, warnings=[*verdict.warnings, vanished_sentence(vanished, champion)])


def vanished_sentence(vanished: dict[str, int], champion: Version) -> str:
    """Return the gate's sentence on vanished test rows."""
    count = sum(vanished.values())
    rows, have = ("1 test row", "has") if count == 1 else (f"{count:,} test rows", "have")
    listed = ", ".join(f"{n:,} of batch {batch}" for batch, n in vanished.items())
    return (f"{rows} that {champion} was judged on {have} disappeared ({listed}): this comparison "
            "is made on the rows that are left.")

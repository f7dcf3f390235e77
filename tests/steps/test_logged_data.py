"""What is trained on and tested on stands in MLflow before it is used, told apart by its rows."""

import json

import pandas as pd
import pytest

from ftzard.data.storage import rows_digest, write_parquet
from ftzard.steps.step_run import start_step
from ftzard.tracking import runs
from ftzard.tracking.workspace_store import connect

ROWS = pd.DataFrame({"id": [f"r{n}" for n in range(6)], "batch": "b1",
                     "text": [f"text {n}" for n in range(6)], "label": ["a", "b"] * 3,
                     "split": ["train"] * 3 + ["validation"] + ["test"] * 2})


def test_two_inputs_with_name_digest_and_source_while_the_run_is_open(workspace, monkeypatch):
    monkeypatch.chdir(workspace.root)
    write_parquet(ROWS, workspace.root / workspace.config().paths.tokenized)
    run = start_step("preprocessing", {"cleaned": workspace.config().paths.tokenized})
    train, test = (ROWS[ROWS["split"] == side] for side in ("train", "test"))
    run.log_data(artifact="cleaned", training=train, testing=test)
    found, = runs.children(connect(workspace, workspace.config()))
    assert found.info.status == "RUNNING"
    logged = {d.tags[0].value: d.dataset for d in found.inputs.dataset_inputs}
    run.finish()
    for use, side, rows in (("training", "train", train), ("testing", "test", test)):
        assert logged[use].name == f"cleaned.{side}" and logged[use].digest == rows_digest(rows)
        assert json.loads(logged[use].profile) == {"num_rows": len(rows)}
        source = json.loads(logged[use].source)
        assert source["split"] == side and source["path"] == workspace.config().paths.tokenized
        assert source["sha256"] == found.data.tags["data_sha256.cleaned"]


@pytest.mark.parametrize("change", [
    lambda rows: rows.iloc[::-1], lambda rows: rows.iloc[:-1],
    lambda rows: rows.assign(label="a"), lambda rows: rows.assign(text=rows["text"] + " "),
    lambda rows: rows.assign(id=[f"s{n}" for n in range(6)])])
def test_every_row_counts_in_the_digest_and_nothing_else(change):
    assert rows_digest(change(ROWS)) != rows_digest(ROWS)
    assert rows_digest(ROWS.assign(split="x", length=3)) == rows_digest(ROWS)
    assert rows_digest(ROWS.set_index(ROWS.index + 5)) == rows_digest(ROWS)

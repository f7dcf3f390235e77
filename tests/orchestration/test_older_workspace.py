"""A workspace made before the rules of identity had versions goes on: splits, records, rounds."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
import yaml

from ftzard.workspace.workspace import Workspace
from tests.conftest import FIXTURES

NAME = "FalconSentiAnalysis"
EXPECTED = json.loads((FIXTURES / "workspace_v1.json").read_text())
GLAD = set("lovely happy great sunny enjoy sweet calm proud".split()) | set("开心美好阳光甜蜜")


@pytest.fixture(scope="module")
def older(workspace_v1, tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("older") / "ws"
    shutil.copytree(workspace_v1, root, symlinks=True)
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        subprocess.run(["git", "config", key, value], cwd=root, check=True)
    return Workspace(root)


def splits(older: Workspace) -> dict[str, str]:
    rows = pd.read_parquet(older.root / "data/tokenized/tokenized.parquet")
    return dict(zip(rows["id"], rows["split"], strict=True))


@pytest.mark.jobs
def test_its_model_is_made_again_and_comes_out_equal(older, tool):
    """But for the rounding of the processor that the tests run on, which may be another."""
    done = tool("ftzard", "reproduce", f"{NAME}@1", "-w", older.root, at=older.root)
    equal = re.search(rf"✓ equal( up to rounding on another processor .*)?: {NAME}@1", done.stdout)
    assert done.returncode == 0 and equal, done.stdout
    assert "processor: recorded not on record, now " in done.stdout
    for command in (["status"], ["history", "cleaned"], ["lineage", f"{NAME}@1"], ["doctor"],
                    ["models", "show", "champion"]):
        done = tool("ftzard", *command, "-w", older.root, at=older.root)
        assert done.returncode == 0, (command, done.stdout)


@pytest.mark.jobs
def test_the_next_round_moves_no_row_and_ends_with_a_verdict(older, tool, tmp_path):
    """What people label is added; every row of before keeps its id and its side."""
    queue, = older.labelling.glob("*.csv")
    rows = pd.read_csv(queue, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    rows["label"] = ["glad" if GLAD & (set(text.split()) | set(text)) else "sad"
                     for text in rows["text"]]
    rows.to_csv(older.labelled / "may.csv", index=False)
    done = tool("ftzard", "run", "retraining_pipeline_job", "-w", older.root, at=older.root)
    assert done.returncode == 0 and "verdict: " in done.stdout, done.stdout
    now = splits(older)
    assert len(now) > len(EXPECTED["splits"])
    moved = {row: side for row, side in EXPECTED["splits"].items() if now.get(row, side) != side}
    assert not moved and set(EXPECTED["splits"]) <= set(now)
    cleaned = pd.read_parquet(older.root / "data/cleaned/cleaned.parquet")
    assert set(EXPECTED["cleaned"]) <= set(cleaned["id"])
    record = yaml.safe_load((older.root / f"models/{NAME}/2.yaml").read_text())
    assert record.get("identity", 1) == 1 and record["parent"] == 1
    done = tool("ftzard", "reproduce", f"{NAME}@2", "-w", older.root, at=older.root)
    assert done.returncode == 0 and f"✓ equal: {NAME}@2" in done.stdout, done.stdout
    done = tool("ftzard", "predict", "a lovely day", "-w", older.root, at=older.root)
    assert done.returncode == 0 and "glad" in done.stdout, done.stdout
    done = tool("ftzard", "export", "champion", tmp_path / "out", "--merged", "-w", older.root,
                at=older.root)
    assert done.returncode == 0, done.stdout

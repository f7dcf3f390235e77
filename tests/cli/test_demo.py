"""The demo replaces nothing but a demo, and hands files over as a careful person does."""

import subprocess

import pandas as pd
import pytest

from ftzard.cli import demo
from ftzard.errors import WorkspaceError


def tree(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*")
            if p.is_file()}


@pytest.mark.parametrize("which", ["demo", "demo-remotes"])
def test_a_folder_without_the_marker_is_left_alone(tmp_path, which):
    (tmp_path / which).mkdir()
    (tmp_path / which / "thesis.txt").write_text("years of work")
    before = tree(tmp_path)
    with pytest.raises(WorkspaceError, match=f"{which} is there already and is no demo"):
        demo.prepare(tmp_path / "demo", seed=0)
    assert tree(tmp_path) == before


def test_an_empty_folder_becomes_a_demo_and_a_demo_is_replaced(tmp_path):
    (tmp_path / "demo").mkdir()
    workspace, drops = demo.prepare(tmp_path / "demo", seed=3)
    assert workspace.config().seed == 3 and (workspace.root / demo.MARK).is_file()
    assert {p.name for p in drops.iterdir()} >= {
        "training.csv", "batch_1.csv", "batch_1_labels.csv", "batch_2.csv", "batch_2_labels.csv"}
    source = workspace.root / workspace.config().data.source
    assert source.read_bytes() == (drops / "training.csv").read_bytes()
    (workspace.root / "left over").write_text("from the demo before")
    again, _ = demo.prepare(tmp_path / "demo", seed=0)
    assert not (again.root / "left over").exists() and again.config().seed == 0
    log = subprocess.run(["git", "log", "--format=%s"], cwd=again.root, text=True,
                         capture_output=True, check=True).stdout
    assert log == "Set up the FTzard workspace\n"


def test_a_dropped_file_appears_whole_and_leaves_no_part(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "source.csv").write_text("text\nhello\n")
    demo.drop(tmp_path / "source.csv", tmp_path / "in" / "batch.csv")
    assert tree(tmp_path / "in") == {"batch.csv": b"text\nhello\n"}


def test_labels_are_handed_in_for_the_rows_that_were_asked_and_no_others(workspace, tmp_path):
    queue = pd.DataFrame({"id": ["1", "2", "3"], "batch": ["b"] * 3,
                          "text": ["so good @user", "so bad", "never answered"],
                          "suggestion": ["positive"] * 3, "confidence": [0.5] * 3,
                          "side": ["train"] * 3, "label": [""] * 3})
    queue.to_csv(workspace.labelling / "b.csv", index=False)
    pd.DataFrame({"target": ["4", "0", "4"], "text": ["so good @ada", "so bad", "not asked"]}
                 ).to_csv(tmp_path / "answers.csv", index=False)
    assert demo.hand_in(workspace, tmp_path / "answers.csv", "batch_1") == 2
    back = pd.read_csv(workspace.labelled / "batch_1.csv", dtype="str", keep_default_na=False)
    assert back["label"].tolist() == ["positive", "negative", ""]
    assert back["text"].tolist() == queue["text"].tolist()
    assert [p.name for p in workspace.labelled.iterdir() if p.name.endswith(".part")] == []

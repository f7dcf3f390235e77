"""A whole job where names, links and the user's own Python settings could break one."""

import csv
import json
import os
import random
import unicodedata

import pandas as pd
import pytest
import yaml

from ftzard.errors import WorkspaceError
from ftzard.tracking import runs
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import find, unusable_folder_name

pytestmark = pytest.mark.jobs

FOLDER = "o'neil & a#b; 50% $HOME `q` \"u\" ü 😀 -~!^|<>,=+@:()\\z "
LABELS = ["Q&A, other", "a//b", "../b", "😀 e\u0301", '100% "good"', "x" * 500, "[red]{y}: $z$ 'q'",
          "-"]
TRAP = "raise SystemExit('a module of the user was taken for another')\n"


def composed(label: str) -> str:
    return unicodedata.normalize("NFC", label)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tool):
    """A job on such labels, in such a folder, reached through a link, with every setting set."""
    home = tmp_path_factory.mktemp("strange")
    draw = random.Random(0)
    with open(home / "in.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows([f"row {i} kind {i % 8} day {draw.random()}", LABELS[i % 8]]
                         for i in range(160))
    root = home / "disk" / FOLDER
    root.parent.mkdir()
    made = tool("ftzard", "init", root, "--data", "in.csv", "--dvc-remote", home / "re mote#1%'x",
                "--git-remote", home / "gi t#'x", at=home)
    assert made.returncode == 0, made.stdout
    (root / "config" / "training").mkdir(parents=True)
    (root / "config" / "training" / "it's mine, 2.yaml").write_text(
        "defaults: [default, _self_]\nepochs: 7\n")
    said = yaml.safe_load((root / "ftzard.yaml").read_text(encoding="utf-8"))
    (root / "ftzard.yaml").write_text(yaml.safe_dump(
        said | {"training": {"choice": "it's mine, 2"}}), encoding="utf-8")
    notebook = root / "notebooks" / "Step1_Data_Cleaning.ipynb"
    told = json.loads(notebook.read_text(encoding="utf-8"))
    told["metadata"]["kernelspec"] = {"name": "conda-mine", "display_name": "Mine",
                                      "language": "python"}
    told["cells"].insert(2, {
        "cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "id": "own",
        "source": "import random, numpy, own_module\nprint('own', own_module.NAME, "
                  "random.Random(0).random() > 0, numpy.array([1]).sum())"})
    notebook.write_text(json.dumps(told), encoding="utf-8")
    (home / "path" / "numpy").mkdir(parents=True)
    for folder in (home / "path", root):
        for name in ("random.py", "yaml.py", "decimal.py", "ftzard.py"):
            if (folder, name) != (home / "path", "ftzard.py"):
                (folder / name).write_text(TRAP)
    (home / "path" / "numpy" / "__init__.py").write_text(TRAP)
    (home / "path" / "own_module.py").write_text("NAME = 'module'\n")
    (root / "numpy.py").write_text(TRAP)
    profile = home / "home" / ".ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "0.py").write_text("import os; os._exit(3)")
    (profile / "ipython_config.py").write_text(
        "c.InteractiveShellApp.exec_lines = ['import os; os._exit(4)']")
    (home / "start.py").write_text("import os; os._exit(5)")
    spec = home / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps(
        {"argv": ["/nowhere/python", "-m", "mine", "{connection_file}"], "display_name": "Mine",
         "language": "python", "env": {"PYTHONHOME": "/nowhere"}}))
    os.symlink(root, home / "link")
    done = tool(
        "ftzard", "run", "cleaning_job", "-w", home / "link", at=home,
        HOME=str(home / "home"), PYTHONPATH=str(home / "path"), JUPYTER_PATH=str(home / "jupyter"),
        JUPYTER_RUNTIME_DIR=str(home / "start.py" / "no folder"),
        PYTHONSTARTUP=str(home / "start.py"),
        PYTHONWARNINGS="error", PYTHONOPTIMIZE="2", PYTHONHASHSEED="7", PYTHONIOENCODING="ascii",
        PYTHONDONTWRITEBYTECODE="1", MPLBACKEND="TkAgg",
        GIT_AUTHOR_NAME="T", GIT_AUTHOR_EMAIL="t@example.org", GIT_COMMITTER_NAME="T",
        GIT_COMMITTER_EMAIL="t@example.org")
    assert done.returncode == 0, done.stdout[-4000:]
    return home, root, done.stdout


def test_the_job_keeps_every_row_under_its_own_label(ran):
    _, root, said = ran
    cleaned = pd.read_parquet(root / "data/cleaned/cleaned.parquet")
    found = cleaned["label"].map(composed).value_counts().to_dict()
    assert found == dict.fromkeys(map(composed, LABELS), 20)
    assert "own module True 1" in said  # what PYTHONPATH names is found, and hides nothing


def test_labels_are_one_value_and_no_key_of_mlflow(ran):
    _, root, _ = ran
    workspace = find(root)
    tracking = connect(workspace, workspace.config())
    child, = runs.children(tracking)
    assert child.info.status == "FINISHED" and child.data.params["training.epochs"] == "7"
    told = child.data.params["data.labels"]
    assert set(map(composed, json.loads(told))) == set(map(composed, LABELS))
    assert not [key for key in (*child.data.params, *child.data.metrics, *child.data.tags)
                if key.startswith("data.labels.") or any(label in key for label in LABELS[:7])]
    assert json.loads(runs.read(tracking, child.info.run_id, "metadata.json"))["step"] == "cleaning"


def test_nothing_is_written_beside_the_workspace(ran):
    home, root, _ = ran
    assert {p.name for p in home.iterdir()} == {
        "in.csv", "disk", "link", "path", "home", "jupyter", "start.py", "re mote#1%'x", "gi t#'x"}
    assert [p.name for p in (home / "disk").iterdir()] == [FOLDER]
    assert (root / ".ftzard" / "mlflow.db").is_file() and not (root / "mlruns").exists()
    assert any((home / "re mote#1%'x").rglob("*")), "DVC has pushed"


@pytest.mark.parametrize("name", ["what?", "50%41", "a*b", "a[b]", "{x}", "two\nlines", "bell\x07"])
def test_a_folder_that_the_databases_cannot_be_in_is_refused_before_anything_is_made(
        name, tmp_path, ftzard):
    for command in (["init", tmp_path / name], ["init", tmp_path / name / "inside"],
                    ["mlflow-server", "--dir", tmp_path / name]):
        code, said = ftzard(*command)
        assert code == 1 and "cannot be used: Dagster" in said and "Rename" in said
        assert list(tmp_path.iterdir()) == []


def test_a_workspace_that_was_moved_to_such_a_folder_says_so(workspace):
    moved = workspace.root.rename(workspace.root.with_name("what?"))
    with pytest.raises(WorkspaceError, match="'\\?' in its name.*Rename"):
        find(moved)
    back = moved.rename(moved.with_name("100% 'fine' #1"))
    assert find(back).root == back and unusable_folder_name(back) is None

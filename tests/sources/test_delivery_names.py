"""A batch is called by the file it came as, from the first one on and in a clone as well."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ftzard.data.reading import batch_of
from ftzard.orchestration.create_workspace import config_for, create
from ftzard.reporting import batch_names
from ftzard.steps import delivery_files
from ftzard.steps.step_run import start_step
from ftzard.steps.versioning import finished_step
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import delivery_names
from ftzard.workspace import batch_log
from ftzard.workspace.workspace import Workspace

ROWS = "text,label\n" + "".join(f"a fine day number {n},{'glad' if n % 2 else 'sad'}\n"
                                for n in range(20))


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Workspace:
    """A workspace of a user's file, cleaned and versioned by the steps' own calls; only read."""
    home = tmp_path_factory.mktemp("names")
    (home / "reviews of march.csv").write_text(ROWS)
    root = home / "ws"
    workspace = create(root, config=config_for(root, data=home / "reviews of march.csv"),
                       git_remote=home / "git", dvc_remote=home / "dvc", invent_identity=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run = start_step("cleaning", {"overrides": ["versioning.push=false"]})
        run.store_delivery("raw")
        run.finish()
        finished_step({"step": "cleaning", "overrides": ["versioning.push=false"]}).version()
    return workspace


def first_batch(workspace: Workspace) -> str:
    return batch_of(workspace.root / workspace.config().data.source)


def test_the_first_batch_has_the_name_of_the_file_that_init_was_given(begun):
    names = delivery_files.delivered_as(begun, connect(begun, begun.config()))
    assert names == {first_batch(begun): "reviews of march.csv"}
    assert batch_names.named(first_batch(begun), names) == (
        f"reviews of march.csv ({first_batch(begun)[:7]})")


def test_a_clone_knows_it_without_mlflow_and_without_the_data(begun, tmp_path):
    subprocess.run(["git", "clone", "-q", str(begun.root), str(tmp_path / "clone")], check=True)
    clone = Workspace(tmp_path / "clone")
    assert not clone.state.exists() and not list(clone.raw.glob("*.csv"))
    assert delivery_names.known(clone) == {first_batch(begun): "reviews of march.csv"}


def test_the_same_bytes_under_another_name_make_no_commit_and_keep_the_first(begun, monkeypatch):
    monkeypatch.chdir(begun.root)
    (begun.root / "data" / "again.csv").write_text(ROWS)
    more = {"overrides": ["versioning.push=false"]}
    run = start_step("cleaning", {"raw": "data/again.csv", **more})
    run.store_delivery("raw")
    assert run.finish()["facts"]["delivered_as"] == "reviews of march.csv"
    assert not finished_step({"step": "cleaning", **more}).version().changed


def test_a_workspace_of_before_has_the_names_that_mlflow_knows_and_gets_no_commit(workspace_v1,
                                                                                tmp_path,
                                                                                monkeypatch):
    place = Workspace(Path(shutil.copytree(workspace_v1, tmp_path / "v1", symlinks=True)))
    subprocess.run(["git", "config", "user.name", "Ada"], cwd=place.root, check=True)
    subprocess.run(["git", "config", "user.email", "ada@example.org"], cwd=place.root, check=True)
    monkeypatch.chdir(place.root)
    subprocess.run(["git", "commit", "-qam", "my own settings"], cwd=place.root, check=True)
    first = place.config().data.source
    names = delivery_files.delivered_as(place, connect(place, place.config()))
    assert "may.csv" in names.values() and batch_of(place.root / first) not in names
    shutil.copyfile(place.root / first, place.root / "data" / "first.csv")
    run = start_step("cleaning", {"raw": "data/first.csv", "overrides": ["versioning.push=false"]})
    run.store_delivery("raw")
    run.finish()
    followed = finished_step({"step": "cleaning", "overrides": ["versioning.push=false"]})
    assert not followed.version().changed


@pytest.mark.parametrize(("name", "shown"), [
    ("märz: a|b*.csv", "märz: a|b*.csv"), ("two\nlines\t.csv", "two lines .csv"),
    (os.fsdecode(b"caf\xe9.csv"), "caf\\udce9.csv"), ("数据.csv", "数据.csv")])
def test_any_file_name_becomes_one_line_that_can_be_read(workspace, name, shown):
    assert delivery_names.remember(workspace, "a" * 64, name) == shown
    assert delivery_names.remember(workspace, "a" * 64, "another.csv") == shown
    assert delivery_names.known(workspace) == {"a" * 12: shown}


def test_status_names_the_batch_that_drifted_as_the_report_does(workspace, ftzard):
    found = {"verdict": "drift", "alarm": True, "score": 5.0, "upper": 3.0, "lower": 2.0,
             "sentence": "Alarm: 7d0a32375e41 differs.", "statistics": []}
    batch_log.DRIFT.add(workspace, found, batch="7d0a32375e41", champion=1)
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "drift of batch 7d0a32375e41: Alarm: 7d0a32375e41 differs." in said
    delivery_names.remember(workspace, "7d0a32375e41" + "0" * 52, "april.csv")
    code, said = ftzard("status", "-w", workspace.root)
    assert code == 0 and "drift of april.csv (7d0a323): Alarm: april.csv (7d0a323) differs." in said

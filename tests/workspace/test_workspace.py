"""A workspace: found from anywhere inside it, made once, one run at a time."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from ftzard.config.pipeline import BY_NAME, job_named, step_named
from ftzard.core.artifacts import ArtifactRef, verify, write_atomically
from ftzard.core.locks import alive, locked
from ftzard.data import storage
from ftzard.errors import ConfigError, DataError, WorkspaceError
from ftzard.orchestration.create_workspace import config_for, create
from ftzard.orchestration.ops import notebook_path
from ftzard.steps.inputs import given_or_latest, latest_metadata
from ftzard.versioning import version
from ftzard.workspace.workspace import find


class TestFinding:
    def test_from_a_folder_deep_inside(self, workspace, monkeypatch):
        monkeypatch.chdir(workspace.notebooks)
        assert find() == workspace

    def test_by_the_environment_over_the_current_folder(self, workspace, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
        assert find() == workspace

    def test_by_the_shell_s_folder_when_the_kernel_stands_elsewhere(self, workspace, monkeypatch,
                                                                    tmp_path):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        monkeypatch.setenv("PWD", str(workspace.notebooks))
        assert find() == workspace

    def test_a_named_folder_that_is_none_is_refused_even_inside_one(self, workspace):
        with pytest.raises(WorkspaceError, match="is no workspace"):
            find(workspace.notebooks)


    def test_links_on_the_way_to_it_make_no_other_workspace_of_it(self, workspace, monkeypatch,
                                                                  tmp_path):
        link, above = tmp_path / "link", tmp_path / "above"
        link.symlink_to(workspace.root)
        above.symlink_to(workspace.root.parent)
        for way in (link, above / workspace.root.name, above / "link", f"{link}/"):
            assert find(way) == workspace
        monkeypatch.setenv("FTZARD_WORKSPACE", str(link))
        assert find() == workspace
        monkeypatch.delenv("FTZARD_WORKSPACE")
        monkeypatch.setenv("PWD", str(link / "notebooks"))
        monkeypatch.chdir(link / "notebooks")
        assert find() == workspace
        kept = tmp_path / "elsewhere.yaml"
        (workspace.root / "ftzard.yaml").rename(kept)
        (workspace.root / "ftzard.yaml").symlink_to(kept)
        assert find(link) == workspace

    @pytest.mark.parametrize("name", ["data", "models", "data/raw"])
    def test_versioned_data_behind_a_link_is_refused_with_a_way_that_works(self, workspace, name,
                                                                           tmp_path):
        away = (workspace.root / name).rename(tmp_path / "away")
        (workspace.root / name).symlink_to(away)
        with pytest.raises(WorkspaceError, match="is a link to .*git and DVC cannot version"):
            find(workspace.root)
        (workspace.root / name).unlink()
        away.rename(workspace.root / name)
        moved = workspace.root.rename(tmp_path / "disk")
        (tmp_path / "again").symlink_to(moved)
        assert find(tmp_path / "again").root == moved

    def test_a_drop_folder_may_be_a_link_to_another_disk(self, workspace, tmp_path):
        workspace.incoming.rename(tmp_path / "shared")
        workspace.incoming.symlink_to(tmp_path / "shared")
        assert find(workspace.root) == workspace


class TestMaking:
    def test_what_the_user_has_already_stays(self, tmp_path):
        root = tmp_path / "mine"
        root.mkdir()
        (root / ".gitignore").write_text("my own\n")
        (root / "README.md").write_text("mine\n")
        create(root, config={}, invent_identity=True)
        assert (root / ".gitignore").read_text() == "my own\n"
        assert (root / "README.md").read_text() == "mine\n"
        tracked = subprocess.run(["git", "ls-files"], cwd=root, text=True, capture_output=True,
                                 check=True).stdout.split()
        assert "README.md" not in tracked and "ftzard.yaml" in tracked

    def test_git_sees_no_data_only_dvc_files(self, workspace):
        (workspace.root / "data" / "cleaned").mkdir()
        for name in ("cleaned.parquet", "cleaned.parquet.dvc"):
            (workspace.root / "data" / "cleaned" / name).write_text("x")
        said = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=workspace.root,
                              text=True, capture_output=True, check=True).stdout
        assert said == "?? data/cleaned/cleaned.parquet.dvc\n"


class TestTask:
    def test_a_workspace_keeps_the_task_that_it_began_with(self, workspace):
        asked = {"task": "instruction_tuning", "data": "instructions",
                 "tuning": {"metric": "validation_loss"}}
        with pytest.raises(ConfigError, match="ftzard init DIR --task instruction_tuning"):
            workspace.config(asked)

    def test_a_choice_of_its_own_is_of_the_task_that_it_says(self, workspace):
        own = workspace.root / "config" / "task" / "support.yaml"
        own.parent.mkdir(parents=True)
        own.write_text("defaults: [instruction_tuning, _self_]\ninstructions: {template: chatml}\n")
        (workspace.root / "ftzard.yaml").write_text(
            "task: support\ndata: instructions\ntuning: {metric: validation_loss}\n")
        assert workspace.task == "instruction_tuning"
        assert workspace.config().task.instructions.template == "chatml"

    def test_its_notebooks_are_those_of_its_task_by_hand_and_in_dagster(self, tmp_path,
                                                                        monkeypatch):
        for task, name, words in (
                ("classification", "Registry_Life_Cycle", "The life cycle of a registered model"),
                ("classification", "Step5_Inference", "predicts the new batch"),
                ("instruction_tuning", "Step5_Inference", "predicts the new batch")):
            root = tmp_path / name / task
            place = create(root, config=config_for(root, task=task), invent_identity=True)
            monkeypatch.setenv("FTZARD_WORKSPACE", str(place.root))
            copied = place.notebooks / f"{name}.ipynb"
            assert words in copied.read_text() and notebook_path(name) == str(copied)
            copied.unlink()  # a clone that has none of its own runs the packaged ones
            assert words in Path(notebook_path(name)).read_text()


class TestLock:
    def test_a_second_run_waits_and_says_for_whom(self, tmp_path):
        said, order, entered, leave = [], [], threading.Event(), threading.Event()

        def first():
            with locked(tmp_path / "run.lock", {"run_id": "one"}):
                entered.set()
                leave.wait(20)
                order.append("one")

        def waiting(text):
            said.append(text)
            leave.set()

        holder = threading.Thread(target=first)
        holder.start()
        assert entered.wait(20)
        with locked(tmp_path / "run.lock", {"run_id": "two"}, waiting=waiting):
            order.append("two")
        holder.join()
        assert order == ["one", "two"] and len(said) == 1 and "one" in said[0]

    def test_it_ends_with_the_process_that_held_it(self, tmp_path):
        code = ("import os, sys; from pathlib import Path; from ftzard.core.locks import locked\n"
                "with locked(Path(sys.argv[1]), {'pid': 1}):\n"
                "    print('held', flush=True); os.kill(os.getpid(), 9)")
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run.lock")], text=True,
                              capture_output=True)
        assert done.stdout == "held\n" and done.returncode == -9
        with locked(tmp_path / "run.lock", {"run_id": "next"}, waiting=pytest.fail):
            assert (tmp_path / "run.lock").read_text() == '{"run_id": "next"}'

    def test_alive(self):
        dead = subprocess.Popen([sys.executable, "-c", "pass"])
        dead.wait()
        assert alive(os.getpid()) and alive(1) and not alive(dead.pid)


class TestArtifacts:
    def test_a_write_that_fails_leaves_what_was_there(self, tmp_path):
        place = tmp_path / "a.txt"
        place.write_text("before")

        def fails(part):
            part.write_text("half")
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError):
            write_atomically(place, fails)
        assert place.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]

    def test_a_handle_holds_the_bytes_it_was_made_of(self, workspace):
        place = workspace.root / "data" / "a.csv"
        place.write_text("x\n")
        handle = workspace.handle("a", place, 1)
        assert handle.path == "data/a.csv" and handle.format == "csv"
        assert ArtifactRef.from_dict(handle.to_dict()) == handle
        assert verify(handle, workspace.root) == place
        place.write_text("y\n")
        with pytest.raises(DataError, match="Run the step again"):
            verify(handle, workspace.root)

    def test_a_handle_of_a_missing_file_is_refused(self, workspace):
        with pytest.raises(WorkspaceError, match="data/b.csv does not exist"):
            workspace.handle("b", "data/b.csv")


class TestInputs:
    def test_a_delivery_nobody_named_says_where_to_say_it(self, workspace):
        with pytest.raises(DataError, match="no file was given for 'raw': set data.source"):
            given_or_latest("raw", None, workspace, workspace.config())

    def test_an_artifact_that_no_step_has_written_yet(self, workspace):
        with pytest.raises(DataError, match="expected a file, written by the step before"):
            given_or_latest("cleaned", None, workspace, workspace.config())

    def test_a_raw_file_from_the_labelled_folder_is_taken_as_labels(self, workspace):
        (workspace.labelled / "back.csv").write_text("id,label\n")
        handle = given_or_latest("raw", "data/labelled/back.csv", workspace, workspace.config())
        assert handle.name == "labelled" and handle.commit is None

    def test_a_file_has_its_version_only_as_long_as_it_is_the_versioned_one(self, workspace):
        file = workspace.root / workspace.config().paths.cleaned
        storage.write_parquet(pd.DataFrame({"text": ["one"]}), file)
        made = version(workspace.root, [workspace.handle("cleaned", file)], message="cleaning",
                       run_id="r", push=False)
        assert given_or_latest("cleaned", None, workspace, workspace.config()).commit == made.commit
        storage.write_parquet(pd.DataFrame({"text": ["two"]}), file)
        assert given_or_latest("cleaned", None, workspace, workspace.config()).commit is None

    def test_metadata_of_a_step_that_has_not_run_says_what_to_run(self, workspace):
        with pytest.raises(WorkspaceError, match="run 'tuning_job' or its notebook Step3"):
            latest_metadata(BY_NAME["tuning"], workspace)


def test_jobs_and_steps_are_found_by_short_names_and_refused_by_wrong_ones():
    assert job_named("cleaning") == "cleaning_job"
    assert job_named("training_pipeline") == "training_pipeline_job"
    assert job_named("training") == "training_pipeline_job"
    with pytest.raises(WorkspaceError, match="did you mean 'cleaning'"):
        step_named("cleanin")

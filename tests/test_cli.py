"""The command line: a refusal is one sentence and exit code 1, before anything runs."""

import json
import re
import subprocess

import pandas as pd
import pytest
import yaml

from ftzard.config.compose import PACKAGED
from ftzard.steps import STEPS


class TestRefusals:
    def test_a_folder_that_is_no_workspace(self, ftzard, tmp_path):
        for command in (["run", "cleaning_job"], ["status"], ["predict", "hello"], ["config"]):
            code, said = ftzard(*command, "-w", tmp_path)
            assert code == 1 and said == (
                f"✗ {tmp_path} is no workspace: it has no ftzard.yaml. "
                f"Make one with 'ftzard init {tmp_path}'.\n"), command

    def test_outside_any_workspace_without_naming_one(self, ftzard, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PWD", str(tmp_path))
        code, said = ftzard("status")
        assert code == 1 and "no ftzard.yaml in" in said and "-w" in said

    def test_an_unknown_job_names_the_nearest(self, ftzard, workspace):
        code, said = ftzard("run", "clening_job", "-w", workspace.root)
        assert code == 1
        assert said == "✗ there is no job 'clening_job'; did you mean 'cleaning_job'?\n"

    def test_an_unknown_override_names_the_nearest(self, ftzard, workspace):
        code, said = ftzard("run", "tuning_job", "training.epoch=1", "tuning.trails=2", "-w",
                            workspace.root)
        assert code == 1 and "did you mean 'epochs'?" in said and "did you mean 'trials'?" in said
        assert not (workspace.state / "runs").exists()

    def test_a_launchpad_yaml_that_does_not_exist(self, ftzard, workspace):
        code, said = ftzard("run", "cleaning_job", "-c", "nowhere.yaml", "-w", workspace.root)
        assert code == 1 and said.startswith("✗ nowhere.yaml does not exist")

    def test_the_yaml_and_an_override_that_contradict_each_other(self, ftzard, workspace, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(
            {"resources": {"experiment": {"config": {"tuning": {"trials": 2}}}}}))
        code, said = ftzard("run", "tuning_job", "tuning.trials=3", "-c", file, "-w",
                            workspace.root)
        assert code == 1 and "'tuning.trials' is said twice" in said

    def test_a_prediction_without_a_champion_says_what_to_run(self, ftzard, workspace):
        code, said = ftzard("predict", "hello", "-w", workspace.root)
        assert code == 1 and "no champion yet; run 'ftzard run training_pipeline_job'" in said

    def test_a_workspace_whose_git_is_gone(self, ftzard, workspace):
        (workspace.root / ".git").rename(workspace.root / "gone")
        code, said = ftzard("status", "-w", workspace.root)
        assert code == 1 and str(workspace.root) in said and "git" in said
        assert said.startswith("✗ ") and "Traceback" not in said

    def test_a_wrong_option_is_a_usage_error(self, ftzard):
        code, said = ftzard("run", "--colour", "red")
        assert code == 2 and "--colour" in said


class TestInit:
    def test_data_of_one_s_own_is_stored_and_described(self, ftzard, tmp_path):
        rows = pd.DataFrame({"tweet": [f"text {n}" for n in range(60)],
                             "mood": ["glad", "sad", "calm"] * 20})
        rows.to_csv(tmp_path / "mine.csv", index=False)
        root = tmp_path / "ws"
        code, said = ftzard("init", root, "--data", tmp_path / "mine.csv", "--text", "tweet",
                            "--label", "mood")
        assert code == 0 and "ftzard run training_pipeline_job" in said
        data = yaml.safe_load((root / "ftzard.yaml").read_text())["data"]
        assert data["labels"] == {"calm": "calm", "glad": "glad", "sad": "sad"}
        assert (root / data["source"]).read_bytes() == (tmp_path / "mine.csv").read_bytes()
        log = subprocess.run(["git", "log", "--name-only", "--format=%s"], cwd=root, text=True,
                             capture_output=True, check=True).stdout.split("\n")
        assert log[0] == "Set up the FTzard workspace"
        assert {"ftzard.yaml", ".dvcignore", "notebooks/Step1_Data_Cleaning.ipynb",
                "data/.gitignore"} <= set(log)
        assert ftzard("config", "-w", root)[1].startswith("data:")

    def test_twice_is_refused(self, ftzard, workspace):
        code, said = ftzard("init", workspace.root)
        assert code == 1 and "is a workspace already" in said

    @pytest.mark.parametrize(("options", "words"), [
        (["--text", "twet"], ["twet", "did you mean 'tweet'"]),
        (["--text", "tweet", "--label", "moo"], ["moo", "did you mean 'mood'"]),
        (["--text", "tweet", "--label", "tweet"], ["60 different values", "label column"])])
    def test_a_wrong_column_is_named_and_no_workspace_is_made(self, ftzard, tmp_path, options,
                                                              words):
        pd.DataFrame({"tweet": [f"text {n}" for n in range(60)], "mood": ["glad", "sad"] * 30}
                     ).to_csv(tmp_path / "mine.csv", index=False)
        code, said = ftzard("init", tmp_path / "ws", "--data", tmp_path / "mine.csv", *options)
        assert code == 1 and all(word in said for word in words), said
        assert not (tmp_path / "ws" / "ftzard.yaml").exists()

    def test_a_file_that_does_not_exist(self, ftzard, tmp_path):
        code, said = ftzard("init", tmp_path / "ws", "--data", tmp_path / "nowhere.csv")
        assert code == 1 and "nowhere.csv" in said and not (tmp_path / "ws").exists()


class TestStatus:
    def test_a_fresh_workspace_as_json(self, ftzard, workspace):
        code, said = ftzard("status", "--json", "-w", workspace.root)
        state = json.loads(said)
        assert code == 0 and state["champion"] is None and state["challenger"] is None
        assert re.fullmatch("[0-9a-f]{40}", state["git_commit"])
        assert state["rows_waiting_for_labels"] == 0
        assert state["steps"] == {step.name: {"runs": 0, "state": None, "time": None,
                                              "seconds": None} for step in STEPS}
        assert [c["subject"] for c in state["commits_not_pushed"]] == [
            "Set up the FTzard workspace"]

    def test_a_fresh_workspace_for_a_person(self, ftzard, workspace):
        code, said = ftzard("status", "-w", workspace.root)
        assert code == 0 and re.search("champion +none", said) and "not pushed: 1 commits" in said


def test_config_shows_what_a_run_would_get(ftzard, workspace):
    code, said = ftzard("config", "model=falcon_7b", "training.epochs=9", "-w", workspace.root)
    shown = yaml.safe_load(said)
    assert code == 0 and shown["model"]["source"] == "tiiuae/falcon-7b"
    assert shown["training"]["epochs"] == 9
    assert set(shown["data"]) == set(yaml.safe_load((PACKAGED / "data/default.yaml").read_text()))


def test_help_names_every_command(ftzard):
    code, said = ftzard("--help")
    assert code == 0
    assert all(name in said for name in ("init", "run", "demo", "status", "predict", "ui", "lab",
                                         "push", "config", "label", "promote", "rollback"))

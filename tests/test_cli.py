"""The command line: a refusal is one sentence and exit code 1, before anything runs."""

import json
import os
import re
import subprocess
import time

import pandas as pd
import pytest
import yaml

from ftzard import __version__
from ftzard.cli import jobs, printing
from ftzard.cli.layout import Column, Table
from ftzard.config.compose import PACKAGED
from ftzard.config.pipeline import STEPS
from ftzard.orchestration.launch import Outcome
from ftzard.steps import status
from ftzard.workspace.workspace import Workspace


@pytest.mark.parametrize("job", ["training_pipeline_job", "tuning_job"])
def test_a_run_with_a_learning_rate_far_from_the_preset_s_does_not_begin(ftzard, workspace, job):
    code, said = ftzard("run", job, "training.learning_rate=0.5", "-w", workspace.root)
    assert code == 1 and "62.5 times above" in said and "training.allow_unusual=true" in said
    assert not workspace.executed.exists()


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
        assert said.startswith("✗ there is no job 'clening_job'; did you mean 'cleaning_job'? The "
                               "jobs are: cleaning_job, preprocessing_job, ")
        code, said = ftzard("run", "training_job", "-w", workspace.root)
        assert code == 1 and "did you mean 'training_pipeline_job'?" in said

    def test_an_unknown_override_names_the_nearest(self, ftzard, workspace):
        code, said = ftzard("run", "tuning_job", "training.epoch=1", "tuning.trails=2", "-w",
                            workspace.root)
        assert code == 1 and "unknown key 'training.epoch'; did you mean 'training.epochs'?" in said
        assert "did you mean 'tuning.trials'?" in said
        assert not (workspace.state / "runs").exists()

    def test_a_launchpad_yaml_that_does_not_exist(self, ftzard, workspace):
        code, said = ftzard("run", "cleaning_job", "-c", "nowhere.yaml", "-w", workspace.root)
        assert code == 1 and said.startswith("✗ nowhere.yaml does not exist")

    @pytest.mark.parametrize(("text", "words"), [
        ("training: {epochs: 2}", "mine.yaml: unknown key 'training' at the top."),
        ("resources: [1", "mine.yaml is not valid YAML"),
        ("resources: {queue_io_manager: {config: {base_path: x}}}",
         'cleaning_job: Received unexpected config entry "queue_io_manager" at path root:resour'),
        ("resources: {cleaned_io_manager: {config: {base_pth: x}}}", '"base_pth" at path root'),
        ("ops: {cleaning: {confg: 3}}", '"confg" at path root:ops:cleaning')])
    def test_a_launchpad_yaml_with_a_key_that_nothing_reads(self, ftzard, workspace, tmp_path, text,
                                                            words):
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        code, said = ftzard("run", "cleaning_job", "-c", file, "-w", workspace.root)
        assert code == 1 and words in said and len(said) < 1500, said
        assert "Traceback" not in said and not (workspace.state / "runs").exists()

    def test_the_yaml_and_an_override_that_contradict_each_other(self, ftzard, workspace, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(
            {"resources": {"experiment": {"config": {"tuning": {"trials": 2}}}}}))
        code, said = ftzard("run", "tuning_job", "tuning.trials=3", "-c", file, "-w",
                            workspace.root)
        assert code == 1 and "'tuning.trials' is given twice" in said

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

    @pytest.mark.parametrize(("content", "options", "remedy"), [
        ("review;stars\nfine;5\n", [], "Then add --delimiter ';'."),
        ("review\tstars\nfine\t5\n", [], r"Then add --delimiter $'\t'."),
        ("review,stars\ncaf\u00e9,5\n", [], "'caf\u00e9' in cp1252 or latin-1"),
        ("review,stars\nfine,5\n", [], "Name the column, as in --text review."),
        ("review,stars\nfine,5\n", ["--text", "review"], "as in --label stars.")])
    def test_what_init_needs_to_be_told_is_said_as_its_option(self, ftzard, tmp_path, content,
                                                              options, remedy):
        file = tmp_path / "mine.csv"
        file.write_text(content, encoding="latin-1")
        code, said = ftzard("init", tmp_path / "ws", "--data", file, *options)
        assert code == 1 and remedy in said and not (tmp_path / "ws").exists(), said

    def test_a_file_with_semicolons_is_described_as_it_is(self, ftzard, tmp_path):
        file = tmp_path / "mine.csv"
        file.write_text("text;label\n" + "so, so;good\nno, no;bad\n" * 5)
        code, said = ftzard("init", tmp_path / "ws", "--data", file, "--delimiter", ";")
        assert code == 0, said
        config = Workspace(tmp_path / "ws").config()
        assert config.data.delimiter == ";" and config.data.labels == {"bad": "bad", "good": "good"}

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
        assert code == 0 and re.search("champion +none$", said, flags=re.M)
        assert re.search(r"not pushed: 1 commit($|;)", said, flags=re.M)

    def test_a_challenger_that_waits_says_why_it_is_not_champion(self, ftzard, workspace,
                                                                 monkeypatch):
        waiting = {"name": "Mine", "version": 1, "metrics": None, "verdict": "cannot tell",
                   "base_model": "falcon_tiny", "data_version": None}
        found = status.gather(workspace)
        monkeypatch.setattr(status, "gather", lambda place: {**found, "challenger": waiting})
        said = ftzard("status", "-w", workspace.root)[1]
        assert "champion   none (version 1 was not promoted: cannot tell)\n" in said


@pytest.mark.parametrize(("promoted", "before", "told"), [
    (False, None, True), (False, 1, False), (True, None, False)])
def test_a_job_that_leaves_no_champion_says_so_and_what_to_do(workspace, promoted, before, told):
    workspace.metadata.mkdir(parents=True, exist_ok=True)
    (workspace.metadata / "choosing.json").write_text(json.dumps({"facts": {
        "verdict": {"promoted": promoted, "decision": "cannot tell", "reasons": ["80 rows."]},
        "model": "Mine", "version": 2, "champion": before}}))
    lines = jobs.verdicts(workspace, ("tuning", "choosing"))
    assert lines[0] == "verdict: cannot tell. 80 rows."
    assert lines[1:] == ([
        "no champion: Mine@2 was not promoted. Ask it all the same with 'ftzard predict challenger "
        f"… -w {workspace.root}', or make it champion with 'ftzard promote 2 --reason … -w "
        f"{workspace.root}'."] if told else [])


def test_what_a_job_made_is_shown_whole_and_a_report_only_if_it_wrote_one(workspace, capsys):
    queue = "data/labelling/7d0a32354a6d.csv"
    workspace.metadata.mkdir(parents=True, exist_ok=True)
    (workspace.metadata / "sampling.json").write_text(json.dumps({"artifacts": [
        {"name": "queue", "rows": 59, "path": queue, "commit": None}]}))
    workspace.report.parent.mkdir(parents=True, exist_ok=True)
    workspace.report.write_text("earlier")
    outcome = Outcome("r", True, 5.0, None, None, {})
    for age, told in ((60, False), (0, True)):
        os.utime(workspace.report, (time.time() - age,) * 2)
        jobs.show_outcome(workspace, "sampling_job", outcome)
        said = capsys.readouterr().out
        assert re.search(rf"^sampling +queue +59 +{queue} ", said, flags=re.M)
        assert f"59 rows to label: {queue}; ftzard label -w {workspace.root}\n" in said
        assert ("report: " in said) is told


def test_config_shows_what_a_run_would_get(ftzard, workspace):
    code, said = ftzard("config", "model=falcon_7b", "training.epochs=9", "-w", workspace.root)
    shown = yaml.safe_load(said)
    assert code == 0 and shown["model"]["source"] == "tiiuae/falcon-7b"
    assert shown["training"]["epochs"] == 9
    assert set(shown["data"]) == set(yaml.safe_load((PACKAGED / "data/default.yaml").read_text()))


def test_help_names_every_command_with_a_whole_sentence(ftzard, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, said = ftzard("--help")
    assert code == 0 and "..." not in said.partition("Commands:")[2]
    assert ftzard("--version") == (0, f"ftzard {__version__}\n")
    assert all(name in said for name in ("init", "run", "demo", "status", "predict", "ui", "lab",
                                         "push", "config", "label", "promote", "rollback"))


def test_a_table_shows_a_user_s_words_as_they_are(capsys):
    table = Table([Column("label")])
    table.add_row("[red]sad[/red] [/x] :smile:")
    printing.show_whole(table)
    assert capsys.readouterr().out == "label\n[red]sad[/red] [/x] :smile:\n"

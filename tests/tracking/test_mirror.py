"""Another platform beside MLflow: it is told the same, and never stands in the way."""

import json
import os
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftzard.errors import TrackingError
from ftzard.tracking import access, card, mirror, runs

KEY = "comet-key-of-ada-9876"
RECORD = {
    "model": "Model", "version": 2, "step": "choosing", "created": "2026-11-21T10:00:00+00:00",
    "base": {"name": "falcon_tiny", "source": None, "revision": None, "weight_hash": "ab12"},
    "parent": 1, "labels": ["sad", "glad"], "batches": ["first"],
    "rows": {"train": 1200, "test": 300}, "config_hash": "c0", "code_hash": "c1",
    "git_commit": None, "mlflow_run": "r1",
    "data": {"tokenized": {"path": "data/t.parquet", "sha256": "d" * 64, "commit": None}},
    "metrics": {"challenger": {"accuracy": 0.8125, "lower": 0.76, "upper": 0.85,
                               "macro_f1": 0.81, "n": 300}},
    "verdict": {"decision": "refused", "reasons": ["It gains nothing."]},
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("COMET_API_KEY", "COMET_OFFLINE_DIRECTORY", "COMET_WORKSPACE", *mirror.PROJECT):
        monkeypatch.delenv(name, raising=False)


class Recorded:
    """What a platform's experiment is asked, written down; fails where it is told to."""

    def __init__(self, failing: str = ""):
        self.failing, self.said = failing, []

    def __getattr__(self, name):
        def ask(*given, **named):
            if name == self.failing:
                raise OSError(f"no network for {os.environ.get('COMET_API_KEY')}")
            self.said.append((name, given))
        return ask


class TestNeeds:
    def test_without_the_package_it_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setattr(mirror, "find_spec", lambda name: None)
        with pytest.raises(TrackingError, match="package is not installed.*pip install"):
            mirror.require(["comet"])

    def test_without_a_key_it_says_where_it_comes_from(self, monkeypatch):
        monkeypatch.setattr(mirror, "find_spec", lambda name: object())
        with pytest.raises(TrackingError, match=r"COMET_API_KEY is not set.*\.env"):
            mirror.require(["comet"])
        monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", "there")
        mirror.require(["comet"])

    @pytest.mark.parametrize("name", mirror.PROJECT)
    def test_the_project_that_comet_s_own_variables_name_is_the_run_s(self, name, monkeypatch,
                                                                      tmp_path):
        asked = {}

        class Experiment(Recorded):
            def __init__(self, **named):
                super().__init__()
                asked.update(named)
                self.alive = True

        module = SimpleNamespace(OfflineExperiment=Experiment, Experiment=Experiment)
        monkeypatch.setitem(sys.modules, "comet_ml", module)
        monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(tmp_path / "there"))
        mirror._comet("moods", "a run", {})
        assert asked["project_name"] == "moods"
        monkeypatch.setenv(name, "another")
        mirror._comet("moods", "a run", {})
        assert asked["project_name"] == "another"

    def test_two_projects_are_a_conflict_that_names_both(self, monkeypatch):
        monkeypatch.setattr(mirror, "find_spec", lambda name: object())
        monkeypatch.setenv("COMET_API_KEY", KEY)
        monkeypatch.setenv("COMET_PROJECT", "one")
        monkeypatch.setenv("COMET_PROJECT_NAME", "two")
        with pytest.raises(TrackingError, match="COMET_PROJECT_NAME is 'two' and COMET_PROJECT is"):
            mirror.require(["comet"])
        monkeypatch.delenv("COMET_PROJECT")
        mirror.require(["comet"])

    def test_nothing_is_needed_for_no_platform(self):
        mirror.require([])

    def test_a_notebook_by_hand_and_a_job_ask_before_they_record(self, workspace, monkeypatch):
        monkeypatch.setattr(mirror, "find_spec", lambda name: None)
        config = workspace.config({"tracking": {"mirror": ["comet"]}})
        with pytest.raises(TrackingError, match="tracking.mirror names comet"):
            access.require(config.tracking)

    def test_a_platform_that_does_not_exist_is_refused_with_those_that_do(self, workspace, ftzard):
        code, said = ftzard("config", "-w", workspace.root, "tracking.mirror=[commet]")
        assert code == 1 and "did you mean 'comet'" in said


class TestRuns:
    @pytest.fixture
    def parent(self, tracking, tmp_path) -> runs.Run:
        return runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")

    def start(self, parent: runs.Run, there: Recorded) -> runs.Run:
        child = runs.start_child(parent.tracking, parent, {})
        return runs.Run(child.tracking, child.id, child.name, mirror.Mirror(lambda: there))

    def test_what_mlflow_is_told_the_platform_is_told_and_trials_by_their_number(self, parent):
        there = Recorded()
        run = self.start(parent, there)
        run.params({"training.epochs": 2})
        run.metrics({"accuracy": 0.5, "nothing": float("nan")}, step=3)
        trial = run.trial(1, {"rank": 8})
        trial.metrics({"loss": 0.25})
        trial.end()
        run.card(RECORD)
        assert not [name for name, _ in there.said if name == "end"]
        run.end()
        told = [(name, given[0]) for name, given in there.said if given]
        assert ("log_parameters", {"training.epochs": "2"}) in told
        assert ("log_metrics", {"accuracy": 0.5}) in told
        assert ("log_parameters", {"trial_1/rank": "8"}) in told
        assert ("log_metrics", {"trial_1/loss": 0.25}) in told
        assert ("log_asset_data", card.model_card(RECORD)) in told
        assert [name for name, _ in there.said][-1] == "end"
        found = parent.tracking.client.get_run(run.id)
        assert found.info.status == "FINISHED" and found.data.params == {"training.epochs": "2"}

    @pytest.mark.parametrize("failing", ["log_parameters", "log_metrics", "end"])
    def test_a_platform_that_breaks_off_is_said_once_and_the_run_goes_on(
            self, parent, failing, capsys, monkeypatch):
        monkeypatch.setenv("COMET_API_KEY", KEY)
        run = self.start(parent, Recorded(failing))
        run.params({"a": 1})
        run.metrics({"accuracy": 0.5})
        run.params({"b": 2})
        run.end()
        said = capsys.readouterr().err
        assert said.count("comet broke off: OSError: no network for ***") == 1 and KEY not in said
        found = parent.tracking.client.get_run(run.id)
        assert found.info.status == "FINISHED" and set(found.data.params) == {"a", "b"}
        assert "broke off" in found.data.tags[mirror.TAG] and KEY not in str(found.data.tags)

    def test_one_that_cannot_even_be_opened_is_the_same(self, parent, capsys):
        def refused():
            raise ValueError("no such workspace")

        child = runs.start_child(parent.tracking, parent, {})
        run = runs.Run(child.tracking, child.id, child.name, mirror.Mirror(refused))
        run.trial(0, {"rank": 8}).end()
        run.end()
        assert capsys.readouterr().err.count("broke off") == 1
        assert "no such workspace" in parent.tracking.client.get_run(run.id).data.tags[mirror.TAG]

    def test_a_killed_run_is_not_waited_for(self, parent):
        there = Recorded()
        run = self.start(parent, there)
        run.end("KILLED", "Ctrl-C")
        assert "end" not in [name for name, _ in there.said]
        assert "not closed" in parent.tracking.client.get_run(run.id).data.tags[mirror.TAG]


def test_the_card_is_a_page_with_base_data_scores_and_verdict():
    said = card.model_card(RECORD)
    assert said.startswith("# Model@2\n") and "falcon_tiny" in said and "weights ab12" in said
    assert "| Model@2 | 0.812 | 0.760 to 0.850 | 0.810 | 300 |" in said
    assert "refused. It gains nothing." in said and "train 1,200" in said
    assert card.model_card({**RECORD, "metrics": {}, "verdict": None}).count("## The gate") == 0


def test_comet_offline_gets_it_all_and_no_secret(tracking, tmp_path, monkeypatch):
    folder = tmp_path / "comet"
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", "token-of-ada-9876")
    monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(folder))
    told = runs.Tracking(tracking.client, tracking.experiment_id, tracking.uri, "moods",
                         ("comet",))
    parent = runs.top_level(told, "HP_TUNING", tmp_path / "lock")
    run = runs.start_child(told, parent, {"seed": 4})
    run.params({"training.epochs": 2})
    run.trial(0, {"rank": 8}).metrics({"accuracy": 0.5}, step=1)
    run.card(RECORD)
    run.end()
    where = told.client.get_run(run.id).data.tags[mirror.TAG]
    file = Path(where.removeprefix("comet: "))
    assert file.parent == folder
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert json.loads(parts["experiment.json"])["project_name"] == "moods"
    whole = b"".join(parts.values())
    for word in (b"HP_TUNING", b'"paramName":"training.epochs"', b"trial_0/rank",
                 b"trial_0/accuracy", b"# Model@2", b"FINISHED"):
        assert word in whole, word
    assert KEY.encode() not in whole and b"token-of-ada" not in whole

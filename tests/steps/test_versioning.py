"""`commit_history.json`: every version of a step's artifacts, in MLflow, and it never shrinks.

The tests share a workspace, and each but the last has steps of its own.
"""

import json

import pytest

from ftzard.config.pipeline import BY_NAME
from ftzard.errors import TrackingError
from ftzard.steps.versioning import HISTORY, read_history
from ftzard.tracking import runs
from tests.rounds import Rounds


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Rounds:
    """A workspace with its remotes and an empty MLflow store."""
    return Rounds(tmp_path_factory.mktemp("made")).make()


def parent(made: Rounds, step: str) -> runs.Run:
    found, = runs.children(made.tracking, BY_NAME[step].run_name, level=runs.TOP)
    return runs.Run(made.tracking, found.info.run_id, found.info.run_name)


def told(made: Rounds, step: str) -> list[dict]:
    """Return the list as MLflow serves it."""
    path = made.tracking.client.download_artifacts(parent(made, step).id, HISTORY)
    return json.loads(open(path, encoding="utf-8").read())


def tags(made: Rounds, name: str) -> dict:
    return runs.known(made.tracking, made.ids[name]).data.tags


def test_an_entry_per_artifact_and_version_in_their_order(made):
    made.step("cleaning", "a", [made.rows("cleaned", 3), made.rows("rejected", 1)])
    made.step("cleaning", "b", [made.rows("cleaned", 4), made.rows("rejected", 1)])
    entries = told(made, "cleaning")
    assert [(e["artifact"], e["rows"], e["commit"]) for e in entries] == [
        ("cleaned", 3, made.commits["a"]), ("rejected", 1, made.commits["a"]),
        ("cleaned", 4, made.commits["b"])]
    assert tags(made, "b")["data_version.rejected"] == made.commits["a"]
    newest = entries[-1]
    assert newest["path"] == made.config.paths.cleaned and newest["time"].endswith("+00:00")
    assert newest["run_id"] == made.ids["b"]
    assert newest["run_name"] == runs.known(made.tracking, made.ids["b"]).info.run_name
    assert (newest["pushed"], newest["reason"]) == (True, None)


def test_a_version_whose_list_was_not_written_any_more_is_made_up_for(made, monkeypatch):
    """Git_Dvc was killed between its commit and MLflow: the next one tells of both."""
    with monkeypatch.context() as killed:
        killed.setattr("ftzard.steps.versioning.StepVersion.publish", lambda *_: None)
        made.step("inference", "e", [made.rows("predictions", 3)])
    made.step("inference", "f", [made.rows("predictions", 4)])
    assert [e["run_id"] for e in told(made, "inference")] == [made.ids["e"], made.ids["f"]]


def test_records_are_in_it_too(made):
    path = made.record(7, model="x", version=7)
    made.step("evaluation", "g", records=[path])
    entry, = told(made, "evaluation")
    assert (entry["artifact"], entry["path"], entry["rows"]) == ("record", path, None)
    assert entry["commit"] == made.commits["g"]


def test_what_goes_out_later_becomes_pushed_in_its_list_and_its_run(made, ftzard):
    away = (made.home / "git").rename(made.home / "away")
    made.step("sampling", "h", [made.rows("queue", 2, "data/labelling/one.csv")])
    entry, = told(made, "sampling")
    assert entry["pushed"] is False and "was not found" in entry["reason"]
    assert tags(made, "h")["data_pushed"] == "not pushed"
    assert "was not found" in tags(made, "h")["data_not_pushed"]
    away.rename(made.home / "git")
    assert ftzard("push", "-w", made.root) == (0, "pushed\n")
    assert [(e["pushed"], e["reason"]) for e in told(made, "sampling")] == [(True, None)]
    assert tags(made, "h")["data_pushed"] == "pushed"
    assert "data_not_pushed" not in tags(made, "h")


def test_the_next_step_that_pushes_settles_what_waited(made):
    away = (made.home / "dvc").rename(made.home / "away")
    made.step("retraining", "j", [made.file("adapter", "models/x/8.zip", "8")])
    assert not told(made, "retraining")[0]["pushed"]
    away.rename(made.home / "dvc")
    made.step("choosing", "k", [made.file("adapter", "models/x/9.zip", "9")])
    assert told(made, "retraining")[0]["pushed"] and tags(made, "j")["data_pushed"] == "pushed"


@pytest.mark.parametrize("content", ["[{\"artifact\": \"clea", "{}{}", "[{\"rows\": 3}]", "[3]"])
def test_a_list_that_cannot_be_read_is_an_error_and_stays(made, content):
    run = runs.top_level(made.tracking, f"TORN {content}", made.workspace.state / "mlflow.lock")
    run.replace_text(content, HISTORY)
    with pytest.raises(TrackingError, match=f"{HISTORY} of TORN .* cannot be read") as caught:
        read_history(run)
    assert run.id in str(caught.value)
    assert runs.read(made.tracking, run.id, HISTORY).decode() == content


def test_entries_of_commits_that_are_not_here_stay_as_they_were_told(made):
    made.step("cleaning", "l", [made.rows("cleaned", 11)])
    entries = told(made, "cleaning")
    elsewhere = {**entries[0], "commit": "e" * 40, "pushed": False, "reason": "another machine"}
    parent(made, "cleaning").replace_text(json.dumps([elsewhere, *entries]), HISTORY)
    made.step("cleaning", "m", [made.rows("cleaned", 12)])
    assert told(made, "cleaning")[0] == elsewhere
    assert len(told(made, "cleaning")) == len(entries) + 2

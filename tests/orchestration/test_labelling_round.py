"""Files dropped as people drop them: bad ones set aside, labels with mistakes, sampling again.

All of it happens in a copy of the story's workspace that pushes nothing, so that what other tests
look at stays as it is.
"""

import json
import os
import shutil
import time
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from dagster import DagsterInstance

from ftzard.data.labeling.labeling_queue import read_queue
from ftzard.orchestration import services
from ftzard.tracking import runs
from ftzard.workspace import row_log
from ftzard.workspace.workspace import Workspace
from tests.orchestration.texts import easy_texts, mood_of

pytestmark = pytest.mark.jobs


@pytest.fixture(scope="module")
def round_(story, tmp_path_factory):
    root = tmp_path_factory.mktemp("labelling") / "ws"
    shutil.copytree(story.root, root, symlinks=True)
    marker = root / "ftzard.yaml"
    marker.write_text(yaml.safe_dump(yaml.safe_load(marker.read_text())
                                     | {"versioning": {"push": False}}))
    for folder in ("incoming", "labelled"):
        for file in (root / "data" / folder).iterdir():
            file.unlink()
    shutil.rmtree(root / "data" / "quarantine", ignore_errors=True)
    return replace(story, workspace=Workspace(root))


def run(round_, *arguments: object) -> str:
    done = round_.tool("ftzard", "run", *arguments, "-w", round_.root, at=round_.root, seconds=400)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def facts(round_, step: str) -> dict:
    path = round_.workspace.metadata / f"{step}.json"
    return json.loads(path.read_text())["facts"]


def test_a_bad_file_is_set_aside_with_a_report_and_blocks_no_other(round_):
    incoming, quarantine = round_.workspace.incoming, round_.workspace.quarantine
    (incoming / "empty.csv").write_text("")
    os.utime(incoming / "empty.csv", (0, 0))
    (incoming / "bad.csv").write_text("twet\nhello\n")
    (incoming / "table.xlsx").write_bytes(b"PK\x03\x04 of a spreadsheet")
    easy_texts(80, seed=31)[["tweet"]].to_csv(incoming / "good.csv", index=False)
    bad = ("empty.csv", "bad.csv", "table.xlsx")
    with (services.serving(round_.workspace, {"daemon": services.daemon(round_.workspace)}),
          DagsterInstance.from_config(str(round_.workspace.dagster_home)) as instance):
        deadline = time.monotonic() + 400
        while not (all((quarantine / f"{n}.report.txt").is_file() for n in bad)
                   and not any((incoming / n).exists() for n in bad)
                   and taken(instance, "good.csv") == ["SUCCESS"]):
            assert time.monotonic() < deadline, (sorted(quarantine.glob("*")), [
                (r.tags.get("ftzard/delivery"), r.status) for r in instance.get_runs()][:8])
            time.sleep(0.5)
        assert [taken(instance, name) for name in bad] == [["FAILURE"]] * 3
    assert (incoming / "good.csv").is_file() and len(list(quarantine.iterdir())) == 6
    assert (quarantine / "bad.csv").read_text() == "twet\nhello\n"
    for name, words in (("bad.csv", "incoming/bad.csv has no column 'tweet'; did you mean 'twet'?"),
                        ("empty.csv", "is empty (0 bytes)"),
                        ("table.xlsx", "is of an unknown type '.xlsx'; valid are: .csv")):
        report = (quarantine / f"{name}.report.txt").read_text()
        assert words in report, report
        assert "put the file back into data/incoming" in report
    assert round_.open_runs() == []


def taken(instance, name: str) -> list[str]:
    return [r.status.value for r in instance.get_runs()
            if r.tags.get("ftzard/delivery") == f"data/incoming/{name}"]


def test_labels_with_every_mistake_through_the_whole_job(round_):
    """Asked, answered with slips, retrained: used, refused with reasons, or still waiting."""
    easy_texts(500, seed=32)[["tweet"]].to_csv(round_.workspace.incoming / "next.csv", index=False)
    run(round_, "inference_pipeline_job", "data.incoming=data/incoming/next.csv",
        "sampling.strategy=mix", "sampling.random_share=0.5", "sampling.budget=70")
    batch = facts(round_, "sampling")["batch"]
    place = round_.workspace.labelling / f"{batch}.csv"
    queue = read_queue(place)
    assert queue["chosen_by"].value_counts().to_dict() == {
        "least_confidence": 35, "random": 35, "audit": 30}
    tasks = json.loads(place.with_suffix(".json").read_text())
    assert [t["data"]["row_id"] for t in tasks] == queue["id"].tolist()
    assert place.with_suffix(".json.dvc").is_file()

    rows = queue.assign(label=queue["text"].map(mood_of), labelled_by="ann")
    rows.loc[0, "label"] = "gladd"
    rows.loc[1, "text"] = "another text altogether"
    rows.loc[2, "id"] = "feedbeef00000000"
    rows.loc[3:9, "label"] = ""
    other = {"glad": "sad", "sad": "glad"}
    bob = rows.loc[[10, 11]].assign(labelled_by="bob")
    bob.loc[11, "label"] = other[bob.loc[11, "label"]]
    every = pd.concat([rows, bob, rows.loc[[12]]], ignore_index=True)
    every.to_csv(round_.workspace.labelled / "back.csv", index=False)
    run(round_, "retraining_pipeline_job", "data.labelled=data/labelled/back.csv")

    cleaned = pd.read_parquet(round_.root / "data/cleaned/cleaned.parquet").set_index("id")
    lost = queue["id"].iloc[[0, 1, 2, *range(3, 10), 11]]
    assert not set(lost) & set(cleaned.index)
    used = queue[~queue["id"].isin(lost)]
    assert cleaned.loc[used["id"], "label"].tolist() == used["text"].map(mood_of).tolist()
    assert set(cleaned.loc[used["id"], "labelled_by"]) == {"ann"}
    assert (cleaned.loc[used["id"], "labelled_at"] != "").all()
    told = facts(round_, "cleaning")["labels"]
    assert told["accepted"] == 89 and told["refused"] == 6 and told["left_empty"] == 7
    assert told["labellers"] == {"rows": 2, "share": 0.5, "kappa": told["labellers"]["kappa"]}
    pairs = row_log.DOUBLE_ANSWERS.entries(round_.workspace)
    assert [(pair["first_person"], pair["second_person"]) for pair in pairs] == [("ann", "bob")] * 2
    assert sum(pair["first"] == pair["second"] for pair in pairs) == 1
    assert told["model"]["rows"] == 89 and told["model"]["share"] > 0.8
    assert 25 <= told["random_rows"]["rows"] <= 35
    latest = runs.children(round_.tracking(), "DATA_CLEANING")[0]
    assert latest.data.metrics["agreement_model_rows"] == 89
    refused = round_.workspace.quarantine / "back.refused.csv"
    reasons = pd.read_csv(refused, encoding="utf-8-sig")["reason"].tolist()
    assert sorted(reasons) == sorted([
        "unknown label 'gladd'; did you mean 'glad'?", "changed text",
        "unknown id 'feedbeef00000000'", "doubled id", *[r for r in reasons if "two people" in r]])
    assert "6 rows of back.csv were refused" in refused.with_name(
        "back.refused.csv.report.txt").read_text()
    waiting = json.loads(round_.tool("ftzard", "status", "--json", "-w", round_.root,
                                     at=round_.root).stdout)["rows_waiting_for_labels"]
    run(round_, "sampling_job", "sampling.budget=70")
    again = read_queue(place)
    assert again["id"].tolist()[:11] == lost.tolist(), "rows still waiting stay in the queue"
    assert (again["side"] == "train").sum() == 70 and again["id"].is_unique
    assert not set(again["id"]) & set(used["id"]) and waiting >= 11


@pytest.mark.parametrize("strategy", ["committee", "diversity"])
def test_strategies_that_ask_models_choose_rows(round_, strategy):
    """Of the newest batch, as if nothing of it waited for labels yet."""
    for file in round_.workspace.labelling.glob("*.*"):
        file.unlink()
    run(round_, "sampling_job", f"sampling.strategy={strategy}", "sampling.budget=12")
    told = facts(round_, "sampling")
    assert told["strategy"] == strategy and told["shown_by"] == "least_confidence"
    queue = read_queue(round_.workspace.labelling / f"{told['batch']}.csv")
    assert queue["chosen_by"].value_counts().to_dict() == {strategy: 12, "audit": 30}
    if strategy == "committee":
        assert told["committee"] == 2 and told["threshold"] > 0


def test_a_committee_that_is_not_there_says_what_to_do(round_):
    store = round_.workspace.state / "mlflow.db"
    kept = store.read_bytes()
    tracking = round_.tracking()
    for run_ in runs.children(tracking, level=runs.TRIAL):
        tracking.client.delete_run(run_.info.run_id)
    try:
        done = round_.tool("ftzard", "run", "sampling_job", "sampling.strategy=committee", "-w",
                           round_.root, at=round_.root)
    finally:
        store.write_bytes(kept)
    assert done.returncode == 1
    assert "has 0 trials with an adapter; a committee needs two or more" in done.stdout
    assert "tuning.trials=3" in done.stdout and "least_confidence" in done.stdout

"""Lineage both ways: from an artifact to its models, from a model to its rows; in a clone too."""

import copy
import json
import re
from pathlib import PurePosixPath

import pytest

from ftzard.errors import WorkspaceError
from ftzard.registry.lineage import history, lineage
from ftzard.tracking import registry
from ftzard.tracking.workspace_store import NOT_HERE
from tests.rounds import MODEL

pytestmark = pytest.mark.slow

FIRST, SECOND = f"{MODEL}@1", f"{MODEL}@2"


@pytest.fixture(scope="module")
def clone(rounds, tmp_path_factory):
    return rounds.clone(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def everything(rounds) -> list[dict]:
    return history(rounds.workspace)


@pytest.fixture(scope="module")
def first(rounds) -> dict:
    return lineage(rounds.workspace, FIRST)


@pytest.fixture(scope="module")
def second(rounds) -> dict:
    return lineage(rounds.workspace, SECOND)


def of(versions: list[dict], name: str) -> list[dict]:
    return [version for version in versions if version["artifact"] == name]


def models(versions: list[dict], name: str) -> list[list[str]]:
    return [version["models"] for version in of(versions, name)]


class TestHistory:
    def test_each_version_with_its_commit_its_size_and_the_run_that_made_it(self, rounds):
        newest, oldest = history(rounds.workspace, "cleaned")
        assert (newest["commit"], newest["rows"]) == (rounds.commits["clean 2"], 5)
        assert (oldest["commit"], oldest["rows"]) == (rounds.commits["clean 1"], 3)
        assert newest["size"] == (rounds.root / newest["path"]).stat().st_size
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:]{8}\+00:00", newest["time"])
        run = newest["run"]
        assert (run["id"], run["step"], run["state"]) == (
            rounds.ids["clean 2"], "cleaning", "FINISHED")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", run["name"])
        assert newest["pushed"] and oldest["pushed"]

    def test_the_models_trained_on_a_version_of_any_artifact_in_the_chain(self, everything):
        for name in ("tokenized", "cleaned"):
            assert models(everything, name) == [[SECOND], [FIRST]], name
        assert models(everything, "base") == [[FIRST, SECOND]]

    def test_what_no_model_was_trained_on_names_none(self, everything):
        for name in ("rejected", "queue", "incoming_tokenized"):
            assert models(everything, name) == [[]], name

    def test_deliveries_are_used_by_the_models_whose_rows_came_with_them(self, rounds, everything):
        told = {v["run"]["id"]: v["models"] for v in of(everything, "delivery")}
        assert told == {rounds.ids["clean 1"]: [FIRST, SECOND],  # the first batch, replayed
                        rounds.ids["incoming"]: [SECOND],        # the batch that was labelled
                        rounds.ids["clean 2"]: [SECOND]}         # its labels, handed in

    def test_an_adapter_names_the_model_that_went_on_from_it(self, everything):
        told = [(PurePosixPath(v["path"]).name, v["models"]) for v in of(everything, "adapter")]
        assert told == [("2.zip", []), ("1.zip", [SECOND])]

    def test_a_path_means_the_same_as_its_name(self, rounds, everything):
        place = rounds.config.paths.tokenized
        for asked in ("tokenized", f"{place}.dvc", str(rounds.root / place)):
            assert history(rounds.workspace, asked) == of(everything, "tokenized")

    def test_without_a_name_all_artifacts_latest_first(self, everything):
        assert {v["artifact"] for v in everything} == {
            "delivery", "cleaned", "rejected", "base", "tokenized", "adapter", "record",
            "incoming_tokenized", "queue"}
        times = [v["time"] for v in everything]
        assert times == sorted(times, reverse=True)

    def test_an_unknown_artifact_names_the_nearest(self, rounds):
        with pytest.raises(WorkspaceError, match="no artifact 'claened'; did you mean 'cleaned'"):
            history(rounds.workspace, "claened")

    def test_an_artifact_that_no_step_has_written_yet(self, rounds):
        with pytest.raises(WorkspaceError, match="'predictions' has no version"):
            history(rounds.workspace, "predictions")

    def test_a_clone_tells_the_same_but_for_what_only_mlflow_knows(self, everything, clone):
        there = history(clone.workspace)
        for version in there:
            assert version["run"]["name"] is None and not version["run"]["in_store"]
        unknown = {"name": None, "state": None, "in_store": False, "dagster_run": None}
        assert there == [{**v, "run": {**v["run"], **unknown}} for v in everything]
        assert not (clone.root / ".ftzard").exists()


class TestLineage:
    def test_a_model_s_rows_are_the_versions_in_force_at_its_tokenized_data(self, rounds, first):
        told = {v["artifact"]: v for v in first["data"]}
        assert {name: v["commit"] for name, v in told.items()} == {
            "delivery": rounds.commits["clean 1"], "cleaned": rounds.commits["clean 1"],
            "rejected": rounds.commits["clean 1"], "base": rounds.commits["tokens 1"],
            "tokenized": rounds.commits["tokens 1"]}
        assert first["adapter"]["commit"] == rounds.commits["model 1"]
        assert told["cleaned"]["rows"] == 3 and len(told["cleaned"]["md5"]) == 32
        assert {name for name, v in told.items() if v["used"]} == {
            "delivery", "cleaned", "base", "tokenized"}

    def test_a_model_s_runs_in_their_order_with_their_notebooks(self, rounds, first):
        told = first["runs"]
        names = {run_id: name for name, run_id in rounds.ids.items()}
        assert [names[run["id"]] for run in told] == ["clean 1", "tokens 1", "tuning 1", "model 1"]
        for run in told:
            assert run["state"] == "FINISHED" and run["in_store"]
            assert run["notebook"]["artifact"] == f"notebook/{run['step']}.ipynb"
            assert (rounds.root / run["notebook"]["file"]).is_file()

    def test_the_run_that_judged_it_is_among_its_runs(self, rounds, second):
        told = second["runs"]
        assert [run["step"] for run in told][-2:] == ["retraining", "evaluation"]
        assert told[-1]["id"] == rounds.ids["evaluation 2"]

    def test_config_base_code_packages_and_verdict(self, rounds, second):
        told = second
        assert told["config"]["training"]["epochs"] == rounds.config.training.epochs
        assert told["base"]["weight_hash"] == "w" * 64 and "revision" in told["base"]
        assert told["code"] == {"commit": "c0de", "code_hash": "c0de-hash",
                                "notebook_hash": "n0te", "packages": {"torch": "2.13.0"}}
        assert told["verdict"]["decision"] == "refuse"
        assert told["record"]["made_at"] == rounds.commits["model 2"]
        assert told["record"]["commit"] == rounds.commits["evaluation 2"]

    def test_parents_up_to_the_first_model(self, rounds, first, second):
        assert first["parents"] == []
        parent, = second["parents"]
        assert (parent["version"], parent["verdict"], parent["data_version"]) == (
            1, "promote", rounds.commits["tokens 1"])

    def test_without_a_version_it_is_the_promoted_one_unless_the_registry_knows_better(
            self, rounds):
        assert lineage(rounds.workspace)["version"] == 1
        client = rounds.tracking.client
        client.create_registered_model(MODEL)
        try:
            for _ in (1, 2):
                client.create_model_version(MODEL, source=f"runs:/{rounds.ids['model 2']}/model",
                                            run_id=rounds.ids["model 2"])
            client.set_registered_model_alias(MODEL, registry.CHAMPION, "2")
            told = lineage(rounds.workspace, MODEL)
            assert (told["version"], told["roles"]) == (2, ["champion"])
        finally:
            client.delete_registered_model(MODEL)

    def test_in_a_clone_who_was_promoted_by_hand_counts(self, rounds, tmp_path):
        clone = rounds.clone(tmp_path)
        assert lineage(clone.workspace)["version"] == 1
        clone.record(2, promotions=[{"time": "2026-11-22T00:00:00+00:00", "who": "Ada", "from": 1,
                                     "to": 2, "reason": "the gate had too few rows"}])
        told = lineage(clone.workspace)
        assert told["version"] == 2 and told["promotions"][0]["who"] == "Ada"

    @pytest.mark.parametrize(("asked", "words"), [
        ("FalconSenti@1", "no model 'FalconSenti'.*did you mean 'FalconSentiAnalysis'"),
        (f"{MODEL}@3", "no version '3' with a record; it has 1, 2"),
        (f"{MODEL}@first", "no version 'first'")])
    def test_what_is_not_there_is_named(self, rounds, asked, words):
        with pytest.raises(WorkspaceError, match=words):
            lineage(rounds.workspace, asked)

    def test_before_the_first_model(self, workspace):
        with pytest.raises(WorkspaceError, match="no record yet; run 'ftzard run training"):
            lineage(workspace)

    def test_a_clone_tells_it_without_mlflow(self, second, clone):
        here, there = copy.deepcopy(second), lineage(clone.workspace, SECOND)
        assert there["store"] == NOT_HERE and here["store"] is None
        for told in (here, there):
            for version in (*told["data"], told["adapter"]):
                version["run"] = version["run"]["id"]
        for key in ("data", "adapter", "base", "parents", "config", "verdict", "record", "rows"):
            assert there[key] == here[key], key
        assert [run["id"] for run in there["runs"]] == [run["id"] for run in here["runs"]]
        assert all(run["notebook"] == {"artifact": None, "file": None} for run in there["runs"])
        assert not (clone.root / ".ftzard").exists()

    def test_a_model_whose_data_version_is_not_here_says_so(self, rounds, tmp_path, ftzard):
        other = rounds.copy(tmp_path)
        other.record(2, data={"tokenized": {"path": "x", "sha256": "x", "commit": "5" * 40}})
        assert lineage(other.workspace, SECOND)["data_version"] == "5" * 40
        code, said = ftzard("lineage", SECOND, "-w", other.root)
        assert code == 0 and "555" in said


class TestCommandLine:
    def test_history_is_a_line_per_version(self, rounds, ftzard):
        code, said = ftzard("history", "tokenized", "-w", rounds.root)
        head, newest, oldest = said.strip().splitlines()
        assert code == 0 and head.split()[:3] == ["artifact", "data", "version"]
        assert re.match(rf"tokenized +{rounds.commits['tokens 2'][:10]} +20\S+ \S+ +5 +[\d.]+ k?B +"
                        rf"preprocessing \S+ +yes +{SECOND}", newest), newest
        assert FIRST in oldest

    def test_history_as_json_is_what_the_library_returns(self, rounds, everything, ftzard):
        code, said = ftzard("history", "--json", "-w", rounds.root)
        assert code == 0 and json.loads(said) == everything

    def test_lineage_is_a_tree_from_the_verdict_to_the_config(self, rounds, ftzard):
        code, said = ftzard("lineage", SECOND, "-w", rounds.root)
        assert code == 0 and "refuse. No gain [shown]." in said
        for words in ("retraining", rounds.ids["model 2"], rounds.commits["tokens 2"][:10],
                      f"{FIRST}  promote", "commit c0de", "training: method=lora", "torch 2.13.0",
                      "notebook as executed: .ftzard/executed/dagster-model 2/retraining.ipynb"):
            assert words in said, words

    def test_lineage_as_json(self, rounds, ftzard):
        code, said = ftzard("lineage", "--json", "-w", rounds.root)
        assert code == 0 and json.loads(said)["version"] == 1

    def test_in_a_clone(self, clone, ftzard):
        code, said = ftzard("history", "-w", clone.root)
        assert code == 0 and clone.ids["clean 1"] in said
        code, said = ftzard("lineage", "-w", clone.root)
        assert code == 0 and NOT_HERE in said and clone.ids["model 1"] in said

    def test_a_version_that_stays_local_says_why(self, rounds, tmp_path, ftzard):
        other = rounds.copy(tmp_path)
        ftzard("restore", rounds.commits["clean 1"], "cleaned", "-w", other.root)
        code, said = ftzard("history", "cleaned", "-w", other.root)
        assert code == 0 and re.search(r"restore +no +-", said), said
        assert "not pushed: it goes out with the next run, or with 'ftzard push'" in said

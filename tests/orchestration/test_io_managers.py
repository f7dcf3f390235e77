"""IO managers move handles: the same twice, and never a file that has changed."""

import json

import joblib
import pandas as pd
import pytest
from dagster import build_input_context, build_output_context

from ftzard.config.compose import compose
from ftzard.errors import ConfigError, DataError
from ftzard.orchestration import mlflow_bridge
from ftzard.orchestration.io_managers import (
    ArtifactIOManager,
    MetadataIOManager,
    metadata_place,
    read_metadata,
)
from ftzard.orchestration.resources import Experiment
from ftzard.tracking import runs
from ftzard.versioning import delivery_names
from ftzard.workspace import addresses
from ftzard.workspace.workspace import Workspace


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    return Experiment(Workspace(tmp_path), compose(), "run-1")


@pytest.fixture
def handle(experiment) -> dict:
    place = experiment.workspace.root / "data" / "cleaned.parquet"
    place.parent.mkdir()
    pd.DataFrame({"text": ["one", "a | b\nc"]}).to_parquet(place)
    return experiment.workspace.handle("cleaned", place, 2).at("c0ffee").to_dict()


def output(step: str = "Git_Dvc_cleaning", name: str = "cleaned"):
    return build_output_context(step_key=step, name=name)


def stored(experiment) -> list:
    return sorted(experiment.workspace.handles.rglob("*.json"))


def test_what_is_stored_comes_back_and_storing_twice_changes_nothing(experiment, handle):
    manager, context = ArtifactIOManager(experiment), output()
    manager.handle_output(context, handle)
    file, = stored(experiment)
    first = file.read_bytes()
    manager.handle_output(context, handle)
    assert stored(experiment) == [file] and file.read_bytes() == first
    assert manager.load_input(build_input_context(upstream_output=output())) == handle


def test_the_data_itself_does_not_travel(experiment, handle):
    ArtifactIOManager(experiment).handle_output(output(), handle)
    assert json.loads(stored(experiment)[0].read_text()) == handle


def test_a_versioned_artifact_is_materialised_with_rows_commit_and_preview(experiment, handle):
    context = output()
    ArtifactIOManager(experiment).handle_output(context, handle)
    event, = context.get_logged_events()
    told = {name: value.value for name, value in event.metadata.items()}
    assert told["dagster/row_count"] == 2 and told["commit"] == "c0ffee"
    assert [record.data["text"] for record in event.metadata["preview"].records] == [
        "one", "a | b c"]
    columns = event.metadata["dagster/column_schema"].schema.columns
    assert [column.name for column in columns] == ["text"] and "string" in columns[0].type


def test_its_page_counts_the_rows_of_each_file_that_was_delivered(experiment):
    delivery_names.remember(experiment.workspace, "a" * 64, "march|april.csv")
    place = experiment.workspace.root / "cleaned.parquet"
    pd.DataFrame({"batch": ["a" * 12] * 3 + ["b" * 12]}).to_parquet(place)
    context = output()
    ArtifactIOManager(experiment).handle_output(
        context, experiment.workspace.handle("cleaned", place, 4).at("c0ffee").to_dict())
    event, = context.get_logged_events()
    lines = [tuple(record.data.values()) for record in event.metadata["batches"].records]
    assert lines == [(f"march|april.csv ({'a' * 7})", 3), ("b" * 12, 1)]


def test_without_an_mlflow_store_the_page_says_so_and_none_is_made(experiment, handle):
    context = output()
    ArtifactIOManager(experiment).handle_output(context, handle)
    event, = context.get_logged_events()
    assert event.metadata["MLflow run"].value == "not in this MLflow store"
    assert not (experiment.workspace.state / "mlflow.db").exists()


def page_of(rounds, run) -> dict:
    """Return what the asset's page tells of a version that this MLflow run has made."""
    mlflow_bridge.clear_details()
    handle = rounds.workspace.handle("cleaned", rounds.config.paths.cleaned, 5).at("c0ffee")
    context = output()
    experiment = Experiment(rounds.workspace, rounds.config, run.data.tags["dagster_run_id"])
    ArtifactIOManager(experiment).handle_output(context, handle.to_dict())
    event, = context.get_logged_events()
    return {name: value.value for name, value in event.metadata.items()}


def test_a_page_leads_to_the_mlflow_run_and_shows_its_plots(rounds):
    run = runs.known(rounds.tracking, rounds.ids["clean 2"])
    told = page_of(rounds, run)
    assert told["MLflow run"] == f"{run.info.run_name} ({run.info.run_id})"
    assert told["MLflow page"].endswith(
        f"/#/experiments/{rounds.tracking.experiment_id}/runs/{run.info.run_id}"
        "?workflowType=machine_learning")
    assert told["plots"] == "![cleaning plot](data:image/png;base64,c21hbGw=)"


def test_a_page_s_link_follows_where_mlflow_is_served(rounds, tmp_path):
    own = rounds.copy(tmp_path)
    addresses.remember(own.workspace, {addresses.MLFLOW: ("127.0.0.1", 5017)})
    told = page_of(own, runs.known(own.tracking, own.ids["clean 1"]))
    assert told["MLflow page"].startswith("http://127.0.0.1:5017/#/experiments/")


def test_a_large_plot_is_named_only(rounds, monkeypatch):
    monkeypatch.setattr("ftzard.orchestration.mlflow_bridge.LARGEST_PLOT", 4)
    told = page_of(rounds, runs.known(rounds.tracking, rounds.ids["clean 2"]))
    assert told["plots"] == (
        "plots/cleaning_plot.png, an artifact of the MLflow run (5 bytes)")


def test_an_artifact_that_is_not_versioned_yet_is_not_materialised(experiment, handle):
    context = output()
    ArtifactIOManager(experiment).handle_output(context, {**handle, "commit": None})
    assert list(context.get_logged_events()) == []


def test_a_file_that_changed_behind_its_handle_is_refused(experiment, handle):
    (experiment.workspace.root / handle["path"]).write_bytes(b"other bytes")
    with pytest.raises(DataError, match="something else wrote the file in between"):
        ArtifactIOManager(experiment).handle_output(output(), handle)
    assert stored(experiment) == []


def test_a_file_that_is_gone_is_refused(experiment, handle):
    (experiment.workspace.root / handle["path"]).unlink()
    with pytest.raises(DataError, match="does not exist"):
        ArtifactIOManager(experiment).handle_output(output(), handle)


def test_a_handle_that_was_never_stored_is_named(experiment):
    with pytest.raises(DataError, match="run run-1 has no handle"):
        ArtifactIOManager(experiment).load_input(build_input_context(upstream_output=output()))


def test_metadata_is_json_and_a_copy_stands_where_the_launchpad_says(experiment):
    place = metadata_place({"base_path": "data", "file_name": "step1.json"}, experiment)
    manager = MetadataIOManager(experiment, place)
    context = output(name="cleaning_metadata")
    manager.handle_output(context, {"run_name": "2026-01-01_00-00-00"})
    assert read_metadata(place, trusted=False) == {"run_name": "2026-01-01_00-00-00"}
    loaded = manager.load_input(build_input_context(upstream_output=context))
    assert loaded == {"run_name": "2026-01-01_00-00-00"}


@pytest.mark.parametrize(("said", "words"), [
    ({"base_path": "data"}, "give both"), ({"file_name": "x.json"}, "give both"),
    ({"base_path": "..", "file_name": "x.json"}, "outside the workspace")])
def test_a_metadata_place_that_is_none_is_refused(experiment, said, words):
    with pytest.raises(ConfigError, match=words):
        metadata_place(said, experiment)
    assert metadata_place({}, experiment) is None


def test_a_joblib_file_is_opened_only_when_it_is_trusted(tmp_path):
    joblib.dump({"run_name": "old", "run_id": "1"}, tmp_path / "step1_run_metadata.joblib")
    with pytest.raises(DataError, match="trust_joblib"):
        read_metadata(tmp_path / "step1_run_metadata.joblib", trusted=False)
    found = read_metadata(tmp_path / "step1_run_metadata.joblib", trusted=True)
    assert found == {"run_name": "old", "run_id": "1"}


def test_metadata_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere.json does not exist"):
        read_metadata(tmp_path / "nowhere.json", trusted=False)

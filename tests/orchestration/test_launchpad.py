"""base_path and file_name of the Launchpad's resources end in the experiment's config."""

import re
from pathlib import Path

import pytest
import yaml
from dagster import validate_run_config

from ftzard import definitions
from ftzard.config import effects, former_names
from ftzard.config.compose import PACKAGED, compose, resolve
from ftzard.config.pipeline import JOBS, job_named
from ftzard.errors import ConfigError
from ftzard.orchestration.jobs import build, resources
from ftzard.orchestration.launchpad import opens_with
from ftzard.orchestration.launchpad_file import (
    RESOURCES,
    resources_of,
    split_launchpad,
    with_overrides,
)
from ftzard.orchestration.resources import goes_over, request

ROOT = Path("/somewhere/ws")


def config_of(values: dict, **resources):
    said = {"resources": {name: {"config": config} for name, config in resources.items()}}
    return compose(request(values, said, ROOT))


def test_base_path_and_file_name_say_where_an_artifact_stands():
    config = config_of({}, cleaned_io_manager={"base_path": "data/other", "file_name": "c.parquet"})
    assert config.paths.cleaned == "data/other/c.parquet"


def test_one_of_the_two_keeps_the_other():
    assert config_of({}, cleaned_io_manager={"file_name": "c.parquet"}
                     ).paths.cleaned == "data/cleaned/c.parquet"
    assert config_of({}, cleaned_io_manager={"base_path": "data/other"}
                     ).paths.cleaned == "data/other/cleaned.parquet"


def test_an_absolute_base_path_inside_the_workspace_becomes_relative():
    config = config_of({}, queue_io_manager={"base_path": str(ROOT / "data/q"),
                                             "file_name": "{batch}.csv"})
    assert config.paths.queue == "data/q/{batch}.csv"


@pytest.mark.parametrize(("name", "key"), [
    ("raw_input_manager", "source"), ("incoming_input_manager", "incoming"),
    ("labelled_input_manager", "labelled")])
def test_a_delivery_s_place_reaches_the_data_group(name, key):
    config = config_of({}, **{name: {"base_path": "data/incoming", "file_name": "new_data.csv"}})
    assert getattr(config.data, key) == "data/incoming/new_data.csv"


def test_a_place_outside_the_workspace_is_refused():
    for base in ("/elsewhere", "/somewhere/wsx"):
        with pytest.raises(ConfigError, match="outside the workspace /somewhere/ws"):
            config_of({}, cleaned_io_manager={"base_path": base, "file_name": "c.parquet"})
    with pytest.raises(ConfigError, match="paths.cleaned.*inside the workspace"):
        config_of({}, cleaned_io_manager={"base_path": "../other", "file_name": "c.parquet"})


def test_the_same_place_said_differently_is_refused_and_said_alike_is_fine():
    manager = {"base_path": "data/other", "file_name": "c.parquet"}
    with pytest.raises(ConfigError, match="'paths.cleaned' is given twice"):
        config_of({"paths": {"cleaned": "data/x.parquet"}}, cleaned_io_manager=manager)
    same = config_of({"paths": {"cleaned": "data/other/c.parquet"}}, cleaned_io_manager=manager)
    assert same.paths.cleaned == "data/other/c.parquet"


def test_an_override_against_a_resource_is_refused():
    with pytest.raises(ConfigError, match="given twice"):
        config_of({"overrides": ["data.incoming=data/incoming/other.csv"]},
                  incoming_input_manager={"base_path": "data/incoming", "file_name": "new.csv"})


def test_a_delivery_without_a_file_name_is_refused():
    with pytest.raises(ConfigError, match="no file_name"):
        config_of({}, raw_input_manager={"base_path": "data/raw"})


def test_an_artifact_that_does_not_exist_names_the_nearest():
    with pytest.raises(ConfigError, match="'claened'; did you mean 'cleaned'"):
        config_of({}, claened_io_manager={"base_path": "data", "file_name": "c.parquet"})


@pytest.mark.parametrize("job", JOBS)
def test_each_shipped_yaml_resolves(job):
    values = yaml.safe_load((PACKAGED / "dagster" / f"{job}.yaml").read_text())
    told = split_launchpad(values)
    assert "experiment" not in told.resources
    config = compose(request(told.experiment, {"resources": told.resources}, ROOT))
    assert config.model.name == "falcon_tiny"


def test_the_command_line_s_overrides_end_in_the_same_place():
    experiment = split_launchpad({"resources": {"experiment": {"config": {
        "training": {"epochs": 2}, "overrides": ["seed=3"]}}}}).experiment
    config = compose(with_overrides(experiment, ["tuning.trials=1"]))
    assert (config.training.epochs, config.seed, config.tuning.trials) == (2, 3, 1)
    with pytest.raises(ConfigError, match="given twice"):
        compose(with_overrides(experiment, ["training.epochs=5"]))


def test_every_resource_of_a_job_may_be_named_and_no_other():
    assert set(resources("cleaning_job")) == RESOURCES


def test_the_resources_of_each_job_are_known_without_dagster():
    for name, job in definitions.jobs.items():
        assert resources_of(name) == set(job.resource_defs) - {"io_manager"}


@pytest.mark.parametrize(("values", "words"), [
    ({"training": {"epochs": 2}}, ["unknown key 'training' at the top.", "experiment: config:"]),
    ({"resource": {}}, ["unknown key 'resource' at the top; did you mean 'resources'?"]),
    ({"resources": {"experiment": {"confg": {}}}},
     ["unknown key 'confg' in resources: experiment; did you mean 'config'?"]),
    ({"resources": {"experiment": {"training": {"epochs": 2}}}},
     ["unknown key 'training' in resources: experiment", "experiment: config:"]),
    ({"resources": {"claened_io_manager": {"config": {}}}},
     ["no resource 'claened_io_manager'; did you mean 'cleaned_io_manager'?"]),
    ({"resources": {"training": {"epochs": 2}}}, ["no resource 'training'."]),
    ({"resources": {"experiment": {"config": 3}}}, ["resources: experiment: config is '3'"]),
    ([3], ["expected keys with values"])])
def test_what_would_be_passed_over_is_refused_by_file_key_and_place(values, words):
    with pytest.raises(ConfigError) as refused:
        split_launchpad(values, "mine.yaml")
    assert all(word in str(refused.value) for word in ["mine.yaml", *words]), refused.value


FORMER = """
resources:
  output_notebook_io_manager: {config: {asset_key_prefix: []}}
  io_manager_cd: {config: {base_path: /app/ftzard/data, file_name: cleaned_data.csv}}
  io_manager_step1_metadata: {config: {base_path: /app/ftzard/data, file_name: step1.joblib}}
  raw_data_input_manager: {config: {base_path: data, file_name: training.csv}}
  io_manager_metadata: {config: {base_path: /app/ftzard/data, file_name: step1.joblib}}
"""


def test_a_yaml_of_the_system_before_is_told_today_s_names_and_what_it_says_works():
    values = yaml.safe_load(FORMER)
    with pytest.raises(ConfigError) as refused:
        split_launchpad(values, "mine.yaml", "cleaning_job")
    said, told = str(refused.value), {}
    for name in [name for name in values["resources"] if name not in RESOURCES]:
        told[name] = re.search(rf"'{name}' is called (\w+) here", said)[1]
    assert told == {"io_manager_cd": "cleaned_io_manager",
                    "io_manager_step1_metadata": "cleaning_metadata_io_manager",
                    "raw_data_input_manager": "raw_input_manager",
                    "io_manager_metadata": "cleaning_metadata_io_manager"}
    assert "leave base_path and file_name out" in said and "did you mean" not in said
    followed = {told.get(name, name): {} if name in told else value
                for name, value in values["resources"].items()}
    followed["raw_input_manager"] = values["resources"]["raw_data_input_manager"]
    found = split_launchpad({"resources": followed}, "mine.yaml", "cleaning_job")
    config = compose(request(found.experiment, {"resources": found.resources}, ROOT))
    assert config.data.source == "data/training.csv"


@pytest.mark.parametrize(("job", "name", "now"), [
    ("preprocessing_job", "io_manager_cd", "cleaned_input_manager"),
    ("preprocessing_job", "io_manager_td", "tokenized_io_manager"),
    ("inference_preprocessing_job", "io_manager_td", "incoming_tokenized_io_manager"),
    ("inference_preprocessing_job", "raw_data_input_manager", "incoming_input_manager"),
    ("inference_preprocessing_job", "io_manager_step2_1_metadata",
     "inference_preprocessing_metadata_io_manager"),
    ("tuning_job", "io_manager_ds", "tokenized_input_manager"),
    ("inference_job", "io_manager_ds", "incoming_tokenized_input_manager"),
    ("inference_job", "io_manager_pl", "predictions_io_manager"),
    ("sampling_job", "io_manager_pd", "predictions_input_manager"),
    ("sampling_job", "io_manager_rd", "queue_io_manager"),
    ("sampling_job", "io_manager_step6_metadata", "sampling_metadata_io_manager"),
    ("retraining_pipeline_job", "io_manager_sd", "labelled_input_manager"),
    (None, "io_manager_step5_metadata", "inference_metadata_io_manager")])
def test_which_name_depends_on_the_job(job, name, now):
    with pytest.raises(ConfigError, match=rf"'{name}' is called {now} here\."):
        split_launchpad({"resources": {name: {"config": {}}}}, "mine.yaml", job)
    assert job is None or now in definitions.jobs[job].resource_defs


def test_every_former_name_leads_to_one_that_exists():
    for name, now in former_names.RESOURCES.items():
        assert name not in RESOURCES and set(now) <= RESOURCES
    with pytest.raises(ConfigError, match="the op 'sampler_op' is called sampling here"):
        split_launchpad({"ops": {"sampler_op": {}}})


@pytest.mark.parametrize(("former", "now"), [
    ("data_cleaner_job", "cleaning_job"), ("data_preprocessor_op", "preprocessing_job"),
    ("hp_trainer_job", "tuning_job"), ("model_logger_graph", "choosing_job"),
    ("data_inference_job", "inference_job"), ("sampler_job", "sampling_job"),
    ("retrainer_job", "retraining_job"), ("DATA CLEANING", "cleaning_job"),
    ("CHOOSE-BEST-MODEL", "choosing_job"), ("HP-TUNING", "tuning_job"),
    ("dvc_logger_job", "Git_Dvc follows every step")])
def test_a_job_of_the_system_before_is_refused_with_the_one_of_today(ftzard, workspace, former,
                                                                     now):
    code, said = ftzard("run", former, "-w", workspace.root)
    assert code == 1 and now in said and "The jobs are" not in said
    if now in JOBS:
        assert job_named(now) == now


def test_a_table_under_another_ending_is_refused_before_it_is_written():
    with pytest.raises(ConfigError, match=r"cleaned_data.csv'; expected .* ends in .parquet"):
        config_of({}, cleaned_io_manager={"base_path": "data", "file_name": "cleaned_data.csv"})


def test_dagster_s_own_keys_are_handed_on():
    loggers = {"console": {"config": {"log_level": "INFO"}}}
    told = split_launchpad({"loggers": loggers, "ops": None, "resources": None})
    assert (told.experiment, told.resources, told.dagster) == ({}, {}, {"loggers": loggers})


class TestOpensWith:
    """What a person sees first: the experiment alone, with the workspace's own values."""

    def test_it_is_the_experiment_with_what_has_an_effect_in_the_job(self, workspace):
        for name in JOBS:
            opened = opens_with(name, workspace)["resources"]
            assert list(opened) == ["experiment"]
            values = opened["experiment"]["config"]
            assert values.pop("overrides") == []
            effects.refuse_without_effect(
                resolve(values, names=[effects.LAUNCHPAD]), name)  # which raises
            assert "training" not in values and "tuning" not in values  # a recipe's
        training = opens_with("training_pipeline_job", workspace)["resources"]["experiment"]
        assert training["config"] == {
            "data": {"source": None, "sample_rows": None}, "gate": {"min_gain": 0.005},
            "model": {"choice": "falcon_tiny"}, "overrides": [], "seed": 0}

    def test_it_holds_what_the_workspace_says(self, workspace):
        (workspace.root / "ftzard.yaml").write_text(
            "model: mine\ndata: {source: data/raw/a.csv}\nseed: 7\noverrides: [gate.min_gain=0.02]")
        own = workspace.root / "config" / "model"
        own.mkdir(parents=True)
        (own / "mine.yaml").write_text("defaults: [falcon_tiny, _self_]\nname: mine\n")
        opened = opens_with("training_pipeline_job", workspace)
        assert opened["resources"]["experiment"]["config"] == {
            "data": {"source": "data/raw/a.csv", "sample_rows": None}, "gate": {"min_gain": 0.02},
            "model": {"choice": "mine"}, "overrides": [], "seed": 7}
        job = build("training_pipeline_job", workspace)
        assert validate_run_config(job, opened)
        incoming = opens_with("inference_pipeline_job", workspace)["resources"]["experiment"]
        assert incoming["config"]["data"] == {"incoming": "data/incoming/new_data.csv"}

    def test_running_it_as_it_opens_changes_no_value(self, workspace):
        (workspace.root / "ftzard.yaml").write_text("model: distilbert\nseed: 7\n")
        values = opens_with("training_pipeline_job", workspace)["resources"]["experiment"]["config"]
        assert workspace.config(values) == workspace.config()

    @pytest.mark.parametrize("said", ["seed: [", "model: nowhere\nseed: many\n", "nosuch: 1\n"])
    def test_a_broken_ftzard_yaml_stops_no_code_location(self, workspace, said):
        (workspace.root / "ftzard.yaml").write_text(said)
        opened = opens_with("training_pipeline_job", workspace)
        assert validate_run_config(build("training_pipeline_job", workspace), opened)

    def test_every_place_and_value_is_described_beside_the_editor(self):
        job = definitions.jobs["training_pipeline_job"]
        fields = job.resource_defs["experiment"].config_schema.config_type.fields
        assert "Passes over the training rows" in (
            fields["training"].config_type.fields["epochs"].description)
        assert fields["seed"].description.startswith("Seed of everything random")
        place = job.resource_defs["cleaned_io_manager"]
        assert "paths.cleaned" in place.description
        assert "paths.cleaned" in place.config_schema.config_type.fields["base_path"].description
        assert "data.source" in job.resource_defs["raw_input_manager"].description


def test_a_value_of_the_launchpad_that_goes_over_ftzard_yaml_is_said(workspace):
    (workspace.root / "ftzard.yaml").write_text("model: distilbert\nseed: 7\n")
    told = workspace.resolve({"model": {"choice": "falcon_tiny"}, "seed": 7,
                              "gate": {"min_gain": 0.02}})
    assert list(goes_over(workspace, told)) == [
        "model=falcon_tiny of the Launchpad goes over distilbert of ftzard.yaml"]

"""base_path and file_name of the Launchpad's resources end in the experiment's config."""

from pathlib import Path

import pytest
import yaml

from ftzard.config.compose import PACKAGED, compose
from ftzard.errors import ConfigError
from ftzard.pipeline.experiment import request
from ftzard.pipeline.jobs import resources
from ftzard.running.launch import RESOURCES, launchpad, merged
from ftzard.steps import JOBS

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
    with pytest.raises(ConfigError, match="'paths.cleaned' is said twice"):
        config_of({"paths": {"cleaned": "data/x.parquet"}}, cleaned_io_manager=manager)
    same = config_of({"paths": {"cleaned": "data/other/c.parquet"}}, cleaned_io_manager=manager)
    assert same.paths.cleaned == "data/other/c.parquet"


def test_an_override_against_a_resource_is_refused():
    with pytest.raises(ConfigError, match="said twice"):
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
    told = launchpad(values)
    assert "experiment" not in told.resources
    config = compose(request(told.experiment, {"resources": told.resources}, ROOT))
    assert config.model.name == "falcon_tiny"


def test_the_command_line_s_overrides_end_in_the_same_place():
    experiment = launchpad({"resources": {"experiment": {"config": {
        "training": {"epochs": 2}, "overrides": ["seed=3"]}}}}).experiment
    config = compose(merged(experiment, ["tuning.trials=1"]))
    assert (config.training.epochs, config.seed, config.tuning.trials) == (2, 3, 1)
    with pytest.raises(ConfigError, match="said twice"):
        compose(merged(experiment, ["training.epochs=5"]))


def test_every_resource_of_a_job_may_be_named_and_no_other():
    assert RESOURCES == set(resources("cleaning_job"))


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
        launchpad(values, "mine.yaml")
    assert all(word in str(refused.value) for word in ["mine.yaml", *words]), refused.value


def test_dagster_s_own_keys_are_handed_on():
    loggers = {"console": {"config": {"log_level": "INFO"}}}
    told = launchpad({"loggers": loggers, "ops": None, "resources": None})
    assert (told.experiment, told.resources, told.dagster) == ({}, {}, {"loggers": loggers})

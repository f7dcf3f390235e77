"""A value that is given for a job has an effect in it, or is refused."""

import inspect
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_args

import nbformat
import pytest
from dagster import validate_run_config

import ftzard
from ftzard import definitions
from ftzard.config import effects
from ftzard.config.compose import Resolved, compose, resolve
from ftzard.config.pipeline import JOBS, STEPS
from ftzard.config.schema import GROUPS, Config, Data
from ftzard.errors import ConfigError
from ftzard.registry import effective_config
from ftzard.steps.step_run import start_step
from ftzard.tasks.base import task_names

LIBRARY = Path(ftzard.__file__).parent


def keys(kind: type = Config, prefix: str = "") -> list[str]:
    """Return every dotted key of the schema, those of model.build and task.instructions too."""
    found = []
    for f in fields(kind):
        inner = next((h for h in (f.type, *get_args(f.type)) if is_dataclass(h)), None)
        found += keys(inner, f"{prefix}{f.name}.") if inner else [f"{prefix}{f.name}"]
    return found


def value_at(values: object, key: str) -> object:
    for part in key.split("."):
        values = getattr(values, part)
    return values


def told(key: str, source: str, config: Config) -> Resolved:
    """Return what comes out where one key alone was given, by a source."""
    groups = dict.fromkeys(GROUPS, ("default", "default"))
    return Resolved(config, {**dict.fromkeys(keys(), "default"), "model.build": "default",
                             "task.instructions": "default", key: source}, groups)


CONFIGS = {
    "classification": compose({"data": {"split": "given", "sample_rows": 9},
                               "sampling": {"strategy": "mix"}}),
    "instruction_tuning": compose({
        "task": "instruction_tuning", "data": {"choice": "instructions", "split": "given",
                                               "mix": None},
        "tuning": {"metric": "validation_loss"}, "sampling": {"strategy": "mix"}})}


class TestEveryKeyInEveryJob:
    def test_the_table_has_every_key_of_the_schema_and_no_other(self):
        assert set(effects.READ_BY) == set(keys())

    def test_every_step_of_the_table_is_one(self):
        known = {step.name for step in STEPS} | {"labels", "labelled", "labeling", "notices",
                                                 "sensors"}
        assert {step for said in effects.READ_BY.values() for step in said.split()} == known

    @pytest.mark.parametrize("job", JOBS)
    def test_a_key_has_an_effect_in_a_job_or_is_refused_there(self, job):
        for task, config in CONFIGS.items():
            effective = effects.keys_of(job, task)
            for key in keys():
                try:
                    value_at(config, key)
                except AttributeError:  # the build of a base that is fetched
                    continue
                if key in effects.idle(config, job):
                    continue  # see TestBesideOtherValues
                for source in ("override", "Launchpad"):
                    resolved = told(key, source, config)
                    if key in effective:
                        effects.refuse_without_effect(resolved, job)
                        continue
                    with pytest.raises(ConfigError, match=re.escape(key)) as refused:
                        effects.refuse_without_effect(resolved, job)
                    assert f"no effect in {job}" in str(refused.value)
                effects.refuse_without_effect(told(key, "ftzard.yaml", config), job)

    @pytest.mark.parametrize("job", JOBS)
    def test_the_launchpad_of_a_job_offers_what_has_an_effect_in_it(self, job):
        fields_of = definitions.jobs[job].resource_defs["experiment"].config_schema.config_type
        offered = set()

        def walk(kind, prefix=""):
            kind = getattr(kind, "inner_type", kind)
            inner = getattr(kind, "fields", None)
            if not inner:
                offered.add(prefix.rstrip("."))
                return
            for name, field in inner.items():
                walk(field.config_type, f"{prefix}{name}.")

        walk(fields_of)
        of_the_run = {"overrides", "force"}
        assert {key for key in offered - of_the_run if not key.endswith(".choice")} == (
            effects.keys_of(job))

    def test_the_launchpad_refuses_what_has_no_effect(self):
        job = definitions.jobs["retraining_job"]
        for training in ({"learning_rate": 0.5}, {"epochs": 1}, {"rank": 8}):
            with pytest.raises(Exception, match="unexpected config entry"):
                validate_run_config(job, {"resources": {"experiment": {"config": {
                    "training": training}}}})


DATA_PARTS = [f"tasks/{task}/{part}.py" for task in task_names() for part in ("data", "labeling")]
MODEL_PARTS = [f"tasks/{task}/{part}.py" for task in task_names()
               for part in ("model", "evaluation")]
CLUSTER = ["compute", "steps/cluster_access.py", "steps/cluster_fit.py",
           "steps/cluster_prediction.py"]
READERS = {
    "cleaning": ["steps/cleaning.py", "sources", "steps/inputs.py", "data", *DATA_PARTS],
    "labels": ["steps/cleaning.py", "steps/inputs.py", *DATA_PARTS],
    "labelled": ["steps/cleaning.py", "steps/inputs.py", *DATA_PARTS],
    "preprocessing": ["steps/preprocessing.py", "registry/model_records.py", *DATA_PARTS],
    "inference_preprocessing": ["sources", "steps/inputs.py",
                                "steps/inference_preprocessing.py", *DATA_PARTS],
    "tuning": ["config/unusual.py", "config/training_config.py", "registry/model_records.py",
               "steps/tuning.py", *CLUSTER, *MODEL_PARTS],
    "choosing": ["registry/model_records.py", "steps/candidate.py", "steps/evaluation.py",
                 "evaluation/gate.py", "orchestration/io_managers.py", *MODEL_PARTS],
    "inference": ["steps/inference.py", "steps/drift_reference.py", "steps/accuracy_estimate.py",
                  *CLUSTER, *MODEL_PARTS],
    "sampling": ["steps/sampling.py", "steps/query_inputs.py", "steps/next_labels.py"],
    "retraining": ["registry/model_records.py", "steps/retraining.py", "steps/candidate.py",
                   "config/training_config.py", *CLUSTER, *MODEL_PARTS],
    "sensors": ["orchestration/drop_folder_runs.py"],
}
READERS["evaluation"] = [*READERS["choosing"], "steps/next_labels.py"]
EVERYWHERE = ["steps/step_run.py", "steps/step_location.py", "steps/artifact_checks.py",
              "steps/run_description.py", "steps/champion_config.py", "steps/versioning.py",
              "workspace/disk.py", "tracking/sqlite_reading.py", "workspace/workspace.py"]


def cells_of(step: str) -> str:
    """Return the code of a step's notebooks, of both tasks."""
    name = "cleaning" if step in ("labels", "labelled") else step
    found = [s.notebook for s in STEPS if s.name == name]
    return "\n".join(
        cell.source for notebook in found for path in (LIBRARY / "notebooks").rglob(
            f"{notebook}.ipynb") for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code")


def code_of(step: str) -> str:
    places = [LIBRARY / name for name in (*READERS[step], *EVERYWHERE)]
    files = [file for place in places
             for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    code = cells_of(step) + "\n".join(file.read_text(encoding="utf-8") for file in files)
    made_of = [inspect.getsource(value.fget) for name, value in vars(Data).items()
               if isinstance(value, property) and f".{name}" in code]
    return "\n".join([code, *made_of])  # a property reads the keys that it is made of


class TestWhoReadsWhat:
    @pytest.mark.parametrize("step", sorted(READERS))
    def test_what_the_table_says_is_read_is_named_in_the_step_s_code(self, step):
        code = code_of(step)
        for key, steps in effects.READ_BY.items():
            group, _, name = key.rpartition(".")
            if step not in steps.split() or group in ("paths", "gate", "model.build"):
                continue  # taken as a whole, by the artifact's name or as vars()
            assert re.search(rf"\b{name}\b", code), f"{key} in {step}"

    @pytest.mark.parametrize("step", [s.name for s in STEPS])
    def test_what_a_notebook_reads_is_in_the_table(self, step):
        code = cells_of(step)
        named = {"config": "", "run.config": "", "settings": "sampling.", "data": "data.",
                 "model": "model."}
        known = set(keys())
        for prefix, group in named.items():
            for found in re.findall(rf"(?<![\w.]){re.escape(prefix)}\.([a-z_.]+)", code):
                key = group + found.removeprefix("config.") if prefix != "config" else found
                if key not in known:
                    continue
                steps = effects.READ_BY[key].split()
                assert step in steps or step == "cleaning" and "labels" in steps, (step, key)


class TestBesideOtherValues:
    @pytest.mark.parametrize(("job", "values", "words"), [
        ("tuning_job", {"tuning.rank": "[8,16]", "training.rank": 4}, "set tuning.rank=null"),
        ("tuning_job", {"tuning.learning_rate": "[0.001,0.01]", "training.learning_rate": 0.5},
         "set tuning.learning_rate=null"),
        ("tuning_job", {"tuning.trials": 1, "tuning.weight_decay": "null", "tuning.prune": "true"},
         "set tuning.trials"),
        ("sampling_job", {"sampling.random_share": 0.5}, "share of sampling.strategy=mix"),
        ("tuning_job", {"training.method": "full", "model.quantisation": "none",
                        "training.rank": 4}, "has no adapter"),
        ("tuning_job", {"model.quantisation": "none", "model.double_quantisation": "true"},
         "only the scales of nf4"),
        ("cleaning_job", {"data.split_column": "part"}, "data.split=given"),
        ("cleaning_job", {"data.sample_stratified": "false"}, "set data.sample_rows")], ids=str)
    def test_what_other_values_leave_without_an_effect_is_refused(self, job, values, words):
        resolved = resolve({"overrides": [f"{key}={value}" for key, value in values.items()]})
        with pytest.raises(ConfigError, match=re.escape(words)) as refused:
            effects.refuse_without_effect(resolved, job)
        assert list(values)[-1] in str(refused.value)

    def test_a_value_inside_the_search_is_its_first_trial(self):
        effects.refuse_without_effect(resolve({"overrides": [
            "tuning.rank=[8,16]", "training.rank=8", "tuning.learning_rate=[0.001,0.1]",
            "training.learning_rate=0.05"]}), "tuning_job")

    def test_a_choice_of_a_group_that_no_step_reads_is_refused(self):
        with pytest.raises(ConfigError, match="model=falcon_7b has no effect in sampling_job"):
            effects.refuse_without_effect(resolve({"overrides": ["model=falcon_7b"]}),
                                          "sampling_job")


def test_a_notebook_by_hand_refuses_likewise(workspace, monkeypatch):
    monkeypatch.setenv("FTZARD_WORKSPACE", str(workspace.root))
    with pytest.raises(ConfigError, match="sampling.budget=3 has no effect in cleaning_job"):
        start_step("cleaning", {"raw": None, "overrides": ["sampling.budget=3"]})


class TestRetraining:
    RECORD = {"params": {"learning_rate": 0.01, "batch_size": 8, "weight_decay": 0.5, "rank": 4,
                         "alpha": 12.0, "dropout": 0.2}}

    def test_it_takes_the_champion_s_values_and_those_of_its_own_group(self):
        config = compose({"retraining": {"epochs": 7, "learning_rate_ratio": 0.5}})
        training = effective_config.retrained(config, self.RECORD).training
        assert (training.learning_rate, training.batch_size, training.weight_decay, training.rank,
                training.alpha_ratio, training.dropout, training.epochs) == (
                    0.005, 8, 0.5, 4, 3.0, 0.2, 7)
        assert training.warmup_ratio == config.training.warmup_ratio

    def test_what_somebody_set_otherwise_is_told_and_a_default_is_not(self):
        resolved = resolve({"training": {"rank": 8, "dropout": 0.2}}, names=("ftzard.yaml",))
        taken = effective_config.retrained(resolved.config, self.RECORD)
        assert effective_config.not_used(resolved.config, taken, resolved.sources) == {
            "training.rank": (8, 4)}
        assert list(effective_config.passed_over(resolved, "retraining_job", self.RECORD)) == [
            "training.rank=8 is not used: a retraining takes the champion's value, here 4"]

    def test_a_record_says_what_a_fit_took(self):
        recipe = {"params": self.RECORD["params"], "training": {"epochs": 2, "packing": True}}
        training = effective_config.made(compose(), recipe).training
        assert (training.rank, training.learning_rate, training.epochs) == (4, 0.01, 2)

    def test_an_old_record_without_values_leaves_the_config_as_it_is(self):
        config = replace(compose(), seed=3)
        assert effective_config.made(config, {}) == config

    @pytest.mark.parametrize("job", ["retraining_job", "retraining_pipeline_job"])
    @pytest.mark.parametrize(("value", "remedy"), [
        ("training.learning_rate=0.5", "retraining.learning_rate_ratio=0.5"),
        ("training.epochs=9", "retraining.epochs=9"), ("training.rank=8", None)])
    def test_the_command_refuses_before_anything_starts_and_its_remedy_is_taken(
            self, ftzard, workspace, job, value, remedy):
        for command in ("run", "plan"):
            code, said = ftzard(command, job, value, "-w", workspace.root)
            assert code == 1 and f"{value} has no effect in {job}" in said
            assert remedy is None or remedy.partition("=")[0] in said
        assert not (workspace.state / "runs").exists()
        assert not list(workspace.dagster_home.glob("storage*"))
        if remedy:
            effects.refuse_without_effect(workspace.resolve({"overrides": [remedy]}), job)

    def test_a_launchpad_file_is_refused_likewise(self, ftzard, workspace, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("resources: {experiment: {config: {training: {batch_size: 4}}}}\n")
        code, said = ftzard("run", "retraining_pipeline_job", "-c", file, "-w", workspace.root)
        assert code == 1 and "training.batch_size=4 has no effect" in said


class TestOneKeyOfAMap:
    @pytest.mark.parametrize(("job", "text"), [
        ("retraining_job", "training.class_weights.positive=2"), ("tuning_job", "data.mix.a=2"),
        ("inference_job", "data.labels.0=x")])
    def test_it_is_given_as_the_map_is(self, job, text):
        texts = [text, "data.labels.1=y"] if "labels" in text else [text]
        key = text.rpartition("=")[0].rpartition(".")[0]
        for request in ({"overrides": texts}, {text.partition("=")[0]: "x" if "labels" in text
                                               else 2.0, "overrides": texts[1:]}):
            resolved = resolve(request, names=("Launchpad",))
            assert resolved.sources[key] in ("override", "Launchpad")
            with pytest.raises(ConfigError, match=f"{re.escape(key)}=.* has no effect in {job}"):
                effects.refuse_without_effect(resolved, job)

    def test_the_file_s_is_reported(self):
        resolved = resolve({"training.class_weights.positive": 2}, names=("ftzard.yaml",))
        assert resolved.sources["training.class_weights"] == "ftzard.yaml"
        assert [key for key, _, _ in effects.without_effect(resolved, "retraining_job")] == [
            "training.class_weights"]

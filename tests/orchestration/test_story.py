"""What the twelve shipped YAMLs leave behind: commits, runs, artifacts, notebooks, models."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ftzard.config.compose import compose, digest, flat, from_record, to_record
from ftzard.config.pipeline import BY_NAME, JOBS, STEPS
from ftzard.core import notebook_hash
from ftzard.core.artifacts import sha256
from ftzard.data import splitting
from ftzard.data.labeling.labeling_queue import read_queue
from ftzard.data.normalization import normalise_all
from ftzard.tracking import record, runs
from tests.orchestration.texts import mood_of
from tests.story import OWN, OWN_LINE

pytestmark = pytest.mark.jobs

#: What of the user's own code the jobs use.
CODE = ("ftzard.yaml", "notebooks/Step1_Data_Cleaning.ipynb", *(f"custom/{name}" for name in OWN))
EXECUTIONS = [(job, step) for job, steps in JOBS.items() for step in steps]
UNCHANGED = ("inference_preprocessing_job", "inference_job", "sampling_job", "cleaning_job",
             "preprocessing_job")
DELIVERED = ("raw", "labelled", "incoming")
WITH_A_BASE = ("inference_preprocessing", "tuning", "choosing", "inference", "retraining",
               "evaluation")


def step_of(run) -> str:
    return run.data.tags["step"]


class TestCommandLine:
    def test_every_job_shows_its_steps_with_time_and_ends_with_where_to_look(self, story):
        for job, ran in story.ran.items():
            if job == "inference_job":
                continue  # went through `dagster job execute`
            for step in JOBS[job]:
                assert re.search(rf"▸ {step} .*\w", ran.said), ran.said
                assert re.search(rf"✓ {step} +\d+\.\d s", ran.said), ran.said
            assert f"✓ {job} in " in ran.said and "look:" in ran.said
            assert "Traceback" not in ran.said

    def test_the_verdict_is_told_with_its_reasons(self, story):
        assert re.search(r"verdict: promote\. .*rows", story.ran["training_pipeline_job"].said)
        for job in ("retraining_pipeline_job", "choosing_job", "evaluation_job"):
            assert re.search(r"verdict: (promote|refuse)\. .*interval", story.ran[job].said)

    def test_unchanged_data_makes_no_commit_and_says_so(self, story):
        for job in UNCHANGED:
            ran = story.ran[job]
            assert ran.before == ran.after and "nothing changed, still" in ran.said, job

    def test_changed_data_is_committed_and_says_so(self, story):
        for job in set(JOBS) - set(UNCHANGED) - {"tuning_job"}:
            ran = story.ran[job]
            assert ran.before != ran.after and re.search(r"committed \w{10}, pushed", ran.said), job

    def test_the_process_of_a_run_does_without_mlflow_which_takes_seconds_to_import(self, story):
        assert "MLflow is not here" in story.ran["evaluation_job"].said


class TestGitAndDvc:
    def test_each_commit_touches_only_dvc_files_and_model_records(self, story):
        ids = {r.info.run_id for r in story.record.children}
        log = story.git("log", "--format=%H %s", story.record.head).splitlines()
        *ours, first = log
        assert first.endswith("Set up the FTzard workspace")
        assert len(ours) == sum(ran.said.count("committed ") for ran in story.ran.values())
        for line in ours:
            commit, subject = line.split(" ", 1)
            assert subject.split(":")[0] in BY_NAME
            files = story.git("show", "--format=", "--name-only", commit).splitlines()
            assert files and all(f.endswith(".dvc") or re.fullmatch(r"models/\w+/\d+\.yaml", f)
                                 or f in CODE for f in files), files
            trailer = story.git("show", "-s", "--format=%(trailers:key=FTzard-Run,valueonly)",
                                commit)
            assert trailer in ids

    def test_the_remotes_have_everything(self, story):
        bare = story.remotes / "git"
        assert story.git("merge-base", "--is-ancestor", story.record.head, "main", at=bare) == ""
        assert "in sync" in story.record.dvc_status
        assert story.record.status["commits_not_pushed"] == []

    def test_the_user_s_own_work_survives_the_whole_round_byte_for_byte(self, story):
        assert set(story.mine["status"].split("\n")) == {"AM notes.md", "?? draft.txt"}
        assert story.record.own_work == story.mine

    def test_the_code_that_ran_is_committed_with_the_first_version_and_is_no_change_then(
            self, story):
        subjects = {path: story.git("log", "--format=%s", story.record.head, "--", path)
                    for path in CODE}
        assert all(subject.startswith("cleaning: ") for path, subject in subjects.items()
                   if path != "ftzard.yaml" and "Step1" not in path), subjects
        for path in CODE:
            assert story.git("show", f"{story.record.head}:{path}") == (
                story.root / path).read_text().strip()
        said = "rows, said by a line of my own"
        assert said in OWN_LINE and said in story.ran["training_pipeline_job"].said
        assert story.record.status["code_not_committed"] == {}
        held = {r.data.tags["code_commit"] for r in story.record.children
                if BY_NAME[step_of(r)].versioned}
        for commit in held:
            assert story.git("show", f"{commit}:custom/texts.py") == OWN["texts.py"].strip()

    def test_the_own_function_has_cleaned_what_was_trained_on_and_what_was_predicted(self, story):
        paths = story.workspace.config().paths
        for path in (paths.cleaned, paths.tokenized, paths.incoming_tokenized, paths.predictions):
            texts = pd.read_parquet(story.root / path)["text"]
            assert texts.str.contains(r"\bpass\b").any() and not texts.str.contains("ticket").any()

    def test_the_own_metric_stands_beside_the_others_for_every_model(self, story):
        record_file = max(story.root.glob("models/*/*.yaml"), key=lambda p: int(p.stem))
        entry = yaml.safe_load(record_file.read_text())
        for role, line in entry["metrics"].items():
            wrong = round((1 - line["accuracy"]) * line["n"])
            assert wrong <= line["cost"] <= 10 * wrong, role
        last = next(r for r in story.record.children if step_of(r) == "evaluation")
        assert last.data.metrics["base_test_cost"] > last.data.metrics["challenger_test_cost"]
        assert entry["own_metrics"]["cost"]["function"] == "money:cost"

    def test_every_row_that_came_in_is_accounted_for(self, story):
        counted = [step_of(r) for r in story.record.children
                   if r.data.metrics.get("rows_dropped_by_own_code") == 0]
        assert {"cleaning", "preprocessing", "inference_preprocessing", "inference"} <= {*counted}
        assert not [r for r in story.record.children
                    if r.data.metrics.get("rows_dropped_by_own_code", 0) != 0]

    def test_a_clone_of_the_remotes_has_every_artifact(self, story, tmp_path):
        story.git("clone", "-q", str(story.remotes / "git"), str(tmp_path / "clone"))
        done = story.tool("dvc", "pull", "-q", at=tmp_path / "clone")
        assert done.returncode == 0, done.stdout
        for pointer in (tmp_path / "clone").rglob("*.dvc"):
            if pointer.is_file() and pointer.name != ".dvc":
                artifact = pointer.with_suffix("").relative_to(tmp_path / "clone")
                assert sha256(tmp_path / "clone" / artifact) == sha256(story.root / artifact)

    def test_no_temporary_file_is_left(self, story):
        left = list(story.root.rglob("*.part"))
        assert [p for p in left if story.workspace.checkpoints not in p.parents] == []


class TestRuns:
    def test_there_is_one_finished_top_level_run_per_step(self, story):
        assert sorted(r.info.run_name for r in story.record.top) == sorted(
            s.run_name for s in STEPS)
        assert {r.info.status for r in story.record.top} == {"FINISHED"}

    def test_every_execution_is_a_finished_child_of_its_step(self, story):
        parents = {r.info.run_id: r.info.run_name for r in story.record.top}
        jobs = story.record.dagster_runs
        found = [(jobs[r.data.tags["dagster_run_id"]], step_of(r)) for r in story.record.children]
        assert sorted(found) == sorted(EXECUTIONS)
        for run in story.record.children:
            assert run.info.status == "FINISHED"
            assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", run.info.run_name)
            assert parents[run.data.tags["mlflow.parentRunId"]] == BY_NAME[step_of(run)].run_name

    def test_each_says_which_round_delivery_and_version_it_was(self, story):
        for run in story.record.children:
            tags, step = run.data.tags, step_of(run)
            assert tags[runs.NOTE].startswith(f"**Round {tags['round']}**, "), tags[runs.NOTE]
            assert f"/runs/{tags['dagster_run_id']})" in tags[runs.NOTE]
            assert (tags.get("verdict") in ("promote", "refuse")) is (
                step in ("choosing", "evaluation"))
            if step in ("choosing", "retraining", "evaluation"):
                assert tags["model_version"] == f"FalconSentiAnalysis@{tags['version']}"
                assert tags["model_version"] in tags[runs.NOTE]
            assert run.data.metrics["system/peak_memory_megabytes"] > 10
        first = {step_of(run): run.data.tags for run in story.record.children}  # newest come first
        assert {first[step]["round"] for step in JOBS["training_pipeline_job"]} == {"1"}
        assert {first[step]["batch"] for step in JOBS["training_pipeline_job"]} == {"mine.csv"}
        assert {first[step]["round"] for step in JOBS["inference_pipeline_job"]} == {"2"}
        assert {first[step]["batch"] for step in JOBS["inference_pipeline_job"]} == {"new_data.csv"}
        assert first["evaluation"]["round"] == "2"

    def test_a_step_s_run_shows_its_latest_execution(self, story):
        for run in story.record.top:
            latest = next(r for r in story.record.children
                          if r.data.tags["mlflow.parentRunId"] == run.info.run_id)
            tags = run.data.tags
            assert (tags["latest_run"], tags["latest_run_id"]) == (
                latest.info.run_name, latest.info.run_id)
            assert latest.data.tags[runs.NOTE] in tags[runs.NOTE]
            assert f"/runs/{latest.info.run_id}?workflowType=machine_learning" in tags[runs.NOTE]
            assert tags["round"] == latest.data.tags["round"]
            shared = {name: value for name, value in latest.data.metrics.items()
                      if name in run.data.metrics}
            assert shared and {name: run.data.metrics[name] for name in shared} == shared
            assert run.info.end_time >= latest.info.start_time

    def test_training_has_a_loss_per_step_beside_those_per_epoch(self, story):
        client = story.tracking().client
        retraining = [r for r in story.record.children if step_of(r) == "retraining"]
        for run in (*story.record.trials, *retraining):
            steps = client.get_metric_history(run.info.run_id, "train_loss_per_step")
            epochs = client.get_metric_history(run.info.run_id, "train_loss")
            assert [m.step for m in steps] == list(range(1, len(steps) + 1))
            assert len(steps) > len(epochs) > 0
        assert all("validation loss" in trial.data.tags[runs.NOTE] for trial in story.record.trials)

    def test_runs_of_the_command_line_are_runs_of_their_job_in_dagster(self, story):
        for run_id, job in story.record.dagster_runs.items():
            if job != "inference_job":  # through `dagster job execute`, which gives none
                assert story.record.origins[run_id] == "__repository__@ftzard.definitions"

    def test_nothing_is_left_running(self, story):
        assert story.record.open_runs == []
        assert sorted(story.record.dagster_runs.values()) == sorted(JOBS)

    def test_every_child_carries_what_ran(self, story):
        packages = json.dumps(record.package_versions(), sort_keys=True)
        for run in story.record.children:
            tags, step = run.data.tags, BY_NAME[step_of(run)]
            assert tags["seed"] == "0" and tags["threads"] == "2"
            assert tags["base_model"] == "falcon_tiny" and tags["dagster_step"] == step.name
            assert tags["packages"] == packages
            assert re.fullmatch("[0-9a-f]{16}", tags["code_hash"])
            notebook = story.workspace.notebooks / f"{step.notebook}.ipynb"
            assert tags["notebook_hash"] == notebook_hash.notebook_hash(notebook)
            assert story.git("cat-file", "-t", tags["git_commit"]) == "commit"

    def test_the_recorded_config_is_what_the_yaml_and_the_workspace_said(self, story):
        tracking = story.tracking()
        for run in story.record.children:
            text = tracking.client.download_artifacts(run.info.run_id, "config.yaml")
            config = from_record(yaml.safe_load(Path(text).read_text()))
            assert digest(config) == run.data.tags["config_hash"]
            assert run.data.params == {k: str(v) for k, v in flat(to_record(config)).items()}
            epochs = 3 if step_of(run) == "retraining" else 2  # what ran: retraining.epochs
            assert config.model.build.layers == 2 and config.training.epochs == epochs
            assert config.data.text_column == "tweet"

    def test_steps_that_use_a_model_name_its_base_and_tokenizer_by_hash(self, story):
        hashes = {(r.data.tags["base_hash"], r.data.tags["tokenizer_hash"])
                  for r in story.record.children if step_of(r) in WITH_A_BASE}
        assert len(hashes) == 1 and all(len(h) >= 16 for pair in hashes for h in pair)

    def test_every_input_and_output_has_its_data_version(self, story):
        for run in story.record.children:
            tags, step = run.data.tags, BY_NAME[step_of(run)]
            takes = ["labelled" if "data_sha256.labelled" in tags and name == "raw" else name
                     for name in step.takes]
            for name in (*takes, *step.yields):
                assert re.fullmatch("[0-9a-f]{64}", tags[f"data_sha256.{name}"])
                if name in step.yields or name not in DELIVERED:
                    assert re.fullmatch("[0-9a-f]{40}", tags[f"data_version.{name}"]), (step, name)
            if "data_version.delivery" in tags:
                given = next(tags[f"data_sha256.{n}"] for n in DELIVERED
                             if f"data_sha256.{n}" in tags)
                assert given == tags["data_sha256.delivery"]

    def test_a_data_version_is_the_commit_at_which_its_dvc_file_was_written(self, story):
        checked = 0
        for run in story.record.children:
            metadata = json.loads(Path(story.tracking().client.download_artifacts(
                run.info.run_id, "metadata.json")).read_text())
            for artifact in metadata["artifacts"]:
                commit = run.data.tags.get(f"data_version.{artifact['name']}")
                files = story.git("show", "--format=", "--name-only", commit).splitlines()
                assert f"{artifact['path']}.dvc" in files
                checked += 1
        assert checked > 20

    def test_data_sets_are_logged_as_inputs_and_outputs(self, story):
        for run in story.record.children:
            step = BY_NAME[step_of(run)]
            logged = {(d.tags[0].value, d.dataset.name) for d in run.inputs.dataset_inputs}
            assert {("output", name) for name in step.yields} <= logged
            assert {name for use, name in logged if use == "input"} <= {*step.takes, "labelled"}
            assert any(use == "input" for use, _ in logged)

    def test_what_was_trained_on_and_tested_on_are_two_inputs_of_the_run(self, story):
        wanted = {"tuning": {"training", "testing"}, "choosing": {"training", "testing"},
                  "retraining": {"training", "testing"}, "evaluation": {"testing"}}
        digests = {}
        for run in story.record.children:
            used = {d.tags[0].value: d.dataset for d in run.inputs.dataset_inputs
                    if d.tags[0].value in ("training", "testing")}
            assert set(used) == wanted.get(step_of(run), set()), step_of(run)
            for use, data in used.items():
                source = json.loads(data.source)
                assert source["path"] == "data/tokenized/tokenized.parquet"
                assert source["sha256"] == run.data.tags["data_sha256.tokenized"]
                digests.setdefault(use, set()).add(data.digest)
        assert not digests["training"] & digests["testing"]

    def test_trials_are_grandchildren_with_params_curve_and_adapter(self, story):
        tuned = {r.info.run_id: r.info.run_name for r in story.record.children
                 if step_of(r) == "tuning"}
        assert len(story.record.trials) == 2 * len(tuned) == 4
        client = story.tracking().client
        for trial in story.record.trials:
            parent = tuned[trial.data.tags["mlflow.parentRunId"]]
            assert re.fullmatch(rf"{parent}_trial_[01]", trial.info.run_name)
            assert trial.info.status == "FINISHED"
            assert {"rank", "learning_rate", "batch_size", "dropout"} <= set(trial.data.params)
            for metric in ("train_loss", "validation_loss", "accuracy", "balanced_accuracy",
                           "macro_precision", "macro_recall", "macro_f1"):
                history = client.get_metric_history(trial.info.run_id, metric)
                assert [m.step for m in history] == [1, 2], metric
            assert [a.path for a in client.list_artifacts(trial.info.run_id, "adapter")]

    def test_baselines_stand_beside_every_result(self, story):
        for run in story.record.children:
            if step_of(run) in ("choosing", "evaluation"):
                assert {"test_accuracy", "tf_idf_test_accuracy", "majority_test_accuracy",
                        "base_test_accuracy", "gate_lower"} <= set(run.data.metrics)
            if step_of(run) == "tuning":
                assert {"tfidf_validation_accuracy", "majority_validation_accuracy",
                        "best_validation_accuracy"} <= set(run.data.metrics)


class TestNotebooks:
    def test_the_executed_notebook_is_kept_and_is_an_artifact_of_its_run(self, story):
        client = story.tracking().client
        for run in story.record.children:
            tags = run.data.tags
            kept = story.workspace.executed / tags["dagster_run_id"] / f"{step_of(run)}.ipynb"
            cells = json.loads(kept.read_text())["cells"]
            assert any(cell.get("outputs") for cell in cells)
            assert "RuntimeWarning" not in kept.read_text(), "a red line that means nothing"
            logged, = client.list_artifacts(run.info.run_id, "notebook")
            assert logged.path == f"notebook/{step_of(run)}.ipynb"

    def test_git_dvc_has_its_notebook_too(self, story):
        for run_id, job in story.record.dagster_runs.items():
            found = {p.stem for p in (story.workspace.executed / run_id).glob("*.ipynb")}
            assert found == {*JOBS[job], *(f"Git_Dvc_{s}" for s in JOBS[job]
                                           if BY_NAME[s].versioned)}

    def test_the_workspace_s_own_notebooks_stay_as_they_were(self, story):
        assert story.git("status", "--porcelain", "notebooks") == ""


class TestArtifacts:
    def test_each_is_materialised_with_rows_commit_and_place(self, story):
        for step in STEPS:
            for name in step.yields:
                told = story.record.materializations[name]
                assert Path(told["path"]).is_relative_to(story.root)
                assert told["dagster/row_count"] > 0 and len(told["sha256"]) == 64
                assert story.git("cat-file", "-t", told["commit"]) == "commit"

    def test_batches_are_called_by_their_files_in_dagster_and_report(self, story):
        told = [record.data["delivered as"]
                for record in story.record.materializations["cleaned"]["batches"].records]
        assert any(name.startswith("mine.csv (") for name in told)
        assert any(name.startswith("new_data.csv (") for name in told)
        page = story.workspace.report.read_text(encoding="utf-8")
        assert "mine.csv" in page and "new_data.csv" in page

    def test_executed_notebooks_are_on_the_run_s_page(self, story):
        for run_id, job in story.record.dagster_runs.items():
            told = story.record.notebooks[run_id]
            assert set(JOBS[job]) <= set(told), job
            assert all(Path(place).is_file() for place in told.values())
        assert not [key for key in story.record.materializations if "notebooks" in key]

    def test_a_run_s_events_are_no_counters_of_cells(self, story):
        assert not [line for line in story.record.logged if "Executing Cell" in line
                    or "Ending Cell" in line]
        assert any("rows are in the table" in line for line in story.record.logged)

    def test_delivery_model_champion_and_report_have_their_pages(self, story):
        told = story.record.materializations
        for name in ("delivery", "incoming", "labelled"):
            assert Path(told[name]["path"]).is_file() and len(told[name]["commit"]) == 40
        assert told["delivery"]["delivered as"]
        assert len(told["trials"]["trials"].records) == 2
        champion = story.tracking().client.get_model_version_by_alias(
            "FalconSentiAnalysis", "champion")
        assert told["champion"]["model"] == f"FalconSentiAnalysis@{champion.version}"
        assert told["report"]["path"] == str(story.workspace.report)
        assert told["report"]["verdict"] and told["report"]["scores"].records
        assert f"/#/models/{told['model_version']['model'].replace('@', '/versions/')}?" in (
            told["model_version"]["MLflow model"])

    def test_no_trained_text_is_a_test_text(self, story):
        rows = pd.read_parquet(story.root / "data/tokenized/tokenized.parquet")
        words = pd.Series(normalise_all(rows["text"]).to_pylist(), rows.index)
        test = set(words[rows["split"] == "test"])
        assert len(test) > 100 and not test & set(words[rows["split"] != "test"])

    def test_sides_are_a_function_of_the_text_alone(self, story):
        rows = pd.read_parquet(story.root / "data/tokenized/tokenized.parquet")
        data = compose().data
        again = splitting.assign(
            rows.drop(columns="split"), salt=data.salt,
            ratio={"train": data.train_share, "validation": data.validation_share,
                   "test": data.test_share})
        assert rows.set_index("id")["split"].to_dict() == again.set_index("id")["split"].to_dict()

    def test_audit_rows_are_the_new_batch_s_test_set(self, story):
        queue_file, = story.workspace.labelling.glob("*.csv")
        queue = read_queue(queue_file).set_index("id")
        rows = pd.read_parquet(story.root / "data/tokenized/tokenized.parquet").set_index("id")
        both = queue.join(rows["split"], how="inner")
        assert len(both) == 67
        assert ((both["side"] == "test") == (both["split"] == "test")).all()
        asked = queue[queue["side"] == "test"]
        assert len(asked) == 30 and {queue_file.stem for _ in [0]} == set(queue["batch"])

    def test_labels_are_refused_row_by_row_and_wait_for_another_try(self, story):
        rejected = pd.read_parquet(story.root / "data/cleaned/rejected.parquet")
        reasons = sorted(rejected["reason"])
        assert reasons[0] == "changed text" and reasons[1].startswith("unknown label 'gladd'")
        assert "did you mean 'glad'" in reasons[1] and len(reasons) == 2
        assert story.record.status["rows_waiting_for_labels"] == 3

    def test_predictions_have_logits_and_probabilities(self, story):
        found = pd.read_parquet(story.root / "data/predictions/predictions.parquet")
        assert len(found) == 600
        assert np.allclose(np.stack(found["probabilities"]).sum(axis=1), 1)
        assert np.stack(found["logits"]).shape == (600, 2)
        assert (found["confidence"] > 0.5).all()
        right = found["text"].map(mood_of) == found["suggestion"]
        assert right.mean() > 0.9

    def test_the_raw_delivery_is_stored_under_its_content(self, story):
        stored = [p for p in story.workspace.raw.iterdir() if p.suffix == ".csv"]
        assert len(stored) >= 3 and all(sha256(p) == p.stem for p in stored)


class TestDescriptions:
    def test_experiment_model_and_versions_say_what_they_are(self, story):
        tracking = story.tracking()
        experiment = tracking.client.get_experiment(tracking.experiment_id)
        assert "round" in experiment.tags[runs.NOTE]
        model = tracking.client.get_registered_model("FalconSentiAnalysis")
        assert "champion" in model.description
        for version in tracking.client.search_model_versions("name = 'FalconSentiAnalysis'"):
            for words in ("## What it is for", "Telling which of glad, sad", "## Limits",
                          f'load_model("models:/FalconSentiAnalysis/{version.version}")'):
                assert words in version.description, version.version
            logged = json.loads(tracking.client.get_run(version.run_id).data.tags[
                "mlflow.log-model.history"])
            assert version.source.rsplit("/", 1)[-1] in [one["artifact_path"] for one in logged]


class TestModels:
    def test_a_record_says_what_is_needed_to_rebuild_the_model(self, story):
        for number in (1, 2, 3, 4):
            entry = yaml.safe_load(
                (story.root / f"models/FalconSentiAnalysis/{number}.yaml").read_text())
            assert entry["version"] == number and entry["labels"] == ["glad", "sad"]
            assert {"mlflow_run", "dagster_run", "parent", "packages", "params", "rows", "batches",
                    "config_hash", "config", "verdict", "metrics", "test_metrics"} <= set(entry)
            assert entry["base"]["name"] == "falcon_tiny" and entry["base"]["weight_hash"]
            assert digest(from_record(entry["config"])) == entry["config_hash"]
            data = entry["data"]["tokenized"]
            assert story.git("cat-file", "-t", data["commit"]) == "commit"
            assert {"challenger", "base", "TF-IDF", "majority"} <= set(entry["metrics"])
            assert entry["verdict"]["decision"] in ("promote", "refuse")
            assert entry["verdict"]["reasons"]

    def test_versions_know_their_parents(self, story):
        entries = [yaml.safe_load((story.root / f"models/FalconSentiAnalysis/{n}.yaml").read_text())
                   for n in (1, 2, 3, 4)]
        assert [e["parent"] is None for e in entries] == [True, False, True, False]
        assert [e["step"] for e in entries] == ["choosing", "retraining", "choosing", "retraining"]

    def test_the_champion_predicts_from_the_command_line(self, story, ftzard):
        code, said = ftzard("predict", "a lovely happy day", "boring and awful train", "-w",
                            story.root)
        assert code == 0, said
        assert re.search(r"^glad +[01]\.\d{3} +a lovely happy day$", said, re.M), said
        assert re.search(r"^sad +[01]\.\d{3} +boring and awful train$", said, re.M), said

    def test_mlflow_serves_the_champion_on_raw_texts(self, story, tmp_path):
        code = ("import mlflow.pyfunc, pandas; "
                "model = mlflow.pyfunc.load_model('models:/FalconSentiAnalysis@champion'); "
                "texts = pandas.DataFrame({'text': ['a lovely happy day', 'boring and awful']}); "
                "print(model.predict(texts)['label'].tolist())")
        done = story.tool("python", "-c", code, at=tmp_path,
                          MLFLOW_TRACKING_URI=story.workspace.mlflow_uri)
        assert done.returncode == 0, done.stdout
        assert done.stdout.strip().splitlines()[-1] == "['glad', 'sad']"


class TestStatusAndReport:
    def test_status_as_json_has_what_a_script_needs(self, story):
        state = story.record.status
        assert state["workspace"] == str(story.root) and state["git_commit"] == story.record.head
        assert set(state) >= {"champion", "challenger", "steps", "rows_waiting_for_labels",
                              "commits_not_pushed"}
        champion = state["champion"]
        assert champion["name"] == "FalconSentiAnalysis" and champion["base_model"] == "falcon_tiny"
        assert champion["metrics"]["accuracy"] > 0.8 and len(champion["data_version"]) == 40
        executed = pd.Series([step for _, step in EXECUTIONS]).value_counts()
        for step in STEPS:
            told = state["steps"][step.name]
            assert told["runs"] == executed[step.name] and told["state"] == "FINISHED"
            assert told["time"].endswith("+00:00") and told["seconds"] >= 0

    def test_status_for_a_person_names_champion_and_steps(self, story, ftzard):
        _, said = ftzard("status", "-w", story.root)
        assert re.search(r"champion +FalconSentiAnalysis@\d, \d+\.\d% of \d+ test rows", said)
        assert all(step.name in said for step in STEPS) and "waiting for labels: 3 rows" in said

    def test_the_report_is_one_file_that_needs_no_other(self, story):
        page = story.workspace.report.read_text(encoding="utf-8")
        assert not re.search(r"""<(?!a )[^>]*(src|href)\s*=\s*["'](?!data:|#)""", page)
        assert "@import" not in page and "<script src" not in page
        for word in ("FalconSentiAnalysis", "TF-IDF", "glad", "sad", story.record.head[:7]):
            assert word in page or word == story.record.head[:7]
        tuned = runs.children(story.tracking(), "EVALUATION")
        assert any(run.info.run_id in page or run.info.run_id[:8] in page for run in tuned)
        reports = story.workspace.report.parent
        own = {file.name for file in reports.glob("FalconSentiAnalysis-*.html")}
        links = set(re.findall(r'<a href="([^"#:]+)"', page))
        assert len(own) >= 2 and links == own | {"all.html"}
        assert own <= set(re.findall(r'<a href="([^"]+)"', (reports / "all.html").read_text()))
        assert re.search(r'<a href="http://127.0.0.1:\d+/runs/[0-9a-f-]+">Dagster run</a>', page)

    def test_an_evaluation_tells_what_an_answer_costs(self, story):
        run = runs.children(story.tracking(), "EVALUATION")[0]
        for role in ("base", "champion", "challenger"):
            assert run.data.metrics[f"{role}_memory_mb"] > 0
        timed = [name for name in run.data.metrics if "latency" in name or "per_second" in name]
        assert timed == [], "one pass under load says nothing of how fast a model is"

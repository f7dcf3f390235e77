"""Drift, calibration, forgetting and leaks in whole jobs: what the steps leave behind."""

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from ftzard.registry import model_records
from ftzard.steps import drift_reference
from ftzard.tasks.base import task_named
from ftzard.tasks.classification.predictor import open_classifier
from ftzard.tracking import registry, runs
from ftzard.versioning import delivery_names
from ftzard.workspace import batch_log
from ftzard.workspace.workspace import Workspace
from tests.orchestration.texts import easy_texts, mood_of

pytestmark = pytest.mark.jobs


def records(story) -> list[dict]:
    return [yaml.safe_load(p.read_text()) for p in
            sorted((story.root / "models" / "FalconSentiAnalysis").glob("*.yaml"))]


class TestDrift:
    def test_the_batch_was_compared_and_status_says_so(self, story, ftzard):
        told = story.record.status["drift"]
        assert told["rows"] == 600 and told["reference_rows"] > 100
        assert len(told["statistics"]) == 6 and told["alarm"] in (True, False)
        assert told["verdict"] in ("none", "unclear", "drift") and told["champion"] == 1
        code, said = ftzard("status", "-w", story.root)
        assert code == 0 and (
            f"drift of new_data.csv ({told['batch'][:7]}): {told['sentence']}") in said

    def test_easy_texts_after_easy_texts_are_no_drift(self, story):
        assert story.record.status["drift"]["alarm"] is False

    def test_its_metrics_plots_and_file_are_on_record(self, story):
        client, tracking = story.tracking().client, story.tracking()
        for run in runs.children(tracking, "INFERENCE"):
            assert {"drift_score", "drift_upper", "drift_alarm", "drift_embedding",
                    "drift_words_upper"} <= set(run.data.metrics)
            assert run.data.tags["drift"] in ("none", "unclear", "drift")
            plots = {a.path for a in client.list_artifacts(run.info.run_id, "plots")}
            assert {"plots/drift.png", "plots/drift_over_time.png"} <= plots
            assert len(run.data.tags["data_version.drift"]) == 40
        assert (story.root / "data/predictions/drift.json.dvc").is_file()

    def test_the_same_batch_again_leaves_one_entry(self, story):
        assert len(batch_log.DRIFT.entries(story.workspace)) == 1

    @pytest.mark.parametrize("number", [1, 4])
    def test_the_reference_is_made_again_where_it_is_missing(self, story, tmp_path, number):
        """Version 1 was trained on rows that the working tree no longer has: DVC brings them."""
        workspace = Workspace(Path(shutil.copytree(story.root, tmp_path / "ws", symlinks=True)))
        version = registry.version(story.tracking(), "FalconSentiAnalysis", number)
        kept = pd.read_parquet(drift_reference.place(workspace, version))
        shutil.rmtree(workspace.cache / "drift")
        classifier = open_classifier(*model_records.version_files(workspace, version))
        made = drift_reference.reference(SimpleNamespace(
            workspace=workspace, config=workspace.config(), task=task_named("classification")),
            version, classifier)
        assert len(made) == len(kept) > 100
        for name in ("words", "characters", "tokens"):
            assert (getattr(made, name) == np.stack(kept[name])).all()
        assert np.allclose(made.probabilities, np.stack(kept["probabilities"]), atol=5e-3)
        assert np.allclose(made.embeddings, np.stack(kept["embeddings"]), atol=2e-2)


class TestEvaluation:
    def test_a_record_has_calibration_abstention_and_its_accuracy_per_batch(self, story):
        for entry in records(story):
            found = entry["calibration"]
            assert found["temperature"] > 0 and found["n"] == entry["test_metrics"]["n"]
            assert found["validation_rows"] == entry["rows"]["validation"]
            assert entry["abstention"][-1]["accuracy"] == pytest.approx(
                entry["test_metrics"]["accuracy"])
            own = entry["tested"][str(entry["version"])]
            assert sum(part["n"] for part in own.values()) == entry["test_metrics"]["n"]
            assert entry["forgetting"]["average_accuracy"] == pytest.approx(
                np.mean([part["accuracy"] for part in own.values()]))

    def test_the_champion_is_measured_on_new_batches_too(self, story):
        second = records(story)[1]
        assert len(second["batches"]) == 2 and set(second["tested"]) == {"1", "2"}
        assert set(second["tested"]["1"]) == set(second["tested"]["2"]) == set(second["batches"])
        assert {"backward_transfer", "forgetting"} <= set(second["forgetting"])

    def test_runs_and_report_have_them(self, story):
        client = story.tracking().client
        for run in runs.children(story.tracking(), "EVALUATION"):
            assert {"temperature", "test_ece", "test_ece_scaled", "average_accuracy"} <= set(
                run.data.metrics)
            plots = {Path(a.path).stem for a in client.list_artifacts(run.info.run_id, "plots")}
            assert {"reliability", "abstention", "forgetting"} <= plots
        page = story.workspace.report.read_text(encoding="utf-8")
        for said in ("Forgetting", "average accuracy", "Coverage and accuracy",
                     "With the temperature", "test rows of the champion", "Training rows left out"):
            assert said in page, said


class TestRawIncoming:
    def test_a_batch_that_is_dropped_stands_beside_the_others_and_has_its_name(self, story,
                                                                              tmp_path):
        """One whole step; what the sensor asks for is what is asked for here."""
        root = Path(shutil.copytree(story.root, tmp_path / "ws", symlinks=True))
        before = pd.read_parquet(root / "data/cleaned/cleaned.parquet")
        easy_texts(120, seed=99).to_csv(root / "data/raw_incoming/more rows.csv", index=False)
        own = yaml.safe_load((root / "ftzard.yaml").read_text())
        del own["data"]["source"]
        (root / "ftzard.yaml").write_text(yaml.safe_dump(own))
        done = story.tool("ftzard", "run", "cleaning_job", "versioning.push=false", "-w", root,
                          at=root)
        assert done.returncode == 0, done.stdout[-3000:]
        assert "file: data/raw_incoming/more rows.csv" in done.stdout
        after = pd.read_parquet(root / "data/cleaned/cleaned.parquet")
        pd.testing.assert_frame_equal(after[after["id"].isin(before["id"])].reset_index(drop=True),
                                      before.reset_index(drop=True))
        batch, = set(after["batch"]) - set(before["batch"])
        names = delivery_names.known(Workspace(root))
        assert names[batch] == "more rows.csv" and names[before["batch"].iloc[0]] == "mine.csv"
        again = story.tool("ftzard", "run", "cleaning_job", "-w", root, at=root)
        assert again.returncode == 1 and "taken already: more rows.csv" in again.stdout


class TestLeaks:
    def test_planted_test_rows_are_counted_and_never_trained_on(self, story, tmp_path):
        """Exact, in other case, with one word changed: in a delivery with labels and without."""
        root = Path(shutil.copytree(story.root, tmp_path / "ws", symlinks=True))
        before = pd.read_parquet(root / "data/tokenized/tokenized.parquet")
        draw = random.Random(4)
        test = [t for t in before.loc[before["split"] == "test", "text"] if len(t.split()) > 7][:30]
        changed = [" ".join(["zebra" if i == at else w for i, w in enumerate(t.split())])
                   for t in test for at in [draw.randrange(len(t.split()) - 1)]]
        planted = test + [t.upper() for t in test] + changed
        new = easy_texts(200, seed=77)["tweet"].tolist()
        rows = pd.DataFrame({"tweet": new + planted})
        rows.to_csv(tmp_path / "arrived.csv", index=False)
        rows.assign(mood=rows["tweet"].str.lower().map(mood_of)).to_csv(
            tmp_path / "labelled.csv", index=False)

        def run(job: str, *more: str) -> dict:
            done = story.tool("ftzard", "run", f"{job}_job", "versioning.push=false", *more, "-w",
                              root, at=root)
            assert done.returncode == 0, done.stdout[-3000:]
            return json.loads((root / f".ftzard/metadata/{job}.json").read_text())["facts"]

        arrived = run("inference_preprocessing", f"data.incoming={tmp_path / 'arrived.csv'}")
        # Cleaning has taken out what repeats within the delivery: the upper-case copies.
        assert arrived["leaks"] == {"duplicate of a test row": 30,
                                    "near-duplicate of a test row": 30}
        cleaned = run("cleaning", f"data.source={tmp_path / 'labelled.csv'}",
                      "data.max_rejected=1.0")
        assert cleaned["rejected"]["duplicate of an earlier batch"] == 30
        assert cleaned["rejected"]["duplicate"] >= 30
        kept = run("preprocessing")
        after = pd.read_parquet(root / "data/tokenized/tokenized.parquet")
        trained = set(after.loc[after["split"] != "test", "text"].str.lower())
        assert not trained & {t.lower() for t in planted}
        assert kept["leaks"]["near-duplicate of a test row"] >= 15
        assert set(before.loc[before["split"] == "test", "id"]) <= set(after["id"])

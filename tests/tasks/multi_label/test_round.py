"""A whole round of multi-label classification by the shipped jobs: train, label, retrain, judge."""

import json
import subprocess
import sys
from dataclasses import dataclass

import pandas as pd
import pytest
import yaml

from ftzard.cli import labeling_screen
from ftzard.data import storage
from ftzard.data.labeling.labeling_queue import read_queue
from ftzard.modeling.adapter_meta import read_meta
from ftzard.registry import compare, export, lookup, model_records, packaging
from ftzard.registry.predict import predict_texts, understood
from ftzard.steps import labeling_session, reproduce
from ftzard.tasks.multi_label import TASK
from ftzard.tracking import registry
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace
from tests.tasks.multi_label.made_up import LABELS, WORDS, make_rows

pytestmark = pytest.mark.jobs

NAME = "ws"  # as its folder
SMALL = {
    "model": {"build": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 1024, "seed": 0}},
    "training": {"epochs": 6, "learning_rate": 0.008, "batch_size": 16, "rank": 8,
                 "class_weights": "balanced"},
    "tuning": {"trials": 1, "metric": "micro_f1"},
    "retraining": {"epochs": 1},
    "sampling": {"strategy": "margin", "budget": 60, "audit_rows": 40, "min_labelled": 10,
                 "show_suggestions": "after"},
    "gate": {"min_rows": 50, "resamples": 500},
}


def labels_in(text: str) -> list[str]:
    return [name for name in LABELS if set(WORDS[name]) & set(text.split())]


@dataclass
class Round:
    """The workspace after a training, a labeled batch and a retraining; what commands printed."""

    workspace: Workspace
    printed: dict[str, str]
    queue: pd.DataFrame

    def facts(self, step: str) -> dict:
        return json.loads((self.workspace.metadata / f"{step}.json").read_text())["facts"]

    def record(self, number: int) -> dict:
        return model_records.records(self.workspace, NAME)[number - 1]

    def table(self, name: str) -> pd.DataFrame:
        return storage.read_parquet(
            self.workspace.root / getattr(self.workspace.config().paths, name))


@pytest.fixture(scope="module")
def done(tmp_path_factory, tool) -> Round:
    home = tmp_path_factory.mktemp("multi_label")
    root, printed = home / NAME, {}

    def do(*arguments: object) -> None:
        ran = tool("ftzard", *arguments, at=home, seconds=400)
        assert ran.returncode == 0, ran.stdout[-4000:]
        printed[str(arguments[1])] = ran.stdout

    make_rows(800, 1).to_csv(home / "rows.csv", index=False)
    do("init", root, "--task", "multi_label", "--data", home / "rows.csv")
    workspace = Workspace(root)
    marker = yaml.safe_load((root / "ftzard.yaml").read_text())
    (root / "ftzard.yaml").write_text(yaml.safe_dump(marker | SMALL))
    do("run", "training_pipeline_job", "-w", root)
    printed["training"] = printed.pop("training_pipeline_job")
    make_rows(300, 2)[["text"]].to_csv(workspace.incoming / "new.csv", index=False)
    do("run", "inference_pipeline_job", "-w", root)
    queue = read_queue(next(workspace.labelling.glob("*.csv")))
    written = [", ".join, lambda names: "|".join(names).upper(), str]
    rows = queue.assign(labelled_by="ann", label=[
        written[i % 3](labels_in(text)) or "[]" for i, text in enumerate(queue["text"])])
    rows.loc[0, "label"] = "joi, anger"
    rows.loc[1, "label"] = ""
    rows.to_csv(workspace.labelled / "back.csv", index=False)
    do("run", "retraining_pipeline_job", "-w", root)
    return Round(workspace, printed, queue)


def test_init_says_what_the_labels_are_and_names_them_in_the_config(done):
    assert "with 3 labels" in done.printed[str(done.workspace.root)]
    assert done.workspace.config().data.labels == {name: name for name in LABELS}


def test_the_first_model_is_promoted_and_its_record_tells_of_every_label(done):
    record = done.record(1)
    assert record["verdict"]["decision"] == "promote" and record["measure"] == "samples_f1"
    assert record["verdict"]["against"] == "most frequent label set"
    assert record["labels"] == LABELS and len(record["thresholds"]) == 3
    scores = record["metrics"]["challenger"]
    assert scores["micro_f1"] > 0.9 and scores["score"] >= scores["lower"] > 0.8
    assert set(record["metrics"]) == {"challenger", "base", "TF-IDF", "most frequent label set"}
    assert [part["label"] for part in record["verdict"]["per_class"]] == LABELS
    assert record["test_metrics"]["per_class"]["joy"]["recall"] > 0.8
    assert record["recipe"]["training"]["class_weights"] == "balanced"
    assert "to beat on validation: micro F1 of TF-IDF" in done.printed["training"]


def test_the_queue_has_the_rows_closest_to_a_threshold_and_asks_for_several_choices(done):
    assert done.queue["chosen_by"].value_counts().to_dict() == {"margin": 60, "audit": 40}
    assert 'choice="multiple"' in done.printed["inference_pipeline_job"]
    predictions = done.table("predictions")
    given = [[name for name, p, t in zip(LABELS, row.probabilities, row.thresholds, strict=True)
              if p >= t] for row in predictions.itertuples()]
    assert predictions["suggestion"].tolist() == ["|".join(names) or "[]" for names in given]
    drift = done.facts("inference")["drift"]
    classes = next(s for s in drift["statistics"] if s["name"] == "predicted classes")
    assert drift["verdict"] == "none" and set(classes["batch"]) == set(LABELS)
    assert sum(classes["batch"].values()) > 1  # shares of rows with a label, not of labels


def test_labels_come_back_as_people_write_them_and_a_slip_is_refused_with_the_nearest(done):
    cleaned = done.table("cleaned").set_index("id")
    used = done.queue.iloc[2:]
    assert cleaned.loc[used["id"], "label"].tolist() == [
        "|".join(labels_in(text)) or "[]" for text in used["text"]]
    told = done.facts("cleaning")["labels"]
    assert (told["accepted"], told["refused"], told["left_empty"]) == (98, 1, 1)
    refused = pd.read_csv(done.workspace.quarantine / "back.refused.csv", encoding="utf-8-sig")
    assert refused["reason"].tolist() == ["unknown label 'joi'; did you mean 'joy'?"]


def test_a_model_that_is_no_better_leaves_the_champion(done):
    verdict = done.record(2)["verdict"]
    assert verdict["decision"] == "refuse" and verdict["against"] == "champion"
    assert len(verdict["per_test_set"]) == 2 and verdict["limits"]["max_class_loss"] == 0.05
    config = done.workspace.config()
    champion = registry.champion(connect(done.workspace, config), NAME)
    assert champion.number == 1


def test_the_report_shows_each_label_and_which_come_together(done):
    page = done.workspace.report.read_text()
    for words in ("F1 per row", "Each label", "Labels that come together", "recall of joy",
                  "Micro F1", "The rule: ", "exactly their labels"):
        assert words in page, words
    results = page.partition('<section id="glance">')[2].partition('<section id="learning">')[0]
    assert "F1 per row" in results and "accuracy" not in results.lower()


def test_commands_tell_the_scores_by_their_names(done, tool):
    for arguments, words in ((("models", "list"), "F1 per row"), (("status",), "F1 per row"),
                             (("lineage", f"{NAME}@1"), "F1 per row")):
        ran = tool("ftzard", *arguments, "-w", done.workspace.root, at=done.workspace.root)
        assert ran.returncode == 0 and words in ran.stdout, ran.stdout


def test_texts_are_predicted_with_their_labels_as_a_list(done):
    found = predict_texts(done.workspace, understood(["the furious phone was scared", "a song"]))
    assert [said["labels"] for said in found] == [["anger", "fear"], []]
    assert [said["label"] for said in found] == ["anger|fear", "[]"]
    assert set(found[0]["probabilities"]) == set(LABELS)


def test_the_registered_model_predicts_in_a_process_without_the_project(done, tmp_path):
    tracking = connect(done.workspace, done.workspace.config())
    version = registry.champion(tracking, NAME)
    folder = registry.files(tracking, version, done.workspace.cache / "registered")
    code = (f"import mlflow.pyfunc, pandas, json; m = mlflow.pyfunc.load_model({str(folder)!r});"
            "out = m.predict(pandas.DataFrame({'text': ['so furious and scared', 'a song']}));"
            "print(json.dumps(out[['label', 'labels']].values.tolist()))")
    ran = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, text=True,
                         capture_output=True, timeout=200)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout.splitlines()[-1]) == [
        ["anger|fear", ["anger", "fear"]], ["[]", []]]
    shipped = {path.name for path in packaging.shipped(TASK)}
    assert not shipped & {"gate.py", "report.py", "evaluation.py", "pandas.py", "baselines.py"}


def test_two_versions_are_compared_on_a_labeled_file(done, tmp_path):
    make_rows(80, 9).to_csv(tmp_path / "more.csv", index=False)
    found = compare.compare(done.workspace, f"{NAME}@1", "base", file=tmp_path / "more.csv",
                            say=lambda line: None)
    assert found.n == 80 and found.scores["micro_f1"]["first"]["value"] > 0.9
    assert found.verdict().endswith(f"{NAME}@1 is better.")
    page = compare.report(found, tmp_path / "page.html").read_text()
    assert "F1 per row" in page and "true labels" in page
    assert found.to_dict()["first"]["n"] == 80


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_an_export_answers_alike_and_its_card_shows_how_to_use_the_thresholds(done, form, tmp_path):
    made = export.export(done.workspace, "champion", tmp_path / "out", form=form,
                         say=lambda line: None)
    assert made.parity["changed"] == 0 and made.output == "label set"
    thresholds = json.loads((tmp_path / "out" / "thresholds.json").read_text())
    files = lookup.files(done.workspace, "champion")
    assert list(thresholds.values()) == read_meta(files.adapter)["thresholds"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "any of 3 labels" in card and "F1 per row" in card and "Calibration" not in card
    code = card.split("```python\n")[1].split("```")[0].replace(
        "A text of yours.", "so furious and scared")
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", text=True,
                         capture_output=True, timeout=200)
    assert ran.returncode == 0 and ran.stdout.startswith("['anger', 'fear'] ["), ran.stderr


def test_a_model_is_made_again_from_its_record(done):
    again = reproduce.reproduce(done.workspace, NAME, 1, lambda line: None)
    assert again.equal, again.differences


def test_labels_are_marked_key_by_key_in_the_terminal(done):
    session = labeling_session.open_session(done.workspace, None, "bob")
    assert session.format.names == [*LABELS, "[]"]
    for key in "132":
        labeling_screen.press(session, key)
    assert "marked: anger|fear|joy" in labeling_screen.screen(session)
    labeling_screen.press(session, "2")
    labeling_screen.press(session, "\r")
    assert session.answers[-1].label == "anger|joy"

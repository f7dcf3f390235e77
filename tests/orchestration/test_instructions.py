"""A whole round of instruction tuning by the same jobs, on rows from two sources."""

import html
import json
import re
from dataclasses import dataclass

import pandas as pd
import pytest
import yaml

from ftzard.data import storage
from ftzard.data.labeling.labeling_queue import read_queue
from ftzard.errors import ModelError
from ftzard.modeling.adapter_meta import read_meta
from ftzard.registry import model_records
from ftzard.reporting.standings import Standings
from ftzard.tasks.instruction_tuning import instructions, model
from ftzard.tasks.instruction_tuning.data import turns
from ftzard.tracking import registry, runs
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace

pytestmark = pytest.mark.jobs

NAME = "ws"  # as its folder
SMALL = {
    "model": {"max_length": 192, "build": {"layers": 2, "width": 64, "heads": 2,
                                           "vocabulary": 1024, "seed": 0}},
    "task": {"choice": "instruction_tuning", "instructions": {"max_new_tokens": 16,
                                                              "generated_rows": 40}},
    "training": {"epochs": 3, "learning_rate": 0.005, "batch_size": 16},
    "retraining": {"epochs": 2},
    "tuning": {"metric": "validation_loss", "trials": 1},
    "sampling": {"strategy": "least_confidence", "budget": 60, "audit_rows": 30,
                 "min_labelled": 10},
    "gate": {"min_gain": 0.01, "min_rows": 30, "max_forgetting": 0.5, "resamples": 500,
             "trial": True},
    "metrics": ["written:words"],
}
#: Functions of the workspace's own; many instructions of the sample end in a full stop.
OWN = {"asked.py": "def plain(text):\n    return text.rstrip('.')\n",
       "written.py": "def words(wanted, written, rows):\n"
                     "    return sum(len(answer.split()) for answer in written) / len(rows)\n"}


@dataclass
class Tutor:
    """The workspace after both rounds, and what each command said."""

    workspace: Workspace
    said: dict[str, str]

    def metadata(self, step: str) -> dict:
        return json.loads((self.workspace.metadata / f"{step}.json").read_text())["facts"]

    def table(self, name: str) -> pd.DataFrame:
        return storage.read_parquet(
            self.workspace.root / getattr(self.workspace.config().paths, name))

    def record(self, number: int) -> dict:
        return model_records.records(self.workspace, NAME)[number - 1]


@pytest.fixture(scope="module")
def tutor(tmp_path_factory, tool) -> Tutor:
    home = tmp_path_factory.mktemp("tutor")
    root, said = home / "ws", {}

    def do(*arguments: object) -> None:
        done = tool("ftzard", *arguments, at=home, seconds=400)
        assert done.returncode == 0, done.stdout[-4000:]
        said[str(arguments[1])] = done.stdout

    do("init", root, "--task", "instruction_tuning", "--sample", "--git-remote",
       home / "remotes" / "git", "--dvc-remote", home / "remotes" / "dvc")
    workspace = Workspace(root)
    marker = yaml.safe_load((root / "ftzard.yaml").read_text())
    rows = [json.loads(line) for line in
            (root / "data" / "sample" / "training.jsonl").read_text().splitlines()]
    for name, part in (("ours", rows[:300]), ("public", rows[300:])):
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    marker["data"] |= {"source": None, "mix": {str(home / "ours.jsonl"): 1.0,
                                               str(home / "public.jsonl"): 1.0}}
    marker["data"]["clean"] = "asked:plain"
    (root / "custom").mkdir()
    for file, text in OWN.items():
        (root / "custom" / file).write_text(text)
    (root / "ftzard.yaml").write_text(yaml.safe_dump(marker | SMALL))
    do("run", "training_pipeline_job", "-w", root)
    do("run", "inference_pipeline_job", "-w", root, "data.incoming=data/sample/batch_1.jsonl")
    answer(workspace)
    do("run", "retraining_pipeline_job", "-w", root, "data.labelled=data/labelled/given.csv")
    do("predict", "Name the opposite of warm.", "-w", root)
    do("predict", "Name the opposite of warm", "-w", root)
    do("reproduce", f"{NAME}@1", "-w", root)
    return Tutor(workspace, said)


def answer(workspace: Workspace) -> None:
    """Write the answers of the sample's person into the queue and hand it in."""
    queue_file, = workspace.labelling.glob("*.csv")
    queue = read_queue(queue_file)
    given, _ = instructions.clean(instructions.read(
        workspace.root / "data" / "sample" / "batch_1_labels.jsonl",
        instruction_column="instruction", input_column="input", output_column="output",
        messages_column="messages"), batch="given",
        own=model_records.cleaning_now(workspace, workspace.config().data)["own"])
    known = dict(zip(given["text"], given["label"], strict=True))
    queue["label"] = queue["text"].map(lambda text: known.get(text, ""))
    assert (queue["label"] != "").mean() > 0.9
    queue.loc[0, "label"] = "   "
    queue.to_csv(workspace.labelled / "given.csv", index=False)


def test_what_is_asked_is_cleaned_alike_in_training_inference_and_predict(tutor):
    for name in ("cleaned", "tokenized", "incoming_tokenized", "predictions"):
        asked = [turn for cell in tutor.table(name)["messages"] for turn in turns(cell)
                 if turn["role"] != "assistant"]
        assert len(asked) > 50 and not [turn for turn in asked if turn["content"].endswith(".")]
    assert tutor.table("cleaned")["label"].str.endswith(".").any(), "answers stay as they are"
    answers = {tutor.said[f"Name the opposite of warm{end}"].split("  Name the")[0]
               for end in ("", ".")}
    assert len(answers) == 1
    assert tutor.record(1)["clean"]["function"] == "asked:plain"
    assert tutor.record(2)["clean"] == tutor.record(1)["clean"]


def test_the_own_metric_stands_in_record_mlflow_report_and_card(tutor):
    second = tutor.record(2)
    assert second["own_metrics"]["words"]["function"] == "written:words"
    values = {role: line["words"] for role, line in second["metrics"].items()}
    assert set(values) == {"challenger", "champion", "base"} and values["base"] > 1
    tracking = connect(tutor.workspace, tutor.workspace.config())
    run = runs.children(tracking, "EVALUATION", status="FINISHED")[0]
    page = html.unescape(re.sub("<[^>]+>", " ", tutor.workspace.report.read_text()))
    table = page[page.index("This workspace's own metrics"):][:600]
    card = runs.read(tracking, run.info.run_id, "model_card.md").decode()
    for role, value in values.items():
        assert run.data.metrics[f"{role}_test_words"] == value
        assert f" {value:.4g} " in table and f" | {value:.4g} |" in card, role


def test_rows_come_from_two_sources_in_equal_parts_and_each_says_which(tutor):
    cleaned = tutor.table("cleaned")
    first = cleaned[cleaned["source"] != ""]
    shares = first["source"].map(lambda name: name.rsplit("/", 1)[-1]).value_counts()
    assert set(shares.index) == {"ours.jsonl", "public.jsonl"}
    assert shares.max() - shares.min() <= 0.1 * shares.sum()
    kept, = (tutor.workspace.root / "data" / "sources").glob("*.json.dvc")
    told = json.loads(kept.with_suffix("").read_text())["sources"]
    assert [len(source["sha256"]) for source in told] == [64, 64]
    assert {source["weight"] for source in told} == {1.0}


def test_what_is_said_of_the_rows_is_what_was_read_kept_and_trained_on(tutor):
    """The mix, then answers that came back; then the new rows beside as many replayed ones."""
    tracking = connect(tutor.workspace, tutor.workspace.config())
    second, first = runs.children(tracking, "DATA_CLEANING", status="FINISHED")
    for cleaned in (first, second):
        told = cleaned.data.metrics
        assert told["rows_read"] == told["rows_usable"] + told["rows_rejected"] > 0
        assert told["file_lines"] >= told["file_rows"] >= told["rows_read"]
    added = second.data.metrics["rows_in_all"] - first.data.metrics["rows_in_all"]
    assert added == second.data.metrics["rows_usable"] > 30
    (retrained,) = runs.children(tracking, "RETRAINING", status="FINISHED")
    told, record = retrained.data.metrics, tutor.record(2)
    assert record["trained_rows"] == told["new_rows"] + told["replayed_rows"]
    assert record["trained_rows"] < record["rows"]["train"]
    assert told["new_rows"] + told["earlier_rows"] == record["rows"]["train"]
    assert 0 < told["earlier_rows"] <= tutor.record(1)["rows"]["train"]
    assert set(record["recipe"]["replayed"]) == {"known", "fresh", "ratio"}
    assert tutor.record(1)["trained_rows"] == tutor.record(1)["rows"]["train"]


def test_only_answers_are_learned_and_each_of_their_tokens_is_counted(tutor):
    rows = tutor.table("tokenized")
    answers = (rows["length"] - rows["prompt_length"]).groupby(rows["split"]).sum()
    assert tutor.metadata("preprocessing")["supervised_tokens_test"] == answers["test"]
    tracking = connect(tutor.workspace, tutor.workspace.config())
    prepared = min(runs.children(tracking, "DATA_PREPROCESSING", status="FINISHED"),
                   key=lambda run: run.info.start_time)
    told = [entry["supervised_tokens"] for entry in tutor.record(1)["recipe"]["history"]]
    assert set(told) == {prepared.data.metrics["supervised_tokens_train"]}


def test_held_out_loss_falls_and_the_first_model_must_beat_its_base(tutor):
    tuned = tutor.metadata("tuning")
    losses = [entry["validation_loss"] for entry in tuned["trials"][0]["history"]]
    assert losses[-1] < losses[0] < tuned["base_validation_loss"]
    first = tutor.record(1)
    assert first["measure"] == "loss" and first["verdict"]["decision"] == "promote"
    assert first["verdict"]["against"] == "base"
    assert first["metrics"]["challenger"]["loss"] < first["metrics"]["base"]["loss"] - 1
    assert first["metrics"]["challenger"]["generated"] == 40


def test_the_second_round_compares_with_the_champion_on_the_same_rows(tutor):
    second = tutor.record(2)
    assert second["verdict"]["against"] == "champion" and second["parent"] == 1
    assert second["metrics"]["champion"]["n"] == second["metrics"]["challenger"]["n"]
    assert len(second["tested"]["2"]) == len(second["tested"]["1"]) == 2
    assert {"id", "champion score", "challenger score"} <= set(second["examples"][0])
    test = tutor.table("tokenized").query("split == 'test'")
    told = yaml.safe_dump(dict(second))
    assert not [text for text in test["text"] if len(text) > 20 and text in told]
    tracking = connect(tutor.workspace, tutor.workspace.config())
    alias = "champion" if second["verdict"]["promoted"] else "challenger"
    assert registry.by_alias(tracking, NAME, alias).number == 2


def test_incoming_instructions_are_answered_and_the_least_sure_are_asked(tutor):
    predictions = tutor.table("predictions")
    assert {"suggestion", "confidence", "tokens", "finished", "messages"} <= set(predictions)
    assert predictions["confidence"].between(0, 1).all()
    queue_file, = tutor.workspace.labelling.glob("*.csv")
    queue = read_queue(queue_file)
    asked = predictions[predictions["id"].isin(
        queue.loc[queue["chosen_by"] == "least_confidence", "id"])]
    others = predictions[~predictions["id"].isin(queue["id"]) & (predictions["split"] == "train")]
    # A row that is like one asked already is not asked too, however unsure the champion is of it.
    assert len(asked) == 60 and asked["confidence"].max() < others["confidence"].median()


def test_an_answer_of_spaces_stays_in_the_queue_and_the_others_are_learned(tutor):
    cleaned = tutor.table("cleaned")
    back = cleaned[cleaned["labelled_by"].fillna("") != ""]
    assert 70 <= len(back) <= 89 and (back["label"].str.strip() != "").all()
    assert (back["messages"].map(turns).map(len) > 0).all()


def test_the_report_and_mlflow_show_what_each_model_writes(tutor):
    page = tutor.workspace.report.read_text()
    for words in ("ROUGE-L", "perplexity", "exact match", "nats per token", "wanted"):
        assert words in page, words
    assert 'class="confusion"' not in page
    tracking = connect(tutor.workspace, tutor.workspace.config())
    run = runs.children(tracking, "EVALUATION", status="FINISHED")[0]
    assert run.data.metrics["test_rouge_l"] >= 0 and "champion_test_loss" in run.data.metrics
    assert {f"{role}_memory_mb" for role in ("base", "champion", "challenger")} <= set(
        run.data.metrics)
    table = Standings.of([tutor.record(1), tutor.record(2)])
    assert set(table.scores) == {1, 2} and run.data.metrics["version_1_test_loss"] == (
        table.line(1)["loss"])
    assert not [r for r in runs.children(tracking) if r.info.status == "RUNNING"]


def test_the_template_is_kept_with_the_adapter_and_another_one_is_refused(tutor):
    workspace = tutor.workspace
    tracking = connect(workspace, workspace.config())
    folder = model_records.version_folder(workspace, registry.version(tracking, NAME, 1))
    meta = read_meta(folder)
    assert meta["task"] == "instruction_tuning" and meta["template"]["name"] == "alpaca"
    config = workspace.config({"overrides": ["task.instructions.template=chatml"]})
    from ftzard.modeling.tokenizer import load_tokenizer

    with pytest.raises(ModelError, match="'alpaca'.*'chatml'.*retraining.start=base"):
        model.adapter_meta(config, load_tokenizer(folder), {}, continues=folder)


def test_it_answers_at_the_command_line_and_is_made_again_to_the_digit(tutor):
    assert re.search(r"^\S.*  [01]\.\d+  Name the opposite of warm", tutor.said[
        "Name the opposite of warm."], flags=re.M)
    assert f"✓ equal: {NAME}@1" in tutor.said[f"{NAME}@1"]

"""`ftzard init` for instruction tuning: what ftzard.yaml says, the sample, the notebooks."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ftzard.config.pipeline import NOTEBOOKS as PACKAGED
from ftzard.orchestration.create_workspace import create
from ftzard.tasks.base import task_named, task_names
from ftzard.tasks.instruction_tuning import instructions
from ftzard.workspace.notebook_copies import copy_missing
from ftzard.workspace.workspace import Workspace


@pytest.fixture
def mine(tmp_path) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [
        *({"ask": f"Say number {n}", "context": "", "reply": str(n)} for n in range(20)),
        {"ask": "", "context": "", "reply": ""}]))
    return path


def test_data_of_one_s_own(ftzard, tmp_path, mine):
    root = tmp_path / "ws"
    code, said = ftzard("init", root, "--task", "instruction_tuning", "--data", mine, "--text",
                        "ask", "--label", "reply", "--input", "context")
    assert code == 0 and "ftzard run training_pipeline_job" in said
    told = yaml.safe_load((root / "ftzard.yaml").read_text())
    source = told["data"].pop("source")
    assert (root / source).read_bytes() == mine.read_bytes()
    assert told == {
        "task": "instruction_tuning",
        "data": {"choice": "instructions", "text_column": "ask", "input_column": "context",
                 "label_column": "reply", "messages_column": None, "encoding": "utf-8"},
        "model": {"choice": "falcon_tiny_answers"}, "training": {"batch_size": 8},
        "tuning": {"metric": "validation_loss"},
        "sampling": {"strategy": "least_confidence", "budget": 150, "audit_rows": 60,
                     "min_labelled": 20},
        "gate": {"min_gain": 0.01, "min_rows": 50, "max_forgetting": 0.1},
        "tracking": {"experiment": root.name, "registered_model": root.name}}
    workspace = Workspace(root)
    config = workspace.config()
    assert workspace.task == config.task.kind == "instruction_tuning"
    assert config.task.instructions.template == "alpaca" and config.data.text_column == "ask"
    assert (config.model.name, config.model.max_length) == ("falcon_tiny", 256)
    assert workspace.config({"model": "mistral_7b_instruct"}).model.max_length == 512


def test_columns_of_the_usual_names_are_found(ftzard, tmp_path):
    for name, row, found in (
            ("chats", {"messages": [{"role": "user", "content": "Hi"},
                                    {"role": "assistant", "content": "Hello"}]},
             (None, "messages")),
            ("plain", {"instruction": "Hi", "input": "", "output": "Hello"}, ("input", None))):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps(row))
        code, said = ftzard("init", tmp_path / name, "--task", "instruction_tuning", "--data", path)
        assert code == 0, said
        data = Workspace(tmp_path / name).config().data
        assert (data.input_column, data.messages_column) == found


@pytest.mark.parametrize("format", ["jsonl", "parquet", "csv"])
def test_chats_in_a_column_of_another_name_say_the_option(ftzard, tmp_path, format):
    chat = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    path = tmp_path / f"chats.{format}"
    frame = pd.DataFrame({"id": ["1"], "talk": [json.dumps(chat) if format == "csv" else chat]})
    if format == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        (frame.to_csv if format == "csv" else frame.to_parquet)(path, index=False)
    asked = ("init", tmp_path / "ws", "--task", "instruction_tuning", "--data", path)
    code, said = ftzard(*asked)
    assert code == 1 and "'talk' holds chats: add --messages talk." in said
    assert not (tmp_path / "ws").exists()
    code, said = ftzard(*asked, "--messages", "tlak")
    assert code == 1 and "did you mean 'talk'? " in said and "as in --messages talk." in said
    code, said = ftzard(*asked, "--messages", "talk")
    assert code == 0 and Workspace(tmp_path / "ws").config().data.messages_column == "talk", said


def test_the_sample_is_a_delivery_and_its_batches_lie_ready(ftzard, tmp_path):
    root = tmp_path / "ws"
    code, said = ftzard("init", root, "--task", "instruction_tuning", "--sample")
    assert code == 0 and "data/sample" in said
    data = Workspace(root).config().data
    raw = instructions.read(
        root / data.source, instruction_column=data.text_column, input_column=data.input_column,
        output_column=data.label_column, messages_column=data.messages_column)
    cleaned, _ = instructions.clean(raw, batch="b")
    assert len(cleaned) > 1_000
    assert {p.name for p in (root / "data/sample").iterdir()} == {
        f"{name}.jsonl" for name in ("training", "batch_1", "batch_2", "batch_1_labels",
                                     "batch_2_labels")}
    assert list((root / "data/incoming").iterdir()) == []


def test_every_task_brings_a_sample_that_its_config_describes(ftzard, tmp_path):
    code, said = ftzard("init", tmp_path / "ws", "--sample")
    workspace = Workspace(tmp_path / "ws")
    data = workspace.config().data
    rows = task_named(workspace.task).data.read(workspace.root / data.source, data)
    assert code == 0 and len(rows) > 5_000, said
    assert (workspace.root / "data/sample/batch_1.csv").is_file()


@pytest.mark.parametrize(("options", "words"), [
    (["--task", "instruction_tunning"], ["instruction_tunning", "did you mean"]),
    (["--input", "context"], ["--input goes with --task instruction_tuning"]),
    (["--task", "instruction_tuning", "--sample", "--data", "{mine}"], ["without --data"]),
    (["--task", "instruction_tuning", "--data", "{mine}"], ["no column 'instruction'"]),
    (["--task", "instruction_tuning", "--data", "{mine}", "--text", "ask", "--label", "context"],
     ["none of 21 rows can be used", "20 empty answer", "1 empty instruction"])])
def test_what_does_not_go_together_is_refused_and_nothing_is_made(ftzard, tmp_path, mine, options,
                                                                 words):
    code, said = ftzard("init", tmp_path / "ws", *(o.format(mine=mine) for o in options))
    assert code == 1 and all(word in said for word in words), said
    assert not (tmp_path / "ws").exists()


def test_a_workspace_gets_the_notebooks_of_all_tasks_and_those_of_its_own(tmp_path):
    def packaged(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}

    for task in task_names():
        wanted = {**packaged(PACKAGED), **packaged(PACKAGED / task)}
        assert ("Registry_Life_Cycle.ipynb" in wanted) == (task == "classification")
        workspace = create(tmp_path / task, config={"task": task}, invent_identity=True)
        copied = {path.name: path.read_bytes() for path in workspace.notebooks.iterdir()}
        assert copied == wanted
        (workspace.notebooks / "Step1_Data_Cleaning.ipynb").write_text("changed by hand")
        copy_missing(workspace)
        assert (workspace.notebooks / "Step1_Data_Cleaning.ipynb").read_text() == "changed by hand"

"""A workspace whose model writes answers, trained and registered by the steps' own calls.

Made once for each process that runs tests, and only read. It has learned four kinds of instruction
of one word each by heart, so that its answers are known. A function of its workspace's own makes
"colour" of the word "hue", which no row of its training has; a metric of its own counts words.
"""

import json
import shutil

import pytest

from ftzard.data import storage
from ftzard.data.cleaning import cleaned_by
from ftzard.orchestration.create_workspace import create
from ftzard.registry import model_records
from ftzard.steps.step_run import start_step
from ftzard.tasks.instruction_tuning.setup import instruction_config
from ftzard.tracking import registry
from ftzard.workspace.workspace import Workspace

NAME = "Answers"
ANSWERS = {"the sky": "blue", "the grass": "green", "the sun": "yellow", "the snow": "white"}
KNOWN = {"model": {"max_length": 96,
                   "build": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 400, "seed": 0},
                   "quantisation": "none"},
         "tracking": {"registered_model": NAME}, "versioning": {"push": False},
         "data": {"clean": "asked:plain"}}
CUSTOM = {
    "asked.py": 'def plain(text):\n    return text.replace("hue", "colour")\n',
    "written.py": "def one_word(wanted, written, rows):\n"
                  "    assert list(rows) == ['text', 'confidence', 'tokens', 'finished']\n"
                  "    assert rows['text'].str.startswith('Name the colour').all()\n"
                  "    return sum(len(a.split()) == 1 for a in written) / len(written)\n"}


def line(loss: float) -> dict:
    """Return what a record keeps of one model's test."""
    return {"measure": "loss", "score": loss, "lower": loss - 0.1, "upper": loss + 0.1,
            "loss": loss, "perplexity": 2.5, "rouge_l": 0.75, "exact_match": 0.5, "n": 60,
            "generated": 20, "supervised_tokens": 180}


@pytest.fixture(scope="session")
def answering(tmp_path_factory) -> Workspace:
    """A workspace with Answers@1, the champion, and @2, the challenger."""
    with pytest.MonkeyPatch.context() as patch:
        config = {**instruction_config({"input_column": "input", "messages_column": "messages"})}
        for group, values in KNOWN.items():
            config[group] = {**config.get(group, {}), **values}
        config["task"] = {"choice": "instruction_tuning",
                          "instructions": {"max_new_tokens": 6, "packing": False}}
        config["metrics"] = ["written:one_word"]
        workspace = create(tmp_path_factory.mktemp("answering") / "ws", config=config,
                           invent_identity=True)
        (workspace.root / "custom").mkdir()
        for name, text in CUSTOM.items():
            (workspace.root / "custom" / name).write_text(text)
        patch.setenv("FTZARD_WORKSPACE", str(workspace.root))
        return _train(workspace)


def rows_of(count: int):
    """Return rows as cleaning leaves them; of every four, one asks with an input."""
    import pandas as pd

    found = []
    for number in range(count):
        thing, colour = list(ANSWERS.items())[number % 4]
        text = f"Name the colour of {thing}"
        turn = {"role": "user", "content": text}
        if number % 4 == 3:
            turn = {"role": "user", "content": "Name the colour", "input": thing}
            text = f"Name the colour\n\n{thing}"
        found.append({"text": text, "label": colour, "messages": json.dumps([turn])})
    return pd.DataFrame(found)


def _train(workspace: Workspace) -> Workspace:
    from ftzard.modeling.base_model import load_base
    from ftzard.steps import candidate
    from ftzard.tasks.instruction_tuning import chat_template, data, model, tokenization
    from tests.training_calls import fit

    config, rows = workspace.config(), rows_of(120)
    base = model_records.build_base(
        workspace, config.model, data.tokenizer_corpus(rows, config),
        workspace.root / "scratch")
    shutil.rmtree(workspace.root / "scratch")
    spec = model_records.base_spec(workspace, config.model, config.task.kind)
    loaded = load_base(spec)
    cleaning = model_records.cleaning_now(workspace, config.data)
    kept = model.adapter_meta(config, loaded.tokenizer, cleaning)
    encoded = tokenization.encode(
        rows["messages"].map(json.loads).tolist(), rows["label"].tolist(), loaded.tokenizer,
        chat_template.from_meta(kept["template"]), spec.max_length)
    sides = ["train"] * 80 + ["validation"] * 16 + ["test"] * 24
    rows = rows.assign(
        id=[f"row{n}" for n in range(len(rows))], batch="b1", source="", split=sides,
        input_ids=encoded.input_ids, prompt_length=encoded.prompt_length, length=encoded.length,
        cut=encoded.cut, cleaned_by=cleaned_by(cleaning["own"]))
    storage.write_parquet(rows, workspace.root / config.paths.tokenized)
    for number in (1, 2):
        run = start_step("retraining", {"overrides": []})
        fitted = fit(
            loaded, rows[rows["split"] == "train"], rows[rows["split"] == "validation"],
            seed=number, metric="validation_loss",
            params={"rank": 4, "alpha": 8.0, "dropout": 0.0,
                    "learning_rate": 1e-2 if number == 1 else 1e-4, "batch_size": 16,
                    "weight_decay": 0.0},
            training={"epochs": 6 if number == 1 else 1, "warmup_ratio": 0.1, "max_grad_norm": 1.0,
                      "patience": 6, "packing": False},
            folder=workspace.state / "adapter", train_embeddings=True, extra=kept)
        version = candidate.register(run, fitted.folder, rows, params={"rank": 4},
                                      recipe=fitted.recipe)
        candidate.update_record(run, version, {
            "measure": "loss", "metrics": {"challenger": {"model": "challenger", **line(0.9)},
                                           "base": {"model": "base", **line(5.0)}},
            "verdict": {"decision": "promote" if number == 1 else "refuse",
                        "promoted": number == 1, "reasons": ["So it was measured."]}})
        registry.move(run.tracking, version.name,
                      **{"champion" if number == 1 else "challenger": version})
        run.outputs["base"] = workspace.handle("base", base)
        run.finish()
    shutil.rmtree(workspace.state / "adapter")
    return workspace


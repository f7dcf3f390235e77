"""A workspace whose model is trained and registered twice, by the steps' own calls, no jobs.

Made once for each process that runs tests; a test that changes something copies it.
"""

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ftzard.data import storage
from ftzard.registry import model_records
from ftzard.steps.step_run import start_step
from ftzard.steps.versioning import finished_step
from ftzard.tracking import registry
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace
from tests.orchestration.texts import easy_texts
from tests.story import SMALL

NAME = "FalconSentiAnalysis"
MEASURED = {
    "metrics": {"challenger": {"accuracy": 0.9, "lower": 0.8, "upper": 0.95, "macro_f1": 0.89,
                               "n": 60}},
    "calibration": {"temperature": 1.2, "ece_before": 0.1, "ece_after": 0.05, "n": 60,
                    "validation_rows": 20, "loss_before": 0.4, "loss_after": 0.3},
}


@pytest.fixture(scope="session")
def trained(template, tmp_path_factory) -> Workspace:
    """A workspace with FalconSentiAnalysis@1, the champion, and @2, the challenger; only read."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("trained") / "ws"
        shutil.copytree(template, root, symlinks=True)
        patch.setenv("FTZARD_WORKSPACE", str(root))
        return train(Workspace(root))


@pytest.fixture
def own(trained, tmp_path) -> Workspace:
    """A copy of the trained workspace, with MLflow's files of its own."""
    root = tmp_path / "ws"
    shutil.copytree(trained.root, root, symlinks=True)
    move_store(root / ".ftzard/mlflow.db", trained.root, root)
    return Workspace(root)


def move_store(database: Path, before: Path, now: Path) -> None:
    """Let a copied MLflow store name the copied artifacts."""
    with sqlite3.connect(database) as connection:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location"),
                              ("model_versions", "storage_location")):
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                               (str(before), str(now)))
    connection.close()


def train(workspace: Workspace, rows: pd.DataFrame | None = None, **verdict: object) -> Workspace:
    """Train and register two versions; rows: 220 of text and label, else easy ones."""
    from ftzard.modeling.base_model import load_base
    from ftzard.modeling.tokenizer import encode, load_tokenizer
    from ftzard.steps import candidate
    from tests.training_calls import fit

    config_file = workspace.root / "ftzard.yaml"
    config_file.write_text(yaml.safe_dump(SMALL | {"versioning": {"push": False}}))
    config = workspace.config()
    if rows is None:
        rows = easy_texts(220, seed=4).set_axis(["text", "label"], axis=1)
    base = model_records.build_base(workspace, config.model, rows["text"],
                                    workspace.root / "scratch")
    shutil.rmtree(workspace.root / "scratch")
    spec = model_records.base_spec(workspace, config.model)
    input_ids, length, cut = encode(rows["text"], load_tokenizer(spec.source), spec.max_length)
    sides = ["train"] * 140 + ["validation"] * 20 + ["test"] * 60
    rows = rows.assign(id=[f"row{n}" for n in range(len(rows))], batch="b1", split=sides,
                       input_ids=input_ids, length=length, cut=cut)
    storage.write_parquet(rows, workspace.root / config.paths.tokenized)
    labels = sorted(rows["label"].unique())
    loaded = load_base(spec, labels)
    for number in (1, 2):
        run = start_step("retraining", {"overrides": []})
        run.record_facts(temperature={"temperature": MEASURED["calibration"]["temperature"],
                             "validation_rows": 20})
        fitted = fit(
            loaded, rows[rows["split"] == "train"], rows[rows["split"] == "validation"],
            seed=number, metric="accuracy",
            params={"rank": 4, "alpha": 8.0, "dropout": 0.0, "learning_rate": 5e-3 * number,
                    "batch_size": 16, "weight_decay": 0.0},
            training={"epochs": 1, "warmup_ratio": 0.1, "max_grad_norm": 1.0, "patience": 2},
            folder=workspace.state / "adapter", train_embeddings=True,
            extra={"cleaning": config.data.cleaning})
        version = candidate.register(run, fitted.folder, rows, params={"rank": 4},
                                      recipe=fitted.recipe)
        candidate.update_record(run, version, MEASURED | {
            "verdict": {"decision": "promote" if number == 1 else "refuse",
                        "promoted": number == 1, "reasons": ["So it was measured."],
                        **verdict}})
        registry.move(run.tracking, version.name,
                      **{"champion" if number == 1 else "challenger": version})
        if number == 2:  # one version of all files: the commands that make one take seconds
            for name, path in (("tokenized", config.paths.tokenized), ("base", base),
                               ("adapter 1", f"models/{NAME}/1.zip")):
                run.outputs[name] = workspace.handle(name, path)
            run.records.append(f"models/{NAME}/1.yaml")
        run.finish()
    followed = finished_step({"step": "retraining", "overrides": []})
    followed.publish(followed.version())
    shutil.rmtree(workspace.state / "adapter")
    return workspace


def models(workspace: Workspace) -> dict[str, list[int]]:
    """Return {name: numbers} of what is registered."""
    tracking = connect(workspace, workspace.config())
    return {name: [v.number for v in registry.versions(tracking, name)]
            for name in registry.names(tracking)}

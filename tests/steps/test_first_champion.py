"""A first model that has learned nothing is no champion: what is said, and what is still possible.

The steps' own calls on a small workspace that is no trial; its labels are drawn by chance.
"""

import random
import shutil
from dataclasses import dataclass

import pytest
import yaml

from ftzard.data import storage
from ftzard.errors import TrackingError
from ftzard.registry import model_records
from ftzard.steps.step_run import start_step
from ftzard.tracking import registry, runs
from ftzard.tracking.workspace_store import connect
from ftzard.workspace import notices
from ftzard.workspace.workspace import Workspace
from tests.orchestration.texts import easy_texts
from tests.story import SMALL
from tests.trained import NAME
from tests.workspace.notice_titles import NOBODY, noticed

pytestmark = pytest.mark.slow


@dataclass
class Judged:
    """The workspace after its first model was judged, the model's record and its MLflow run."""

    workspace: Workspace
    record: dict
    tags: dict


@pytest.fixture(scope="module")
def judged(template, tmp_path_factory) -> Judged:
    root = tmp_path_factory.mktemp("first") / "ws"
    shutil.copytree(template, root, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTZARD_WORKSPACE", str(root))
        patch.setenv(notices.VARIABLE, NOBODY)
        return judge(Workspace(root))


def judge(workspace: Workspace) -> Judged:
    from ftzard.modeling.base_model import load_base
    from ftzard.modeling.tokenizer import encode, load_tokenizer
    from ftzard.steps import candidate
    from ftzard.steps.evaluation import evaluate_models
    from tests.training_calls import fit

    (workspace.root / "ftzard.yaml").write_text(yaml.safe_dump(SMALL | {
        "gate": SMALL["gate"] | {"trial": False}, "versioning": {"push": False}}))
    config = workspace.config()
    rows = easy_texts(360, seed=9).set_axis(["text", "label"], axis=1)
    rows["label"] = random.Random(0).choices(["glad", "sad"], k=len(rows))
    model_records.build_base(workspace, config.model, rows["text"], workspace.root / "scratch")
    shutil.rmtree(workspace.root / "scratch")
    spec = model_records.base_spec(workspace, config.model)
    input_ids, length, cut = encode(rows["text"], load_tokenizer(spec.source), spec.max_length)
    rows = rows.assign(id=[f"row{n}" for n in range(len(rows))], batch="b1", length=length, cut=cut,
                       split=["train"] * 200 + ["validation"] * 40 + ["test"] * 120,
                       input_ids=input_ids)
    storage.write_parquet(rows, workspace.root / config.paths.tokenized)
    validation = rows[rows["split"] == "validation"]
    run = start_step("retraining", {"overrides": []})
    fitted = fit(
        load_base(spec, ["glad", "sad"]), rows[rows["split"] == "train"], validation, seed=0,
        metric="accuracy", params={"rank": 4, "alpha": 8.0, "dropout": 0.0, "learning_rate": 5e-3,
                                   "batch_size": 16, "weight_decay": 0.0},
        training={"epochs": 1, "warmup_ratio": 0.1, "max_grad_norm": 1.0, "patience": 2},
        folder=workspace.state / "adapter", train_embeddings=True,
        extra={"cleaning": config.data.cleaning})
    candidate.check(run, fitted.folder, validation)
    evaluation = evaluate_models(run, rows, fitted.folder)
    version = candidate.register(run, fitted.folder, rows, params={"rank": 4},
                                  recipe=fitted.recipe)
    candidate.apply_verdict(run, version, evaluation)
    run.finish()
    tracking = connect(workspace, config)
    return Judged(workspace, model_records.read_record(workspace, version),
                  tracking.client.get_run(run.mlflow_run.id).data.tags)


def test_the_verdict_is_no_champion_yet_and_says_what_would_help(judged):
    verdict = judged.record["verdict"]
    assert verdict["decision"] == judged.tags["verdict"] == "no champion yet"
    assert noticed(judged.workspace) == [
        f"{judged.workspace.root.name}: {NAME}@1 was refused; there is no champion yet"]
    said = " ".join(verdict["reasons"])
    assert "majority class" in said and "labelled rows" in said and "there are 360." in said
    assert "pretrained base" in said
    tracking = connect(judged.workspace, judged.workspace.config())
    assert registry.aliases(tracking, NAME) == {"challenger": 1}
    assert "gate.trial" not in registry.version(tracking, NAME, 1).tags
    with pytest.raises(TrackingError, match="was not promoted .no champion yet: "):
        registry.champion(tracking, NAME)


def test_one_temperature_is_in_record_registered_files_and_evaluation(judged):
    record, tracking = judged.record, connect(judged.workspace, judged.workspace.config())
    version = registry.version(tracking, NAME, 1)
    files = registry.files(tracking, version, judged.workspace.cache / "registered")
    assert record["temperature"] == record["calibration"]["temperature"] > 0
    assert registry.temperature(files) == record["temperature"]
    assert record["calibration"]["validation_rows"] == 40
    assert runs.children(tracking, "RETRAINING")[0].data.metrics["temperature"] == pytest.approx(
        record["temperature"])


def test_a_person_may_promote_it_and_reads_why_the_gate_did_not(judged, ftzard, tmp_path):
    code, said = ftzard("status", "-w", judged.workspace.root)
    assert code == 0 and "(version 1 was not promoted: no champion yet)" in said
    assert "a trial" not in said
    code, said = ftzard("promote", "1", "--reason", "to try it", "-w", judged.workspace.root)
    assert code == 0 and f"the gate on {NAME}@1: no champion yet. On 120 test rows" in said
    tracking = connect(judged.workspace, judged.workspace.config())
    assert registry.champion(tracking, NAME).number == 1

"""A person overrules the gate: on record in git, in MLflow and in the model's own record."""

import shutil
import subprocess

import pytest
import yaml

from ftzard.errors import FtzardError, TrackingError
from ftzard.models.archive import pack
from ftzard.notebooks import model_files
from ftzard.notebooks.chapter import connect
from ftzard.registered import promotion
from ftzard.tracking import registry, runs
from ftzard.workspace import Workspace
from tests.tracking.conftest import store  # noqa: F401 - a store made once

NAME = "FalconSentiAnalysis"


@pytest.fixture(scope="module")
def prepared(template, store, tmp_path_factory):  # noqa: F811
    """A workspace with three versions, the second of them champion; made once, copied."""
    folder = tmp_path_factory.mktemp("promotion")
    workspace = Workspace(shutil.copytree(template, folder / "ws", symlinks=True))
    (workspace.state / "mlflow.db").write_bytes((store / "mlflow.db").read_bytes())
    tracking = connect(workspace, workspace.config())
    tracking.client.create_registered_model(NAME)
    parent = runs.top_level(tracking, "HP_TUNING", workspace.state / "lock")
    base = folder / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    pack(base, workspace.root / "models/bases/falcon_tiny.zip")
    made = []
    for number in (1, 2, 3):
        run = runs.start_child(tracking, parent, {})
        tracking.client.create_model_version(NAME, source=f"runs:/{run.id}/model", run_id=run.id)
        run.end()
        made.append(registry.version(tracking, NAME, number))
        adapter = folder / f"adapter{number}"
        adapter.mkdir()
        (adapter / "ftzard.json").write_text(
            '{"base": {"spec": {"source": "x", "name": "falcon_tiny"}}}')
        pack(adapter, model_files.adapter_archive(workspace, made[-1]))
        model_files.write_record(workspace, made[-1], {
            "model": NAME, "version": number, "base": {"name": "falcon_tiny", "source": None}})
    registry.move(tracking, NAME, champion=made[0])
    registry.move(tracking, NAME, champion=made[1])
    registry.move(tracking, NAME, challenger=made[2])
    return workspace.root


@pytest.fixture
def workspace(prepared, tmp_path) -> Workspace:
    return Workspace(shutil.copytree(prepared, tmp_path / "ws", symlinks=True))


@pytest.fixture
def models(workspace):
    """Return a function that reads the aliases."""

    def aliases() -> dict[str, int]:
        tracking = connect(workspace, workspace.config())
        return {alias: found.number for alias in ("champion", "challenger", "previous")
                if (found := registry.by_alias(tracking, NAME, alias)) is not None}

    return aliases


def record(workspace, number: int) -> dict:
    return yaml.safe_load((workspace.root / f"models/{NAME}/{number}.yaml").read_text())


def git(workspace, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=workspace.root, text=True, capture_output=True,
                          check=True).stdout


def test_a_refused_challenger_is_promoted_by_hand_and_that_is_on_record(models, workspace, ftzard):
    code, said = ftzard("promote", 3, "--reason", "a small loss,\nbut the domain matters", "--as",
                        "ann", "-w", workspace.root)
    assert code == 0, said
    assert f"✓ {NAME}@3 is champion, {NAME}@2 is previous" in said
    assert models() == {"champion": 3, "previous": 2}
    entry, = record(workspace, 3)["promotions"]
    assert entry["who"] == "ann" and entry["reason"] == "a small loss, but the domain matters"
    assert entry["from"] == 2 and entry["to"] == 3 and entry["time"].endswith("+00:00")
    assert set(entry) == {"time", "who", "reason", "from", "to"}
    assert record(workspace, 3)["version"] == 3, "the rest of the record stays"
    log = git(workspace, "log", "-1", "--format=%B", "--name-only")
    assert log.startswith(f"Promote {NAME}@3 by hand: a small loss")
    assert "FTzard-Run: by-hand-" in log and log.strip().endswith(f"models/{NAME}/3.yaml")
    tracking = connect(workspace, workspace.config())
    tags = registry.version(tracking, NAME, 3).tags
    assert tags["promotion.reason"] == entry["reason"] and tags["promotion.from"] == "2"


def test_a_rollback_puts_the_previous_one_back_and_a_second_one_undoes_it(models, workspace,
                                                                          ftzard):
    code, said = ftzard("rollback", "--reason", "it got worse", "-w", workspace.root)
    assert code == 0 and f"{NAME}@1 is champion, {NAME}@2 is previous" in said
    assert models() == {"champion": 1, "previous": 2, "challenger": 3}
    assert record(workspace, 1)["promotions"][0]["reason"] == "it got worse"
    assert git(workspace, "log", "-1", "--format=%s").startswith(f"Roll back to {NAME}@1")
    assert ftzard("rollback", "-w", workspace.root)[0] == 0
    assert models()["champion"] == 2 and models()["previous"] == 1
    assert record(workspace, 2)["promotions"][0] | {"time": ""} == {
        "time": "", "who": record(workspace, 2)["promotions"][0]["who"], "reason": "rolled back",
        "from": 1, "to": 2}
    ftzard("rollback", "-w", workspace.root)
    assert len(record(workspace, 1)["promotions"]) == 2, "every one of them stays on record"


@pytest.mark.parametrize(("number", "spoil", "said"), [
    (9, None, "has no version 9; it has [1, 2, 3]"),
    (2, None, f"{NAME}@2 is the champion already"),
    (3, "3.zip", f"the adapter of {NAME}@3 is not at models/{NAME}/3.zip"),
    (3, "3.yaml", f"{NAME}@3 has no record"),
])
def test_what_cannot_be_champion_is_refused_and_nothing_changes(models, workspace, ftzard, number,
                                                                spoil, said):
    if spoil:
        (workspace.root / "models" / NAME / spoil).unlink()
    before, head = models(), git(workspace, "rev-parse", "HEAD")
    code, told = ftzard("promote", number, "--reason", "because", "-w", workspace.root)
    assert code == 1 and "\n✗ " in f"\n{told}" and said in told, told
    assert models() == before and git(workspace, "rev-parse", "HEAD") == head


def test_a_reason_is_needed(models, workspace, ftzard):
    assert ftzard("promote", 3, "-w", workspace.root)[0] == 2
    with pytest.raises(TrackingError, match="--reason is empty"):
        promotion.promote(workspace, 3, reason="  \n ")
    assert models()["champion"] == 2


def test_there_is_nothing_to_roll_back_to(workspace, store, ftzard):  # noqa: F811
    (workspace.state / "mlflow.db").write_bytes((store / "mlflow.db").read_bytes())  # an empty one
    code, said = ftzard("rollback", "-w", workspace.root)
    assert code == 1 and "has no previous champion to go back to: there is none" in said


def test_a_commit_that_fails_leaves_champion_and_record_as_they_were(models, workspace):
    before = record(workspace, 3)
    (workspace.root / ".git/HEAD").write_text("broken\n")
    with pytest.raises(FtzardError):
        promotion.promote(workspace, 3, reason="because", say=lambda line: None)
    assert record(workspace, 3) == before and models()["champion"] == 2

"""A person overrules the gate: on record in git, in MLflow and in the model's own record."""

import importlib
import shutil
import subprocess

import pytest
import yaml

from ftzard.core.archive import pack
from ftzard.doctor.registered import models as looked_at
from ftzard.errors import FtzardError, TrackingError
from ftzard.registry import champion_alias, model_records, promote, promotions
from ftzard.tracking import registry, runs
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace
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
        pack(adapter, model_records.adapter_archive(workspace, made[-1]))
        model_records.write_record(workspace, made[-1], {
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
    assert set(entry) == {"id", "after", "time", "who", "reason", "from", "to"}
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
    first, second = record(workspace, 1)["promotions"][0], record(workspace, 2)["promotions"][0]
    assert (second["reason"], second["from"], second["to"]) == ("rolled back", 1, 2)
    assert first["after"] == [] and second["after"] == [first["id"]]
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
        promote.promote(workspace, 3, reason="  \n ")
    assert models()["champion"] == 2


def test_there_is_nothing_to_roll_back_to(workspace, store, ftzard):  # noqa: F811
    (workspace.state / "mlflow.db").write_bytes((store / "mlflow.db").read_bytes())  # an empty one
    code, said = ftzard("rollback", "-w", workspace.root)
    assert code == 1 and "has no previous champion to go back to: there is none" in said


def test_a_commit_that_fails_leaves_champion_and_record_as_they_were(models, workspace):
    before = record(workspace, 3)
    (workspace.root / ".git/HEAD").write_text("broken\n")
    with pytest.raises(FtzardError):
        promote.promote(workspace, 3, reason="because", say=lambda line: None)
    assert record(workspace, 3) == before and models()["champion"] == 2


def cut_off(monkeypatch, place: str, name: str, *, after: bool = False) -> None:
    """Let the next call of a function end as a kill does: nothing that follows it runs."""
    module = importlib.import_module(place)
    original = getattr(module, name)

    def killed(*arguments, **named):
        if after:
            original(*arguments, **named)
        raise Killed

    monkeypatch.setattr(module, name, killed)
    monkeypatch.setattr("ftzard.registry.champion_alias.complete", lambda *_, **__: None)


class Killed(BaseException):
    """A kill, as far as the process itself can tell."""


@pytest.mark.parametrize(("place", "name", "after", "champion_then"), [
    ("ftzard.registry.model_records", "write_record", True, 2),  # written, not committed
    ("ftzard.versioning.commit", "version", True, 3),  # committed, the alias not moved
    ("ftzard.tracking.registry", "move", False, 3),
    ("ftzard.tracking.registry", "move", True, 3),
    ("ftzard.tracking.registry", "tag", False, 3),
])
def test_a_promotion_cut_off_anywhere_is_completed_or_undone_by_the_next_command(
        models, workspace, ftzard, place, name, after, champion_then):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        cut_off(patch, place, name, after=after)
        promote.promote(workspace, 3, reason="because", say=lambda line: None)
    code, said = ftzard("push", "-w", workspace.root)
    assert "promoting" in said, said
    assert models()["champion"] == champion_then
    assert ("promotions" in record(workspace, 3)) == (champion_then == 3)
    assert git(workspace, "status", "--porcelain", "-uno", "models") == ""
    assert [f.sentence for f in looked_at(workspace) if "promoted" in f.sentence] == []
    code, said = ftzard("promote", 1, "--reason", "again", "-w", workspace.root)
    assert code == 0 and models()["champion"] == 1, said


def test_an_interrupted_push_leaves_the_decision_whole(models, workspace, monkeypatch, ftzard):
    def slow(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ftzard.versioning.publish.push", slow)
    with pytest.raises(KeyboardInterrupt):
        promote.promote(workspace, 3, reason="because", say=lambda line: None)
    assert models() == {"champion": 3, "previous": 2}
    assert record(workspace, 3)["promotions"][0]["reason"] == "because"
    assert git(workspace, "status", "--porcelain", "-uno", "models") == ""
    assert [f.state for f in looked_at(workspace)] == ["ok"]


def test_the_doctor_moves_the_champion_along_the_chain_only(models, workspace, ftzard):
    """A person promotes 1 while 3 waits for its evaluation; then the gate promotes 3."""
    promote.promote(workspace, 1, reason="the domain", say=lambda line: None)
    tracking = connect(workspace, workspace.config())
    third = registry.version(tracking, NAME, 3)
    decision = promotions.following(model_records.records(workspace, NAME))
    with champion_alias.deciding(workspace, tracking, third, decision["id"]):
        model_records.write_record(workspace, third, {
            "created": "2020-01-01T00:00:00+00:00", "verdict": {"promoted": True},
            "decision": {**decision, "time": "2020-01-01T00:00:00+00:00"}})
    git(workspace, "add", "-A", "models")
    git(workspace, "commit", "-qm", "evaluated")
    assert [f.state for f in looked_at(workspace)] == ["ok"]
    ftzard("doctor", "--fix", "-w", workspace.root)
    assert models() == {"champion": 3, "previous": 1}


def test_two_clones_that_decided_apart_get_a_sentence_and_no_move(models, workspace, ftzard):
    promote.promote(workspace, 3, reason="here", say=lambda line: None)
    other = model_records.read_record(workspace, registry.Version(NAME, 1, "", {}))
    model_records.write_record(workspace, registry.Version(NAME, 1, "", {}), {
        **other, "promotions": [{"id": "there", "after": [], "time": "2031-01-01T00:00:00+00:00",
                                 "who": "bob", "reason": "there", "from": 2, "to": 1}]})
    found, = [f for f in looked_at(workspace) if f.state != "ok"]
    assert "two clones" in found.sentence and found.mend is None and models()["champion"] == 3
    code, said = ftzard("promote", 1, "--reason", "bob is right", "-w", workspace.root)
    assert code == 0, said
    assert len(record(workspace, 1)["promotions"][-1]["after"]) == 2
    assert [f.state for f in looked_at(workspace)] == ["ok"] and models()["champion"] == 1


def test_who_lacks_the_records_of_the_champion_does_not_decide_beside_it(models, workspace, ftzard):
    tracking = connect(workspace, workspace.config())
    registry.tag(tracking, registry.version(tracking, NAME, 2), {promotions.TAG: "made-elsewhere"})
    code, said = ftzard("promote", 1, "--reason", "because", "-w", workspace.root)
    assert code == 1 and "made-elsewhere" in said and "git pull --no-rebase" in said
    assert models()["champion"] == 2


def test_what_was_half_deleted_is_never_made_champion_and_doctor_finishes_it(models, workspace,
                                                                             ftzard):
    """Killed after its record said that it is deleted, the version still held the alias previous.
    """
    first = registry.Version(NAME, 1, "", {})
    model_records.write_record(workspace, first, {"deleted": {"time": "2026-11-28T10:00:00+00:00"}})
    git(workspace, "add", "-A", "models")
    git(workspace, "commit", "-qm", "deleted")
    code, said = ftzard("rollback", "-w", workspace.root)
    assert code == 1 and "was deleted on 2026-11-28" in said and models()["champion"] == 2
    found, = [f for f in looked_at(workspace) if f.state == "wrong"]
    assert f"{NAME}@1, the previous, was deleted" in found.sentence
    ftzard("doctor", "--fix", "-w", workspace.root)
    assert models() == {"champion": 2, "challenger": 3}
    assert [f.state for f in looked_at(workspace)] == ["ok"]

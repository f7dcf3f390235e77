"""A registry that lost its champion is never taken for one that had none."""

import pandas as pd
import pytest

from ftzard.data.storage import write_parquet
from ftzard.doctor.registered import models as looked_at
from ftzard.errors import TrackingError
from ftzard.registry import champion_alias, model_records
from ftzard.steps.step_run import start_step
from ftzard.tracking import registry, runs
from ftzard.tracking.workspace_store import connect

NAME = "FalconSentiAnalysis"


@pytest.fixture
def tracking(workspace):
    return connect(workspace, workspace.config())


def version(tracking, workspace, number: int, **said: object) -> registry.Version:
    """Register a version and put it on record."""
    if number == 1:
        tracking.client.create_registered_model(NAME)
    parent = runs.top_level(tracking, "HP_TUNING", workspace.state / "lock")
    run = runs.start_child(tracking, parent, {})
    tracking.client.create_model_version(NAME, source=f"runs:/{run.id}/model", run_id=run.id)
    run.end()
    made = registry.version(tracking, NAME, number)
    record(workspace, made, **said)
    return made


def record(workspace, made: registry.Version, **said: object) -> None:
    model_records.write_record(workspace, made, {
        "model": NAME, "version": made.number, "created": f"2026-11-2{made.number}T10:00:00",
        **said})


def champion(tracking, workspace) -> registry.Version | None:
    return champion_alias.champion(workspace, tracking, NAME)


def test_nobody_reigns_before_anybody_was_promoted(tracking, workspace):
    assert champion(tracking, workspace) is None
    version(tracking, workspace, 1, verdict={"promoted": False})
    assert champion(tracking, workspace) is None


def test_the_registry_s_word_counts_while_it_has_one(tracking, workspace):
    first = version(tracking, workspace, 1, verdict={"promoted": True})
    version(tracking, workspace, 2, verdict={"promoted": True})
    registry.move(tracking, NAME, champion=first)
    assert champion(tracking, workspace).number == 1


def test_records_of_a_champion_that_the_registry_does_not_know_are_refused(tracking, workspace):
    for number, promoted in ((1, True), (2, True), (3, False)):
        record(workspace, registry.Version(NAME, number, "", {}), verdict={"promoted": promoted})
    with pytest.raises(TrackingError, match=f"{NAME}@2 was made champion on 2026-11-22.*"
                       "does not know that version.*tracking.uri.*registered_model"):
        champion(tracking, workspace)
    found = [f for f in looked_at(workspace) if f.state == "wrong"]
    assert any(f"{NAME}@2 is promoted on record" in f.sentence for f in found), found


def test_a_step_that_trains_is_refused_before_it_begins(tracking, workspace, monkeypatch):
    record(workspace, registry.Version(NAME, 1, "", {}), verdict={"promoted": True})
    monkeypatch.chdir(workspace.root)
    place = workspace.root / "data/tokenized/tokenized.parquet"
    write_parquet(pd.DataFrame({"id": ["a"], "text": ["one"]}), place)
    with pytest.raises(TrackingError, match="does not know that version"):
        start_step("tuning", {})
    assert runs.children(tracking) == []


def test_an_alias_that_was_taken_away_says_how_to_give_it_back(tracking, workspace):
    version(tracking, workspace, 1, verdict={"promoted": True})
    with pytest.raises(TrackingError, match="ftzard promote 1 --reason"):
        champion(tracking, workspace)


def test_a_promotion_by_hand_counts_and_a_deleted_version_does_not(tracking, workspace):
    record(workspace, registry.Version(NAME, 1, "", {}), promotions=[
        {"time": "2026-11-29T10:00:00", "to": 1}])
    record(workspace, registry.Version(NAME, 2, "", {}), verdict={"promoted": True})
    with pytest.raises(TrackingError, match=f"{NAME}@1 was made champion on 2026-11-29"):
        champion(tracking, workspace)
    for number in (1, 2):
        record(workspace, registry.Version(NAME, number, "", {}), deleted={"time": "later"})
    assert champion(tracking, workspace) is None

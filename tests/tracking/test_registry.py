"""Aliases move one way only: a new champion makes the old one previous."""

import pytest

from ftzard.errors import TrackingError
from ftzard.tracking import registry, runs

NAME = "Model"


@pytest.fixture
def version(tracking, tmp_path):
    """Return a function that registers a bare version (what it serves is tested elsewhere)."""
    tracking.client.create_registered_model(NAME)
    parent = runs.top_level(tracking, "HP_TUNING", tmp_path / "lock")

    def register(**tags) -> registry.Version:
        run = runs.start_child(tracking, parent, {})
        made = tracking.client.create_model_version(NAME, source=f"runs:/{run.id}/model",
                                                    run_id=run.id, tags=tags)
        run.end()
        return registry.version(tracking, NAME, int(made.version))

    return register


def aliases(tracking) -> dict[str, int]:
    return {alias: found.number for alias in ("champion", "challenger", "previous")
            if (found := registry.by_alias(tracking, NAME, alias)) is not None}


def test_the_first_champion_has_no_previous_one(tracking, version):
    registry.move(tracking, NAME, champion=version())
    assert aliases(tracking) == {"champion": 1}


def test_a_promoted_challenger_is_challenger_no_more(tracking, version):
    first, second = version(), version()
    registry.move(tracking, NAME, champion=first)
    registry.move(tracking, NAME, challenger=second)
    assert aliases(tracking) == {"champion": 1, "challenger": 2}
    registry.move(tracking, NAME, champion=second)
    assert aliases(tracking) == {"champion": 2, "previous": 1}


def test_another_challenger_stays_when_someone_else_is_promoted(tracking, version):
    first, second, third = version(), version(), version()
    registry.move(tracking, NAME, champion=first)
    registry.move(tracking, NAME, challenger=third)
    registry.move(tracking, NAME, champion=second)
    assert aliases(tracking) == {"champion": 2, "previous": 1, "challenger": 3}


def test_promoting_the_champion_again_changes_nothing(tracking, version):
    first, second = version(), version()
    registry.move(tracking, NAME, champion=first)
    registry.move(tracking, NAME, champion=second)
    registry.move(tracking, NAME, champion=second)
    assert aliases(tracking) == {"champion": 2, "previous": 1}


def test_a_missing_champion_and_a_missing_version_say_what_to_do(tracking, version):
    with pytest.raises(TrackingError, match="no champion yet; run 'ftzard run training_pipeline"):
        registry.champion(tracking, NAME)
    version()
    with pytest.raises(TrackingError, match=r"version 1 was not promoted\. .*predict Model@1 "):
        registry.champion(tracking, NAME)
    with pytest.raises(TrackingError, match=r"no version 7; it has \[1\]"):
        registry.version(tracking, NAME, 7)
    assert registry.by_alias(tracking, "Unheard", "champion") is None


def test_a_model_that_the_gate_did_not_promote_is_named_with_its_reason(tracking, version):
    version()
    judged = version(**{"gate.decision": "cannot tell", "gate.reasons": "80 test rows, expected "
                                                                        "at least 200."})
    registry.move(tracking, NAME, challenger=judged)
    with pytest.raises(TrackingError) as refused:
        registry.champion(tracking, NAME)
    said = str(refused.value)
    assert ("has no champion: version 2 was not promoted (cannot tell: 80 test rows, expected at "
            "least 200). ") in said
    assert "'ftzard predict challenger …'" in said and "'ftzard promote 2 --reason …'" in said


def test_versions_come_in_order_with_their_tags(tracking, version):
    for number in range(11):
        version(number=str(number))
    found = registry.versions(tracking, NAME)
    assert [v.number for v in found] == list(range(1, 12))
    registry.tag(tracking, found[10], {"gate.decision": "kept"})
    assert registry.version(tracking, NAME, 11).tags == {"number": "10", "gate.decision": "kept"}
    assert str(found[10]) == f"{NAME}@11"

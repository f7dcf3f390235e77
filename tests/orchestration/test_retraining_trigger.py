"""retraining.trigger: what starts a retraining when labels lie in data/labelled."""

import pandas as pd
import pytest
import yaml
from dagster import DagsterInstance

from ftzard.errors import ConfigError
from ftzard.orchestration import drop_folder_runs, retraining_trigger
from ftzard.workspace import batch_log

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("trigger", "calm", "alarmed"),
    [("labels", 50, 50), ("drift", None, 10), ("both", 50, 10)],
)
def test_how_many_labels_start_a_retraining(trigger, calm, alarmed):
    assert retraining_trigger.labels_needed(trigger, 50, alarm=False) == calm
    assert retraining_trigger.labels_needed(trigger, 50, alarm=True) == alarmed
    assert retraining_trigger.labels_needed("both", 4, alarm=True) == 4


@pytest.fixture
def asked(workspace):
    """Drop a number of labels under a trigger, with or without an alarm; return what is asked."""

    def look(trigger: str, labels: int, alarm: bool, **more) -> drop_folder_runs.RequestedRuns:
        marker = workspace.root / "ftzard.yaml"
        marker.write_text(yaml.safe_dump({"retraining": {"trigger": trigger, **more},
                                          "sampling": {"min_labelled": 30}}))
        workspace.labelled.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"id": [f"id{i}" for i in range(labels)], "batch": "b",
                      "text": [f"text {i}" for i in range(labels)], "label": "glad"}
                     ).to_csv(workspace.labelled / "mine.csv", index=False)
        batch_log.DRIFT.add(workspace, {"alarm": alarm, "sentence": ""}, batch="b", champion=1)
        with DagsterInstance.ephemeral() as instance:
            return drop_folder_runs.labelled(instance, workspace)

    return look


def experiment(found: drop_folder_runs.RequestedRuns) -> dict:
    request, = found.requests
    return request.run_config["resources"]["experiment"]["config"]


@pytest.mark.parametrize("alarm", [True, False])
def test_labels_start_one_whatever_the_drift(asked, alarm):
    said = experiment(asked("labels", 30, alarm))
    assert said == {"data": {"labelled": "data/labelled/mine.csv"}}
    assert asked("labels", 29, alarm).requests == []


def test_drift_lets_labels_wait_for_an_alarm(asked):
    found = asked("drift", 500, alarm=False)
    assert found.requests == [] and "mine.csv: waiting for a drift alarm" in found.reason
    said = experiment(asked("drift", 12, alarm=True))
    assert said["sampling"] == {"min_labelled": 10}


def test_both_takes_enough_labels_or_fewer_under_an_alarm(asked):
    assert "sampling" not in experiment(asked("both", 30, alarm=False))
    assert asked("both", 12, alarm=False).requests == []
    assert experiment(asked("both", 12, alarm=True))["sampling"] == {"min_labelled": 10}
    assert asked("both", 9, alarm=True).requests == []


@pytest.mark.parametrize(("upper", "starts"), [(0.79, True), (0.81, False), (None, False)])
def test_accuracy_lets_labels_wait_for_an_estimate_surely_below_the_limit(
        asked, workspace, upper, starts):
    batch_log.ESTIMATES.add(workspace, {"upper": upper, "sentence": "about 75 %."}, batch="b",
                            champion=1)
    found = asked("accuracy", 12, alarm=False, min_accuracy=0.8)
    assert bool(found.requests) == starts
    if starts:
        assert experiment(found)["sampling"] == {"min_labelled": 10}
    else:
        assert "waiting for an estimated accuracy surely below 80 %" in found.reason
        assert "about 75 %" in found.reason
    with pytest.raises(ConfigError, match="retraining.min_accuracy"):
        asked("accuracy", 12, alarm=False)

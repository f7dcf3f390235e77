"""Where links lead: to where the pages of a workspace were served last, or to the team's server."""

import socket

import pytest

from ftzard.errors import WorkspaceError
from ftzard.orchestration import services
from ftzard.workspace import addresses
from ftzard.workspace.addresses import DAGSTER, MLFLOW


@pytest.fixture
def taken():
    """A port that something listens on; the next ones are looked at as they are."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_workspace_that_was_never_served_is_found_at_the_usual_ports(workspace):
    assert addresses.address(workspace, DAGSTER) == "http://127.0.0.1:3000"
    assert addresses.mlflow_address(workspace, None) == "http://127.0.0.1:5000"


def test_links_follow_where_it_was_served_last(workspace):
    addresses.remember(workspace, {MLFLOW: ("0.0.0.0", 5123), DAGSTER: ("::", 3123)})
    addresses.remember(workspace, {MLFLOW: ("0.0.0.0", 5124)})
    assert addresses.mlflow_address(workspace, None) == "http://127.0.0.1:5124"
    assert addresses.dagster_run(workspace, "abc") == "http://[::1]:3123/runs/abc"
    assert services.port_for(workspace, MLFLOW, "127.0.0.1", None) == 5124


def test_a_tracking_server_is_found_at_its_own_address(workspace):
    addresses.remember(workspace, {MLFLOW: ("127.0.0.1", 5123)})
    base = addresses.mlflow_address(workspace, "https://mlflow.example.org/team/")
    assert addresses.mlflow_run(base, "1", "r2") == (
        "https://mlflow.example.org/team/#/experiments/1/runs/r2?workflowType=machine_learning")


def test_a_port_that_was_taken_meanwhile_gives_way_to_the_next(workspace, taken):
    addresses.remember(workspace, {MLFLOW: ("127.0.0.1", taken)})
    assert taken < services.port_for(workspace, MLFLOW, "127.0.0.1", None) < taken + 20


def test_a_port_that_a_person_names_is_taken_or_refused(workspace, taken):
    with pytest.raises(WorkspaceError, match=f"port {taken} on 127.0.0.1 is taken"):
        services.port_for(workspace, MLFLOW, "127.0.0.1", taken)


def test_a_damaged_list_of_addresses_stops_nothing(workspace):
    (workspace.state / "addresses.json").write_text("[")
    assert addresses.port(workspace, DAGSTER) == 3000
    addresses.remember(workspace, {DAGSTER: ("127.0.0.1", 3111)})
    assert addresses.port(workspace, DAGSTER) == 3111

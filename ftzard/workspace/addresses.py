"""The addresses of Dagster's and MLflow's pages for a workspace.

`ftzard ui` records where it serves each page, and later starts use the same ports again, so that
links in Dagster and MLflow stay valid. A tracking server elsewhere has its own address.
"""

import json
from collections.abc import Mapping

from ftzard.core.artifacts import write_json
from ftzard.workspace.workspace import Workspace

DAGSTER, MLFLOW = "dagster", "mlflow"
#: Ports of a workspace that has never been served.
PORTS = {DAGSTER: 3000, MLFLOW: 5000}
#: MLflow has two sides. Without this it opens the one for traces, where no run of a training is.
TRAINING_SIDE = "workflowType=machine_learning"
_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def remember(workspace: Workspace, served: Mapping[str, tuple[str, int]]) -> None:
    """Record the addresses at which pages are served.

    Args:
        workspace: The workspace whose pages they are.
        served: Host and port by page, `dagster` or `mlflow`; what is left out stays as it was.
    """
    known = _known(workspace)
    now = {**known, **{name: {"host": host, "port": port} for name, (host, port) in served.items()}}
    if now != known:
        write_json(_file(workspace), now)


def port(workspace: Workspace, page: str) -> int:
    """Return the port at which a page was last served, or the default one."""
    return int(_known(workspace).get(page, {}).get("port", PORTS[page]))


def address(workspace: Workspace, page: str) -> str:
    """Return the address of a page without a trailing slash, as it was last served."""
    host = str(_known(workspace).get(page, {}).get("host", "127.0.0.1"))
    return url(host, port(workspace, page))


def url(host: str, number: int) -> str:
    """Return the address by which a browser of this machine reaches a server on a host."""
    host = _EVERY.get(host, host)
    return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"


def mlflow_address(workspace: Workspace, server: str | None) -> str:
    """Return the address of MLflow's pages: the tracking server's, or that of `ftzard ui`.

    Args:
        workspace: The workspace.
        server: `tracking.server` of its config: an http(s) address without a login, or None.
    """
    return server.rstrip("/") if server else address(workspace, MLFLOW)


def mlflow_run(base: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page."""
    return f"{base}/#/experiments/{experiment_id}/runs/{run_id}?{TRAINING_SIDE}"


def mlflow_run_anywhere(base: str, run_id: str) -> str:
    """Return the address of a run's page where its experiment's id is not at hand."""
    return f"{base}/#/runs/{run_id}?{TRAINING_SIDE}"


def mlflow_model(base: str, name: str, version: int | None = None) -> str:
    """Return the address of a registered model's page, or of one of its versions."""
    page = f"/versions/{version}" if version is not None else ""
    return f"{base}/#/models/{name}{page}?{TRAINING_SIDE}"


def dagster_run(workspace: Workspace, run_id: str) -> str:
    """Return the address of a Dagster run's page."""
    return f"{address(workspace, DAGSTER)}/runs/{run_id}"


def _file(workspace: Workspace):
    return workspace.state / "addresses.json"


def _known(workspace: Workspace) -> dict:
    """Return the recorded addresses; {} if the file is damaged."""
    try:
        known = json.loads(_file(workspace).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}

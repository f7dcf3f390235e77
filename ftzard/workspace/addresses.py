"""Where a person finds the pages of a workspace: Dagster's and MLflow's.

`ftzard ui` writes down where it serves each of them; links in Dagster and MLflow lead there, and
the next `ftzard ui` takes the same ports again, so that links of earlier runs stay right. A
tracking server elsewhere is found at its own address.
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
    """Write down where pages are served from now on.

    Args:
        workspace: The workspace whose pages they are.
        served: Host and port by page, `dagster` or `mlflow`; what is left out stays as it was.
    """
    known = _known(workspace)
    now = {**known, **{name: {"host": host, "port": port} for name, (host, port) in served.items()}}
    if now != known:
        write_json(_file(workspace), now)


def port(workspace: Workspace, page: str) -> int:
    """Return the port at which a page was served last, or the usual one."""
    return int(_known(workspace).get(page, {}).get("port", PORTS[page]))


def address(workspace: Workspace, page: str) -> str:
    """Return the address of a page, without a slash at its end; the last one that was served."""
    host = str(_known(workspace).get(page, {}).get("host", "127.0.0.1"))
    return url(host, port(workspace, page))


def url(host: str, number: int) -> str:
    """Return the address under which a browser of this machine finds what listens on a host."""
    host = _EVERY.get(host, host)
    return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"


def mlflow_address(workspace: Workspace, server: str | None) -> str:
    """Return the address of MLflow's pages: the tracking server's, else where `ui` serves them.

    Args:
        workspace: The workspace.
        server: `tracking.server` of its config: an http(s) address without a login, or None.
    """
    return server.rstrip("/") if server else address(workspace, MLFLOW)


def mlflow_run(base: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page."""
    return f"{base}/#/experiments/{experiment_id}/runs/{run_id}?{TRAINING_SIDE}"


def mlflow_experiment(base: str, experiment_id: str) -> str:
    """Return the address of the table of an experiment's runs."""
    return f"{base}/#/experiments/{experiment_id}/runs?{TRAINING_SIDE}"


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
    """Return what was written down; nothing, if somebody has damaged the file."""
    try:
        known = json.loads(_file(workspace).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}

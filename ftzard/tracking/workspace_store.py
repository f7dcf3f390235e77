"""The connection to a workspace's MLflow store. Importing this loads no mlflow."""

from typing import TYPE_CHECKING

from ftzard.config.schema import Config
from ftzard.tracking.sqlite_reading import of_workspace
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.tracking.runs import Tracking

NOT_HERE = "not in this MLflow store"


def connect(workspace: Workspace, config: Config) -> "Tracking":
    """Return the connection to the workspace's MLflow, as `sqlite_reading.of_workspace` does."""
    return of_workspace(workspace, config).tracking


def store(workspace: Workspace, config: Config) -> "Tracking | None":
    """Return the connection to the workspace's MLflow store; None where there is none yet."""
    if config.tracking.uri is None and not (workspace.state / "mlflow.db").is_file():
        return None
    from ftzard.tracking import runs

    return runs.opened(config.tracking.uri or workspace.mlflow_uri, config.tracking.experiment)

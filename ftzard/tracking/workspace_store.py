"""The connection to a workspace's MLflow store."""


from ftzard.config.schema import Config
from ftzard.tracking import runs
from ftzard.tracking.sqlite_reading import of_workspace
from ftzard.workspace.workspace import Workspace


def connect(workspace: Workspace, config: Config) -> runs.Tracking:
    """Return the connection to the workspace's MLflow, as `reading.Reading.tracking` does."""
    return of_workspace(workspace, config).tracking


NOT_HERE = "not in this MLflow store"


def store(workspace: Workspace, config: Config) -> runs.Tracking | None:
    """Return the connection to the workspace's MLflow store; None where there is none yet."""
    if config.tracking.uri is None and not (workspace.state / "mlflow.db").is_file():
        return None

    return runs.opened(config.tracking.uri or workspace.mlflow_uri, config.tracking.experiment)

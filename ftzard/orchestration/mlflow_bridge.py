"""MLflow calls of the process that executes a run.

Importing MLflow takes two seconds, and the kernel server has imported it. So each function here is
called in a fork of that server. Without a server, or if the call fails there, it is called in the
run's own process, and its failure is the run's.
"""

import base64
from pathlib import Path

from ftzard.config.compose import from_record, to_record
from ftzard.orchestration.kernel_server import Server
from ftzard.workspace import addresses
from ftzard.workspace.workspace import Workspace

#: Bytes of the largest plot that is copied into Dagster's log, which keeps it for every version.
LARGEST_PLOT = 150_000


def call_in_server(server: Server | None, name: str, experiment, **arguments: str):
    """Call a function of this module in a fork of the server, or else here; return its result.

    Args:
        name: of the function.
        experiment: the run's `Experiment`.
        arguments: the function's further arguments.
    """
    arguments |= {"root": str(experiment.workspace.root), "config": to_record(experiment.config),
                  "run_id": experiment.run_id}
    if server is not None:
        done, result = server.call(f"{__name__}:{name}", arguments)
        if done:
            return result
    return globals()[name](**arguments)


_details: dict[tuple[str, str], dict] = {}


def step_details(server: Server | None, experiment, step_key: str) -> dict | None:
    """Return `read_step_details` of a finished step, or of the step that a Git_Dvc op followed.

    They are read once per step of a run.
    """
    step = step_key.removeprefix("Git_Dvc_")
    key = (experiment.run_id, step)
    if key not in _details:
        details = call_in_server(server, "read_step_details", experiment, step=step)
        if details is None:
            return None
        _details.clear()  # steps of a run finish one after the other
        _details[key] = details
    return _details[key]


def store_notebook_of(server: Server | None, experiment, step_key: str, executed: str) -> None:
    """Store a step's executed notebook with its MLflow run, and read the step's details.

    Git_Dvc has no run of its own.
    """
    if step_key.startswith("Git_Dvc_"):
        return
    details = call_in_server(server, "store_notebook", experiment, step=step_key,
                             executed=executed)
    if details is not None:
        _details.clear()
        _details[experiment.run_id, step_key] = details


def clear_details() -> None:
    """Forget the details that `step_details` has read."""
    _details.clear()


def store_notebook(root: str, config: dict, run_id: str, step: str, executed: str) -> dict | None:
    """Store a step's executed notebook with its MLflow run; return `read_step_details`."""
    from ftzard.tracking import runs
    from ftzard.tracking.workspace_store import connect

    tracking = connect(Workspace(Path(root)), from_record(config))
    run = runs.of_dagster_step(tracking, run_id, step)
    if run is not None:
        run.text(Path(executed).read_text(encoding="utf-8"),
                 f"notebook/{step.replace('.', '-')}.ipynb")
    return _details_of(tracking, Workspace(Path(root)), run)


def close(root: str, config: dict, run_id: str, status: str, reason: str) -> None:
    """Close the MLflow runs that a Dagster run left open."""
    from ftzard.tracking import runs
    from ftzard.tracking.workspace_store import connect

    with runs.closing(status):
        tracking = connect(Workspace(Path(root)), from_record(config))
        runs.close_failed(tracking, run_id, status, reason)


def read_step_details(root: str, config: dict, run_id: str, step: str) -> dict | None:
    """Return the MLflow run of a step, or None without one.

    Returns:
        name, id, page; plots: by name, each with its bytes and, unless it is large, the picture in
        base64; delivered_as: the file names of the workspace's batches.
    """
    from ftzard.tracking import runs, workspace_store

    tracking = workspace_store.store(Workspace(Path(root)), from_record(config))
    run = None if tracking is None else runs.of_dagster_step(tracking, run_id, step)
    return _details_of(tracking, Workspace(Path(root)), run)


def _details_of(tracking, workspace: Workspace, run) -> dict | None:
    from ftzard.steps.delivery_files import delivered_as
    from ftzard.tracking import runs

    if run is None:
        return None
    server = tracking.client.shown.replace("***@", "") if tracking.uri.startswith("http") else None
    base = addresses.mlflow_address(workspace, server)
    plots = {}
    for name in runs.files(tracking, run.id, "plots"):
        picture = runs.read(tracking, run.id, name)
        shown = base64.b64encode(picture).decode() if len(picture) <= LARGEST_PLOT else None
        plots[name] = {"bytes": len(picture), "picture": shown}
    return {"name": run.name, "id": run.id, "plots": plots,
            "delivered_as": delivered_as(workspace, tracking),
            "page": addresses.mlflow_run(base, tracking.experiment_id, run.id)}

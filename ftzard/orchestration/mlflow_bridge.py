"""What the process of a run does in MLflow: keep a step's notebook, close runs, tell of a run.

Importing MLflow takes two seconds, and the process that the kernels come from has done it. So each
function here is called in a copy of that process; where there is none, or where it fails there, it
is called in the run's own process, and its failure is the run's.
"""

import base64
from pathlib import Path

from ftzard.config.compose import from_record, to_record
from ftzard.orchestration.kernel_server import Server
from ftzard.workspace import addresses
from ftzard.workspace.workspace import Workspace

#: A picture that takes more stays in MLflow: it would be kept in Dagster's log for every version.
LARGEST_PLOT = 150_000


def through(server: Server | None, name: str, experiment, **arguments: str):
    """Call a function of this module in a copy of the server, else here; return what it returns."""
    arguments |= {"root": str(experiment.workspace.root), "config": to_record(experiment.config),
                  "run_id": experiment.run_id}
    if server is not None:
        done, told = server.call(f"{__name__}:{name}", arguments)
        if done:
            return told
    return globals()[name](**arguments)


_told: dict[tuple[str, str], dict] = {}


def about_step(server: Server | None, experiment, step_key: str) -> dict | None:
    """Return what `about` says of a finished step, or of the one that Git_Dvc followed.

    It is asked once per step of a run, however many pages show it.
    """
    step = step_key.removeprefix("Git_Dvc_")
    key = (experiment.run_id, step)
    if key not in _told:
        found = through(server, "about", experiment, step=step)
        if found is None:
            return None
        _told.clear()  # the steps of a run come one after the other
        _told[key] = found
    return _told[key]


def forget() -> None:
    """Ask anew at the next `about_step`, whatever was said before."""
    _told.clear()


def keep_notebook(root: str, config: dict, run_id: str, step: str, executed: str) -> None:
    """Keep the notebook of a step as it was executed with the step's run in MLflow."""
    from ftzard.tracking import runs
    from ftzard.tracking.workspace_store import connect

    tracking = connect(Workspace(Path(root)), from_record(config))
    run = runs.of_dagster_step(tracking, run_id, step)
    if run is not None:
        run.text(Path(executed).read_text(encoding="utf-8"),
                 f"notebook/{step.replace('.', '-')}.ipynb")


def close(root: str, config: dict, run_id: str, status: str, reason: str) -> None:
    """Close what a run left open in MLflow."""
    from ftzard.tracking import runs
    from ftzard.tracking.workspace_store import connect

    with runs.closing(status):
        tracking = connect(Workspace(Path(root)), from_record(config))
        runs.close_failed(tracking, run_id, status, reason)


def about(root: str, config: dict, run_id: str, step: str) -> dict | None:
    """Return name, id and page of a step's MLflow run and its plots; None if it is not there.

    plots: by name, each with its bytes and, unless it is large, the picture in base 64;
    delivered_as: what the batches of the workspace are called.
    """
    from ftzard.steps.delivery_files import delivered_as
    from ftzard.tracking import runs, workspace_store

    tracking = workspace_store.store(Workspace(Path(root)), from_record(config))
    run = None if tracking is None else runs.of_dagster_step(tracking, run_id, step)
    if run is None:
        return None
    server = tracking.client.shown.replace("***@", "") if tracking.uri.startswith("http") else None
    base = addresses.mlflow_address(Workspace(Path(root)), server)
    plots = {}
    for name in runs.files(tracking, run.id, "plots"):
        picture = runs.read(tracking, run.id, name)
        shown = base64.b64encode(picture).decode() if len(picture) <= LARGEST_PLOT else None
        plots[name] = {"bytes": len(picture), "picture": shown}
    return {"name": run.name, "id": run.id, "plots": plots,
            "delivered_as": delivered_as(Workspace(Path(root)), tracking),
            "page": addresses.mlflow_run(base, tracking.experiment_id, run.id)}

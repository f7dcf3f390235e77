"""Where a report leads to: the run in Dagster, the run in MLflow, the commit on the git server."""

import re
from typing import TYPE_CHECKING

from ftzard.versioning import repository
from ftzard.workspace import addresses

if TYPE_CHECKING:
    from ftzard.steps.step_run import StepRun

_REMOTE = re.compile(r"(?:https?://|ssh://|)(?:[^@/]*@)?([\w.-]+(?::\d+(?=/))?)[:/](.+?)(?:\.git)?/?$")


def links(run: "StepRun", commit: str | None) -> dict[str, str]:
    """Return {what: address} of the pages that show this run and what it ran on."""
    base = addresses.mlflow_address(run.workspace, run.config.tracking.server)
    addresses_of = {"MLflow run": addresses.mlflow_run(base, run.tracking.experiment_id,
                                                       run.mlflow_run.id)}
    if run.dagster_run_id:
        run_page = addresses.dagster_run(run.workspace, run.dagster_run_id)
        addresses_of = {"Dagster run": run_page, **addresses_of}
    page = commit_page(repository.remote_url(run.workspace.root), commit)
    return {**addresses_of, "git commit": page} if page else addresses_of


def commit_page(remote: str | None, commit: str | None) -> str | None:
    """Return the page of a commit on the server of a remote, without any login; None for a folder.
    """
    if not remote or not commit or not re.match(r"https?://|ssh://|[\w.-]+@[\w.-]+:", remote):
        return None
    match = _REMOTE.match(remote)
    if match is None:
        return None
    host = match[1] if remote.startswith("http") else match[1].partition(":")[0]
    scheme = "http" if remote.startswith("http://") else "https"
    return f"{scheme}://{host}/{match[2]}/commit/{commit}"

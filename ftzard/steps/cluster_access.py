"""Whether the cluster that a run will need can be used, asked before its first step."""

from ftzard.config.pipeline import JOBS
from ftzard.config.schema import Config
from ftzard.workspace.workspace import Workspace

#: The steps that send work to a cluster.
STEPS = ("tuning", "retraining", "inference")


def require(workspace: Workspace, config: Config, job: str) -> None:
    """Raise ComputeError unless address, versions, storage and nodes are as a job needs them."""
    if config.compute.kind == "local" or not set(JOBS.get(job, ())) & set(STEPS):
        return
    from ftzard.compute.cluster import Cluster

    Cluster(config.compute, config.threads, workspace.state)

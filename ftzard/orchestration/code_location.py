"""The code location as Dagster's servers on a workspace load it."""

from ftzard.workspace.workspace import Workspace

#: The module of the code location, which names it on Dagster's pages as well.
MODULE = "ftzard.definitions"


def job_origin(workspace: Workspace, job: str):
    """Return the origin that Dagster's servers on a workspace give a job.

    Dagster lists a run on a job's page, and on the timeline, by the origin that it carries.
    """
    from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
    from dagster._core.remote_origin import RemoteRepositoryOrigin
    from dagster._core.workspace.load_target import ModuleTarget

    location, = ModuleTarget(module_name=MODULE, attribute=None, location_name=None,
                             working_directory=str(workspace.root)).create_origins()
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job)

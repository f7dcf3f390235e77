"""Ops: each step of the table as a notebook op, and the Git_Dvc op that follows it."""

import os
from pathlib import Path

from dagster import In, OpDefinition, Out

from ftzard.config.pipeline import BY_NAME, DELIVERIES, NOTEBOOKS, Step
from ftzard.orchestration import kernel_engine
from ftzard.orchestration.dagstermill_import import define_dagstermill_op
from ftzard.workspace.notebook_copies import packaged
from ftzard.workspace.workspace import MARKER, Workspace

kernel_engine.install()


def notebook_path(name: str) -> str:
    """Return the workspace's copy of a notebook, else the packaged one of its task."""
    workspace = Workspace(Path(os.environ.get("FTZARD_WORKSPACE") or os.getcwd()))
    if not (workspace.root / MARKER).is_file():
        return str(NOTEBOOKS / f"{name}.ipynb")
    own = workspace.notebooks / f"{name}.ipynb"
    if own.is_file():
        return str(own.resolve())
    return str(packaged(workspace.task)[f"{name}.ipynb"])


def step_op(step: Step, job: str, upstream: set[str]) -> OpDefinition:
    """Return the op of a step in a job; inputs that `upstream` does not yield are loaded.

    The same step is wired differently from job to job, and a name may mean only one definition in
    a code location: hence the job in the name. In the graph it stands under the step's name.
    """
    ins = {}
    for name in step.takes:
        delivered = DELIVERIES.get(job, {}).get(name, name)
        ins[name] = In() if name in upstream else In(input_manager_key=f"{delivered}_input_manager")
    if step.after:
        name = BY_NAME[step.after].metadata
        ins[name] = In() if name in upstream else In(input_manager_key=f"{name}_input_manager")
    outs = {name: Out(io_manager_key=f"{name}_io_manager") for name in step.yields}
    outs[step.metadata] = Out(io_manager_key=f"{step.metadata}_io_manager")
    return define_dagstermill_op(
        name=f"{step.name}__{job}",
        notebook_path=notebook_path(step.notebook),
        ins=ins,
        outs=outs,
        output_notebook_name="notebook",
        io_manager_key="output_notebook_io_manager",
        required_resource_keys={"experiment"},
        description=step.about,
    )


def git_dvc_op(step: Step, job: str) -> OpDefinition:
    """Return the op that versions a step's outputs and passes them on with their commit."""
    names = (*step.yields, step.metadata)
    return define_dagstermill_op(
        name=f"Git_Dvc_{step.name}__{job}",
        notebook_path=notebook_path("Git_Dvc"),
        ins={name: In() for name in names},
        outs={name: Out(io_manager_key=f"{name}_io_manager") for name in names},
        output_notebook_name="notebook",
        io_manager_key="output_notebook_io_manager",
        required_resource_keys={"experiment"},
        tags={"dagster/concurrency_key": "git_dvc"},
        description=f"Version with DVC and git what {step.name} wrote.",
    )

"""Jobs: one per step, the three chains, and the resources of each."""

from dagster import (
    DependencyDefinition,
    GraphDefinition,
    JobDefinition,
    MetadataValue,
    NodeInvocation,
    ResourceDefinition,
    in_process_executor,
)

from ftzard.config.pipeline import BY_NAME, JOBS, STEPS
from ftzard.orchestration import launchpad
from ftzard.orchestration.io_managers import (
    artifact_io_manager,
    latest_input_manager,
    metadata_input_manager,
    metadata_io_manager,
    notebook_io_manager,
)
from ftzard.orchestration.ops import git_dvc_op, step_op
from ftzard.orchestration.resources import experiment
from ftzard.workspace.workspace import Workspace

#: What a chain is for; a job of one step is described by its step.
ABOUT = {
    "training_pipeline_job": "Train a model on labelled rows: clean and split them, search for the "
                             "best adapter, and let the gate decide whether it becomes champion.",
    "inference_pipeline_job": "Predict an unlabelled batch with the champion, and choose the rows "
                              "that a person should label.",
    "retraining_pipeline_job": "Train a challenger on the labels that people handed in, and let "
                               "the gate decide whether it replaces the champion.",
}


def resources(job: str, workspace: Workspace | None = None) -> dict[str, ResourceDefinition]:
    """Return every resource of the code location by its name in the Launchpad of a job.

    Args:
        workspace: The one whose own choices of config files the Launchpad offers as well, or None.
    """
    artifacts = sorted({name for step in STEPS for name in step.yields})
    inputs = sorted({name for step in STEPS for name in step.takes} | {"labelled"})
    metadata = [step.metadata for step in STEPS]
    return {
        "experiment": experiment(job, workspace.root / "config" if workspace else None),
        "output_notebook_io_manager": notebook_io_manager,
        **{f"{name}_io_manager": artifact_io_manager(name) for name in artifacts},
        **{f"{name}_io_manager": metadata_io_manager(name) for name in metadata},
        **{f"{name}_input_manager": latest_input_manager(name) for name in inputs},
        **{f"{step.metadata}_input_manager": metadata_input_manager(step) for step in STEPS},
    }


def build(name: str, workspace: Workspace | None = None) -> JobDefinition:
    """Return a job: its steps in a chain, each followed by Git_Dvc if it yields data.

    Args:
        workspace: The one that it works in, whose values its Launchpad opens with; None: packaged
            ones.
    """
    ops, dependencies, upstream = [], {}, {}
    for step in (BY_NAME[s] for s in JOBS[name]):
        ops.append(step_op(step, name, set(upstream)))
        dependencies[NodeInvocation(ops[-1].name, alias=step.name)] = {
            i: DependencyDefinition(*upstream[i]) for i in ops[-1].input_dict if i in upstream}
        last = step.name
        if step.versioned:
            ops.append(git_dvc_op(step, name))
            last = f"Git_Dvc_{step.name}"
            dependencies[NodeInvocation(ops[-1].name, alias=last)] = {
                i: DependencyDefinition(step.name, i) for i in ops[-1].input_dict}
        upstream |= {out: (last, out) for out in (*step.yields, step.metadata)}
    graph = GraphDefinition(name=f"{name}_graph", node_defs=ops, dependencies=dependencies)
    needed = {key for op in ops for key in op.required_resource_keys}
    needed |= {d.io_manager_key for op in ops for d in op.output_defs}
    needed |= {d.input_manager_key for op in ops for d in op.input_defs if d.input_manager_key}
    return graph.to_job(
        name=name,
        resource_defs={k: v for k, v in resources(name, workspace).items()
                       if k in needed | {"experiment"}},
        executor_def=in_process_executor,
        config=launchpad.opens_with(name, workspace),
        description=describe(name),
        metadata={"MLflow": MetadataValue.url(launchpad.mlflow_page(workspace))}
        if workspace else None,
    )


def describe(job: str) -> str:
    """Return the description of a job with its notebooks."""
    steps = [BY_NAME[name] for name in JOBS[job]]
    notebooks = " → ".join(step.notebook for step in steps)
    return f"{ABOUT.get(job) or steps[0].about}\n\n{notebooks}"

"""Jobs: one per step, and the three chains; which resources each of them needs."""

import yaml
from dagster import (
    DependencyDefinition,
    GraphDefinition,
    JobDefinition,
    NodeInvocation,
    ResourceDefinition,
    in_process_executor,
)

from ftzard.config.compose import PACKAGED
from ftzard.pipeline.experiment import experiment
from ftzard.pipeline.io_managers import (
    artifact_io_manager,
    latest_input_manager,
    metadata_input_manager,
    metadata_io_manager,
    notebook_io_manager,
)
from ftzard.pipeline.ops import git_dvc_op, step_op
from ftzard.steps import BY_NAME, JOBS, STEPS


def resources(job: str) -> dict[str, ResourceDefinition]:
    """Return every resource of the code location by its name in the Launchpad of a job."""
    artifacts = sorted({name for step in STEPS for name in step.yields})
    inputs = sorted({name for step in STEPS for name in step.takes} | {"labelled"})
    metadata = [step.metadata for step in STEPS]
    return {
        "experiment": experiment(job),
        "output_notebook_io_manager": notebook_io_manager,
        **{f"{name}_io_manager": artifact_io_manager for name in artifacts},
        **{f"{name}_io_manager": metadata_io_manager for name in metadata},
        **{f"{name}_input_manager": latest_input_manager(name) for name in inputs},
        **{f"{step.metadata}_input_manager": metadata_input_manager(step) for step in STEPS},
    }


def shipped_config(name: str) -> dict:
    """Return the job's ready YAML, with which the Launchpad opens."""
    return yaml.safe_load((PACKAGED / "dagster" / f"{name}.yaml").read_text(encoding="utf-8"))


def build(name: str) -> JobDefinition:
    """Return a job: its steps in a chain, each followed by Git_Dvc where it yields data."""
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
        resource_defs={k: v for k, v in resources(name).items() if k in needed | {"experiment"}},
        executor_def=in_process_executor,
        config=shipped_config(name),
        description=" → ".join(BY_NAME[s].notebook for s in JOBS[name]),
    )

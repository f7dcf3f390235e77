"""Where a notebook runs: its workspace, config and Dagster run, and the code that it uses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftzard.config import effects, unusual
from ftzard.config.pipeline import JOBS, Step
from ftzard.config.schema import Config
from ftzard.errors import WorkspaceError
from ftzard.versioning import own_code
from ftzard.workspace.workspace import Workspace, find


@dataclass(frozen=True)
class StepLocation:
    """The workspace and config of a notebook, and the Dagster run it belongs to, if any.

    Attributes:
        sources: where each value of the config comes from.
        code: by hand, the files that the config was made from.
        force: whether the run computes also what has been computed before.
    """

    workspace: Workspace
    config: Config
    dagster_run_id: str | None
    dagster_step: str | None
    sources: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    force: bool = False

    @property
    def by_hand(self) -> bool:
        """Whether a person runs the notebook, and not Dagster."""
        return self.dagster_run_id is None


def locate(namespace: Mapping[str, Any], step: Step | None = None) -> StepLocation:
    """Return where a notebook runs.

    Args:
        namespace: the notebook's `globals()`, with what its parameters cell defines.
        step: the step whose overrides must have an effect when run by hand; under Dagster the run
            has checked its own.
    """
    context = namespace.get("context")
    if context is not None:
        experiment = context.resources.experiment
        return StepLocation(experiment.workspace, experiment.config, context.run_id,
                            context.step_context.step.key, experiment.sources,
                            force=experiment.force)
    workspace = find()
    resolved = workspace.resolve({"overrides": namespace.get("overrides") or []})
    if step is not None and f"{step.name}_job" in JOBS:
        effects.refuse_without_effect(resolved, f"{step.name}_job")
        unusual.require_usual(resolved, (step.name,))
    own_code.require_functions(workspace, resolved.config)
    return StepLocation(workspace, resolved.config, None, None, resolved.sources,
                        tuple(own_code.config_files(resolved)))


def used_notebook(notebook: str, location: StepLocation) -> dict[str, own_code.UsedFile]:
    """Return the workspace's copy of a notebook by its path; nothing for a packaged notebook.

    Under Dagster it is the copy as the run read it, by hand as it is now.
    """
    path = f"notebooks/{notebook}.ipynb"
    used = own_code.used_by_run(location.workspace, location.dagster_run_id)
    if used is None:
        used = own_code.snapshot(location.workspace, [path])
    return {name: file for name, file in used.items() if name == path}


def used_code(notebook: str, location: StepLocation) -> dict[str, own_code.UsedFile]:
    """Return the workspace's own code that an execution of a notebook uses, by path.

    Under Dagster it is the code as the run read it, by hand as it is now.
    """
    used = own_code.used_by_run(location.workspace, location.dagster_run_id)
    if used is None:
        used = own_code.snapshot(location.workspace, [
            *location.code, *own_code.custom_files(location.workspace)])
    return {**{path: file for path, file in used.items() if not path.startswith("notebooks/")},
            **used_notebook(notebook, location)}


def notebook_file(notebook: str, location: StepLocation, code: Mapping[str, own_code.UsedFile]
                  ) -> Path:
    """Return the file of a notebook with the cells that run."""
    used = code.get(f"notebooks/{notebook}.ipynb")
    if used is None:
        return location.workspace.notebooks / f"{notebook}.ipynb"
    return own_code.snapshot_file(location.workspace, used)


def require_restored(workspace: Workspace) -> None:
    """Raise WorkspaceError for a workspace with files of two versions."""
    if workspace.unfinished_restore.is_file():
        raise WorkspaceError(
            "an 'ftzard restore' was cut off, so some files here may be of one version and some of "
            f"another. Finish it: ftzard doctor --fix -w {workspace.in_shell}")

"""One resource holds the experiment for a whole job: the workspace and its resolved config.

It is resolved when the run starts, written beside the run, and read again by every kernel, so all
steps of a run see the same values. The Launchpad's fields are made from the schema and the files
of the config groups: nested, typed, with the choices as an enum.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

import yaml
from dagster import (
    Any,
    Array,
    Enum,
    EnumValue,
    Field,
    Noneable,
    Permissive,
    ResourceDefinition,
    Shape,
)

from ftzard.config import comments, effects, unusual
from ftzard.config.compose import MARKER, PACKAGED, Resolved, available, from_record, to_record
from ftzard.config.pipeline import BY_NAME, JOBS, STEPS
from ftzard.config.requests import leaves, stated
from ftzard.config.schema import GROUPS, Config, Paths
from ftzard.core.artifacts import write_json
from ftzard.core.locks import locked
from ftzard.errors import ConfigError, nearest
from ftzard.orchestration import kernel_engine, lease
from ftzard.orchestration.drop_folder_runs import refuse_duplicate
from ftzard.orchestration.launchpad_file import FORCE
from ftzard.steps import cluster_access, reuse
from ftzard.versioning import own_code
from ftzard.workspace import notebook_copies
from ftzard.workspace.artifact_names import DELIVERIES
from ftzard.workspace.workspace import Workspace, find


@dataclass(frozen=True)
class Experiment:
    """What `context.resources.experiment` is in an op and in a notebook.

    Attributes:
        parents: The runs that this one re-executes, latest first; what it does not do again it
            takes from them.
        sources: Where each value of the config comes from.
        force: Whether steps are executed although an earlier execution holds.
    """

    workspace: Workspace
    config: Config
    run_id: str
    parents: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    force: bool = False


def _dagster_type(hint: object, name: str, offered: Mapping[str, set[str]]) -> object:
    """Return the Dagster type of a config type; of a group only the keys that a job offers."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _shape(hint, name, offered)
    if origin in (Union, UnionType):
        kinds = [a for a in arguments if a is not NoneType]
        if len(kinds) > 1:  # a word or a map, which is checked when the config is resolved
            return Any
        return Noneable(_dagster_type(kinds[0], name, offered))
    if origin is Literal:
        return Enum(f"{name.replace('.', '_')}_values", [EnumValue(str(a)) for a in arguments])
    if origin is list:
        return Array(_dagster_type(arguments[0], name, offered))
    if origin is dict:
        return Permissive()
    return hint


def _shape(kind: type, name: str, offered: Mapping[str, set[str]], **first: Field) -> Shape:
    return Shape({**first, **{
        f.name: Field(_dagster_type(f.type, f"{name}.{f.name}", offered), is_required=False,
                      description=comments.described().get(f"{name}.{f.name}"))
        for f in fields(kind) if f.name in offered[name]
    }})


def launchpad_fields(job: str, folder: Path | None = None) -> dict[str, Field]:
    """Return the fields of a job's Launchpad: the config keys that have an effect in it.

    Args:
        folder: A workspace's own `config/` with more choices for the groups, or None.
    """
    offered, fields_by_name = effects.offered(job), {}
    for f in fields(Config):
        if f.name not in offered[""]:
            continue
        if f.name in GROUPS:
            known = available(f.name, folder)
            own = "".join(f"_{c.encode().hex()}" for c in known if c not in available(f.name))
            choices = Enum(f"{f.name}_choices{own}",  # Dagster knows a type by its name
                           [EnumValue(c) for c in known])
            shape = _shape(f.type, f.name, offered, choice=Field(
                choices, is_required=False, description=f"ftzard/config/{f.name}/<choice>.yaml"))
            fields_by_name[f.name] = Field(shape, is_required=False)
        else:
            fields_by_name[f.name] = Field(_dagster_type(f.type, f.name, offered),
                                           is_required=False,
                                           description=comments.described().get(f.name))
    fields_by_name["overrides"] = Field(
        Array(str), is_required=False,
        description='hydra overrides, such as "model=falcon_tiny" or "training.epochs=1"; the '
                    "same key may not be given twice with different values")
    fields_by_name[FORCE] = Field(
        bool, is_required=False,
        description="Run every step, also those whose inputs, config, code and packages are what "
                    "they were at an earlier run. bool, default false")
    return fields_by_name


def experiment(job: str, folder: Path | None = None) -> ResourceDefinition:
    """Return a job's `experiment` resource, with the config keys that have an effect in the job.

    Args:
        folder: As for `launchpad_fields`.
    """
    return ResourceDefinition(
        _opened, config_schema=launchpad_fields(job, folder),
        description="The experiment's config for the whole job, over ftzard.yaml: choices and "
                    "values as nested YAML, or overrides. What is left out stays as the workspace "
                    "has it.")


@contextmanager
def _opened(context) -> Iterator[Experiment]:
    """Resolve the run's config (in the run's process) or read it back (in a kernel)."""
    workspace = find()
    run_id = context.run_id or "none"
    folder = workspace.run_folder(run_id)
    resolved, lineage = folder / "config.json", folder / "parents.json"
    sources, forced = folder / "sources.json", folder / "force.json"
    if os.environ.get(kernel_engine.IN_KERNEL):
        config = from_record(json.loads(resolved.read_text(encoding="utf-8")))
        parents = json.loads(lineage.read_text(encoding="utf-8"))
        yield Experiment(workspace, config, run_id, tuple(parents),
                         json.loads(sources.read_text(encoding="utf-8")),
                         force=json.loads(forced.read_text(encoding="utf-8")))
        return
    run_config = context.dagster_run.run_config if context.dagster_run else {}
    resolution, code = own_code.resolved(
        workspace, request(context.resource_config, run_config, workspace.root))
    config = resolution.config
    if context.dagster_run:
        job = context.dagster_run.job_name
        effects.refuse_without_effect(resolution, job)
        unusual.require_usual(resolution, JOBS.get(job, ()))
    for line in goes_over(workspace, resolution):
        logging.getLogger("papermill").info(line)  # which Dagster and the terminal show
    with ExitStack() as stack:
        # Before the lock: one that waits for it is alive, too.
        stack.enter_context(lease.holding(workspace, run_id))
        _require_tracking(config)
        _require_sources(config)
        if context.dagster_run:
            cluster_access.require(workspace, config, context.dagster_run.job_name)
        stack.enter_context(locked(
            workspace.state / "run.lock", {"pid": os.getpid(), "run_id": run_id},
            waiting=logging.getLogger("papermill").info))  # which Dagster and the terminal show
        if context.dagster_run:
            refuse_duplicate(context.instance, context.dagster_run)
            _refresh_notebooks(workspace, context.dagster_run.job_name)
        write_json(resolved, to_record(config))
        write_json(sources, resolution.sources)
        own_code.record_used(workspace, run_id, code)
        parents = _parents(workspace, context.dagster_run)
        write_json(lineage, parents)
        force = bool((context.resource_config or {}).get(FORCE))
        write_json(forced, force)
        steps = JOBS.get(context.dagster_run.job_name, ()) if context.dagster_run else ()
        stack.enter_context(kernel_engine.session(
            workspace, context.dagster_run, context.instance,
            ahead=force or not reuse.is_likely(workspace, steps, config)))
        yield Experiment(workspace, config, run_id, tuple(parents), resolution.sources, force)


def _refresh_notebooks(workspace: Workspace, job: str) -> None:
    """Replace unedited copies of another release among the job's notebooks.

    Raises WorkspaceError for edited ones that this release cannot run.
    """
    names = [f"{BY_NAME[step].notebook}.ipynb" for step in JOBS.get(job, ())]
    for path in notebook_copies.refresh(workspace, [*names, "Git_Dvc.ipynb"]):
        logging.getLogger("papermill").info(
            f"{path} was the unedited copy of another release; it is this release's now")


def goes_over(workspace: Workspace, resolved: Resolved) -> Iterator[str]:
    """Yield a line for each value of the Launchpad that overrides ftzard.yaml.

    The Launchpad keeps what it was filled in with when ftzard.yaml is changed afterwards.
    """
    choices, values = stated(workspace.own_config())
    overridden = {**{group: (own, *resolved.choices[group]) for group, own in choices.items()},
                  **{key: (own, value, resolved.sources[key])
                     for key, value in leaves(to_record(resolved.config)).items()
                     if key not in choices and (own := values.get(key)) is not None}}
    for key, (own, value, source) in overridden.items():
        if source == effects.LAUNCHPAD and own != value:
            yield f"{key}={value} of the Launchpad goes over {own} of {MARKER}"


def _require_tracking(config: Config) -> None:
    """Raise TrackingError if the run could not record to a server."""
    if config.tracking.server is not None or config.tracking.mirror:
        from ftzard.tracking import access

        access.require(config.tracking)


def _require_sources(config: Config) -> None:
    """Raise ConfigError or TrackingError for a remote source that is not accessible."""
    if any("://" in name for name in (config.data.source or "", *(config.data.mix or ()))):
        from ftzard import sources

        sources.check(config)


def _parents(workspace: Workspace, run) -> list[str]:
    """Return the runs that `run` re-executes, latest first."""
    if run is None or run.parent_run_id is None:
        return []
    earlier = workspace.run_folder(run.parent_run_id) / "parents.json"
    known = json.loads(earlier.read_text(encoding="utf-8")) if earlier.is_file() else []
    return [run.parent_run_id, *known]


def request(values: Mapping, run_config: Mapping, root: Path) -> dict:
    """Merge the experiment's config with base_path and file_name of the other resources.

    Raises ConfigError where both say the same key differently.
    """
    merged = {k: dict(v) if isinstance(v, Mapping) else v for k, v in (values or {}).items()
              if k != FORCE}
    for name, block in ((run_config or {}).get("resources") or {}).items():
        block = (block or {}).get("config") or {}
        base, file = block.get("base_path"), block.get("file_name")
        if name == "experiment" or not (base or file):
            continue
        group, key, path = _target(name, base, file, root)
        if key is None:
            continue
        inner = merged.setdefault(group, {})
        if inner.get(key) not in (None, path):
            raise ConfigError(
                f"'{group}.{key}' is given twice: {inner[key]!r} in the experiment and {path!r} in "
                f"{name}; keep one of them.")
        inner[key] = path
    return merged


def _target(name: str, base: str | None, file: str | None, root: Path
            ) -> tuple[str, str | None, str]:
    artifact = name.removesuffix("_input_manager").removesuffix("_io_manager")
    if artifact in DELIVERIES:
        folder = Path(base or "data/incoming")
        if not file:
            raise ConfigError(f"{name} has base_path {base!r} but no file_name; give both.")
        return "data", DELIVERIES[artifact], str(folder / file)
    known = {f.name for f in fields(Paths) if f.type is str}
    if artifact in {s.metadata for s in STEPS} or name == "output_notebook_io_manager":
        return "paths", None, ""
    if artifact not in known:
        raise ConfigError(f"there is no artifact '{artifact}'{nearest(artifact, known)}")
    default = Path(yaml.safe_load((PACKAGED / "paths" / "workspace.yaml").read_text())[artifact])
    path = Path(base or default.parent) / (file or default.name)
    if path.is_absolute():
        if not path.is_relative_to(root):
            raise ConfigError(
                f"{name}: {path} is outside the workspace {root}; a run writes only inside it, so "
                "give a base_path below it.")
        path = path.relative_to(root)
    return "paths", artifact, path.as_posix()

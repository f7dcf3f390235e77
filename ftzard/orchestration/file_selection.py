"""Select the file that a job started by hand takes from its drop folder.

A named file is taken whenever it is named. Without a name, the only file of the folder is taken
that is completely written and whose content no run of the job has taken. Tags on the run tell the
sensors which file it is.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dagster import DagsterInstance

from ftzard.config import pipeline
from ftzard.config.pipeline import CHAINS
from ftzard.config.schema import Config
from ftzard.errors import DataError
from ftzard.orchestration import drop_folder_runs, past_runs
from ftzard.orchestration.drop_folder_runs import BY_HAND, CONTENT, DELIVERY
from ftzard.orchestration.resources import request
from ftzard.workspace import delivery_hashes, drop_folders
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class FileSelection:
    """A run's request that names its file.

    Attributes:
        request: the config of `experiment`.
        tags: by which sensors know that the file has been taken.
        waiting: names of the files in the job's drop folder that are not taken because the config
            names other rows.
    """

    request: dict
    tags: dict[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()


def select_file(instance: DagsterInstance, workspace: Workspace, job: str, experiment: Mapping,
                resources: Mapping) -> FileSelection:
    """Return the request of a job with the file that it takes.

    Args:
        experiment: the config of `experiment`.
        resources: the Launchpad's other resources, one of which may name the file.

    Raises:
        DataError: if no file is named and the folder does not hold exactly one new file.
    """
    drop = pipeline.drop_folder(job)
    config = workspace.config(request(experiment, {"resources": resources}, workspace.root))
    named, folder = getattr(config.data, drop.key), getattr(workspace, drop.name)
    if named is None and drop.key == "source" and config.data.mix is not None:
        return FileSelection(dict(experiment),
                             waiting=_names(_waiting(instance, workspace, folder, job)))
    path = (workspace.root / named if named
            else _only(instance, workspace, folder, job, drop, config))
    if path.parent != folder or not path.is_file():
        others = _waiting(instance, workspace, folder, job) if drop.key == "source" else []
        return FileSelection(dict(experiment), waiting=_names(others))
    relative = path.relative_to(workspace.root).as_posix()
    drop_folders.refuse_outside(workspace, path)
    tags = {DELIVERY: relative, CONTENT: delivery_hashes.of(workspace, path), BY_HAND: "true"}
    if named:
        return FileSelection(dict(experiment), tags)
    data = {**_values(experiment.get("data")), drop.key: relative}
    return FileSelection({**experiment, "data": data}, tags)


def _names(files: list[Path]) -> tuple[str, ...]:
    return tuple(path.name for path in files)


def _values(group: object) -> dict:
    """Return a config group as a dict; a bare choice is its only value."""
    return dict(group) if isinstance(group, Mapping) else {"choice": group} if group else {}


def _waiting(instance: DagsterInstance, workspace: Workspace, folder: Path, job: str
             ) -> list[Path]:
    """Return the completely written files of a drop folder whose content no run of a job has taken.

    What a whole chain has taken is not new to its first step either. Other entries of the folder
    are left out; the doctor names them.
    """
    jobs = {job, *(chain for chain in CHAINS if job == f"{CHAINS[chain][0]}_job"
                   and pipeline.drop_folder(chain) == pipeline.drop_folder(job))}
    files = drop_folder_runs.stable_files(drop_folder_runs.deliveries(workspace, folder))
    contents = {}
    for path in files:
        with suppress(OSError, DataError):  # removed meanwhile, or not readable
            contents[path] = delivery_hashes.of(workspace, path)
    processed = set()
    for name in sorted(jobs):
        for content, records in past_runs.by_content(instance, name, contents.values()).items():
            if any(past.status not in past_runs.FAILED for past in records):
                processed.add(content)
    return [path for path, content in contents.items() if content not in processed]


def _only(instance: DagsterInstance, workspace: Workspace, folder: Path, job: str,
          drop: pipeline.DropFolder, config: Config) -> Path:
    """Return the only new file of a drop folder; raises DataError if there is not exactly one."""
    files = drop_folder_runs.deliveries(workspace, folder)
    waiting = _waiting(instance, workspace, folder, job)
    if len(waiting) == 1:
        return waiting[0]
    place = f"data/{drop.name}"
    example = waiting[0].name if waiting else files[0].name if files else "march.csv"
    if waiting:
        problem = f"{len(waiting):,} files wait in {place}: {_name_list(waiting)}"
    elif files:
        problem = f"every file in {place} was taken already: {_name_list(files)}"
    else:
        problem = f"no file waits in {place} ({', '.join(drop_folders.SUFFIXES)})"
        refused = [f"{entry.shown}: {entry.why}"
                   for entry in drop_folders.entries(workspace, folder) if entry.why]
        if refused:
            problem += f"; not taken: {drop_folder_runs.shortened(refused, '; ')}"
    more = (", or name your rows with data.source in ftzard.yaml" if drop.key == "source" else "")
    raise DataError(f"{problem}. Name the one that {job} is to take{more}: "
                    f"data.{drop.key}={place}/{example}")


def _name_list(files: list[Path]) -> str:
    return drop_folder_runs.shortened([path.name for path in files])

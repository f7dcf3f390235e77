"""What a job that a person starts takes from its drop folder, and how sensors are told of it.

A file that is named is taken as often as it is named. Without a name it is the only one that waits:
in the drop folder, whole, and of a content that no run of the job has taken yet.
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
class Taken:
    """A request that names its file, and the tags by which sensors know that it has been taken.

    waiting: names of files that wait in the job's drop folder and are not taken, since the config
    names other rows.
    """

    request: dict
    tags: dict[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()


def taken(instance: DagsterInstance, workspace: Workspace, job: str, asked: Mapping,
          resources: Mapping) -> Taken:
    """Return what a job is told once it is clear which file it takes.

    asked: what the experiment is told; resources: the Launchpad's others, one of which may name the
    file. Raises DataError if none is named and not exactly one waits.
    """
    drop = pipeline.drop_folder(job)
    config = workspace.config(request(asked, {"resources": resources}, workspace.root))
    named, folder = getattr(config.data, drop.key), getattr(workspace, drop.name)
    if named is None and drop.key == "source" and config.data.mix is not None:
        return Taken(dict(asked), waiting=_names(_waiting(instance, workspace, folder, job)))
    path = (workspace.root / named if named
            else _only(instance, workspace, folder, job, drop, config))
    if path.parent != folder or not path.is_file():
        others = _waiting(instance, workspace, folder, job) if drop.key == "source" else []
        return Taken(dict(asked), waiting=_names(others))
    relative = path.relative_to(workspace.root).as_posix()
    drop_folders.refuse_outside(workspace, path)
    tags = {DELIVERY: relative, CONTENT: delivery_hashes.of(workspace, path), BY_HAND: "true"}
    if named:
        return Taken(dict(asked), tags)
    return Taken({**asked, "data": {**_group(asked.get("data")), drop.key: relative}}, tags)


def _names(files: list[Path]) -> tuple[str, ...]:
    return tuple(path.name for path in files)


def _group(said: object) -> dict:
    """Return what is said of a group: its values, or its choice alone."""
    return dict(said) if isinstance(said, Mapping) else {"choice": said} if said else {}


def _waiting(instance: DagsterInstance, workspace: Workspace, folder: Path, job: str
             ) -> list[Path]:
    """Return the whole files of a drop folder whose content no run of a job has taken.

    What the whole chain has taken is not new to its first step alone either. Whatever else lies
    there is passed over; the doctor names it.
    """
    jobs = {job, *(chain for chain in CHAINS if job == f"{CHAINS[chain][0]}_job"
                   and pipeline.drop_folder(chain) == pipeline.drop_folder(job))}
    files = drop_folder_runs.settled(drop_folder_runs.deliveries(workspace, folder))
    contents = {}
    for path in files:
        with suppress(OSError, DataError):  # it has vanished, or cannot be read
            contents[path] = delivery_hashes.of(workspace, path)
    taken = set()
    for name in sorted(jobs):
        for content, records in past_runs.by_content(instance, name, contents.values()).items():
            if any(past.status not in past_runs.FAILED for past in records):
                taken.add(content)
    return [path for path, content in contents.items() if content not in taken]


def _only(instance: DagsterInstance, workspace: Workspace, folder: Path, job: str,
          drop: pipeline.DropFolder, config: Config) -> Path:
    """Return the one file that waits in a drop folder."""
    files = drop_folder_runs.deliveries(workspace, folder)
    waiting = _waiting(instance, workspace, folder, job)
    if len(waiting) == 1:
        return waiting[0]
    place = f"data/{drop.name}"
    example = waiting[0].name if waiting else files[0].name if files else "march.csv"
    if waiting:
        said = f"{len(waiting):,} files wait in {place}: {_told(waiting)}"
    elif files:
        said = f"every file in {place} was taken already: {_told(files)}"
    else:
        said = f"no file waits in {place} ({', '.join(drop_folders.SUFFIXES)})"
        refused = [f"{entry.shown}: {entry.why}"
                   for entry in drop_folders.entries(workspace, folder) if entry.why]
        if refused:
            said += f"; not taken: {drop_folder_runs.told(refused, '; ')}"
    more = (", or name your rows with data.source in ftzard.yaml" if drop.key == "source" else "")
    raise DataError(f"{said}. Name the one that {job} is to take{more}: "
                    f"data.{drop.key}={place}/{example}")


def _told(files: list[Path]) -> str:
    return drop_folder_runs.told([path.name for path in files])

"""`ftzard restore`: which files a commit or a run means, and bringing them back."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ftzard.config.schema import Config
from ftzard.core.artifacts import write_json
from ftzard.core.locks import locked
from ftzard.errors import WorkspaceError
from ftzard.tracking import workspace_store
from ftzard.versioning import restore as versioned
from ftzard.versioning import versions
from ftzard.versioning.versions import Version
from ftzard.workspace import artifact_names
from ftzard.workspace.artifact_names import DELIVERIES
from ftzard.workspace.workspace import Workspace

EVERYTHING = (versions.POINTERS, versions.RECORDS)


def restore(workspace: Workspace, which: str, artifacts: Sequence[str] = (), *,
            say: Callable[[str], object] = print) -> dict:
    """Bring artifacts back as they were at a commit or with a run, and commit that.

    A model's record comes back with its adapter. What is newer and was not there then, stays.

    Args:
        which: A commit, or the id of an MLflow run: what stood when Git_Dvc had followed it, or
            what it took if Git_Dvc does not follow its step.
        artifacts: Names or paths; none means all there were.

    Returns 'commit' (None if git had it all as asked), and the 'files' that were written: artifact,
    path, the version they are of, rows. Raises WorkspaceError for what is no commit, run or
    artifact, VersioningError as `versioning.restore` does; then nothing was changed. From the first
    byte that is written until the commit, a file in `.ftzard/` says what is being brought back: a
    step refuses to begin then, and `finish` completes it.
    """
    root, config = workspace.root, workspace.config()
    with locked(workspace.state / "run.lock", {"pid": os.getpid(), "doing": "ftzard restore"},
                waiting=say):
        if workspace.unfinished_restore.is_file():
            say(finish(workspace, say))
        known = _standing(workspace, config, which)
        descriptions = _described(root, known)
        wanted = _wanted(workspace, config, known, artifacts, descriptions)
        names = {path: artifact_names.name_of(path, config.paths) for path in wanted}
        done = versioned.restore(root, wanted, say=say, message=_message(wanted, names),
                                 begin=lambda: write_json(workspace.unfinished_restore,
                                                          {"wanted": wanted, "names": names}))
        workspace.unfinished_restore.unlink(missing_ok=True)
    return {"commit": done.commit, "files": [
        {"artifact": names[path], "path": path, "version": wanted[path],
         "rows": descriptions[path, wanted[path]].rows} for path in done.files]}


def finish(workspace: Workspace, say: Callable[[str], object] = print) -> str:
    """Complete the restore that was cut off in a workspace; return a sentence on it.

    Whoever calls this holds the lock of a run. Raises VersioningError as `versioning.restore` does.
    """
    begun = json.loads(workspace.unfinished_restore.read_text(encoding="utf-8"))
    done = versioned.restore(workspace.root, begun["wanted"], say=say,
                             message=_message(begun["wanted"], begun["names"]))
    workspace.unfinished_restore.unlink()
    finished = sorted(begun["names"][path] for path in done.files) or ["all of it"]
    return f"completed the restore of {', '.join(finished)}."


def _message(wanted: Mapping[str, str], names: Mapping[str, str]
             ) -> Callable[[Sequence[str]], str]:
    """Return what gives the text of a restore's commit, from the paths in it."""
    return lambda paths: "restore: " + ", ".join(
        f"{names[path]} of {wanted[path][:10]}" for path in paths)


def _described(root: Path, known: Mapping[str, str]) -> dict[tuple[str, str], Version]:
    """Return {(path, commit): version} of HEAD's history, and of these where it has them not."""
    descriptions: dict[tuple[str, str], Version] = {}
    for path, revision in (("", "HEAD"), *known.items()):
        if (path, revision) not in descriptions:
            descriptions |= {(v.path, v.commit): v
                             for v in versions.every_version(root, revision, paths=EVERYTHING)}
    return descriptions


def _standing(workspace: Workspace, config: Config, which: str) -> dict[str, str]:
    """Return {path: commit of its version} of what stood at a commit or with a run."""
    root, tags = workspace.root, None
    if re.fullmatch("[0-9a-f]{32}", which):
        tracking = workspace_store.store(workspace, config)
        if tracking is not None:
            from ftzard.tracking import runs

            run = runs.known(tracking, which)
            tags = run.data.tags if run else None
    if tags is not None and "data_commit" not in tags:
        return _inputs_of_run(workspace, config, which, tags)
    commit = tags["data_commit"] if tags else versions.commit_named(root, which)
    if commit is None or not versions.is_here(root, commit):
        raise WorkspaceError(
            f"'{which}' is no commit of {root} and no run of its MLflow store; 'ftzard history' "
            "shows both." if tags is None else
            f"the run {which} was versioned at {commit}, which is not in {root}; get it with 'git "
            "fetch'.")
    return versions.in_force(root, commit, paths=EVERYTHING)


def _inputs_of_run(workspace: Workspace, config: Config, run_id: str, tags: Mapping[str, str]
                   ) -> dict[str, str]:
    """Return {path: commit} of what a run took, by its tags: it yields nothing of its own."""
    commits = {}
    for key, commit in tags.items():
        name = key.removeprefix("data_version.")
        if name == key or not versions.is_here(workspace.root, commit):
            continue
        kind = "delivery" if name in DELIVERIES else name
        commits |= {path: made for path, made in versions.in_force(workspace.root, commit).items()
                    if made == commit and artifact_names.name_of(path, config.paths) == kind}
    if not commits:
        raise WorkspaceError(f"the run {run_id} names no data version: Git_Dvc has not followed "
                             "it, and what it took was not versioned here.")
    return commits


def _wanted(workspace: Workspace, config: Config, known: Mapping[str, str],
            artifacts: Sequence[str], descriptions: Mapping[tuple[str, str], Version]
            ) -> dict[str, str]:
    """Return {path: commit} of what is to come back: a record only by name, or with its adapter.

    A record grows after its adapter is made (the verdict is added), so one whose adapter stays as
    it is stays too.
    """
    if artifacts:
        wanted = {path: known[path] for asked in artifacts
                  for path in artifact_names.select(workspace, config, asked, known)}
    else:
        wanted = {path: commit for path, commit in known.items() if not path.endswith(".yaml")}
    now = versions.in_force(workspace.root, "HEAD")
    for path in list(wanted):
        record = f"{path.removesuffix('.zip')}.yaml"
        there = descriptions.get((path, now.get(path, "")))
        if record in known and (there is None
                                or there.blob != descriptions[path, wanted[path]].blob):
            wanted[record] = known[record]
    return wanted

"""A workspace's own code: the files that a run uses, with a snapshot of each.

These are its notebooks, `ftzard.yaml`, the chosen files of `config/`, its modules in `custom/`, and
other modules of the workspace that a notebook imports. A run reads each file once and stores its
bytes in `.ftzard/code/` under their hash. It works with this snapshot, and Git_Dvc commits it;
edits made meanwhile are in neither.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ftzard.config.compose import MARKER, Resolved
from ftzard.config.schema import Config
from ftzard.core import credentials, custom_functions
from ftzard.core.artifacts import sha256, write_atomically, write_json
from ftzard.core.custom_functions import FOLDER, source_files
from ftzard.core.notebook_hash import notebook_hash, notebook_text_hash
from ftzard.errors import ConfigError, WorkspaceError
from ftzard.versioning import git, repository
from ftzard.workspace.workspace import Workspace

#: The list of the files that a run has read, in the run's folder.
_OF_A_RUN = "code.json"


@dataclass(frozen=True)
class UsedFile:
    """A file of the workspace's own code as a run used it.

    Attributes:
        path: below the workspace.
        sha256: of its bytes.
        seen_at: HEAD when it was read; None before the first commit.
    """

    path: str
    sha256: str
    seen_at: str | None

    def to_dict(self) -> dict:
        """Return the attributes except the path, for JSON."""
        return {"sha256": self.sha256, "seen_at": self.seen_at}


def config_files(resolved: Resolved) -> list[str]:
    """Return the files of the workspace that a config may have been made from."""
    chosen = {f"config/{group}/{choice}.yaml" for group, (choice, _) in resolved.choices.items()}
    named = {source for source in resolved.sources.values() if source.startswith("config/")}
    return [MARKER, *sorted(chosen | named)]


def custom_files(workspace: Workspace) -> list[str]:
    """Return the files of the workspace's folder `custom/`."""
    return [f"{FOLDER}/{name}" for name in source_files(workspace.root)]


def all_files(workspace: Workspace) -> list[str]:
    """Return all files of the workspace's own code, used or not."""
    root = workspace.root
    config = list((root / "config").rglob("*.yaml"))
    notebooks = list(workspace.notebooks.glob("*.ipynb"))
    files = [path.relative_to(root).as_posix() for path in (*config, *notebooks) if path.is_file()]
    marker = [MARKER] if (root / MARKER).is_file() else []
    try:
        own = custom_files(workspace)
    except ConfigError:  # a link, which a run refuses with its sentence
        own = []
    return [*marker, *sorted(files), *own]


def unsaved_cells(notebook: Path, ran: Iterable[str]) -> int:
    """Return the number of cells that ran and are not in the notebook's file.

    Args:
        ran: the sources of the cells that ran; a parameters cell of papermill's is not counted.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    saved = {"".join(cell["source"]).strip() for cell in cells}
    return sum(bool(source.strip()) and source.strip() not in saved
               and not source.startswith("# Parameters\n") for source in ran)


def resolved(workspace: Workspace, request: Mapping) -> tuple[Resolved, dict[str, UsedFile]]:
    """Return a run's config, and a snapshot of the files it was made from and of `custom/`.

    Raises:
        ConfigError: for an invalid config, and for a function that `custom/` does not define.
    """
    while True:
        before = workspace.resolve(request)
        used = snapshot(workspace, [*config_files(before), *custom_files(workspace)])
        after = workspace.resolve(request)  # repeat if a file was saved in between
        if after == before:
            require_functions(workspace, after.config)
            return after, used


def snapshot(workspace: Workspace, paths: Iterable[str]) -> dict[str, UsedFile]:
    """Store the bytes of files of the workspace; return the files by path.

    Files that do not exist are left out, and so are links out of the workspace, whose content git
    cannot store.

    Raises:
        WorkspaceError: for a file that contains a known credential, since it would be committed.
    """
    head, used = git.head(workspace.root), {}
    for path in dict.fromkeys(paths):
        place = Path(os.path.realpath(workspace.root / path))
        if not place.is_file() or not place.is_relative_to(workspace.root):
            continue
        content = place.read_bytes()
        path = place.relative_to(workspace.root).as_posix()
        _refuse_credentials(path, content)
        folder = workspace.state / "code"
        folder.mkdir(parents=True, exist_ok=True)
        part = write_atomically(folder / f".{os.getpid()}.read",
                                lambda p, content=content: p.write_bytes(content))
        digest = sha256(part)
        os.replace(part, _place(workspace, path, digest))
        used[path] = UsedFile(path, digest, head)
    return used


def _refuse_credentials(path: str, content: bytes) -> None:
    for name, value in credentials.secrets().items():
        if value.encode() in content:
            raise WorkspaceError(
                f"{path} holds the value of {name}; expected none of a secret, since the code that "
                "a run uses is committed with what it writes. Take it out, outputs of cells "
                f"included: {name} is read from the environment or from the workspace's "
                f"{credentials.FILE}.")


def _place(workspace: Workspace, path: str, digest: str) -> Path:
    return workspace.state / "code" / f"{digest}{Path(path).suffix}"


def snapshot_file(workspace: Workspace, used: UsedFile) -> Path:
    """Return the file with a snapshot's bytes; raises WorkspaceError if it is gone."""
    place = _place(workspace, used.path, used.sha256)
    if not place.is_file() or sha256(place) != used.sha256:
        raise WorkspaceError(
            f"{used.path} as the run used it (sha256 {used.sha256[:12]}…) is not in "
            f"{workspace.relative(place.parent)} any more, so it cannot be committed; run the step "
            "again.")
    return place


def record_used(workspace: Workspace, run_id: str, used: Mapping[str, UsedFile]) -> None:
    """Add files to the list of those that a Dagster run has read."""
    known = used_by_run(workspace, run_id) or {}
    write_json(workspace.run_folder(run_id) / _OF_A_RUN,
               {path: u.to_dict() for path, u in {**known, **used}.items()})


def used_by_run(workspace: Workspace, run_id: str | None) -> dict[str, UsedFile] | None:
    """Return the files that a Dagster run has read, by path; None without a list."""
    file = None if run_id is None else workspace.run_folder(run_id) / _OF_A_RUN
    if file is None or not file.is_file():
        return None
    return from_dict(json.loads(file.read_text(encoding="utf-8")))


def from_dict(values: Mapping | None) -> dict[str, UsedFile]:
    """Return the used files that a step's metadata lists."""
    return {path: UsedFile(path, v["sha256"], v["seen_at"]) for path, v in (values or {}).items()}


def to_dict(used: Mapping[str, UsedFile]) -> dict[str, dict]:
    """Return used files for JSON."""
    return {path: u.to_dict() for path, u in used.items()}


def changed(workspace: Workspace, used: Mapping[str, UsedFile]) -> list[UsedFile]:
    """Return the used files to commit: all but notebooks whose cells HEAD has already."""
    files = []
    for one in used.values():
        committed = None
        if one.path.endswith(".ipynb") and git.head(workspace.root) is not None:
            committed = repository.blob_at(workspace.root, "HEAD", one.path)
        if committed is None or not _same_cells(committed[1], snapshot_file(workspace, one)):
            files.append(one)
    return files


def _same_cells(committed: str, notebook: Path) -> bool:
    try:
        return notebook_text_hash(committed) == notebook_hash(notebook)
    except (ValueError, KeyError, TypeError):
        return False


def uncommitted(workspace: Workspace) -> dict[str, str]:
    """Return the files of own code that differ from HEAD as {path: 'new', 'changed' or 'removed'}.

    Notebooks are compared by their cells.
    """
    root, head = workspace.root, git.head(workspace.root)
    if head is None or not git.is_repo(root):
        return {}
    listed = git.git(root, "--literal-pathspecs", "ls-tree", "-r", "-z", head, "--", MARKER,
                     "config", FOLDER, "notebooks")
    committed = {entry.split("\t", 1)[1]: entry.split("\t", 1)[0].split()[2]
            for entry in listed.split("\0") if entry}
    present = [path for path in all_files(workspace) if "\n" not in path]
    hashes = git.git(root, "hash-object", "--stdin-paths",
                     input="".join(f"{path}\n" for path in present)).split() if present else []
    states = {}
    for path, blob in zip(present, hashes, strict=True):
        if path not in committed:
            states[path] = "new"
        elif committed[path] != blob and not (path.endswith(".ipynb") and _same_cells(
                repository.blob_at(root, head, path)[1], root / path)):
            states[path] = "changed"
    return states | {path: "removed" for path in committed
                    if path.endswith((".ipynb", ".yaml", ".py")) and not (root / path).exists()}


def custom_sources(workspace: Workspace, used: Mapping[str, UsedFile]) -> dict[str, str]:
    """Return {name below custom/: text} of the modules that a run uses."""
    sources = {}
    for path, one in sorted(used.items()):
        if path.startswith(f"{FOLDER}/"):
            sources[path.removeprefix(f"{FOLDER}/")] = snapshot_file(workspace, one).read_text(
                encoding="utf-8")
    return sources


def require_functions(workspace: Workspace, config: Config) -> None:
    """Raise ConfigError for a function that a config names and the workspace does not have."""
    named = [("data.clean", config.data.clean)] * (config.data.clean is not None)
    named += [("metrics", name) for name in config.metrics or ()]
    sources = custom_functions.read(workspace.root) if named else {}
    for key, name in named:
        custom_functions.packed(name, sources, key)


def imported(workspace: Workspace) -> list[str]:
    """Return the workspace's own Python files that this process has imported.

    Packages installed below it (a virtual environment) are not its own, nor is FTzard.
    """
    paths = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py") or name.startswith("ftzard"):
            continue
        path = Path(os.path.realpath(file))
        if path.is_relative_to(workspace.root):
            inside = path.relative_to(workspace.root)
            if not any(p.startswith(".") or p in ("site-packages", "dist-packages", "ftzard")
                       for p in inside.parts):
                paths.add(inside.as_posix())
    return sorted(paths)

"""A workspace's own code: what a run used of it, kept exactly as it was when the run used it.

That is its notebooks, `ftzard.yaml`, the files of `config/` that were chosen, its modules in
`custom/`, and other modules of the workspace that a notebook imported. A run reads each file once
and keeps the bytes in `.ftzard/code/` under their hash; it works from those, and Git_Dvc commits
those. What a person edits meanwhile is in neither.
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

#: The list of what a run has read, in the run's folder.
_OF_A_RUN = "code.json"


@dataclass(frozen=True)
class Used:
    """One file of the workspace's own code as a run used it.

    path: below the workspace; sha256: of its bytes; seen_at: HEAD when it was read, None before the
    first commit.
    """

    path: str
    sha256: str
    seen_at: str | None

    def to_dict(self) -> dict:
        """Return it as JSON takes it, without the path, under which it stands."""
        return {"sha256": self.sha256, "seen_at": self.seen_at}


def config_files(resolved: Resolved) -> list[str]:
    """Return the files a config was made from that may be the workspace's: those that it names."""
    chosen = {f"config/{group}/{choice}.yaml" for group, (choice, _) in resolved.choices.items()}
    named = {source for source in resolved.sources.values() if source.startswith("config/")}
    return [MARKER, *sorted(chosen | named)]


def custom_files(workspace: Workspace) -> list[str]:
    """Return the files of the workspace's folder `custom/`."""
    return [f"{FOLDER}/{name}" for name in source_files(workspace.root)]


def everything(workspace: Workspace) -> list[str]:
    """Return every file that is the workspace's own code, used or not."""
    root = workspace.root
    config = [p for p in (root / "config").rglob("*.yaml")]
    notebooks = list(workspace.notebooks.glob("*.ipynb"))
    found = [path.relative_to(root).as_posix() for path in (*config, *notebooks) if path.is_file()]
    marker = [MARKER] if (root / MARKER).is_file() else []
    try:
        own = custom_files(workspace)
    except ConfigError:  # a link, which a run refuses with its sentence
        own = []
    return [*marker, *sorted(found), *own]


def not_saved(notebook: Path, ran: Iterable[str]) -> int:
    """Return how many cells have run that a notebook does not have, as it is in the file.

    ran: their sources. A cell of parameters that papermill has put in is none of them.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    there = {"".join(cell["source"]).strip() for cell in cells}
    return sum(bool(source.strip()) and source.strip() not in there
               and not source.startswith("# Parameters\n") for source in ran)


def resolved(workspace: Workspace, request: Mapping) -> tuple[Resolved, dict[str, Used]]:
    """Return a run's config, and the files of one's own that it was made from as they were then.

    The modules in `custom/` are among them, and the functions that the config names are there.
    """
    while True:
        before = workspace.resolve(request)
        used = keep(workspace, [*config_files(before), *custom_files(workspace)])
        after = workspace.resolve(request)  # a file that was saved in between is read again
        if after == before:
            require_functions(workspace, after.config)
            return after, used


def keep(workspace: Workspace, paths: Iterable[str]) -> dict[str, Used]:
    """Read files of the workspace, keep their bytes, and return them by path.

    Those that do not exist are passed over, and so are links that lead out of the workspace, whose
    content git could not keep. Raises WorkspaceError for a file that holds the value of a known
    credential: it would be committed.
    """
    head, found = git.head(workspace.root), {}
    for path in dict.fromkeys(paths):
        place = Path(os.path.realpath(workspace.root / path))
        if not place.is_file() or not place.is_relative_to(workspace.root):
            continue
        content = place.read_bytes()
        path = place.relative_to(workspace.root).as_posix()
        _refuse_credentials(path, content)
        folder = workspace.state / "code"
        folder.mkdir(parents=True, exist_ok=True)
        part = write_atomically(folder / f".{os.getpid()}.read", lambda p: p.write_bytes(content))
        digest = sha256(part)
        os.replace(part, _place(workspace, path, digest))
        found[path] = Used(path, digest, head)
    return found


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


def kept(workspace: Workspace, used: Used) -> Path:
    """Return the file with the bytes of what was used; raises WorkspaceError if it is gone."""
    place = _place(workspace, used.path, used.sha256)
    if not place.is_file() or sha256(place) != used.sha256:
        raise WorkspaceError(
            f"{used.path} as the run used it (sha256 {used.sha256[:12]}…) is not in "
            f"{workspace.relative(place.parent)} any more, so it cannot be committed; run the step "
            "again.")
    return place


def note(workspace: Workspace, run_id: str, used: Mapping[str, Used]) -> None:
    """Add to the list of what a Dagster run has read."""
    known = of_run(workspace, run_id) or {}
    write_json(workspace.run_folder(run_id) / _OF_A_RUN,
               {path: u.to_dict() for path, u in {**known, **used}.items()})


def of_run(workspace: Workspace, run_id: str | None) -> dict[str, Used] | None:
    """Return what a Dagster run has read of the workspace's own code; None if it keeps no list."""
    file = None if run_id is None else workspace.run_folder(run_id) / _OF_A_RUN
    if file is None or not file.is_file():
        return None
    return from_dict(json.loads(file.read_text(encoding="utf-8")))


def from_dict(values: Mapping | None) -> dict[str, Used]:
    """Return what a step's metadata says that it used."""
    return {path: Used(path, v["sha256"], v["seen_at"]) for path, v in (values or {}).items()}


def to_dict(used: Mapping[str, Used]) -> dict[str, dict]:
    """Return what was used as JSON takes it."""
    return {path: u.to_dict() for path, u in used.items()}


def changed(workspace: Workspace, used: Mapping[str, Used]) -> list[Used]:
    """Return what is to be committed of what was used: all but notebooks of which HEAD has the
    same cells, with other outputs."""
    found = []
    for one in used.values():
        held = None
        if one.path.endswith(".ipynb") and git.head(workspace.root) is not None:
            held = repository.blob_at(workspace.root, "HEAD", one.path)
        if held is None or not _same_cells(held[1], kept(workspace, one)):
            found.append(one)
    return found


def _same_cells(committed: str, notebook: Path) -> bool:
    try:
        return notebook_text_hash(committed) == notebook_hash(notebook)
    except (ValueError, KeyError, TypeError):
        return False


def uncommitted(workspace: Workspace) -> dict[str, str]:
    """Return {path: 'new', 'changed' or 'removed'} of own code that HEAD does not hold as it is.

    A notebook with other outputs and the same cells is committed. Nothing is written.
    """
    root, head = workspace.root, git.head(workspace.root)
    if head is None or not git.is_repo(root):
        return {}
    listed = git.git(root, "--literal-pathspecs", "ls-tree", "-r", "-z", head, "--", MARKER,
                     "config", FOLDER, "notebooks")
    held = {entry.split("\t", 1)[1]: entry.split("\t", 1)[0].split()[2]
            for entry in listed.split("\0") if entry}
    there = [path for path in everything(workspace) if "\n" not in path]
    hashes = git.git(root, "hash-object", "--stdin-paths",
                     input="".join(f"{path}\n" for path in there)).split() if there else []
    found = {}
    for path, blob in zip(there, hashes, strict=True):
        if path not in held:
            found[path] = "new"
        elif held[path] != blob and not (path.endswith(".ipynb") and _same_cells(
                repository.blob_at(root, head, path)[1], root / path)):
            found[path] = "changed"
    return found | {path: "removed" for path in held
                    if path.endswith((".ipynb", ".yaml", ".py")) and not (root / path).exists()}


def custom_sources(workspace: Workspace, used: Mapping[str, Used]) -> dict[str, str]:
    """Return {name below custom/: text} of the modules that a run uses."""
    found = {}
    for path, one in sorted(used.items()):
        if path.startswith(f"{FOLDER}/"):
            found[path.removeprefix(f"{FOLDER}/")] = kept(workspace, one).read_text(
                encoding="utf-8")
    return found


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
    found = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py") or name.startswith("ftzard"):
            continue
        place = Path(os.path.realpath(file))
        if place.is_relative_to(workspace.root):
            inside = place.relative_to(workspace.root)
            if not any(p.startswith(".") or p in ("site-packages", "dist-packages", "ftzard")
                       for p in inside.parts):
                found.add(inside.as_posix())
    return sorted(found)

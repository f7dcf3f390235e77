"""The names of artifacts by their paths."""

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import PurePosixPath

from ftzard.config.schema import Config, Paths
from ftzard.errors import WorkspaceError, nearest
from ftzard.workspace.workspace import Workspace

#: Patterns of the paths of what is not in the config's `paths`.
ELSEWHERE = {
    "delivery": r"data/raw/[^/]+",
    "sources": r"data/sources/[^/]+\.json",
    "base": r"models/bases/[^/]+\.zip",
    "adapter": r"models/(?!bases/)[^/]+/\d+\.zip",
    "record": r"models/[^/]+/\d+\.yaml",
}
NAMES = (*(f.name for f in fields(Paths) if f.type is str), *ELSEWHERE)


#: Deliveries: their artifact name and the key under `data` with their path.
DELIVERIES = {"raw": "source", "labelled": "labelled", "incoming": "incoming"}


def name_of(path: str, paths: Paths) -> str:
    """Return the name of the artifact at a path, or the path itself if it has none."""
    places = {f.name: getattr(paths, f.name) for f in fields(Paths) if f.type is str}
    queue = PurePosixPath(paths.queue)
    places["queue_tasks"] = str(queue.with_suffix(".json"))
    places["suggestions"] = str(queue.parent / "suggestions" / f"{queue.stem}.parquet")
    known = {name: re.escape(place).replace(r"\{batch\}", "[^/]+")
             for name, place in places.items()} | ELSEWHERE
    return next((name for name, pattern in known.items() if re.fullmatch(pattern, path)), path)


def select(workspace: Workspace, config: Config, wanted: str, known: Iterable[str]) -> list[str]:
    """Return those of the given paths that an artifact's name, or a path, means.

    Raises WorkspaceError for a name or path that is none of them, with the nearest.
    """
    known = sorted(set(known))
    named = [path for path in known if name_of(path, config.paths) == wanted]
    if named:
        return named
    path = workspace.relative(workspace.root / wanted.removesuffix(".dvc"))
    if path in known:
        return [path]
    if wanted in NAMES:
        raise WorkspaceError(f"'{wanted}' has no version there; the step that writes it had not "
                             "run, or Git_Dvc had not followed it.")
    names = dict.fromkeys(name for path in known
                          if "/" not in (name := name_of(path, config.paths)))
    near = nearest(wanted, {*NAMES, *names, *known})
    raise WorkspaceError(
        f"there is no artifact '{wanted}'{near if 'did you mean' in near else '.'}"
        + (f" There are versions of {', '.join(names)}; name one of these, or a file by its path."
           if names else " Nothing has a version yet."))

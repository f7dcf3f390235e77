"""The version of the identity rules of a workspace, which is frozen with its first rows."""

from pathlib import Path

from ftzard.config.schema import Config
from ftzard.errors import DataError
from ftzard.workspace import result_cache
from ftzard.workspace.identity_version import FIRST, LATEST, identity_of
from ftzard.workspace.record_file import read_record_file
from ftzard.workspace.workspace import Workspace


def identity(workspace: Workspace, config: Config, cleaned: Path | None = None) -> int:
    """Return the version of the rules of identity that a workspace keeps (`data.identity`).

    It is that of the table of cleaned rows, else of the tokenized one, else, in a clone without its
    data, of the models' records; without any of them, the latest. cleaned: a table that is used
    instead of the workspace's own. Raises DataError if a table is versioned but not here, and no
    model says under which rules it was made.
    """
    if cleaned is not None:
        return identity_of(cleaned)
    places = [workspace.root / config.paths.cleaned, workspace.root / config.paths.tokenized]
    for path in places:
        if path.is_file():
            return result_cache.remembered(
                workspace, "identity", [workspace.relative(path), result_cache.version(path)],
                lambda path=path: identity_of(path))
    records = sorted((workspace.root / "models").glob("*/*.yaml"))
    if records:
        return read_record_file(records[-1]).get("identity", FIRST)
    for path in places:
        pointer = path.with_name(f"{path.name}.dvc")
        if pointer.is_file():
            raise DataError(
                f"{workspace.relative(path)} is not here, though {pointer.name} versions it; what "
                "counts as the same text or name is frozen in it. Bring it back with 'dvc pull', "
                f"or, to begin anew without its rows, remove {workspace.relative(pointer)}.")
    return LATEST

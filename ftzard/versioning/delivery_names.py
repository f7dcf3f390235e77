"""The file names of deliveries, which are stored by their hash.

Git_Dvc writes the name into the delivery's `.dvc` file, so that clones have it. Until then it is in
the workspace's state. The first name of a delivery is permanent.
"""

from pathlib import Path

from ftzard.core.artifacts import write_atomically
from ftzard.errors import VersioningError
from ftzard.versioning.dvc import read_dvc
from ftzard.workspace.workspace import Workspace

#: How many hex digits of a delivery's SHA-256 name its batch.
DIGITS = 12
_LONGEST = 200


def readable(name: str) -> str:
    """Return a file's name as one line of valid UTF-8 text."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in " ".join(name.split()))[:_LONGEST]


def remember(workspace: Workspace, digest: str, name: str) -> str:
    """Record the name of a delivery by its SHA-256; return its permanent name."""
    file = _folder(workspace) / digest
    if not file.is_file():
        write_atomically(file, lambda part: part.write_text(readable(name), encoding="utf-8"))
    return file.read_text(encoding="utf-8")


def remembered(workspace: Workspace, digest: str) -> str | None:
    """Return the name of a delivery from git, or else from the workspace's state."""
    return known(workspace).get(digest[:DIGITS])


def known(workspace: Workspace) -> dict[str, str]:
    """Return {batch: file name} of every batch with a name."""
    folder = _folder(workspace)
    names = {file.name[:DIGITS]: file.read_text(encoding="utf-8")
             for file in (sorted(folder.iterdir()) if folder.is_dir() else ())
             if not file.name.startswith(".")}
    for file in sorted(workspace.raw.glob("*.dvc")):
        try:
            name = read_dvc(file.read_text(encoding="utf-8"), file).delivered_as
        except (VersioningError, UnicodeDecodeError):
            continue  # reported where its data is needed
        if name:
            names[file.name[:DIGITS]] = name
    return names


def _folder(workspace: Workspace) -> Path:
    return workspace.state / "delivered_as"

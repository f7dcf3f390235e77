"""The name of the file that a delivery came as, which the hash it is kept under does not tell.

Git_Dvc writes it into the delivery's `.dvc` file, so that a clone knows it too. Until then it
stands in the workspace's own state. What a delivery was called first stays its name.
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
    """Return a file's name as one line of valid UTF-8 text, whatever signs it has."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in " ".join(name.split()))[:_LONGEST]


def remember(workspace: Workspace, digest: str, name: str) -> str:
    """Keep what a delivery is called, by its SHA-256; return the name that it has from now on."""
    file = _folder(workspace) / digest
    if not file.is_file():
        write_atomically(file, lambda part: part.write_text(readable(name), encoding="utf-8"))
    return file.read_text(encoding="utf-8")


def remembered(workspace: Workspace, digest: str) -> str | None:
    """Return what a delivery is called: as git has it, else as this workspace remembers it."""
    return known(workspace).get(digest[:DIGITS])


def known(workspace: Workspace) -> dict[str, str]:
    """Return {batch: name of the file it was delivered as}, of every batch with a name."""
    folder = _folder(workspace)
    found = {file.name[:DIGITS]: file.read_text(encoding="utf-8")
             for file in (sorted(folder.iterdir()) if folder.is_dir() else ())
             if not file.name.startswith(".")}
    for file in sorted(workspace.raw.glob("*.dvc")):
        try:
            name = read_dvc(file.read_text(encoding="utf-8"), file).delivered_as
        except (VersioningError, UnicodeDecodeError):
            continue  # whoever asks for its data is told
        if name:
            found[file.name[:DIGITS]] = name
    return found


def _folder(workspace: Workspace) -> Path:
    return workspace.state / "delivered_as"

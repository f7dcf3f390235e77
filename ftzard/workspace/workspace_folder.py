"""Checks of a folder that is to become a workspace, before anything is written."""

import os
from pathlib import Path

from ftzard.errors import WorkspaceError, in_shell
from ftzard.workspace.workspace import MARKER, unusable_folder_name

#: The folders of a new workspace; git keeps no file beyond a link.
FOLDERS = ("data", "data/raw", "data/raw_incoming", "data/incoming", "data/labelling",
           "data/labelled", "models", "notebooks", ".ftzard", ".ftzard/dagster")
#: Files are only dropped here, and copied from here.
_LINKS_ALLOWED = ("data/raw_incoming", "data/incoming", "data/labelled")
_LONGEST = 200  # bytes of a name; most systems take 255, and names with an ending stand beside it


def usable_folder(folder: Path | str) -> Path:
    """Return the absolute path of a folder that may become a workspace, without links.

    Raises WorkspaceError for an empty name, a file, a link to nothing, the home folder, the root
    of the file system, a folder inside another workspace, or one in which a file or a link
    stands where the workspace needs a folder.
    """
    if not str(folder).strip():
        raise WorkspaceError("the folder's name is empty; expected a folder, as in "
                             "'ftzard init my-workspace' ('.' for the current one).")
    named = Path(os.path.abspath(folder))
    _require_name(named)
    try:
        root = named.resolve(strict=False)
        existing = next(place for place in (named, *named.parents) if os.path.lexists(place))
        if not existing.exists():
            raise WorkspaceError(f"{existing} is a link to {os.readlink(existing)}, which does not "
                                 "exist; make that folder first, or name another one.")
        if not existing.is_dir():
            raise WorkspaceError(f"{existing} is a file, expected a folder; name another one.")
    except (OSError, RuntimeError) as error:  # a loop of links, a name that is too long
        reason = getattr(error, "strerror", None) or "its links go round in a circle"
        raise WorkspaceError(f"{named} cannot become a workspace: {reason}. Name another folder."
                             ) from error
    home = Path(os.path.realpath(os.path.expanduser("~")))
    if root in (home, Path(root.anchor)):
        what = "your home folder" if root == home else "the root of the file system"
        raise WorkspaceError(f"{root} is {what}; a workspace is a git repository of its own. Name "
                             "a folder in it, as in 'ftzard init "
                             f"{in_shell(root / 'my-workspace')}'.")
    for outer in root.parents:
        if (outer / MARKER).is_file():
            raise WorkspaceError(f"{root} lies inside the workspace {outer}; name a folder outside "
                                 f"of it, or work in that one: -w {in_shell(outer)}")
    _require_room(root)
    return root


def _require_name(path: Path) -> None:
    """Raise WorkspaceError for names that git, DVC or MLflow cannot handle."""
    unusable = unusable_folder_name(path)
    if unusable:
        raise WorkspaceError(unusable)
    longest = max(path.parts, key=lambda part: len(os.fsencode(part)))
    if len(os.fsencode(longest)) > _LONGEST:
        raise WorkspaceError(f"the folder's name '{longest[:40]}…' is too long "
                             f"({len(os.fsencode(longest)):,} bytes, at most {_LONGEST}); name a "
                             "shorter one.")


def _require_room(root: Path) -> None:
    for name in FOLDERS:
        place = root / name
        if place.is_symlink() and not (name in _LINKS_ALLOWED and place.is_dir()):
            raise WorkspaceError(f"{place} is a link; git keeps no files beyond one. Name another "
                                 "folder, or put a folder in its place.")
        if os.path.lexists(place) and not place.is_dir():
            raise WorkspaceError(f"{place} is a file, where a workspace has a folder; move it "
                                 "away, or name another folder.")
    for name in (MARKER, ".gitignore", ".dvcignore", "data/.gitignore", "models/.gitignore"):
        if os.path.lexists(root / name) and not (root / name).is_file():
            raise WorkspaceError(f"{root / name} is no file; move it away, or name another "
                                 "folder.")

"""Atomic `init`: a folder becomes a workspace completely, or is as it was before.

A new workspace's files are made in `.ftzard/init/` and moved into place when they are complete. The
journal `.ftzard/init.json` lists beforehand what will be made. An error, Ctrl-C or a termination
reverts exactly that; after a kill or a power failure the next `init` does. ftzard.yaml comes last,
just before the first commit: an incomplete folder is no workspace, and where only that commit is
missing, the next `init` makes it.
"""

import errno
import fcntl
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ftzard.core.artifacts import sha256, write_json
from ftzard.errors import FtzardError, WorkspaceError
from ftzard.versioning import setup
from ftzard.workspace.workspace import MARKER

STATE = ".ftzard"
JOURNAL = f"{STATE}/init.json"
STAGING = f"{STATE}/init"


@dataclass
class Journal:
    """The list of what an `init` makes in a folder.

    Attributes:
        made: Folders that were not there, absolute, outermost first.
        files: Relative path -> SHA-256 of each file that was not there.
        commit: Those of them that git keeps.
        repository: What `versioning.setup.state_before` returned.
    """

    root: Path
    made: list[str]
    files: dict[str, str] = field(default_factory=dict)
    commit: list[str] = field(default_factory=list)
    repository: dict | None = None

    @property
    def staging(self) -> Path:
        """The folder in which the new files are made."""
        return self.root / STAGING

    def write(self) -> None:
        """Write the journal to disk."""
        write_json(self.root / JOURNAL, {name: getattr(self, name) for name in (
            "made", "files", "commit", "repository")})

    def move_in(self, tracked: Sequence[str], state_before: Callable[[list[str]], dict]) -> None:
        """Move the staged files, but for ftzard.yaml, to where nothing stands yet.

        Args:
            tracked: The relative paths of those that git tracks.
            state_before: Called with those of them that are new, returns the repository's state
                for `undo`.
        """
        staged = sorted(self.staging.rglob("*"))
        folders = [p.relative_to(self.staging) for p in staged if p.is_dir()]
        names = [p.relative_to(self.staging).as_posix() for p in staged if p.is_file()]
        new = [name for name in names if not os.path.lexists(self.root / name)]
        self.files = {name: sha256(self.staging / name) for name in new}
        self.made += [str(self.root / path) for path in folders if not (self.root / path).exists()]
        self.commit = [name for name in tracked if name in self.files]
        self.repository = state_before(self.commit)
        self.write()
        for folder in folders:
            (self.root / folder).mkdir(exist_ok=True)
        for name in new:
            if name != MARKER:
                os.replace(self.staging / name, self.root / name)

    def complete(self, commit: Callable[[], object]) -> None:
        """Move ftzard.yaml in, commit, and remove the journal; signals are ignored meanwhile."""
        with _signals_ignored():
            marker = self.staging / MARKER
            if not (self.root / MARKER).exists():
                os.replace(marker, self.root / MARKER)
            commit()
            self.drop()

    def drop(self) -> None:
        """Remove the journal and the staged files."""
        shutil.rmtree(self.staging, ignore_errors=True)
        (self.root / JOURNAL).unlink(missing_ok=True)

    def undo(self) -> None:
        """Remove what was made, except files that have been changed since."""
        with _signals_ignored():
            for name, digest in self.files.items():
                path = self.root / name
                if path.is_file() and sha256(path) == digest:
                    path.unlink()
            if self.repository is not None:
                setup.undo(self.root, self.repository)
            if str(self.root / STATE) in self.made:
                (self.root / STATE / "git_dvc.lock").unlink(missing_ok=True)
            self.drop()
            for name in reversed(self.made):
                with suppress(OSError):  # what is not empty is not ours alone
                    Path(name).rmdir()


@contextmanager
def all_or_nothing(root: Path) -> Iterator[Journal]:
    """Yield a journal with which the body makes `root` a workspace; take all back if it fails.

    Raises WorkspaceError for a folder that is a workspace already, that cannot be written, or in
    which another `init` is at work. An OSError of the body becomes one, too.
    """
    existing = next(place for place in (root, *root.parents) if place.is_dir())
    created = [str(p) for p in reversed((root / STATE, root, *root.parents)) if not p.exists()]
    journal = Journal(root, created)
    try:
        (root / STATE).mkdir(parents=True, exist_ok=True)
        with _locked(root):
            try:
                journal.write()
                shutil.rmtree(journal.staging, ignore_errors=True)
                journal.staging.mkdir()
                yield journal
            except BaseException as error:
                _take_back(journal, error)
                raise
    except OSError as error:
        for name in reversed(created):
            with suppress(OSError):
                Path(name).rmdir()
        where = f": {error.filename}" if error.filename else ""
        raise WorkspaceError(
            f"{root} could not be made a workspace: {error.strerror or error}{where}. It is as it "
            f"was before; mend that (in {existing}, if nothing else is named), or name another "
            "folder, and run the same command again.") from error


def recovered(root: Path) -> Journal | None:
    """Revert a killed `init` in a folder, if there was one.

    Returns its journal instead where nothing but its commit is missing. Raises WorkspaceError for
    a folder that is a workspace already.
    """
    if not (root / JOURNAL).is_file():
        if os.path.lexists(root / MARKER):
            raise WorkspaceError(f"{root} is a workspace already: it has a {MARKER}.")
        shutil.rmtree(root / STAGING, ignore_errors=True)
        return None
    with _locked(root):
        journal = _read(root)
        if (root / MARKER).exists():
            return journal
        journal.undo()
        return None


def interrupted(root: Path) -> bool:
    """Return whether an `init` in a folder has neither ended nor is running."""
    if not (root / JOURNAL).is_file():
        return False
    try:
        with _locked(root):
            return True
    except WorkspaceError:
        return False


def _read(root: Path) -> Journal:
    try:
        return Journal(root, **json.loads((root / JOURNAL).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise WorkspaceError(
            f"{root / JOURNAL}, in which an 'ftzard init' noted what it makes, cannot be read "
            f"({error}). Look at what lies in {root}, remove that file, and run 'ftzard init' "
            "again.") from error


def _take_back(journal: Journal, error: BaseException) -> None:
    try:
        journal.undo()
    except (FtzardError, OSError) as second:
        raise WorkspaceError(
            f"{error} What was made until then could not be taken back: {second} Run the same "
            "'ftzard init' again when that is mended: it begins by taking it back.") from error


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the folder's lock for one `init`; the system releases it when the process ends."""
    descriptor = os.open(root / STATE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceError(f"another 'ftzard init' is at work in {root}; wait until it has "
                                 "ended.") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore Ctrl-C and termination in this block, which is short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

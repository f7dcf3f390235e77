"""A base or an adapter as one file, and back: a folder cannot be replaced or versioned atomically.

The same folder always packs to the same bytes. Unpacked folders live in a cache of this user under
the hash of the archive, so they are never stale and two processes may ask for the same one at once.
What the cache holds is compared with the archive before it is used: a file that somebody changed,
or that a cleaner of temporary files took away, is unpacked again.
"""

import glob
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftzard.core import private_folder
from ftzard.core.artifacts import sha256, write_atomically
from ftzard.errors import ModelError

#: What an archive of a base or an adapter never has more of: files, and bytes for each of its own.
MOST_FILES, MOST_GROWTH = 10_000, 100
_DATE = (1980, 1, 1, 0, 0, 0)
_PIECE = 1 << 20
#: Folders that this process has compared with their archives, with size, date and node of each
#: file then.
_compared: dict[Path, list[tuple[Any, ...]]] = {}


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, and move it to `folder` if the body succeeds.

    What stood under that name is replaced; after an error it is as it was. What a process that was
    killed here has left is taken away first, and what it had taken away is put back.
    """
    import fcntl  # not everywhere where a model is served

    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    new, old = scratch / "new", scratch / "old"
    lock = os.open(scratch, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.mkdir()
        yield new
        for file in new.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(lock)


def _clear(folder: Path) -> None:
    """Remove the temporary folders of processes that are gone; a living one holds a lock on its
    own.
    """
    import fcntl

    for scratch in folder.parent.glob(f".{glob.escape(folder.name)}.????????"):
        if not ((scratch / "new").is_dir() or (scratch / "old").is_dir()):
            continue  # another's, or one that was made this moment
        try:
            lock = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (scratch / "old").is_dir() and not folder.exists():
                (scratch / "old").rename(folder)
            shutil.rmtree(scratch, ignore_errors=True)
        except OSError:
            continue  # its process lives
        finally:
            os.close(lock)


def pack(folder: Path, zip_path: Path) -> Path:
    """Write the files of `folder` into one zip: sorted, undated, not compressed.

    Raises ModelError if the folder is missing or holds no file.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise ModelError(f"{folder}: no files to pack; expected a base's or an adapter's folder.")

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), date_time=_DATE)
                entry.external_attr = 0o644 << 16
                entry.file_size = file.stat().st_size
                with open(file, "rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)

    return write_atomically(Path(zip_path), write)


def unpack(zip_path: Path, cache_dir: Path) -> Path:
    """Return the folder `<sha256 of the archive>` in a cache, with exactly the archive's files.

    What is there already is compared with the archive, byte for byte and once a process; what
    differs is unpacked again.

    Args:
        cache_dir: Where the cache is, unless somebody else may write there: then this user's own.

    Raises:
        ModelError: If the file is missing, is no zip, names a path outside its folder or a link,
            or holds more than an adapter or a base can.
    """
    zip_path = Path(zip_path)
    if not zip_path.is_file():
        raise ModelError(
            f"{zip_path} does not exist; expected a packed base or adapter. Run the step that "
            "writes it, or bring it back with 'dvc checkout'."
        )
    cache_dir = private_folder.usable(Path(cache_dir))
    folder = cache_dir / sha256(zip_path)
    if _is_whole(folder, zip_path):
        return folder
    part = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".unpack."))
    try:
        with _opened(zip_path) as archive:
            entries = _entries(archive, zip_path, cache_dir)
            (part / "new").mkdir()
            for entry in entries:
                archive.extract(entry, part / "new")
        if os.path.lexists(folder):
            os.rename(folder, part / "old")
        try:
            os.rename(part / "new", folder)
        except OSError:  # another process was faster
            if not _is_whole(folder, zip_path):
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def read_entry(zip_path: Path, name: str, most: int = 16 << 20) -> bytes | None:
    """Return the bytes of a file of an archive, or None if there is none of that name.

    most: bytes that it may have. Raises ModelError as `unpack` does, and for more.
    """
    with _opened(zip_path) as archive:
        if name not in archive.namelist():
            return None
        size = archive.getinfo(name).file_size
        if size > most:
            raise ModelError(f"{zip_path}: '{name}' has {size:,} bytes, expected at most {most:,}. "
                             "This file was not packed by ftzard: do not use it.")
        return archive.read(name)


@contextmanager
def _opened(zip_path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(zip_path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(
            f"{zip_path} is not a readable zip ({error}); expected a packed base or adapter. "
            "Bring it back with 'dvc checkout', or run the step that writes it again."
        ) from error


def _entries(archive: zipfile.ZipFile, zip_path: Path, target: Path) -> list[zipfile.ZipInfo]:
    """Return the files of an archive, whose sizes, names and kinds are those of a base or an
    adapter; raises ModelError for others before a byte is written."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    size, packed = sum(entry.file_size for entry in entries), zip_path.stat().st_size
    wrong = None
    if len(entries) > MOST_FILES:
        wrong = f"has {len(entries):,} entries, expected at most {MOST_FILES:,}"
    elif size > packed * MOST_GROWTH:
        wrong = (f"says that its {packed:,} bytes unpack to {size:,}; expected at most "
                 f"{MOST_GROWTH} times as many")
    elif len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        wrong = f"has the entry '{twice}' twice"
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        parts = entry.filename.rstrip("/").split("/")
        if entry.filename.startswith("/") or "\\" in entry.filename or (
                {"", ".", ".."} & set(parts)):
            wrong = f"has the entry '{entry.filename}', which leads outside its folder"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            wrong = f"has the entry '{entry.filename}', which is a link or no file"
    if wrong:
        raise ModelError(f"{zip_path} {wrong}. This file was not packed by ftzard: do not use it.")
    free = shutil.disk_usage(target).free
    if size > free:
        raise ModelError(f"{zip_path} unpacks to {size:,} bytes, and {free:,} are free in "
                         f"{target}. Free space there, then try again.")
    return [entry for entry in entries if not entry.is_dir()]


def _is_whole(folder: Path, zip_path: Path) -> bool:
    """Return whether a folder holds exactly the files of its archive."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    stats = _stated(folder)
    if _compared.get(folder) == stats:
        return True
    with _opened(zip_path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
        if {name for name, *_ in stats} != set(entries):
            return False
        for name, entry in entries.items():
            file = folder / name
            if file.is_symlink() or not file.is_file() or file.stat().st_size != entry.file_size:
                return False
            with archive.open(entry) as expected, open(file, "rb") as stream:
                while piece := expected.read(_PIECE):
                    if stream.read(len(piece)) != piece:
                        return False
    _compared[folder] = stats
    return True


def _stated(folder: Path) -> list[tuple[Any, ...]]:
    """Return name, inode, size and date of the files of a folder, without Python's compiled code.
    """
    stats = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in [*files, *(n for n in folders if os.path.islink(os.path.join(place, n)))]:
            path = Path(place) / name
            status = path.lstat()
            stats.append((path.relative_to(folder).as_posix(), status.st_ino, status.st_size,
                          status.st_mtime_ns, status.st_mode))
    return sorted(stats)


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder by its path there; {} without a folder."""
    return {path.relative_to(folder).as_posix(): sha256(path)
            for path in sorted(Path(folder).rglob("*")) if path.is_file()}

"""A base or an adapter as one file, and back: a folder cannot be replaced or versioned atomically.

The same folder always packs to the same bytes. Unpacked folders live in a cache under the hash of
the archive, so they are never stale and two processes may ask for the same one at once.
"""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftzard.artifact import sha256, write_atomically
from ftzard.errors import ModelError

_DATE = (1980, 1, 1, 0, 0, 0)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, and move it to `folder` if that ends without an error.

    What stood under that name is replaced; after an error it is as it was.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    new, old = scratch / "new", scratch / "old"
    try:
        new.mkdir()
        yield new
        for file in new.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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
    """Return `cache_dir/<sha256 of the archive>` with its files, unpacking only the first time.

    Raises ModelError if the file is missing, is no zip, or names a path outside its folder.
    """
    zip_path, cache_dir = Path(zip_path), Path(cache_dir)
    if not zip_path.is_file():
        raise ModelError(
            f"{zip_path} does not exist; expected a packed base or adapter. Run the step that "
            "writes it, or bring it back with 'dvc checkout'."
        )
    folder = cache_dir / sha256(zip_path)
    if folder.is_dir():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".unpack."))
    try:
        _extract(zip_path, part)
        part.chmod(0o755)
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _extract(zip_path: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(zip_path) as archive:
            for name in archive.namelist():
                if not (target / name).resolve().is_relative_to(target.resolve()):
                    raise ModelError(
                        f"{zip_path}: entry '{name}' leads outside its folder; expected paths "
                        "inside it. This file was not packed by ftzard: do not use it."
                    )
            archive.extractall(target)
    except zipfile.BadZipFile as error:
        raise ModelError(
            f"{zip_path} is not a readable zip ({error}); expected a packed base or adapter. "
            "Bring it back with 'dvc checkout', or run the step that writes it again."
        ) from error

"""Artifacts: files that a step yields, and the handles that describe them.

A file appears under its final name complete or not at all. Steps pass on handles, not data: path,
hash and number of rows. A step refuses an input that does not match its handle.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ftzard.errors import DataError, FtzardError, in_shell


@dataclass(frozen=True)
class ArtifactRef:
    """The handle of an artifact, which steps pass on.

    Attributes:
        name: The artifact's name in the table of steps ('cleaned').
        path: Relative to the workspace, with forward slashes.
        sha256: Of the file's bytes.
        rows: Of the table in it, or None.
        format: 'parquet', 'csv', 'json' or 'zip'.
        commit: The git commit that versions it, once there is one.
    """

    name: str
    path: str
    sha256: str
    rows: int | None
    format: str
    commit: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ArtifactRef":
        return cls(**value)

    def at(self, commit: str | None) -> "ArtifactRef":
        """Return the same handle, versioned at `commit`."""
        return replace(self, commit=commit)


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def dvc_hash(path: Path) -> str:
    """Return the hex MD5 of a file's bytes, by which DVC names its content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, flush it to disk and move it to `path`.

    If `write` raises, nothing appears under `path` and what stood there before stays. Raises
    DataError if the disk is full.
    """
    path = Path(path)
    try:
        _exchange(path, write)
    except Exception as error:
        if isinstance(error, FtzardError) or not _no_space(error):
            raise
        raise DataError(
            f"{path} could not be written: no space is left there ({error}). What stood under that "
            "name before is untouched; free space, then run the step again."
        ) from error
    return path


def _exchange(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    part = Path(name)
    try:
        write(part)
        with open(part, "rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _no_space(error: Exception) -> bool:
    """Return whether an error means a full disk, also as torch and safetensors report it."""
    words = ("No space left", "os error 28", "file write failed")
    return (getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            or any(phrase in str(error) for phrase in words))


def write_json(path: Path, value: object) -> Path:
    """Write `value` as indented JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a JSON file that is a log, oldest first; none if there is no file.

    Raises:
        DataError: If the file is not valid JSON.
    """
    if not path.is_file():
        return []
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); bring it back with 'dvc checkout "
                        f"{in_shell(path.name)}.dvc', or remove it to begin anew.") from error
    return entries


def verify(handle: ArtifactRef, root: Path) -> Path:
    """Return the file of a handle; raises DataError if it is missing or has other bytes."""
    path = Path(root) / handle.path
    if not path.is_file():
        raise DataError(
            f"{handle.name}: {handle.path} does not exist in {root}; run the step that writes it, "
            "or bring it back with 'dvc checkout'."
        )
    actual = sha256(path)
    if actual != handle.sha256:
        raise DataError(
            f"{handle.name}: {handle.path} has sha256 {actual[:12]}…, but the step before handed "
            f"on {handle.sha256[:12]}…; something else wrote the file in between. Run the step "
            "again."
        )
    return path

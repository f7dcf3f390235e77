"""The memory that this process can still allocate, and refusals of files that need more.

The system kills a process that allocates too much, often without a message. So the memory that a
file or a step needs is estimated first.
"""

import resource
from pathlib import Path

from ftzard.errors import DataError

MB = 1 << 20
#: Bytes of memory that reading takes for each byte of text: its characters, and a string a cell.
PER_BYTE_READ = 8
_GROUP = Path("/sys/fs/cgroup")


def available() -> int | None:
    """Return the bytes that this process can still allocate; None if unknown.

    The least of what the machine has free, what a container's limit leaves, and what `ulimit -v`
    leaves.
    """
    known = [size for size in (of_machine(), _of_container(), _of_process()) if size is not None]
    return max(0, min(known)) if known else None


def most_text() -> int | None:
    """Return the bytes of text that can be read at once; None if the memory is unknown."""
    free = available()
    return None if free is None else free // PER_BYTE_READ


def require_for_text(path: Path, size: int, what: str = "") -> None:
    """Raise DataError if a file's text does not fit into memory.

    Args:
        what: Said of the size, such as 'once decompressed'.
    """
    most = most_text()
    if most is not None and size > most:
        raise too_large(path, f"{shown(size)}{f' {what}' if what else ''}", most)


def too_large(path: Path, has: str, most: int) -> DataError:
    """Return the error for a file whose text does not fit into memory."""
    return DataError(
        f"{path} holds {has}, and at most {shown(most)} can be read at once here: reading takes "
        f"about {PER_BYTE_READ} times as much memory, and {shown(most * PER_BYTE_READ)} are free. "
        "Hand it in in parts, each a file of its own, or use a machine with more memory.")


def shown(size: int) -> str:
    """Return a size as text: '512 MB', '3.2 GB'."""
    if size < MB:
        return f"{size:,} bytes"
    return f"{size / MB:,.0f} MB" if size < 1024 * MB else f"{size / 1024 / MB:,.1f} GB"


def of_machine() -> int | None:
    """Return the bytes of memory that the machine can give to a new process; None if unknown."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _of_container() -> int | None:
    """Return the bytes left under a container's limit, with reclaimable caches."""
    for most, used, stated in (("memory.max", "memory.current", "memory.stat"),
                               ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes",
                                "memory/memory.stat")):
        limit, used_bytes = _number(_GROUP / most), _number(_GROUP / used)
        if limit is not None and used_bytes is not None:
            return limit - used_bytes + (_field(_GROUP / stated, "inactive_file", 1) or 0)
    return None


def _of_process() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _field(Path("/proc/self/status"), "VmSize")
    return None if limit == resource.RLIM_INFINITY or used is None else limit - used


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _field(file: Path, name: str, unit: int = 1024) -> int | None:
    """Return a number of a file with lines such as 'MemAvailable:   123 kB', in bytes."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, *values = line.replace(":", " ").split() or [""]
        if key == name and values and values[0].isdigit():
            return int(values[0]) * unit
    return None

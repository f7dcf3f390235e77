"""Free memory, checked before a step begins.

The need of a step is estimated from the uncompressed text of its inputs and its kind. `ftzard plan`
estimates training and prediction, whose need depends on the model.
"""

import gzip
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from ftzard.config.pipeline import Step
from ftzard.core import free_memory
from ftzard.core.artifacts import ArtifactRef
from ftzard.core.free_memory import shown
from ftzard.errors import WorkspaceError
from ftzard.workspace.workspace import Workspace

#: What a step takes in memory, in bytes: for each byte of text that it reads, and for each row.
#: Measured on rows of 26 and of 158 bytes, from reading to the last of near duplicates.
TAKES = {"cleaning": (20, 550), "preprocessing": (31, 900), "inference_preprocessing": (31, 900)}
_HEAD = 1 << 20


def require_memory(step: Step, inputs: Iterable[ArtifactRef], workspace: Workspace) -> None:
    """Raise WorkspaceError for a step whose rows do not fit into the free memory.

    Raises WorkspaceError with the step, what is needed, what is free, and what to do.
    """
    size, free = needed(step, inputs, workspace), free_memory.available()
    if free is not None and size > free:
        fewer = ("clean fewer rows (data.sample_rows)" if step.name == "preprocessing" else
                 "hand the rows in in parts")
        raise WorkspaceError(
            f"{step.name} needs about {shown(size)} of memory for its rows, and {shown(free)} are "
            f"free; nothing was written. End other programs, {fewer}, or use a machine with more "
            "memory.")


def needed(step: Step, inputs: Iterable[ArtifactRef], workspace: Workspace) -> int:
    """Return the estimated bytes of memory that the rows of a step's inputs take, 0 for a step
    whose rows are few beside its model."""
    a_byte, a_row = TAKES.get(step.name, (0, 0))
    sizes = [text_size(workspace.root / handle.path) for handle in inputs] if a_byte else []
    return sum(a_byte * size + a_row * rows for size, rows in sizes)


def text_size(path: Path) -> tuple[int, int]:
    """Return the bytes of a table's text once unpacked, and its rows: as the file says, or as many
    as lines like its first ones make. (0, 0) if it is not there."""
    if not path.is_file():
        return 0, 0
    if path.name.endswith(".parquet"):
        return _of_parquet(path)
    size = path.stat().st_size
    try:
        if path.name.endswith(".gz"):
            with open(path, "rb") as stream:
                # A gzip file ends with its size once unpacked, less whole multiples of 4 GB.
                stream.seek(max(0, size - 4))
                size = max(size, *struct.unpack("<I", stream.read(4)))
            with gzip.open(path) as stream:
                head = stream.read(_HEAD)
        else:
            with open(path, "rb") as stream:
                head = stream.read(_HEAD)
    except (OSError, EOFError, zlib.error, struct.error):
        return size, 0  # reading it reports the problem
    return size, size * head.count(b"\n") // max(1, len(head))


def _of_parquet(path: Path) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return path.stat().st_size, 0  # reading it reports the problem
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return sum(group.total_byte_size for group in groups), metadata.num_rows

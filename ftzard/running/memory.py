"""Free memory is looked at before a step begins: a process that takes too much is ended unasked.

What a step needs is estimated from the text in its inputs, as it is once unpacked, and its kind.
Training and predicting are planned for by `ftzard plan`: what they take is the model's, not that of
the rows.
"""

import struct
from collections.abc import Iterable
from pathlib import Path

from ftzard import free_memory
from ftzard.artifact import Handle
from ftzard.errors import WorkspaceError
from ftzard.free_memory import shown
from ftzard.steps import Step
from ftzard.workspace import Workspace

#: Bytes of memory for each byte of text that a step reads: its rows as strings, and what it makes
#: of them (copies, hashes and near duplicates, tokens).
PER_BYTE = {"cleaning": 15, "preprocessing": 25, "inference_preprocessing": 25}


def require_memory(step: Step, inputs: Iterable[Handle], workspace: Workspace) -> None:
    """Refuse a step for whose rows this process has too little free memory.

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


def needed(step: Step, inputs: Iterable[Handle], workspace: Workspace) -> int:
    """Return the estimated bytes of memory that the rows of a step's inputs take, 0 for a step
    whose rows are few beside its model."""
    return PER_BYTE.get(step.name, 0) * sum(
        text_size(workspace.root / handle.path) for handle in inputs)


def text_size(path: Path) -> int:
    """Return the bytes of a table's text once unpacked, as the file says; 0 if it is not there."""
    if not path.is_file():
        return 0
    if path.name.endswith(".parquet"):
        return _of_parquet(path)
    if path.name.endswith(".gz"):
        return _of_gzip(path)
    return path.stat().st_size


def _of_parquet(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        told = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return path.stat().st_size  # reading it says what is wrong
    return sum(told.row_group(group).total_byte_size for group in range(told.num_row_groups))


def _of_gzip(path: Path) -> int:
    """Return what the end of a gzip file says, which is less than there is beyond 4 GB."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        stream.seek(max(0, size - 4))
        said = stream.read(4)
    return max(size, struct.unpack("<I", said)[0] if len(said) == 4 else 0)

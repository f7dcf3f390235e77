"""The sample data that ships with a task: `tasks/<name>/sample`, from `tools/sample_data`."""

import gzip
from pathlib import Path

from ftzard.core.artifacts import write_atomically


def has_sample(task: str) -> bool:
    """Return whether a task ships a sample."""
    return bool(_files(task))


def write_sample(task: str, folder: Path) -> dict[str, Path]:
    """Write a task's sample into a folder and return its files by name, without the ending.

    The names are training, batch_1 and batch_2 (without labels), batch_1_labels and batch_2_labels
    (as a person labels them).
    """
    written = {}
    for packed in _files(task):
        content = gzip.decompress(packed.read_bytes())
        target = Path(folder) / packed.stem
        write_atomically(target, lambda part, content=content: part.write_bytes(content))
        written[target.stem] = target
    return written


def _files(task: str) -> list[Path]:
    return sorted((Path(__file__).parent / task / "sample").glob("*.gz"))

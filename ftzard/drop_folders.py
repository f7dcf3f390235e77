"""What lies in the drop folders, told without Dagster: for the status and the doctor."""

from pathlib import Path

from ftzard.artifact import sha256
from ftzard.workspace import Workspace

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
#: Tables in other formats are no rows that FTzard reads: their run says so, and they are set aside.
FOREIGN = (".json", ".tsv", ".xls", ".xlsx", ".ods", ".feather", ".zip", ".gz")


def is_delivery(path: Path) -> bool:
    """Return whether a file in a drop folder is one that a sensor looks at."""
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(
        (*SUFFIXES, *FOREIGN))


def not_in_table(workspace: Workspace, cleaned: Path) -> list[str]:
    """Return the names of files in data/raw_incoming of which no row is in the table yet."""
    found = [p for p in _files(workspace.raw_incoming) if is_delivery(p)]
    if not found or not cleaned.is_file():
        return [path.name for path in found]
    from ftzard.dataset.storage import read_parquet

    known = set(read_parquet(cleaned, columns=["batch"])["batch"])
    return [path.name for path in found if sha256(path)[:12] not in known]


def passed_over(workspace: Workspace) -> list[str]:
    """Return the files in drop folders that no sensor looks at, by their path."""
    return [workspace.relative(path)
            for folder in (workspace.raw_incoming, workspace.incoming, workspace.labelled)
            for path in _files(folder)
            if not path.name.startswith(".") and not is_delivery(path)]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []

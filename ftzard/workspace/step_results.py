"""Finished executions of steps, by what they were computed from.

`.ftzard/cache/results/<step>/<key>.json` has one entry per key. The folder is derived data: without
it every step runs again. An entry that cannot be read counts as missing.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftzard.core.artifacts import sha256, write_json
from ftzard.errors import FtzardError
from ftzard.workspace.workspace import Workspace

#: Below the workspace's cache.
FOLDER = "results"
#: Increased when the meaning of an entry changes; entries of another format count as missing.
FORMAT = 1


@dataclass(frozen=True)
class StepResult:
    """A finished execution of a step.

    Attributes:
        key: hash of `facts`.
        facts: all that the outputs follow from, as flat plain values by name.
        metadata: of the execution, as the step that follows takes it.
        files: {path: sha256} of the files that the execution left.
        present: files that it left and that others may add to; they must exist.
        format: of the entry.
    """

    key: str
    facts: dict[str, Any]
    metadata: dict[str, Any]
    files: dict[str, str]
    present: list[str] = field(default_factory=list)
    format: int = FORMAT

    @property
    def step(self) -> str:
        """The step's name."""
        return str(self.metadata["step"])

    @property
    def run_id(self) -> str:
        """The id of the execution's run in MLflow."""
        return str(self.metadata["run_id"])

    @property
    def commit(self) -> str | None:
        """The commit that has the outputs; None before Git_Dvc."""
        return self.metadata.get("commit")


def folder(workspace: Workspace) -> Path:
    """Return the folder of the entries."""
    return workspace.cache / FOLDER


def read(workspace: Workspace, step: str, key: str) -> StepResult | None:
    """Return the entry of a key, or None."""
    return _parsed(folder(workspace) / step / f"{key}.json")


def newest(workspace: Workspace, step: str) -> StepResult | None:
    """Return the entry that was written last, or None."""
    return next(_entries(workspace, step), None)


def of_run(workspace: Workspace, step: str, run_id: str) -> StepResult | None:
    """Return the entry of an execution by the id of its run in MLflow, or None."""
    return next((one for one in _entries(workspace, step) if one.run_id == run_id), None)


def write(workspace: Workspace, result: StepResult) -> None:
    """Store an entry; a full disk or a workspace that is not writable is no failure."""
    with suppress(OSError, FtzardError):
        write_json(folder(workspace) / result.step / f"{result.key}.json", asdict(result))


def changed_file(workspace: Workspace, result: StepResult) -> str | None:
    """Return the first file of an entry that is gone or has other content, or None."""
    for path in result.present:
        if not (workspace.root / path).is_file():
            return path
    for path, digest in result.files.items():
        file = workspace.root / path
        if not file.is_file() or sha256(file) != digest:
            return path
    return None


def _entries(workspace: Workspace, step: str) -> Iterator[StepResult]:
    """Yield the readable entries of a step, the one written last first."""
    files = list((folder(workspace) / step).glob("*.json"))
    for file in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        result = _parsed(file)
        if result is not None:
            yield result


def _parsed(file: Path) -> StepResult | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        result = StepResult(**values)
        complete = (result.format == FORMAT and result.key == file.stem
                    and bool(result.step and result.run_id)
                    and isinstance(result.files, dict) and isinstance(result.facts, dict))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if complete else None

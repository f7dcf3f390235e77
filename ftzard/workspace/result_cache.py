"""A cache of computed results.

Each result is stored in `.ftzard/cache/answers` with a digest of its inputs. If an input has
changed, the digest differs and the result is computed again. In a workspace that is not writable
every result is computed.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftzard.core.artifacts import sha256, write_json
from ftzard.errors import FtzardError
from ftzard.workspace.workspace import Workspace


def remembered(workspace: Workspace, name: str, facts: Sequence[object],
               work_out: Callable[[], Any]) -> Any:
    """Return the cached result for the same inputs, or compute it.

    Args:
        name: Of the question.
        facts: Plain values that the answer follows from, all of them.
        work_out: Returns plain values, as JSON keeps them.
    """
    import ftzard

    inputs = json.dumps([ftzard.__version__, *facts], sort_keys=True)
    key = hashlib.sha256(inputs.encode()).hexdigest()
    file = workspace.cache / "answers" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        cached = json.loads(file.read_text(encoding="utf-8"))
        if cached["facts"] == key:
            return cached["answer"]
    answer = work_out()
    with contextlib.suppress(OSError, FtzardError):
        if workspace.state.is_dir():
            write_json(file, {"facts": key, "answer": answer})
    return answer


def content(path: Path) -> str | None:
    """Return an identifier of a file that people edit: the hash of its content."""
    return sha256(path) if path.is_file() else None


def version(path: Path) -> list[int] | None:
    """Return an identifier of a file that is only replaced as a whole.

    The time of its last change is the system's own and cannot be set back.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]

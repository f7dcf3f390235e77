"""Reading of model records: YAML files in git, which a merge or an editor may have broken.

YAML is read much slower than JSON, and a workspace has a record per version. So a record is cached
as JSON in `.ftzard/cache/records`, under the hash of its bytes.
"""

import contextlib
import hashlib
import json
from pathlib import Path

import yaml

from ftzard.core.artifacts import write_atomically
from ftzard.errors import FtzardError, WorkspaceError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_record_file(path: Path) -> dict:
    """Return the content of a record; raises WorkspaceError with the remedy for a broken one."""
    try:
        text = path.read_bytes()
        cached = _cache_file(path, text)
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(cached.read_text(encoding="utf-8"))
            if isinstance(record, dict):
                return record
        record = yaml.load(text.decode(encoding="utf-8"), Loader=_LOADER)
        if isinstance(record, dict):
            _keep(cached, record)
            return record
        reason = f"it holds {type(record).__name__}, expected keys and values"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
    except OSError as error:
        reason = error.strerror
    raise WorkspaceError(f"{path} is no readable model record: {reason}. Bring it back with "
                         f"'git restore {'/'.join(path.parts[-3:])}'.")


def _cache_file(path: Path, text: bytes) -> Path:
    """Return the cache file of a record."""
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    return path.absolute().parents[2] / ".ftzard" / "cache" / "records" / name


def _keep(place: Path, record: dict) -> None:
    """Cache a record, if JSON can represent it and the workspace is writable."""
    with contextlib.suppress(OSError, FtzardError, TypeError, ValueError):
        if place.parents[2].is_dir() and json.loads(json.dumps(record)) == record:
            text = json.dumps(record)  # its keys in their order
            write_atomically(place, lambda part: part.write_text(text, encoding="utf-8"))

"""Reading a model's record, a YAML file in git that a merge or an editor may have broken."""

from pathlib import Path

import yaml

from ftzard.errors import WorkspaceError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_record_file(path: Path) -> dict:
    """Return what a record says; raises WorkspaceError, with the remedy, for what is none."""
    try:
        record = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
        if isinstance(record, dict):
            return record
        reason = f"it holds {type(record).__name__}, expected keys and values"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
    except OSError as error:
        reason = error.strerror
    raise WorkspaceError(f"{path} is no readable model record: {reason}. Bring it back with "
                         f"'git restore {'/'.join(path.parts[-3:])}'.")

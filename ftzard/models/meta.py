"""What the folder of a saved adapter says about itself; read without loading any model."""

import json
from pathlib import Path

from ftzard.errors import ModelError

META = "ftzard.json"


def read_meta(folder: Path) -> dict:
    """Return what `ftzard.json` in an adapter's folder says.

    Raises ModelError if the folder is no adapter of ours.
    """
    path = Path(folder) / META
    if not path.is_file():
        raise ModelError(
            f"{folder} holds no {META}; expected the folder of an adapter saved by ftzard."
        )
    return json.loads(path.read_text(encoding="utf-8"))

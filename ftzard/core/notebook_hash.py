"""The hash of a notebook's cells, independent of its outputs and metadata."""

import hashlib
import json
from pathlib import Path


def notebook_hash(path: Path) -> str:
    """Return the first 16 hex of the SHA-256 over a notebook's cell sources.

    Outputs and execution counts do not count: running a notebook does not change what it is.
    """
    return notebook_text_hash(path.read_text(encoding="utf-8"))


def notebook_text_hash(notebook: str) -> str:
    """Return the hash of a notebook's text; raises ValueError or KeyError for other text."""
    cells = json.loads(notebook)["cells"]
    text = json.dumps([[c["cell_type"], "".join(c["source"])] for c in cells])
    return hashlib.sha256(text.encode()).hexdigest()[:16]

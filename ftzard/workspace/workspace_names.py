"""What a new workspace calls its experiment and its model: as its folder is called.

The names are written into ftzard.yaml when a workspace is made. One whose ftzard.yaml says nothing
keeps the packaged names, under which its runs and models are.
"""

import re
import unicodedata
from pathlib import Path

#: Longest name that is made of a folder's.
LONGEST = 60


def tracking(root: Path) -> dict[str, str]:
    """Return the `tracking` group of a new workspace's ftzard.yaml."""
    name = of_folder(root)
    return {"experiment": name, "registered_model": name}


def of_folder(root: Path) -> str:
    """Return a folder's name as a model may be called: letters of ASCII, digits, '_' and '-'."""
    plain = unicodedata.normalize("NFKD", root.name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", plain)[:LONGEST].strip("-_")
    if name in ("", "bases") or name.endswith("-base"):  # which bare bases are called
        return f"{name}-model".lstrip("-")
    return name

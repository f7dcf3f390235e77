"""The names of a new workspace's experiment and model, made from its folder's name.

They are written into ftzard.yaml. A workspace whose ftzard.yaml lacks them uses the packaged names,
under which its runs and models are.
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
    """Return a folder's name as a model name: ASCII letters, digits, '_' and '-'."""
    plain = unicodedata.normalize("NFKD", root.name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", plain)[:LONGEST].strip("-_")
    if name in ("", "bases") or name.endswith("-base"):  # which bare bases are called
        return f"{name}-model".lstrip("-")
    return name

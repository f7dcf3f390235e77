"""What a computation depends on beside its inputs: installed packages, this code, the processor."""

import hashlib
import os
import platform
import re
import sys
from functools import cache
from pathlib import Path

#: Of this package, what is no code: compiled files.
_COMPILED = "__pycache__"


@cache
def packages() -> str:
    """Return a hash of Python's version and of the names and versions of all installed packages.

    FTzard itself is left out: its code counts, wherever it is.
    """
    names = set()
    for folder in map(Path, sys.path):
        if folder.is_dir():
            names |= {path.name for kind in ("*.dist-info", "*.egg-info")
                      for path in folder.glob(kind) if not path.name.startswith("ftzard")}
    text = "\n".join([platform.python_version(), *sorted(names)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code(folder: Path) -> str:
    """Return a hash of all files of a package: modules, templates, configs."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _COMPILED not in path.parts:
            hasher.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return hasher.hexdigest()[:16]


@cache
def processor() -> str:
    """Return the CPU's model, its instructions' hash, and whether GPUs are visible, and which.

    torch, which knows the GPU's name, is not imported for it: the driver says it.
    """
    info, names = Path("/proc/cpuinfo"), [platform.machine(), platform.processor()]
    if info.is_file():
        first = info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        values = dict(re.findall(r"^(.+?)\s*:[ \t]*(.*)$", first, re.MULTILINE))
        names += [values.get(name, "") for name in ("model name", "cpu family", "model")]
        names.append(hashlib.sha256(values.get("flags", "").encode()).hexdigest()[:8])
    for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        model = re.search(r"^Model:\s*(.*)$", card.read_text(errors="replace"), re.MULTILINE)
        names.append(model[1] if model else card.parent.name)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return ", ".join(filter(None, [*names, f"CUDA {visible}" if visible is not None else ""]))

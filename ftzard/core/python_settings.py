"""The user's Python settings in FTzard's processes.

Folders of PYTHONPATH are searched after everything that is installed: the user's modules are
importable, and one called `random.py` or `numpy.py` hides nothing. Variables that change a
program's meaning or output are not passed on to kernels and servers; those that locate Python
itself (PYTHONHOME, PYTHONUSERBASE) are. Only the standard library is imported here: the command
line calls `apply` before it imports anything else.
"""

import os
import sys
import warnings
from collections.abc import Mapping, MutableMapping

#: Not handed on. PYTHONHASHSEED changes no result, but would make all processes of a run alike.
DROPPED = ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONDEBUG",
           "PYTHONVERBOSE", "PYTHONIOENCODING", "PYTHONHASHSEED", "PYTHONDEVMODE",
           "PYTHONASYNCIODEBUG", "PYTHONMALLOC", "PYTHONMALLOCSTATS", "PYTHONTRACEMALLOC",
           "PYTHONFAULTHANDLER", "PYTHONPROFILEIMPORTTIME", "PYTHONBREAKPOINT", "PYTHONCASEOK",
           "PYTHONINTMAXSTRDIGITS", "PYTHONDUMPREFS", "PYTHONWARNDEFAULTENCODING")
#: What Python ignores where nothing is set.
_IGNORED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def apply(environ: MutableMapping[str, str] = os.environ) -> None:
    """Undo the effect of the dropped variables on this process and its children."""
    if any(action == "error" for action, *_ in warnings.filters):  # PYTHONWARNINGS=error
        warnings.resetwarnings()
        for kind in _IGNORED:
            warnings.simplefilter("ignore", kind)
    for name in DROPPED:
        environ.pop(name, None)
    sys.path[:] = search_path(environ)


def cleaned(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the dropped variables."""
    return {name: value for name, value in environ.items() if name not in DROPPED}


def search_path(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return this process's `sys.path` with the folders of PYTHONPATH at its end."""
    own = {os.path.abspath(folder) for folder in
           environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    behind = [folder for folder in sys.path if folder and os.path.abspath(folder) in own]
    return [folder for folder in sys.path if folder not in behind] + behind


def import_path(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the import path with which another process imports the same modules, FTzard included.

    A folder with another copy of FTzard is left out: MLflow puts the part of it that a served model
    brings along on the path when it loads one.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = [folder for folder in search_path(environ) if os.path.exists(folder) and (
        folder == package or not os.path.isdir(os.path.join(folder, "ftzard")))]
    return path if package in path else [*path, package]


def for_child(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for a Python process with this process's import path."""
    return {**cleaned(environ), "PYTHONPATH": os.pathsep.join(import_path(environ))}

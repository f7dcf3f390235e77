"""The errors that users read. Each names the thing, its value, what was expected and what to do.

Every deliberate refusal is an `FtzardError`: the command line, Dagster's run page and the notebooks
print its message first and keep the traceback.
"""

import difflib
import os
import shlex
import tempfile
import traceback
from collections.abc import Iterable


class FtzardError(Exception):
    """Base class of all refusals; the message is a complete sentence."""


class ConfigError(FtzardError):
    """A key, type or value of the configuration does not match the schema."""


class WorkspaceError(FtzardError):
    """The folder is no workspace, or another run is using it."""


class DataError(FtzardError):
    """Rows, columns, labels or files that cannot be used."""


class ModelError(FtzardError):
    """A base, an adapter, a tokenizer or a training run that is not as declared."""


class TrackingError(FtzardError):
    """A run, a registered model or an alias that is missing or contradictory."""


class VersioningError(FtzardError):
    """git or DVC failed; the message names the command, the reason and the remedy."""


class ComputeError(FtzardError):
    """A cluster, its storage or a job on it cannot be used, or gave something unexpected."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return «; did you mean 'x'?» for the closest valid name, or the list of valid names."""
    valid = sorted(str(v) for v in valid)
    close = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; valid are: {', '.join(valid)}." if valid else "."


def in_shell(*paths: object) -> str:
    """Return paths quoted for a shell command, separated by blanks."""
    return " ".join(shlex.quote(str(path)) for path in paths)


def described(error: Exception) -> str:
    """Return a sentence about an error that is no `FtzardError`.

    One of the system names its file and reason. The traceback of any other goes into a file of
    its own, which the sentence names.
    """
    if isinstance(error, OSError) and error.strerror:
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        return f"{name}{': ' if name else ''}{error.strerror}; mend that, then try again."
    if isinstance(error, MemoryError):
        return "there is not enough memory; end other programs, or take a smaller file or model."
    kind, text = type(error).__name__, " ".join(str(error).split())[:300]
    try:
        descriptor, name = tempfile.mkstemp(prefix="ftzard-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="replace") as stream:
            traceback.print_exception(error, file=stream)
        where = f"its details are in {name}"
    except OSError:
        where = "its details could not be written"
    return (f"an error that FTzard did not foresee: {kind}: {text}. It may be a mistake in FTzard: "
            f"{where}; please report them.")

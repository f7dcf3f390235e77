"""The errors a person reads. Each names the thing, its value, what was expected and what to do.

Everything the product refuses on purpose is an `FtzardError`: the command line, the run page and
the notebooks print its sentence first and keep the traceback for whoever wants it.
"""

import difflib
import os
import shlex
import tempfile
import traceback
from collections.abc import Iterable


class FtzardError(Exception):
    """Base of every refusal; its text is a full sentence for a person."""


class ConfigError(FtzardError):
    """A key, a type or a value of the configuration is not what the schema says."""


class WorkspaceError(FtzardError):
    """The folder is no workspace, or another run is using it."""


class DataError(FtzardError):
    """Rows, columns, labels or files that cannot be used."""


class ModelError(FtzardError):
    """A base, an adapter, a tokenizer or a training run that is not what it claims to be."""


class TrackingError(FtzardError):
    """A run, a registered model or an alias that is missing or contradictory."""


class VersioningError(FtzardError):
    """git or DVC refused, and the message says which command, why and how to go on."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return «; did you mean 'x'?» for the closest valid name, or the list of valid names."""
    valid = sorted(str(v) for v in valid)
    close = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; valid are: {', '.join(valid)}." if valid else "."


def in_shell(*paths: object) -> str:
    """Return paths as they are to be typed in a command, a blank between them."""
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

"""The errors a person reads. Each names the thing, its value, what was expected and what to do.

Everything the product refuses on purpose is an `FtzardError`: the command line, the run page and
the notebooks print its sentence first and keep the traceback for whoever wants it.
"""

import difflib
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

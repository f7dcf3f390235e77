"""Output in other encodings than UTF-8, and output whose reader has closed it."""

import codecs
import os
import sys
from typing import TextIO

#: What stands for a sign where the output's encoding has none for it; any other becomes '?'.
PLAIN = {
    "✓": "ok:", "✗": "error:", "→": "->", "…": "...", "—": "-", "–": "-", "−": "-", "·": ".",
    "×": "x", "±": "+-", "«": '"', "»": '"', "“": '"', "”": '"', "‘": "'", "’": "'", "≤": "<=",
    "≥": ">=", "≈": "~", "•": "*",
}
_HANDLER = "ftzard-plain"


def _in_plain_words(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks; the error handler of the output."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start:error.end]
    return "".join(PLAIN.get(sign, "?") for sign in signs), error.end


codecs.register_error(_HANDLER, _in_plain_words)


def make_tolerant() -> None:
    """Make standard output and error accept any text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def holds(text: str, stream: TextIO | None = None) -> bool:
    """Return whether the output's encoding has all characters of a text."""
    stream = stream or sys.stdout
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeError:
        return False
    return True


def drop() -> None:
    """Discard further standard output, whose reader has closed it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None  # it is no file; print takes that as nowhere
    finally:
        os.close(nowhere)


def reader_left() -> bool:
    """Return whether typer has ended because the reader of standard output is gone."""
    return type(sys.stdout).__name__ == "PacifyFlushWrapper"

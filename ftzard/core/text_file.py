"""Text files written by people: decoded by their byte order mark or as UTF-8."""

import codecs
import os
import stat
from pathlib import Path

from ftzard.errors import ConfigError

#: Byte order marks, the longer first: that of UTF-32 begins as that of UTF-16 does.
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"),
         (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))


def read(path: Path, expected: str = "a text file") -> str:
    """Return the text of a file, without its byte order mark.

    Args:
        expected: What it should be, for the sentence.

    Raises:
        ConfigError: For a path that is no regular file or cannot be read, and for bytes that are
            no UTF-8, with their line.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise ConfigError(f"{path} is {kind}; expected {expected}.")
        return decoded(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        missing = (f"{path} is a link to {os.readlink(path)}, which does not exist"
                   if path.is_symlink() else f"{path} does not exist")
        raise ConfigError(f"{missing}; expected {expected}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be read: {reason}; expected {expected}.") from error


def decoded(data: bytes, name: str) -> str:
    """Return bytes as text, by their byte order mark or as UTF-8; raises ConfigError."""
    encoding = next((label for mark, label in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name} is not {'UTF-8' if encoding == 'utf-8' else encoding.upper()} text: line "
            f"{line} has a byte that does not belong there; save it as UTF-8.") from error
    if "\0" in text:
        raise ConfigError(f"{name} holds NUL characters, as UTF-16 without its byte order mark "
                          "does; save it as UTF-8.")
    return text

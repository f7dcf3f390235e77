"""The bytes of a file in text, as text: nothing about its encoding is guessed."""

import gzip
import re
import zlib
from pathlib import Path

from ftzard.dataset import formats
from ftzard.errors import ConfigError, DataError, nearest


def read_text(path: Path, encoding: str, kind: str) -> str:
    """Return a file's text without a byte order mark; kind: what `formats.file_type` says.

    Raises DataError for content that is of another format or encoding, ConfigError for an encoding
    that does not exist.
    """
    formats.require(path, kind)
    content = path.read_bytes()
    if kind == ".csv.gz":
        content = decompressed(path, content)
        formats.require_content(path, kind, content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        start = max(0, error.start - 20)
        around = content[start : error.start + 20].decode("latin-1")
        raise DataError(
            f"{path} is not {encoding}: byte {error.start} is 0x{content[error.start]:02x}, near "
            f"{around!r}. Set data.encoding to {_encodings(content, encoding)}; 'ftzard init' "
            "takes it as --encoding."
        ) from error
    except (LookupError, ValueError) as error:  # some codecs of Python are no encodings of text
        raise ConfigError(
            f"data.encoding='{encoding}' is not an encoding Python knows"
            f"{nearest(encoding, ['utf-8', 'latin-1', 'cp1252', 'utf-16'])}"
        ) from error
    if re.search("[\ud800-\udfff]", text):
        raise DataError(
            f"{path}, read as {encoding}, has halves of characters (surrogates), which are no "
            f"text. Set data.encoding to {_encodings(content, encoding)}; 'ftzard init' takes it "
            "as --encoding.")
    _refuse_mojibake(path, content, encoding)
    _refuse_wide(path, text, encoding)
    return text.removeprefix("\ufeff")


def decompressed(path: Path, content: bytes) -> bytes:
    """Return what a gzip file holds, or raise DataError."""
    try:
        content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is not a complete gzip file ({error}); copy it again, or drop '.gz' from "
            "its name if it is not compressed."
        ) from error
    if not content:
        raise DataError(f"{path} is empty once decompressed, expected rows.")
    return content


def encoding_of(content: bytes) -> str:
    """Return an encoding that spreadsheets write and that bytes can be read in."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _encodings(content: bytes, tried: str) -> str:
    if content[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    fitting = []
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        fitting.append(encoding)
    return " or ".join(e for e in fitting if e != tried.lower()) or "what the file was written in"


def _refuse_mojibake(path: Path, content: bytes, encoding: str) -> None:
    """Any bytes are valid latin-1; those that are valid utf-8 beyond ASCII were hardly meant so."""
    one_byte = {"latin-1", "latin1", "iso-8859-1", "cp1252", "windows-1252", "iso-8859-15"}
    if encoding.lower().replace("_", "-") not in one_byte or content.isascii():
        return
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    example = next(character for character in text if ord(character) > 127)
    raise DataError(
        f"{path} is valid utf-8; read as {encoding}, its '{example}' would become "
        f"'{example.encode().decode(encoding, errors='replace')}'. Set data.encoding=utf-8; "
        "'ftzard init' takes it as --encoding."
    )


def _refuse_wide(path: Path, text: str, encoding: str) -> None:
    """Text in two bytes a sign is valid utf-8, too: every second sign is NUL then."""
    head = text[:100]
    if head.count("\0") * 3 > len(head):
        order = "be" if head.startswith("\0") else "le"
        raise DataError(
            f"{path}, read as {encoding}, has NUL after nearly every sign, as utf-16 has without "
            f"its mark. Set data.encoding=utf-16-{order}; 'ftzard init' takes it as --encoding.")

"""The bytes of a file in text, as text: nothing about its encoding is guessed."""

import codecs
import gzip
import re
import unicodedata
import zlib
from collections.abc import Iterable
from itertools import islice, pairwise
from pathlib import Path

from ftzard.core import free_memory
from ftzard.data import formats
from ftzard.errors import ConfigError, DataError, nearest

_PIECE = 1 << 20


def read_text(path: Path, encoding: str, kind: str) -> str:
    """Return a file's text without a byte order mark; kind: what `formats.file_type` says.

    Raises DataError for content that is of another format or encoding, or has no room in memory,
    ConfigError for an encoding that does not exist.
    """
    formats.require(path, kind)
    content = content_of(path, kind)
    if kind == ".csv.gz":
        formats.require_content(path, kind, content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        start = max(0, error.start - 20)
        around = content[start : error.start + 20].decode("latin-1")
        raise DataError(
            f"{path} is not {encoding}: byte {error.start} is 0x{content[error.start]:02x}, near "
            f"{around!r}. {_remedy(content, encoding)}"
        ) from error
    except (LookupError, ValueError) as error:  # some codecs of Python are no encodings of text
        raise ConfigError(
            f"data.encoding='{encoding}' is not an encoding Python knows"
            f"{nearest(encoding, ['utf-8', 'latin-1', 'cp1252', 'utf-16'])}"
        ) from error
    if re.search("[\ud800-\udfff]", text):
        raise DataError(
            f"{path}, read as {encoding}, has halves of characters (surrogates), which are no "
            f"text. {_remedy(content, encoding)}")
    _refuse_mojibake(path, content, encoding)
    _refuse_wide(path, text, encoding)
    _refuse_controls(path, content, text, encoding)
    return text.removeprefix("\ufeff")


def content_of(path: Path, kind: str) -> bytes:
    """Return the bytes of a file in text, decompressed; raises DataError if there is no memory for
    them."""
    if kind == ".csv.gz":
        return _decompressed(path)
    free_memory.require_for_text(path, path.stat().st_size)
    return path.read_bytes()


def _decompressed(path: Path) -> bytes:
    """Return what a gzip file holds; raises DataError if it is none, or holds more than there is
    memory for: a small file may hold very much."""
    most, size, pieces = free_memory.most_text(), 0, []
    try:
        with gzip.open(path) as stream:
            while piece := stream.read(_PIECE):
                size += len(piece)
                if most is not None and size > most:
                    raise free_memory.too_large(
                        path, f"more than {free_memory.shown(most)} once decompressed", most)
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is not a complete gzip file ({error}); copy it again, or drop '.gz' from "
            "its name if it is not compressed."
        ) from error
    if not size:
        raise DataError(f"{path} is empty once decompressed, expected rows.")
    return b"".join(pieces)


def encoding_of(content: bytes) -> str:
    """Return an encoding that spreadsheets write and that bytes can be read in."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


# Encodings that files come in, those first whose bytes rarely fit by chance.
_KNOWN = ("utf-8", "gb18030", "cp932", "euc-jp", "big5", "cp949", "cp1252", "latin-1", "cp1251",
          "koi8-r", "cp866", "cp1250", "iso-8859-2", "cp1253", "cp1254", "cp1255", "cp1256",
          "cp874", "mac-roman")
# How many readings a message shows, and how many words tell how plausible one is.
_SHOWN, _TELLING = 6, 300
# Categories of characters that words have not, but for some signs beside them.
_NO_PART, _SIGNS = ("So", "Co", "Cn", "Sm", "Sk"), "°©®™±×÷´"
_C1 = re.compile("[\x80-\x9f]")
_ISO_2022 = re.compile(r"\x1b\$?[($)][@-Z0-9]|\x1b\$[@AB]")
_UTF_8_REMAINS = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf?]|[\xe0-\xef][\x80-\xbf?]{2}|[\xf0-\xf4][\x80-\xbf?]{3}")
_WORD = re.compile(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*")


def garbled(texts: Iterable[str]) -> str:
    """Return a word of texts in which most words beyond ASCII are of no language; '' if not."""
    words = [match[0] for text in texts for match in _WORD.finditer(text)][:_TELLING]
    wrong = [word for word in words if not _plausible(word)]
    return wrong[0] if len(wrong) * 2 > len(words) else ""


def _remedy(content: bytes, tried: str) -> str:
    """Return what to set, with the words beyond ASCII as each plausible encoding reads them."""
    takes = "'ftzard init' takes it as --encoding."
    if content[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return f"Set data.encoding to utf-32; {takes}"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"Set data.encoding to utf-16; {takes}"
    readings = _readings(content, tried)
    if not readings:
        return f"Set data.encoding to what the file was written in; {takes}"
    shown = "; ".join(f"'{words}' in {' or '.join(names)}" for words, names in readings)
    return (f"Set data.encoding to the one in which its words read right; {takes} They read: "
            f"{shown}.")


def _readings(content: bytes, tried: str) -> list[tuple[str, list[str]]]:
    """Return (the first words beyond ASCII, the encodings that read them so), best first."""
    readings: dict[str, tuple[float, list[str]]] = {}
    for encoding in _KNOWN:
        if _name(encoding) == _name(tried):
            continue
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        words = [match[0] for match in islice(_WORD.finditer(text), _TELLING)]
        if not words or _C1.search(text):
            continue
        plausible = sum(map(_plausible, words)) / len(words)
        key = " ".join(words[:3])[:40]
        readings.setdefault(key, (plausible, []))[1].append(encoding)
    best = sorted(readings.items(), key=lambda item: -item[1][0])  # stable: else as in `_KNOWN`
    return [(words, names) for words, (_, names) in best[:_SHOWN]]


def _plausible(word: str) -> bool:
    """Return whether a word looks like one of some language: one script, no capital inside."""
    letters = [character for character in word if character.isalpha()]
    if any(c not in _SIGNS and ("\uff61" <= c <= "\uff9f" or unicodedata.category(c) in _NO_PART)
           for c in word):
        return False
    if any(a.islower() and b.isupper() for a, b in pairwise(word)):
        return False
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in letters}
    if "LATIN" in scripts and len(scripts) > 1:
        return False
    accented = sum(not letter.isascii() for letter in letters)
    several = len(letters) > 3 or accented == len(letters) > 1
    return scripts != {"LATIN"} or not several or accented * 2 <= len(letters)


def _name(encoding: str) -> str:
    """Return the name that all aliases of an encoding share; its own if Python knows none."""
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return encoding


def _refuse_mojibake(path: Path, content: bytes, encoding: str) -> None:
    """Nearly any bytes are valid in many an encoding; those that are valid utf-8 beyond ASCII were
    hardly meant so."""
    if _name(encoding).startswith("utf") or content.isascii():
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


def _refuse_controls(path: Path, content: bytes, text: str, encoding: str) -> None:
    """Refuse control characters that only a wrong encoding brings into a text."""
    escape = _ISO_2022.search(text) if content.isascii() else None
    meant = [name for name in ("iso-2022-jp", "iso-2022-kr")
             if escape and _reads(content, name)]
    if meant:
        raise DataError(
            f"{path}, read as {encoding}, has escape sequences ({escape[0]!r}) as {meant[0]} has. "
            f"Set data.encoding={meant[0]}; 'ftzard init' takes it as --encoding.")
    if _name(encoding).startswith("utf"):  # a text that was broken before may hold them
        return
    control = _C1.search(text)
    # In a text that was broken before, they follow what began a character of utf-8.
    if control and re.search(rb"[\x80-\x9f]", _UTF_8_REMAINS.sub(b"", content)):
        near = text[max(0, control.start() - 20):control.start() + 20]
        raise DataError(
            f"{path}, read as {encoding}, has the control character U+{ord(control[0]):04X}, near "
            f"{near!r}: it was written in another encoding. {_remedy(content, encoding)}")


def _reads(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _refuse_wide(path: Path, text: str, encoding: str) -> None:
    """Text in two bytes a sign is valid utf-8, too: every second sign is NUL then."""
    head = text[:100]
    if head.count("\0") * 3 > len(head):
        order = "be" if head.startswith("\0") else "le"
        raise DataError(
            f"{path}, read as {encoding}, has NUL after nearly every sign, as utf-16 has without "
            f"its mark. Set data.encoding=utf-16-{order}; 'ftzard init' takes it as --encoding.")

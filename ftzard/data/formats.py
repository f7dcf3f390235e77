"""File types: what a file's name says it is, and what its first bytes say it really is."""

import gzip
import json
import zipfile
import zlib
from pathlib import Path

from ftzard.errors import DataError

TYPES = (".csv", ".csv.gz", ".jsonl", ".parquet")
# What may be kept as it was delivered: Label Studio's exports are JSON.
STORED_TYPES = (*TYPES, ".json")
# As many bytes as tell a format.
_HEAD = 512
#: Of an archive that is refused anyway, so many names, or bytes if it is torn, tell what it is.
_NAMES, _SEARCHED = 1_000, 1 << 20

_SPREADSHEET = "open it and save it as CSV (UTF-8)"
#: First bytes -> (format, remedy). Only what no table in text can start with.
_SIGNATURES = (
    (b"PK\x05\x06", "an empty zip archive", "pack it again, or bring the file that belongs in it"),
    (b"SQLite format 3\0", "an SQLite database",
     "export the table, as in: sqlite3 -header -csv DATABASE 'select * from TABLE' > rows.csv"),
    (b"%PDF-", "a PDF document", "bring the table it was made of as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file (.xls or .doc)",
     _SPREADSHEET),
    (b"{\\rtf", "an RTF document", "save its table as CSV (UTF-8)"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself",
     "run 'git lfs pull' where it comes from, then hand in the file"),
    (b"/annex/objects/", "a pointer of git-annex, not the file itself",
     "run 'git annex get' where it comes from, then hand in the file"),
    (b"\xfd7zXZ\0", "compressed with xz", "decompress it with 'xz -d' and name it by its content"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd",
     "decompress it with 'zstd -d' and name it by its content"),
    (b"\x04\x22\x4d\x18", "compressed with lz4",
     "decompress it with 'lz4 -d' and name it by its content"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and hand in the file in it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it and hand in the file in it"),
    (b"\x93NUMPY", "a NumPy array (.npy)",
     "write it as a table, as in: pandas.DataFrame(numpy.load(FILE)).to_parquet('rows.parquet')"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file",
     "write it as Parquet, as in: pandas.read_hdf(FILE).to_parquet('rows.parquet')"),
    (b"ARROW1\0\0", "an Arrow file (Feather)",
     "write it as Parquet, as in: pandas.read_feather(FILE).to_parquet('rows.parquet')"),
    (b"Obj\x01", "an Avro file", "write its rows as Parquet or JSON lines"),
    (b"\x89PNG\r\n", "a picture", "hand in a table of texts"),
    (b"\xff\xd8\xff", "a picture", "hand in a table of texts"),
    (b"GIF8", "a picture", "hand in a table of texts"),
    (b"\x7fELF", "a program", "hand in a table of texts"),
)


def file_type(path: Path, valid: tuple[str, ...] = TYPES) -> str:
    """Return the file's type as its name says ('.csv.gz'), or refuse an unknown one."""
    name = Path(path).name.lower()
    for known in sorted(valid, key=len, reverse=True):
        if name.endswith(known):
            return known
    labels = " (handed in labels: .json of Label Studio, too)" if ".json" in valid else ""
    raise DataError(
        f"{path} is of an unknown type '{Path(path).suffix}'; valid are: {', '.join(TYPES)}{labels}"
        f". {_conversion(name)}"
    )


def _conversion(name: str) -> str:
    """Return how a file with an ending that is not read becomes one that is."""
    if name.endswith((".tsv", ".tab")):
        return ("Name it .csv and set data.delimiter=tab; 'ftzard init' takes it as "
                "--delimiter tab.")
    if name.endswith((".xlsx", ".xlsm", ".xls", ".ods")):
        return "Open it and save it as CSV (UTF-8)."
    if name.endswith((".ndjson", ".json")):
        return "If it has one JSON object a line, name it .jsonl."
    if name.endswith(".jsonl.gz"):
        return "Decompress it with 'gunzip' and hand in the .jsonl file."
    return "Convert the file, or give it the ending of what it holds."


def require(path: Path, kind: str) -> None:
    """Raise DataError if a file's first bytes say that it is not of the type its name says.

    A file in text is only held against the formats that no text starts with; whether it holds rows
    is for its reader to say.

    Args:
        kind: What `file_type` returned.
    """
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
    recognised = _recognised(Path(path), head, kind)
    if recognised is not None:
        raise _refusal(path, kind, *recognised)


def require_content(path: Path, kind: str, content: bytes) -> None:
    """Raise DataError if what was in a compressed file is no text; the same rules as `require`."""
    recognised = _recognised(None, content[:_HEAD], kind.removesuffix(".gz"))
    if recognised is not None:
        raise _refusal(path, f"{kind} (once decompressed)", *recognised)


def _refusal(path: Path, kind: str, what: str, remedy: str) -> DataError:
    return DataError(f"{path} is {what}, though its name ends in {kind}: {remedy}.")


def _recognised(path: Path | None, head: bytes, kind: str) -> tuple[str, str] | None:
    """Return (format, remedy) of content that is not of type `kind`, or None.

    path: where the content stands, or None if it is not a file of its own.
    """
    if head.startswith(b"PAR1") and (len(head) < 5 or head[4] < 0x20):
        return None if kind == ".parquet" else ("a Parquet file", _rename(path, ".parquet"))
    if head.startswith(b"\x1f\x8b"):
        return None if kind == ".csv.gz" and path is not None else _gzipped(path)
    if kind == ".csv.gz" and path is not None:
        if _text(head):
            return ("not a complete gzip file, but text",
                    f"{_rename(path, '.csv')}, if it is not compressed")
        return "not a complete gzip file", "copy it again, or give it the ending of what it holds"
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path, head)
    for start, what, remedy in _SIGNATURES:
        if head.startswith(start):
            return what, remedy
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "compressed with bzip2", "decompress it with 'bunzip2' and name it by its content"
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it and hand in the file in it"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return ("a Python pickle", "write its rows as a table, as in: "
                "pandas.read_pickle(FILE).to_parquet('rows.parquet')")
    return _recognised_text(path, head, kind)


def _recognised_text(path: Path | None, head: bytes, kind: str) -> tuple[str, str] | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = start[:64].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head")):
        return ("a web page, perhaps of a login or an error",
                "download the file itself and hand it in again")
    if lower.startswith(b"<?xml"):
        return "an XML file", "write its rows as CSV, JSON lines or Parquet"
    if kind == ".parquet":
        if start.startswith(b"{"):
            return "JSON", _rename(path, ".jsonl") + ", if it has one object a line"
        if _text(head):
            return "text", _rename(path, ".csv") + ", if it is one"
    if kind == ".csv" and start.startswith(b"{") and _is_object(start):
        return "JSON lines", _rename(path, ".jsonl")
    if kind in (".csv", ".jsonl") and start.startswith(b"[") and start[1:].lstrip()[:1] == b"{":
        return ("a JSON list", "write one object a line and name it .jsonl, as in: "
                "pandas.read_json(FILE, dtype=False).to_json('rows.jsonl', orient='records', "
                "lines=True)")
    return None


def _is_object(start: bytes) -> bool:
    """Return whether a first line is a JSON object, as far as it can be seen."""
    line, ended, _ = start.partition(b"\n")
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return not ended and line[:2] in (b'{"', b"{ ") and b'":' in line


def _text(head: bytes) -> bool:
    """Return whether bytes look like text in an encoding that keeps ASCII."""
    return all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in head)


def _rename(path: Path | None, ending: str) -> str:
    if path is None:
        return f"name it {ending}"
    name = path.name
    known = next((e for e in (".csv.gz", *TYPES) if name.lower().endswith(e)), path.suffix)
    return f"name it {name[: len(name) - len(known)]}{ending}"


def _gzipped(path: Path | None) -> tuple[str, str]:
    if path is None:
        return "compressed with gzip twice", "decompress it with 'gunzip' once"
    try:
        with gzip.open(path) as stream:
            inside = stream.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return "an incomplete gzip file", "copy it again and name it .csv.gz"
    if _recognised(None, inside, ".csv") is None:
        return "compressed with gzip", _rename(path, ".csv.gz")
    return "compressed with gzip", "decompress it with 'gunzip' and name it by its content"


def _zipped(path: Path | None, head: bytes) -> tuple[str, str]:
    names = head.decode("latin-1")
    if path is not None:
        try:
            with zipfile.ZipFile(path) as archive:
                names = "\n".join(archive.namelist()[:_NAMES])
        except (zipfile.BadZipFile, OSError, ValueError):
            with open(path, "rb") as stream:
                names = stream.read(_SEARCHED).decode("latin-1")
    if "xl/" in names:
        return "an Excel workbook (zip)", _SPREADSHEET
    if "word/" in names:
        return "a Word document (zip)", "save its table as CSV (UTF-8)"
    if b"mimetypeapplication/vnd.oasis.opendocument" in head:
        return "a LibreOffice document (zip)", _SPREADSHEET
    if ".npy" in names:
        return ("NumPy arrays (.npz)", "write them as a table, as in: "
                "pandas.DataFrame(dict(numpy.load(FILE))).to_parquet('rows.parquet')")
    return "a zip archive", "unpack it and hand in the file in it"

"""The version of the identity rules of a table, read from its schema.

`data.identity` defines the versions.
"""

from pathlib import Path

from ftzard.errors import DataError

FIRST, LATEST = 1, 3
#: The schema key with the version of the identity rules of a table.
KEY = b"ftzard.identity"


def identity_of(path: Path) -> int:
    """Return the version of the identity rules by which a table's rows were made.

    Raises DataError for a file that is no parquet, or of a version that this release does not know.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        noted = (pq.read_schema(path).metadata or {}).get(KEY)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error}); write it again.") from error
    if noted is None:
        return FIRST
    if not noted.isdigit() or not FIRST <= int(noted) <= LATEST:
        raise DataError(
            f"{path} was made under version {noted.decode(errors='replace')} of the rules by which "
            f"texts and names are the same; this release knows {FIRST} to {LATEST}. Use the "
            "release that wrote it, or a later one.")
    return int(noted)

"""The artifact location of a team's MLflow server: a folder, or a bucket of S3.

The server serves files under addresses that do not contain the location. So the location may not
change unnoticed: earlier files would be unreachable.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ftzard.core import credentials
from ftzard.errors import ConfigError

_RECORD = "artifacts.txt"


def chosen(folder: Path, option: str | None) -> str:
    """Return the URL of a server's artifact location.

    Args:
        folder: The server's own.
        option: A folder or an s3:// URL, None for the former location.

    Raises:
        ConfigError: For what is neither, or if files are kept elsewhere already.
    """
    before = _before(folder)
    if option is None:
        return before or (folder / "artifacts").as_uri()
    place = _url(option)
    if before is not None and place != before:
        file = folder / _RECORD
        raise ConfigError(
            f"--artifacts is {place}, but this server keeps its files in {before}, where nobody "
            f"would find them any more. Leave --artifacts out; or move them there, and write "
            f"{place} into {file}.")
    return place


def keep(folder: Path, place: str) -> None:
    """Record a server's artifact location, and create it if it is a folder."""
    (folder / _RECORD).write_text(f"{place}\n", encoding="utf-8")
    if place.startswith("file:"):
        Path(unquote(urlsplit(place).path)).mkdir(mode=0o700, parents=True, exist_ok=True)


def environment(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment that a server needs for S3."""
    return {name: value for name, value in variables.items()
            if name.startswith(("AWS_", "MLFLOW_S3_")) and value}


def _before(folder: Path) -> str | None:
    file, usual = folder / _RECORD, folder / "artifacts"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    return usual.as_uri() if usual.is_dir() and any(usual.iterdir()) else None


def _url(option: str) -> str:
    scheme, mark, rest = option.partition("://")
    if not mark:
        return Path(os.path.abspath(os.path.expanduser(option))).as_uri()
    if scheme != "s3" or not rest.strip("/"):
        raise ConfigError(f"--artifacts is '{credentials.mask(option)}'; expected a folder, or "
                          "s3://BUCKET or s3://BUCKET/FOLDER.")
    if "@" in rest.split("/", 1)[0]:
        raise ConfigError("--artifacts holds a login, which everybody on this machine can read in "
                          "the list of processes. Leave it out and set AWS_ACCESS_KEY_ID and "
                          "AWS_SECRET_ACCESS_KEY, in the environment or in .env.")
    if find_spec("boto3") is None:
        raise ConfigError("S3 needs a package that is not installed (boto3); install it with: pip "
                          "install boto3")
    return option.rstrip("/")

"""Credentials: which there are, and the one place where they are read.

They come from the environment, or from the file `.env` of a workspace, which git ignores; what the
environment says goes over the file. Every process that works for the workspace inherits them from
there: none is part of a config, a command line or anything that a run writes.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ftzard.core import text_file
from ftzard.errors import ConfigError

FILE = ".env"


@dataclass(frozen=True)
class Credential:
    """The name of a credential, its service, and whether it is secret (a user name is not)."""

    name: str
    about: str
    secret: bool = True


#: What a run may need. Other settings of these services (`PREFIXES`) are taken from the file too.
RUN = (
    Credential("HF_TOKEN", "Hugging Face"),
    Credential("HUGGINGFACE_TOKEN", "Hugging Face, taken as HF_TOKEN"),
    Credential("HUGGING_FACE_HUB_TOKEN", "Hugging Face, taken as HF_TOKEN"),
    Credential("MLFLOW_TRACKING_USERNAME", "MLflow", secret=False),
    Credential("MLFLOW_TRACKING_PASSWORD", "MLflow"),
    Credential("MLFLOW_TRACKING_TOKEN", "MLflow"),
    Credential("PGPASSWORD", "PostgreSQL"),
    Credential("COMET_API_KEY", "Comet"),
    Credential("RAY_AUTH_TOKEN", "the Ray cluster"),
    Credential("FTZARD_GIT_USERNAME", "git", secret=False),
    Credential("FTZARD_GIT_TOKEN", "git"),
    Credential("AWS_ACCESS_KEY_ID", "DVC on S3"),
    Credential("AWS_SECRET_ACCESS_KEY", "DVC on S3"),
    Credential("AWS_SESSION_TOKEN", "DVC on S3"),
    Credential("AZURE_STORAGE_CONNECTION_STRING", "DVC on Azure"),
    Credential("AZURE_STORAGE_KEY", "DVC on Azure"),
    Credential("AZURE_STORAGE_SAS_TOKEN", "DVC on Azure"),
    Credential("AZURE_CLIENT_SECRET", "DVC on Azure"),
    Credential("GOOGLE_APPLICATION_CREDENTIALS", "DVC on Google Cloud", secret=False),  # a path
    Credential("OSS_ACCESS_KEY_ID", "DVC on Aliyun"),
    Credential("OSS_ACCESS_KEY_SECRET", "DVC on Aliyun"),
    Credential("FTZARD_NOTIFY", "the services that notices go to"),
)
#: Names under which some have their token of Hugging Face, in order; HF_TOKEN goes over them.
HUB_TOKEN, HUB_TOKEN_TOO = "HF_TOKEN", ("HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN")
PREFIXES = ("HF_", "MLFLOW_TRACKING_", "PG", "COMET_", "FTZARD_GIT_", "AWS_", "AZURE_", "GOOGLE_",
            "OSS_", "RAY_AUTH_")
#: What `ftzard mlflow-server` and `ftzard mlflow-user` need; no run ever gets them.
SERVER = (
    Credential("MLFLOW_AUTH_ADMIN_USERNAME", "the MLflow server's administrator", secret=False),
    Credential("MLFLOW_AUTH_ADMIN_PASSWORD", "the MLflow server's administrator"),
    Credential("MLFLOW_FLASK_SERVER_SECRET_KEY", "the MLflow server"),
    Credential("MLFLOW_BACKEND_STORE_URI", "the MLflow server's database"),
    Credential("PGPASSWORD", "the MLflow server's database"),
    Credential("MYSQL_PWD", "the MLflow server's database"),
    Credential("MLFLOW_S3_ENDPOINT_URL", "the MLflow server's S3", secret=False),
    Credential("FTZARD_NEW_PASSWORD", "the MLflow user that is added or changed"),
)

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")
_SECRET_NAME = re.compile(r"TOKEN(?!IZER)|PASSW(OR)?D|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY"
                          r"|STORAGE_KEY|CONNECTION_STRING", re.I)
_URL_LOGIN = re.compile(r"(?<=://)[^\s'\"]+@")  # to the last @: rather too much than too little
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/'\":@]*):([^\s/'\"]*)@")
_SHORTEST = 8  # a shorter value may stand anywhere by chance


def is_loaded(name: str) -> bool:
    """Return whether a name in a workspace's `.env` is loaded into the environment."""
    return name.startswith(PREFIXES) or name in {c.name for c in RUN}


def load(folder: Path) -> None:
    """Load a workspace's `.env` into the environment; variables that are set already win."""
    _name_hub_token()
    for name, value in read(folder / FILE).items():
        if is_loaded(name):
            os.environ.setdefault(name, value)
    _name_hub_token()


def _name_hub_token() -> None:
    """Set HF_TOKEN from another name that it has in the environment, if it is not set itself."""
    known = next((os.environ[name] for name in HUB_TOKEN_TOO if os.environ.get(name)), None)
    if known and not os.environ.get(HUB_TOKEN):
        os.environ[HUB_TOKEN] = known


def load_for_server(folder: Path) -> None:
    """Load a workspace's `.env` for starting the MLflow server and administering its users."""
    for name, value in read(folder / FILE).items():
        if is_loaded(name) or name in {c.name for c in SERVER}:
            os.environ.setdefault(name, value)


def read(file: Path) -> dict[str, str]:
    """Return the values of a file of lines NAME=value; {} if there is no file.

    Quotes around a value are taken off; a line that begins with # is a comment, as is what
    follows ' #' after a value without quotes. Raises ConfigError for another line, by its number
    only, and for a file that cannot be read.
    """
    if not file.exists() and not file.is_symlink():
        return {}
    try:
        lines = text_file.read(file, "lines NAME=value").splitlines()
    except ConfigError as error:
        raise ConfigError(f"{error} Mend it, or remove it and set the credentials in the "
                          "environment.") from error
    values = {}
    for number, line in enumerate((line.strip() for line in lines), 1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{file}, line {number}: expected NAME=value, or # and a comment.")
        values[match[1]] = _value(match[2])
    return values


def replaced(text: str, name: str, value: str) -> str | None:
    """Return the text of such a file with another value of a name, or None if it lacks the name.

    Every other line stays as it is. Raises ConfigError for a value that no line can say.
    """
    lines, replaced_any = text.splitlines(keepends=True), False
    for number, line in enumerate(lines):
        match = _LINE.fullmatch(line.strip())
        if match is not None and match[1] == name:
            parts = line[:line.index(match[1])], line[len(line.rstrip("\r\n")):]
            lines[number], replaced_any = f"{parts[0]}{name}={_quoted(name, value)}{parts[1]}", True
    return "".join(lines) if replaced_any else None


def _quoted(name: str, value: str) -> str:
    """Return a value as a line writes it, with quotes where it needs them."""
    for quoted in (value, f"'{value}'", f'"{value}"'):
        match = _LINE.fullmatch(f"{name}={quoted}".strip())
        if match is not None and _value(match[2]) == value:
            return quoted
    raise ConfigError(f"the new value of {name} has quotes and '#' that a line of {FILE} cannot "
                      "say together; choose one without.")


def rewrite(file: Path, name: str, value: str) -> bool:
    """Replace the value of a name in a file of credentials; return whether it has the name.

    The file is replaced as a whole; its owner and its permissions stay.
    """
    file = file.resolve()
    if not file.is_file():
        return False
    text = replaced(file.read_bytes().decode("utf-8"), name, value)
    if text is None:
        return False
    before, part = file.stat(), file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w",
                       encoding="utf-8", newline="") as stream:
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), before.st_uid, before.st_gid)
            os.fchmod(stream.fileno(), before.st_mode & 0o777)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return True


def _value(text: str) -> str:
    quoted = re.match(r"""(['"])(.*?)\1\s*(?:#.*)?$""", text)
    return quoted[2] if quoted else re.split(r"\s#", text, maxsplit=1)[0].rstrip()


def where(folder: Path) -> dict[str, str]:
    """Return {name: 'environment' or '.env'} of every credential of a run that is set.

    Of one that `load` has taken from the file, the file is named; of a token of Hugging Face, the
    name that it is set under.
    """
    values = read(folder / FILE)
    sources = {c.name: FILE if values.get(c.name) == os.environ[c.name] else "environment"
               for c in RUN if os.environ.get(c.name)}
    token = os.environ.get(HUB_TOKEN)
    for name in (name for name in HUB_TOKEN_TOO if name in sources):
        used = token in (None, "", os.environ[name])
        sources[name] += f", taken as {HUB_TOKEN}" if used else f", not used beside {HUB_TOKEN}"
        if used and values.get(HUB_TOKEN) != token:
            sources.pop(HUB_TOKEN, None)  # it is that one
    return sources


def secrets() -> dict[str, str]:
    """Return {name: value} of the secrets in the environment that are long enough to be known by
    their value."""
    return {c.name: os.environ[c.name] for c in (*RUN, *SERVER)
            if c.secret and len(os.environ.get(c.name, "")) >= _SHORTEST}


def mask(text: str) -> str:
    """Replace logins in URLs and the values of secret-looking environment variables by `***`."""
    text = _URL_LOGIN.sub("***@", text)
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= 6:
            text = text.replace(value, "***").replace(quote(value, safe=""), "***")
    return text


def refuse_in(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for a config that contains a credential, since every run records it.

    Found are passwords in URLs and the values of secrets in the environment; the message names the
    key and never the value.

    Args:
        config: Nested values.
    """
    known = secrets()
    for key, text in _texts(config):
        if _URL_PASSWORD.search(text):
            raise ConfigError(
                f"{key} holds a password in its URL; expected a URL without one, since the config "
                "is recorded with every run. Set the login in the environment or in the "
                f"workspace's {FILE}: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for "
                "an MLflow server, PGPASSWORD for PostgreSQL.")
        for name, value in known.items():
            if value in text:
                raise ConfigError(
                    f"{key} holds the value of {name}; expected none of a secret, since the config "
                    f"is recorded with every run. Take it out: {name} is read from the environment "
                    f"or from the workspace's {FILE}.")


def _texts(values: object, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        for name, value in values.items():
            if "://" in str(name):  # a source of data.mix
                yield key, str(name)
            else:
                yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _texts(value, key)
    elif isinstance(values, str):
        yield key, values


def without_password(url: str) -> tuple[str, str | None]:
    """Return a URL without its password, and the password or None."""
    match = _URL_PASSWORD.search(url)
    if match is None:
        return url, None
    return f"{url[:match.end(1)]}{url[match.end(2):]}", unquote(match[2])

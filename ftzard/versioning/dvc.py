"""DVC through its command line: `.dvc` files, cache and remote.

The commands run in one process that lives as long as a `Dvc` is open. Measured on two cores: `dvc
add` and `dvc push` as two processes take 1.1 s, most of it imports; in one process 0.45 s, part of
it while the caller still hashes. Calling DVC inside the notebook's kernel would save no more, and
would change the kernel's working directory and logging. Locks are waited for as on the command line
(`--wait-for-lock`). `--quiet` is not used, since it also hides the reason of a failure.
"""

import configparser
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ftzard.core.artifacts import write_atomically
from ftzard.errors import VersioningError
from ftzard.versioning import dvc_connection
from ftzard.versioning.git import mask, remedy

_ROWS = re.compile(r"^(meta:\n  rows: )\d+$", re.MULTILINE)


class Dvc:
    """An open DVC for one workspace, to be used in a `with` statement.

    Paths are relative to the root, with forward slashes. Every method raises VersioningError with
    the command, its exit code and what DVC said.
    """

    def __init__(self, root: Path):
        self.root = Path(root)
        self._process: dvc_connection.OwnProcess | dvc_connection.ForkedProcess | None = None
        self._ready = False

    def __enter__(self) -> "Dvc":
        self._process = dvc_connection.connect(self.root)
        return self

    def __exit__(self, kind, value, trace) -> None:
        process, self._process = self._process, None
        # After an error, and unless it was asked, it waits for nothing that is still wanted.
        process.close(at_once=kind is not None or not self._ready)

    def run(self, *args: str) -> str:
        """Run `dvc args…` and return its standard output."""
        answer = self.attempt(*args)
        if answer["code"] != 0:
            raise VersioningError(
                f"'dvc {mask(' '.join(args))}' failed in {self.root} with exit code "
                f"{answer['code']}: {spoken(answer['errors'])} {remedy(answer['errors'])}"
            )
        return answer["printed"]

    def attempt(self, *args: str) -> dict:
        """Run `dvc args…`; return {'code', 'printed', 'errors'}, whatever the exit code."""
        if not self._ready:
            started = self._read()
            if not started["ready"]:
                raise VersioningError(
                    f"DVC cannot be imported by {sys.executable} ({started['errors']}); "
                    "install FTzard's requirements there."
                )
            self._ready = True
            self._process.started(started["pid"])
        self._process.requests.write(json.dumps(list(args)) + "\n")
        self._process.requests.flush()
        return self._read()

    def _read(self) -> dict:
        line = self._process.answers.readline()
        if not line:
            raise VersioningError(
                f"DVC's process ended with {self._process.ended()}; run the step again.")
        return json.loads(line)

    def add(self, paths: Sequence[str]) -> list[str]:
        """Put files into the cache and write their `.dvc` files; return the paths of these."""
        if paths:
            self.run("--wait-for-lock", "add", *paths)
        return [dvc_path(path) for path in paths]

    def push(self, dvc_paths: Sequence[str]) -> None:
        """Send the data of `.dvc` files to the default remote and verify that it is there.

        DVC itself only warns, and exits with 0, when the cache has lost the data: an error here.
        """
        answer = self.attempt("--wait-for-lock", "push", *dvc_paths)
        if answer["code"] != 0:
            raise VersioningError(
                f"'dvc push' failed with exit code {answer['code']}: {spoken(answer['errors'])}"
            )
        states = self.status_cloud(dvc_paths)
        absent = sorted(name for name, state in states.items() if state != "deleted")
        if absent:
            raise VersioningError(
                f"after 'dvc push' the data is absent for {', '.join(absent)}: the cache has lost "
                "it and the remote never had it. Run the step that makes it again; to give it up, "
                "push git by hand and remove .ftzard/push.json."
            )

    def status_cloud(self, dvc_paths: Sequence[str]) -> dict[str, str]:
        """Return {artifact: state} of the differences between cache and remote.

        'new': the remote has not the data; 'deleted': the cache has not; 'missing': neither has.
        """
        return json.loads(self.run("--wait-for-lock", "status", "--cloud", "--json", *dvc_paths))

    def pull(self, dvc_paths: Sequence[str]) -> None:
        """Fetch the data of `.dvc` files from the remote into cache and workspace."""
        self.run("--wait-for-lock", "pull", *dvc_paths)

    def fetch(self, dvc_paths: Sequence[str]) -> str | None:
        """Fetch the data of `.dvc` files into the cache; return DVC's message if that fails."""
        answer = self.attempt("--wait-for-lock", "fetch", *dvc_paths)
        return (spoken(answer["errors"]) or "dvc fetch failed") if answer["code"] else None

    def cache(self) -> Path:
        """Return the folder of the cache."""
        return self.root / self.run("cache", "dir").strip()

    def checkout(self, dvc_paths: Sequence[str]) -> None:
        """Restore the data of `.dvc` files in the workspace from the cache."""
        self.run("--wait-for-lock", "checkout", *dvc_paths)

    def init(self) -> list[str]:
        """Initialize DVC in the workspace, without analytics and automatic staging in git.

        Returns the files to commit; leaves an existing set-up as it is.
        """
        if not (self.root / ".dvc" / "config").is_file():
            self.run("init", "--quiet")
            self.run("config", "core.analytics", "false")
            self.run("config", "core.autostage", "false")
        created = (".dvc/config", ".dvc/.gitignore", ".dvcignore")
        return [path for path in created if (self.root / path).is_file()]

    def require_config(self) -> None:
        """Raise VersioningError, with DVC's message, if the repository's config is invalid."""
        answer = self.attempt("check-ignore", "ftzard.yaml")  # exit code 1: it is not ignored
        if answer["code"] not in (0, 1):
            raise VersioningError(f"DVC does not take {self.root / '.dvc' / 'config'}: "
                                  f"{spoken(answer['errors'])}")


def dvc_path(path: str) -> str:
    """Return the path of the `.dvc` file of an artifact."""
    return path if path.endswith(".dvc") else f"{path}.dvc"


def dvc_hash(root: Path, path: str) -> str:
    """Return the MD5 in the `.dvc` file of an artifact of the working tree."""
    file = Path(root) / dvc_path(path)
    if not file.is_file():
        raise VersioningError(f"{path} has no version yet: {file} does not exist.")
    return read_dvc(file.read_text(encoding="utf-8"), file).md5


@dataclass(frozen=True)
class Pointer:
    """The content of a `.dvc` file: the data's MD5, its size in bytes, and its annotations.

    Attributes:
        rows: Of the table.
        delivered_as: The name of the file that a delivery came as.
    """

    md5: str | None
    size: int | None
    rows: int | None
    delivered_as: str | None = None


def read_dvc(text: str, name: object) -> Pointer:
    """Return what the text of a `.dvc` file says; name: for the error."""
    try:
        content = yaml.safe_load(text)
        out = content["outs"][0]
        noted = content.get("meta") or {}
        name = noted.get("delivered_as")
        return Pointer(out["md5"], out.get("size"), noted.get("rows"),
                       None if name is None else str(name))
    except (yaml.YAMLError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise VersioningError(
            f"{name} is not a .dvc file of one artifact; bring it back with 'git checkout'."
        ) from error


def with_rows(text: str, rows: int | None) -> str:
    """Return the text of a `.dvc` file with the row count of its data; None: without one.

    It stands under `meta`, which DVC keeps and never reads.
    """
    content = yaml.safe_load(text)
    if (content.get("meta") or {}).get("rows") == rows:
        return text
    if rows is not None and "meta" not in content:
        return f"{text.rstrip()}\nmeta:\n  rows: {rows}\n"
    changed, times = _ROWS.subn(rf"\g<1>{rows}", text)
    if rows is not None and times:
        return changed
    content["meta"] = {k: v for k, v in (content["meta"] or {}).items() if k != "rows"}
    if rows is not None:
        content["meta"]["rows"] = rows
    content = {k: v for k, v in content.items() if k != "meta" or v}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def with_name(text: str, name: str | None) -> str:
    """Return the text of a `.dvc` file with the name its data was delivered as; None: as it is."""
    content = yaml.safe_load(text)
    if name is None or (content.get("meta") or {}).get("delivered_as") == name:
        return text
    content["meta"] = {**(content.get("meta") or {}), "delivered_as": name}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def usual_cache(root: Path) -> Path:
    """Return the cache folder by the repository's own config, without starting DVC."""
    folder = _unquoted(_config(root).get("cache", "dir", fallback="cache"))
    return Path(root) / ".dvc" / os.path.expanduser(folder)


def cached(cache: Path, md5: str) -> Path:
    """Return the path of an MD5's data in a cache."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _config(root: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None, strict=False)
    files = [Path(root) / ".dvc" / "config", Path(root) / ".dvc" / "config.local"]
    try:
        config.read(files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise VersioningError(
            f"DVC's config in {Path(root) / '.dvc'} cannot be read: {reason}. Mend it, or bring it "
            "back with 'git restore .dvc/config'.") from error
    return config


def _remote_section(name: str) -> str:
    return f"'remote \"{name}\"'"


def default_remote(root: Path) -> tuple[str, str] | None:
    """Return (name, url) of the default DVC remote in the repository's own config, or None."""
    config = _config(root)
    name = _unquoted(config.get("core", "remote", fallback=""))
    url = _unquoted(config.get(_remote_section(name), "url", fallback=""))
    return (name, url) if name and url else None


def unusable_url(url: str) -> str | None:
    """Return why a URL or folder cannot be a DVC remote, as the end of a sentence, or None.

    DVC fills in what stands in braces, and its config what stands in '%(…)s'.
    """
    sign = next((s for s in ("{", "}", "%(", "\n", "\r", '"""', "'''") if s in url), None)
    if sign is not None:
        return f"DVC cannot keep data in a folder whose name holds {sign!r}"
    return None if url == url.encode("utf-8", "replace").decode() else (
        "its name holds bytes that are not UTF-8")


def set_default_remote(root: Path, url: str, name: str = "store") -> None:
    """Make `url` the default remote of a repository that has none.

    DVC itself writes its config as ASCII, and fails on a folder such as 'josé'; it reads UTF-8.
    Raises VersioningError if a remote of that name is there and is another one.
    """
    file, config = Path(root) / ".dvc" / "config", _config(root)
    text = file.read_text(encoding="utf-8")
    section = _remote_section(name)
    current = _unquoted(config.get(section, "url", fallback=url))
    if current != url:
        raise VersioningError(
            f"The DVC remote '{name}' of {root} is {mask(current)}, not {mask(url)}, and is not "
            f"the default; make it so with 'dvc remote default {name}', or rename it: dvc remote "
            f"rename {name} NAME")
    default = f"    remote = {name}\n"
    core = re.search(r"^\[core\][^\n]*\n", text, re.MULTILINE)
    text = (f"{text[:core.end()]}{default}{text[core.end():]}" if core
            else f"[core]\n{default}{text}")
    if not config.has_section(section):
        text = f"{text.rstrip()}\n[{section}]\n    url = {quoted(url)}\n"
    write_atomically(file, lambda part: part.write_text(text, encoding="utf-8"))


def quoted(value: str) -> str:
    """Return a value as DVC's config writes it, quoted if it has special characters."""
    if re.fullmatch(r"[\w/.:@+=~%-]+", value):
        return value
    marks = ('"', "'", '"""', "'''")
    return next(f"{mark}{value}{mark}" for mark in marks
                if mark not in value and not (len(mark) == 3 and value.endswith(mark[0])))


def _unquoted(value: str) -> str:
    value = value.strip()
    for mark in ('"""', "'''", '"', "'"):
        if len(value) >= 2 * len(mark) and value.startswith(mark) and value.endswith(mark):
            return value[len(mark):-len(mark)]
    return value


def local_folder(root: Path, url: str) -> Path | None:
    """Return the folder of a DVC remote's URL, or None if it is not local."""
    if "://" in url and not url.startswith("file://"):
        return None
    folder = Path(os.path.expanduser(url.removeprefix("file://")))
    return folder if folder.is_absolute() else Path(root) / ".dvc" / folder


def spoken(stderr: str) -> str:
    """Return DVC's standard error as one line, without its advertisement."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return mask(" ".join(line for line in lines if not line.startswith("Having any troubles")))

"""A workspace's own choices, as config/data/own.yaml: checked, and copied for hydra to compose.

Texts and maps with keys of a user's own go through hydra under stand-ins: what looks like an
interpolation is text, and such a map replaces that of the choice below it.
"""

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from ftzard.config.schema import GROUPS, MAPS
from ftzard.core import text_file, yaml_file
from ftzard.errors import ConfigError, nearest

SELF = "_self_"


@contextmanager
def copied(folder: Path | None, packaged: Path) -> Iterator[tuple[str | None, dict[str, object]]]:
    """Yield a folder with a workspace's own choices for hydra, and the values of the placeholders.

    The folder is None where the workspace has none. Raises ConfigError for a file that cannot be
    read or has wrong `defaults`, and for one whose name a packaged choice has, which hydra would
    take instead.
    """
    files = [] if folder is None else sorted(
        file for group in GROUPS for file in (folder / group).rglob("*.yaml"))
    if folder is None or not files:
        yield None, {}
        return
    meant: dict[str, object] = {}
    bases: dict[str, list[str]] = {}
    with TemporaryDirectory(prefix="ftzard-") as place:
        for file in files:
            relative = file.relative_to(folder)
            if (packaged / relative).is_file():
                raise ConfigError(
                    f"{file} has no effect, because FTzard brings a choice of that name; give it "
                    f"another name, and set {relative.parent}=THAT_NAME.")
            text = text_file.read(file)
            values = yaml_file.parse(text, str(file)) or {}
            if not isinstance(values, dict):
                raise ConfigError(f"{file} holds {values!r}; expected keys with values.")
            group = relative.parent.as_posix()
            bases[relative.with_suffix("").as_posix()] = [
                posixpath.normpath(f"{group}/{base}")
                for base in bases_of(file, values, (folder, packaged), group)]
            copy = Path(place) / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            header = [line for line in text.splitlines() if line.startswith("# @package")]
            copy.write_text("\n".join([*header[:1], yaml_file.dump({
                key: value if key == "defaults" else _stand_in(value, f"{group}.{key}", meant)
                for key, value in values.items() if key != "defaults" or value is not None})]),
                encoding="utf-8")
        for name in bases:
            _refuse_circle(name, bases, folder)
        yield place, meant


def restored(values: object, meant: Mapping[str, object]) -> object:
    """Return composed values with the placeholders replaced."""
    if isinstance(values, dict):
        return {key: restored(value, meant) for key, value in values.items()}
    if isinstance(values, list):
        return [restored(value, meant) for value in values]
    return meant.get(values, values) if isinstance(values, str) else values


def bases_of(file: Path, values: Mapping[str, Any], folders: tuple[Path, ...], group: str
             ) -> list[str]:
    """Return the choices that a file is based on; raises ConfigError for wrong `defaults`."""
    entries = values.get("defaults")
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        name = entries if isinstance(entries, str) and entries else "default"
        raise ConfigError(f"{file}: defaults is {entries!r}; expected a list of choices of "
                          f"{group}, as in [{name}, {SELF}].")
    bases = [entry for entry in entries if entry != SELF]
    for base in bases:
        if not any((folder / group / f"{base}.yaml").is_file() for folder in folders):
            known = sorted({p.stem for folder in folders for p in (folder / group).glob("*.yaml")})
            raise ConfigError(f"{file}: defaults has '{base}', and {group} has no choice "
                              f"'{base}'{nearest(base, known)}")
    return bases


def _stand_in(value: object, key: str, meant: dict[str, object]) -> object:
    whole = isinstance(value, dict) and (
        key in MAPS or any(key.endswith(f".{name}") for name in MAPS))
    if whole or isinstance(value, str):
        name = f"ftzard-value-{len(meant)}"
        meant[name] = value
        return name
    if isinstance(value, dict):
        return {inner: _stand_in(its, f"{key}.{inner}", meant) for inner, its in value.items()}
    if isinstance(value, list):
        return [_stand_in(entry, key, meant) for entry in value]
    return value


def _refuse_circle(name: str, bases: Mapping[str, list[str]], folder: Path,
                   above: tuple[str, ...] = ()) -> None:
    if name in above:
        circle = [PurePosixPath(entry).name for entry in (*above[above.index(name):], name)]
        raise ConfigError(f"{folder / name}.yaml: its defaults lead back to it ("
                          f"{' -> '.join(circle)}); take it out of the defaults.")
    for base in bases.get(name, ()):
        _refuse_circle(base, bases, folder, (*above, name))

"""The workspace's copies of the packaged notebooks, which are the user's to edit.

A copy that was never edited follows the installed release. An edited copy stays as it is, and is
refused only where it uses something that the installed release does not have.
"""

import ast
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ftzard
from ftzard.config.pipeline import NOTEBOOKS
from ftzard.core.artifacts import write_atomically
from ftzard.core.notebook_hash import notebook_hash
from ftzard.errors import WorkspaceError
from ftzard.workspace.workspace import Workspace

#: The hashes of the notebooks of every release, one a line; `tools/released_notebooks.py` adds to
#: them.
RELEASED = NOTEBOOKS / "released.txt"


@dataclass(frozen=True)
class OutdatedCopy:
    """An edited copy that the installed release cannot run.

    Attributes:
        missing: What it uses of FTzard and the release does not have, as dotted names.
    """

    path: str
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (f"{self.path} was edited and is of another release: it uses "
                f"{', '.join(self.missing[:3])}, which FTzard {ftzard.__version__} does not have. "
                "Move it away, run 'ftzard init .' in the workspace for a copy of this release, "
                "and bring your edits over.")


def packaged(task: str) -> dict[str, Path]:
    """Return the packaged notebooks for a task by file name.

    Those in a folder with the task's name win over the others.
    """
    return {path.name: path for folder in (NOTEBOOKS, NOTEBOOKS / task)
            for path in sorted(folder.glob("*.ipynb"))}


def copy_missing(workspace: Workspace) -> list[Path]:
    """Copy the packaged notebooks that the workspace does not have; return the paths of all."""
    copies = []
    for name, source in sorted(packaged(workspace.task).items()):
        copy = workspace.notebooks / name
        if not copy.exists():
            shutil.copyfile(source, copy)
        copies.append(copy)
    return copies


def unedited(workspace: Workspace, names: Iterable[str] | None = None) -> list[str]:
    """Return the file names of copies of another release that nobody has edited.

    Args:
        names: the file names to look at; None for all packaged ones.
    """
    released = _released()
    return [name for name, copy, source in _copies(workspace, names)
            if (copied := notebook_hash(copy)) in released and copied != notebook_hash(source)]


def edited(workspace: Workspace, names: Iterable[str] | None = None) -> list[str]:
    """Return the file names of copies that are no release's.

    Args:
        names: the file names to look at; None for all packaged ones.
    """
    released = _released()
    return [name for name, copy, source in _copies(workspace, names)
            if (copied := notebook_hash(copy)) not in released and copied != notebook_hash(source)]


def outdated(workspace: Workspace, names: Iterable[str] | None = None) -> list[OutdatedCopy]:
    """Return the edited copies that the installed release cannot run.

    Args:
        names: the file names to look at; None for all packaged ones.
    """
    return [OutdatedCopy(workspace.relative(copy), missing) for name in edited(workspace, names)
            if (missing := tuple(_missing(copy := workspace.notebooks / name)))]


def refresh(workspace: Workspace, names: Iterable[str] | None = None) -> list[str]:
    """Replace unedited copies of another release with the installed release's.

    Args:
        names: the file names to look at; None for all packaged ones.

    Returns:
        The paths of the copies that were replaced, below the workspace.

    Raises:
        WorkspaceError: for edited copies that the installed release cannot run; nothing is
            replaced then.
    """
    names = None if names is None else list(names)
    refused = outdated(workspace, names)
    if refused:
        raise WorkspaceError("\n".join(map(str, refused)))
    return _replace(workspace, unedited(workspace, names))


def update(workspace: Workspace) -> tuple[list[str], list[OutdatedCopy]]:
    """Bring the copies up to date: add missing ones, replace unedited ones of another release.

    Returns:
        The paths that were written, and the edited copies that the installed release cannot run.
    """
    existing = {path.name for path in workspace.notebooks.glob("*.ipynb")}
    added = [workspace.relative(copy) for copy in copy_missing(workspace)
             if copy.name not in existing]
    return [*added, *_replace(workspace, unedited(workspace))], outdated(workspace)


def _replace(workspace: Workspace, names: Iterable[str]) -> list[str]:
    sources, replaced = packaged(workspace.task), []
    for name in names:
        content = sources[name].read_bytes()
        copy = write_atomically(workspace.notebooks / name,
                                lambda part, content=content: part.write_bytes(content))
        replaced.append(workspace.relative(copy))
    return replaced


def _copies(workspace: Workspace, names: Iterable[str] | None
            ) -> Iterator[tuple[str, Path, Path]]:
    """Yield (file name, copy, packaged notebook) of the readable copies in a workspace."""
    sources = packaged(workspace.task)
    for name in sources if names is None else names:
        copy = workspace.notebooks / name
        if name in sources and copy.is_file():
            try:
                notebook_hash(copy)
            except (ValueError, KeyError, TypeError):
                continue  # not a notebook: its run fails, and the doctor reports it
            yield name, copy, sources[name]


@cache
def _released() -> frozenset[str]:
    return frozenset(line.split()[0] for line in RELEASED.read_text(encoding="utf-8").splitlines()
                     if line and not line.startswith("#"))


def _missing(notebook: Path) -> list[str]:
    """Return the names of FTzard that a notebook uses and the package does not define.

    Imports and attributes of imported modules are looked up in the sources; nothing is imported.
    """
    missing: list[str] = []
    modules: dict[str, str] = {}
    for tree in _code(notebook):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and _ours(node.module):
                for alias in node.names:
                    dotted = f"{node.module}.{alias.name}"
                    if _source(dotted) is not None:
                        modules[alias.asname or alias.name] = dotted
                    elif _source(node.module) is None:
                        missing.append(node.module)
                    elif not _defines(node.module, alias.name):
                        missing.append(dotted)
            elif isinstance(node, ast.Import):
                missing += [alias.name for alias in node.names
                            if _ours(alias.name) and _source(alias.name) is None]
    for tree in _code(notebook):
        for node in ast.walk(tree):
            if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                    and node.value.id in modules
                    and _source(f"{modules[node.value.id]}.{node.attr}") is None
                    and not _defines(modules[node.value.id], node.attr)):
                missing.append(f"{modules[node.value.id]}.{node.attr}")
    return list(dict.fromkeys(missing))


def _code(notebook: Path) -> Iterator[ast.Module]:
    """Yield the parsed code cells; lines of IPython's own (% and !) and broken cells are left out.
    """
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            try:
                yield ast.parse("\n".join(line for line in lines
                                          if not line.lstrip().startswith(("%", "!"))))
            except SyntaxError:
                continue


def _ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "ftzard"


def _source(module: str) -> Path | None:
    """Return the source file of a module of this package, or None if there is none."""
    path = Path(ftzard.__file__).parent.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py")
                 if file.is_file()), None)


@cache
def _defined(module: str) -> frozenset[str]:
    """Return the names that a module of this package defines or imports at its top level."""
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


def _defines(module: str, name: str) -> bool:
    names = _defined(module)
    return name in names or "__getattr__" in names or name.startswith("__")

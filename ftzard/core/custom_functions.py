"""A workspace's own functions: how its texts are cleaned, and what its models are measured by.

They stand in modules of the workspace's folder `custom/` and are named in the config as
'module:function'. A function travels as a value: its name, and the sources of its module and of all
that this imports from the folder, with their hash. The value is kept with the model that was
trained with it, and only sources that have this hash are ever run: training, `ftzard predict` and
the model that MLflow serves call the same code, whatever the workspace has by now.
"""

import ast
import atexit
import hashlib
import inspect
import json
import math
import os
import re
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ftzard.errors import ConfigError, DataError, ModelError, nearest

FOLDER = "custom"
#: What is read of the folder: modules, and tables or lists of words that they read beside them.
SUFFIXES = (".py", ".txt", ".json", ".csv", ".yaml")
#: The most bytes of a function's sources, which are stored with every model.
LARGEST = 1_000_000
NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
EXPECTED = ("'module:function', the name of a function in a module of the workspace's folder "
            f"{FOLDER}/, such as texts:without_numbers")

_loaded: dict[str, str] = {}


class FunctionError(DataError):
    """An error of a workspace's own function on a text; `about` describes it without the row."""

    def __init__(self, about: str, row: object, text: str):
        self.about = about
        super().__init__(f"{about} (row {row}, {text[:60]!r})")


def source_files(root: Path) -> list[str]:
    """Return the files of `custom/`, by their paths below it.

    Raises ConfigError for a folder or a file that is a link.
    """
    folder = Path(root) / FOLDER
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link; expected a folder of the workspace itself, since "
                          "its modules are versioned with it.")
    files = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        if path.is_symlink():
            raise ConfigError(f"{path} is a link; expected the file itself, since the modules of "
                              f"{FOLDER}/ are versioned with the workspace.")
        if path.is_file() and path.suffix in SUFFIXES:
            files.append(inside.as_posix())
    return files


def read(root: Path) -> dict[str, str]:
    """Return the texts of the files of `custom/` by their paths below it."""
    texts = {}
    for name in source_files(root):
        try:
            texts[name] = (Path(root) / FOLDER / name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{FOLDER}/{name} is no text in UTF-8 ({error.reason}); save it as "
                              "UTF-8.") from error
    return texts


def packed(name: str, sources: Mapping[str, str], key: str) -> dict[str, Any]:
    """Return a function as a JSON value: {function, sha256, files}.

    Args:
        name: 'module:function'.
        sources: the files of the folder, as `read` returns them.
        key: of the config, for messages.

    Raises:
        ConfigError: there is no such module or function, it does not parse, or it imports from
            the folder in a way that would not find the same code everywhere.
    """
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"{key} is {name!r}; expected {EXPECTED}.")
    module, _, function = name.partition(":")
    files = _reached(module, sources, key, name)
    _require_defined(files[str(_file_of(module, files))], function, key, name)
    for other, text in sources.items():
        if not other.endswith(".py"):
            files[other] = text
    size = sum(len(text.encode()) for text in files.values())
    if size > LARGEST:
        raise ConfigError(f"{key} is {name!r}, whose files in {FOLDER}/ have {size:,} bytes; "
                          f"expected at most {LARGEST:,}, since they are kept with every model.")
    files = dict(sorted(files.items()))
    return {"function": name, "sha256": _digest(name, files), "files": files}


def _digest(name: str, files: Mapping[str, str]) -> str:
    text = json.dumps([name, sorted(files.items())], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _file_of(module: str, sources: Mapping[str, str]) -> str | None:
    """Return the file of a module, or None."""
    path = module.replace(".", "/")
    return next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in sources), None)


def _reached(module: str, sources: Mapping[str, str], key: str, name: str) -> dict[str, str]:
    """Return the module's file and the files of the folder that it imports, directly or not."""
    if _file_of(module, sources) is None:
        modules = [n.removesuffix(".py").replace("/", ".") for n in sources if n.endswith(".py")]
        raise ConfigError(
            f"{key} is {name!r}, but there is no module {FOLDER}/{module.replace('.', '/')}.py"
            + (nearest(module, modules) if modules else
               f"; the folder {FOLDER}/ of the workspace has none. Write the function there."))
    reached: dict[str, str] = {}
    waiting = [module]
    while waiting:
        here = waiting.pop()
        file = _file_of(here, sources)
        if file is None or file in reached:
            continue
        reached[file] = sources[file]
        parents = here.split(".")
        waiting += [".".join(parents[:n]) for n in range(1, len(parents))]
        package = here if file.endswith("__init__.py") else here.rpartition(".")[0]
        for node in ast.walk(_parsed(file, sources[file], key, name)):
            waiting += _imports(node, package, file, sources)
    return reached


def _parsed(file: str, text: str, key: str, name: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{key} is {name!r}, but {FOLDER}/{file}, line "
                          f"{getattr(error, 'lineno', '?')}, is no Python: {error.args[0]}."
                          ) from error


def _imports(node: ast.AST, package: str, file: str, sources: Mapping[str, str]) -> list[str]:
    """Return the modules of the folder that an import statement may load."""
    if isinstance(node, ast.ImportFrom) and node.level:
        parts = package.split(".") if package else []
        parts = parts[:len(parts) - (node.level - 1)]
        base = ".".join([*parts, *([node.module] if node.module else [])])
        return [base, *(f"{base}.{a.name}" if base else a.name for a in node.names)]
    named = ([a.name for a in node.names] if isinstance(node, ast.Import) else
             [str(node.module)] if isinstance(node, ast.ImportFrom) else [])
    for name in named:
        top = name.split(".")[0]
        if top == FOLDER or _file_of(top, sources) is not None:
            inside = name.removeprefix(f"{FOLDER}.") if top == FOLDER else name
            raise ConfigError(
                f"{FOLDER}/{file}, line {getattr(node, 'lineno', 0)}, imports '{name}'; "
                f"expected a dot before a module of the same folder, as in 'from .{inside} import "
                "…', so that the one that is kept with a model is found.")
    return []


def _require_defined(text: str, function: str, key: str, name: str) -> None:
    defined = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        else:
            defined |= {n.id for n in ast.walk(node)
                        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if function not in defined:
        module = name.partition(":")[0]
        raise ConfigError(f"{key} is {name!r}, but {FOLDER}/{module.replace('.', '/')}.py defines "
                          f"no '{function}'{nearest(function, defined)}")


def function(value: Mapping[str, Any], key: str, arguments: int) -> Callable[..., Any]:
    """Return the function of a packed value, imported from its own sources.

    Args:
        value: as `packed` returns it.
        key: of the config, for messages.
        arguments: how many the function is called with.

    Raises:
        ModelError: the sources are not those of the hash.
        DataError: the module cannot be imported, or the function cannot be called that way.
    """
    name, files = value["function"], value["files"]
    if _digest(name, files) != value["sha256"]:
        raise ModelError(f"the code of {key}={name} is not what its hash {value['sha256'][:12]}… "
                         "was made of, so it is not run; bring the model's files back from where "
                         "they were registered.")
    module, _, attribute = name.partition(":")
    try:
        loaded = getattr(import_module(f"{_package(value)}.{module}"), attribute)
    except (Exception, SystemExit) as error:
        raise DataError(f"{key}={name}: {FOLDER}/{module.replace('.', '/')}.py cannot be imported: "
                        f"{_message(error)}.") from error
    if not callable(loaded):
        raise DataError(f"{key}={name} is a {type(loaded).__name__}; expected a function.")
    try:
        inspect.signature(loaded).bind(*range(arguments))
    except TypeError as error:
        takes = "one text" if arguments == 1 else (
            "the wanted labels or answers, the model's, and a table of the rows")
        raise DataError(f"{key}={name}{inspect.signature(loaded)} cannot be called with {takes}: "
                        f"{error}.") from error
    except ValueError:  # a function of C has no signature
        pass
    return loaded


def _package(value: Mapping[str, Any]) -> str:
    """Return the name of the package under which the sources of a value are imported."""
    name = f"ftzard_custom_{value['sha256'][:24]}"
    if name not in _loaded:
        folder = Path(tempfile.mkdtemp(prefix="ftzard-custom-"))
        atexit.register(_remove, folder, os.getpid())
        for path, text in value["files"].items():
            place = folder / path
            if not place.resolve().is_relative_to(folder.resolve()):
                raise ModelError(f"{path!r} lies outside the folder of a model's own code.")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8", newline="")
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        _loaded[name] = str(folder)
    return name


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork leaves it to the process that made it
        shutil.rmtree(folder, ignore_errors=True)


def _message(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def cleaned(texts: Sequence[str], value: Mapping[str, Any],
            rows: Sequence[Any] | None = None) -> list[str]:
    """Return texts cleaned by a workspace's own `data.clean`, one for each.

    rows: their numbers, for messages; None counts from 0. Raises FunctionError, with the row, for a
    function that raises or returns no text.
    """
    name, results = f"data.clean={value['function']}", []
    call = function(value, "data.clean", 1)
    for row, text in zip(range(len(texts)) if rows is None else rows, texts, strict=True):
        try:
            result = call(text)
        except (Exception, SystemExit) as error:
            raise FunctionError(f"{name} failed: {_message(error)}", row, text) from error
        if not isinstance(result, str):
            raise FunctionError(f"{name} returned {_shown(result)}; expected a text", row, text)
        try:
            result.encode()
        except UnicodeEncodeError:
            raise FunctionError(f"{name} returned half a character; expected a text that UTF-8 can "
                                "write", row, text) from None
        results.append(str(result))
    return results


def require_same(once: Sequence[str], again: Sequence[str], value: Mapping[str, Any],
                 rows: Sequence[Any], given: str) -> None:
    """Raise DataError, with the row, for a text of which `data.clean` makes two.

    Args:
        once: what it made of texts.
        again: what it made when it was called again.
        value: the function, as `packed` returns it.
        rows: the texts' numbers, for the message.
        given: what it was called with again, in words.
    """
    for row, first, second in zip(rows, once, again, strict=True):
        if first != second:
            raise DataError(
                f"data.clean={value['function']} made {first[:60]!r} of row {row}, and "
                f"{second[:60]!r} when it was given {given} again; expected a function that makes "
                "the same of a text each time and leaves a cleaned text as it is.")


def _shown(value: object) -> str:
    return f"{repr(value)[:60]} ({type(value).__name__})"


def measured(names_and_values: Mapping[str, Mapping[str, Any]], labels: Sequence[str],
             answers: Sequence[str], table: Any) -> dict[str, float]:
    """Return the values of a workspace's own metrics by name.

    Args:
        names_and_values: {short name: value as `packed` returns it}.
        labels: the true label, or the wanted answer, of each row.
        answers: the label that the model gave each, or the answer that it wrote.
        table: a line per row: of labels their probabilities, with the labels as columns; of
            answers what a task says of each.

    Raises:
        DataError: a function raises, or returns no finite number, or another one when it is called
            again.
    """
    values = {}
    for name, value in names_and_values.items():
        call = function(value, "metrics", 3)
        numbers = []
        for _ in range(2):
            try:
                number = call(list(labels), list(answers), table.copy())
            except (Exception, SystemExit) as error:
                raise DataError(f"metrics: {value['function']} failed on {len(labels):,} rows: "
                                f"{_message(error)}.") from error
            if hasattr(number, "item") and getattr(number, "ndim", 1) == 0:
                number = number.item()
            if isinstance(number, bool) or not isinstance(number, int | float) or (
                    not math.isfinite(number)):
                raise DataError(f"metrics: {value['function']} returned {_shown(number)}; expected "
                                "a finite number.")
            numbers.append(float(number))
        if numbers[0] != numbers[1]:
            raise DataError(f"metrics: {value['function']} returned {numbers[0]} and then "
                            f"{numbers[1]} for the same rows; expected the same number each time.")
        values[name] = numbers[0]
    return values


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return {name in tables and records: 'module:function'}."""
    return {name.partition(":")[2]: name for name in names}


def requirements(value: Mapping[str, Any] | None) -> list[str]:
    """Return the installed packages, pinned, that a function's sources import."""
    from importlib.metadata import packages_distributions, version

    if not value:
        return []
    known, packages = packages_distributions(), set()
    for name, text in value["files"].items():
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(text)):
            named = ([a.name for a in node.names] if isinstance(node, ast.Import) else
                     [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level
                     else [])
            packages |= {d for n in named for d in known.get(n.split(".")[0], ())}
    return [f"{name}=={version(name).split('+')[0]}" for name in sorted(packages)]

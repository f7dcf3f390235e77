"""A model as MLflow keeps it: archives, signature, example, requirements, and the code it needs.

What is shipped is the part of FTzard that opens and asks a model, so that one loads with
`mlflow.pyfunc.load_model` where FTzard is not installed.
"""

import ast
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

import ftzard
from ftzard.core import custom_functions
from ftzard.core.archive import read_entry
from ftzard.errors import TrackingError
from ftzard.modeling.adapter_meta import META
from ftzard.modeling.head import DEFAULT_HEAD
from ftzard.tasks.base import Task, task_in

#: What opens a model and asks it; it is shipped with whatever it imports of FTzard.
NEEDED = ("ftzard", "ftzard.tasks.loading", "ftzard.core.archive")
#: The types of MLflow that a predictor's OUTPUT names.
TYPES = {"array of double": Array(DataType.double),
         "array of string": Array(DataType.string), "boolean": DataType.boolean,
         "long": DataType.long, "double": DataType.double, "string": DataType.string}
#: What the shipped code imports; MLflow installs these versions for `mlflow models serve`.
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "peft", "bitsandbytes",
                "accelerate", "safetensors", "numpy", "pandas", "pyarrow")
# A bar for each file that is copied would stand between the lines of a notebook.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
_SERVED = Path(__file__).with_name("pyfunc_model.py")


@contextmanager
def packaged(name: str, archives: Mapping[str, Path], *, example: Sequence[str],
             labels: Sequence[str], config: Mapping | None = None) -> Iterator[Path]:
    """Yield the folder of a model as MLflow keeps it; it is gone afterwards.

    Args:
        name: For the message.
        archives: 'adapter' and 'base', those that are shipped.
        example: Raw texts.
        labels: In the order of the probabilities, none of a model that writes answers.
        config: What a bare base is opened with, or how a tuned model's confidence is told.

    Raises:
        TrackingError: If there is no space for it.
    """
    task = _task(archives, config)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it tells of every step
        try:
            mlflow.pyfunc.save_model(
                model, python_model=str(_SERVED), signature=signature(task),
                artifacts={key: str(path) for key, path in archives.items()},
                input_example=pd.DataFrame({"text": list(example)}),
                code_paths=[str(_copy_code(Path(folder) / "code", task))],
                pip_requirements=_required(archives, config),
                model_config=json.loads(json.dumps(config, default=str)) if config else None,
                metadata=({"labels": list(labels)} if labels else {})
                | ({} if task.head == DEFAULT_HEAD else {"task": task.name}))
        except OSError as error:
            raise TrackingError(
                f"the files of '{name}' for MLflow cannot be written to {folder}: {error}. Free "
                "space there, or let TMPDIR name another folder, and run the step again; nothing "
                "was registered.") from error
        yield model


def _task(archives: Mapping[str, Path], config: Mapping | None) -> Task:
    """Return what a model was made for, as its adapter says, or the config of a bare base."""
    meta = _meta(archives, config)
    return task_in(meta if "task" in meta else meta.get("spec", {}))


def _meta(archives: Mapping[str, Path], config: Mapping | None) -> dict:
    """Return what an adapter's ftzard.json says, or the config of a bare base."""
    if "adapter" not in archives:
        return dict(config or {})
    return json.loads(read_entry(archives["adapter"], META) or b"{}")


def _required(archives: Mapping[str, Path], config: Mapping | None) -> list[str]:
    """Return the requirements of a model, those of a function of the workspace's own included."""
    own = (_meta(archives, config).get("cleaning") or {}).get("own")
    needed = pinned()
    there = {line.partition("==")[0] for line in needed}
    return [*needed, *(line for line in custom_functions.requirements(own)
                       if line.partition("==")[0].lower() not in there)]


def signature(task: Task) -> ModelSignature:
    """Return what goes in and what comes out, for MLflow to check.

    The label of a model that writes answers is the answer.
    """
    columns = [ColSpec(TYPES[kind], name) for name, kind in task.predictor.OUTPUT.items()]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "text")]),
        outputs=Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "confidence"),
                        *columns]))


def pinned() -> list[str]:
    """Return the requirements with the versions that are installed here."""
    return [f"{name}=={installed(name).split('+')[0]}" for name in REQUIREMENTS]


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def shipped(task: Task) -> list[Path]:
    """Return the files of FTzard that a model of a task needs: those of NEEDED, the task's
    predictor, and all that these import."""
    root = Path(ftzard.__file__).parents[1]
    waiting, modules = [*NEEDED, f"ftzard.tasks.{task.name}.predictor"], set()
    while waiting:
        name = waiting.pop()
        place = root.joinpath(*name.split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file() and file not in modules:  # a name may be that of a function in a module
            modules.add(file)
            waiting += [name.rpartition(".")[0], *_imported(file)]
    return sorted(modules)


def _imported(file: Path) -> list[str]:
    """Return the names of FTzard that a file imports: modules, and what is in them.

    What is imported for type checkers alone is left out.
    """
    names, tree = [], ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body
                 if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == "ftzard"]


def _copy_code(target: Path, task: Task) -> Path:
    """Copy what is shipped below `target` and return the package's folder."""
    root = Path(ftzard.__file__).parents[1]
    for file in shipped(task):
        place = target / file.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return target / "ftzard"

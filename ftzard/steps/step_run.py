"""One execution of a step: its config, inputs, MLflow run and outputs.

`start_step` works the same by hand and under Dagster. Under Dagster the parameters cell has been
replaced: it defines `context`, and the inputs are handles. By hand the inputs are None (the
workspace's latest artifact) or a path, and `overrides` changes the config. Dagster is not imported
here; the objects that dagstermill put into the notebook's namespace are used as they are.
"""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import ftzard
from ftzard.config import compose
from ftzard.config.pipeline import Step, step_named
from ftzard.config.schema import Config
from ftzard.core import custom_functions
from ftzard.core.artifacts import ArtifactRef, dvc_hash, verify, write_json
from ftzard.core.locks import locked
from ftzard.data import reading, storage
from ftzard.errors import DataError
from ftzard.reporting import plots
from ftzard.steps import (
    artifact_checks,
    delivery_files,
    notebook_shell,
    run_description,
    step_location,
)
from ftzard.steps.inputs import step_inputs
from ftzard.steps.shown_facts import ShownFacts
from ftzard.steps.step_location import locate
from ftzard.tasks.base import Task, task_named
from ftzard.tracking import access, record, runs
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import delivery_names, git, own_code
from ftzard.workspace import disk, drop_folders, memory
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.identity_version import FIRST
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class Picture:
    """A PNG image that a notebook displays without further libraries."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass
class StepRun:
    """One execution of one step.

    Attributes:
        config: the resolved config of the experiment.
        mlflow_run: the execution's run in MLflow, a child of `parent`.
        inputs: handles of the input artifacts, by name.
        metadata: of the step that this one follows (`Step.after`), if any.
        code: the workspace's own code that the execution uses, by path.
        force: whether to compute also what has been computed before.
    """

    step: Step
    config: Config
    workspace: Workspace
    mlflow_run: runs.Run
    parent: runs.Run
    tracking: runs.Tracking
    inputs: dict[str, ArtifactRef]
    metadata: dict[str, Any]
    dagster_run_id: str | None
    code: dict[str, own_code.UsedFile] = field(default_factory=dict)
    outputs: dict[str, ArtifactRef] = field(default_factory=dict)
    records: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, float] = field(default_factory=dict)
    force: bool = False
    _dagstermill: Any = None
    _open: ExitStack = field(default_factory=ExitStack)
    _trials: list[runs.Run] = field(default_factory=list)
    _closed: bool = False

    @cached_property
    def task(self) -> Task:
        """What differs between kinds of fine-tuning, of this workspace's kind."""
        return task_named(self.config.task.kind)

    @property
    def labelled(self) -> bool:
        """Whether the delivery holds labels for rows of a labeling queue."""
        return any(handle.name == "labelled" for handle in self.inputs.values())

    @property
    def identity(self) -> int:
        """Version of the rules by which texts and names are the same, frozen in the workspace."""
        cleaned = self.path("cleaned") if "cleaned" in self.inputs else None
        return identity(self.workspace, self.config, cleaned)

    @cached_property
    def own_clean(self) -> dict[str, Any] | None:
        """The function that `data.clean` names, as `custom_functions.packed` returns it, or None.
        """
        name = self.config.data.clean
        if name is None:
            return None
        sources = own_code.custom_sources(self.workspace, self.code)
        return custom_functions.packed(name, sources, "data.clean")

    @cached_property
    def own_metrics(self) -> dict[str, dict[str, Any]]:
        """The functions that `metrics` names, as `custom_functions.packed` returns them, by name.
        """
        sources = own_code.custom_sources(self.workspace, self.code)
        return {short: custom_functions.packed(name, sources, "metrics")
                for short, name in custom_functions.short_names(self.config.metrics or ()).items()}

    @cached_property
    def cleaning(self) -> dict[str, Any]:
        """The cleaning options, as `data.cleaning.clean` and an adapter's ftzard.json take them.
        """
        own = self.own_clean
        if "tokenized" in self.inputs:
            artifact_checks.require_rows_cleaned(self, own)
        values = self.config.data.cleaning
        return values if own is None else {**values, "own": own}

    @cached_property
    def delivered_as(self) -> dict[str, str]:
        """The file names of the deliveries, {batch: name}, of batches whose name is recorded."""
        return delivery_files.delivered_as(self.workspace, self.tracking)

    def path(self, name: str) -> Path:
        """Return the verified file behind an input or an output of this step."""
        handle = self.inputs.get(name) or self.outputs.get(name)
        if handle is None:
            raise DataError(f"{self.step.name} has no artifact '{name}'; "
                            f"it has {sorted({*self.inputs, *self.outputs})}.")
        return verify(handle, self.workspace.root)

    def read(self, name: str) -> pd.DataFrame:
        """Return an input's rows, after verifying the file against the handle's SHA-256."""
        return storage.read_parquet(self.path(name))

    def artifact_path(self, name: str, **parts: str) -> Path:
        """Return the path of the artifact `name` in this workspace."""
        return self.workspace.root / getattr(self.config.paths, name).format(**parts)

    def previous(self, name: str) -> pd.DataFrame | None:
        """Return the artifact as an earlier run wrote it, or None if there is none yet."""
        path = self.artifact_path(name)
        return storage.read_parquet(path) if path.is_file() else None

    def store_delivery(self, name: str) -> Path:
        """Store a raw input under data/raw by its content hash and add it to the outputs.

        The record of its sources is added, too, if it was made of several.
        """
        from ftzard import sources

        file = self.workspace.root / self.inputs[name].path
        self.record_facts(sources=sources.describe(self.workspace, file))
        digest = self.inputs[name].sha256
        file_name = (delivery_names.remembered(self.workspace, digest)
                     or delivery_files.name_of(self.workspace, file, digest))
        stored = reading.store_raw(file, self.workspace.root / "data",
                                   drop_folders.opener(self.workspace, file))
        self.outputs["delivery"] = self.workspace.handle("delivery", stored)
        sources_record = sources.keep(self.workspace, stored)
        if sources_record is not None:
            self.add_artifact("sources", sources_record)
        if file_name is not None:
            file_name = delivery_names.remember(self.workspace, digest, file_name)
            self.record_facts(delivered_as=file_name)
            self.mlflow_run.tags({"delivered_as": file_name})
        return stored

    def write(self, name: str, rows: pd.DataFrame, *, identity: int = FIRST, **parts: str
              ) -> ArtifactRef:
        """Write an artifact to its path atomically and return its handle.

        Args:
            identity: version of the rules by which its texts and names are the same.

        Raises:
            DataError: if the existing artifact was made under another version of the rules.
        """
        path = self.artifact_path(name, **parts)
        if name in ("cleaned", "tokenized") and path.is_file():
            artifact_checks.require_identity(self, path, identity)
        if name == "cleaned":
            artifact_checks.require_own_clean(self, rows)
        if path.suffix == ".csv":
            storage.write_csv(rows, path, encoding="utf-8-sig")  # what a spreadsheet needs
        else:
            storage.write_parquet(rows, path, identity=identity)
        handle = self.workspace.handle(name, path, len(rows))
        self.outputs[name] = handle
        return handle


    @property
    def checkpoints(self) -> dict[str, Any]:
        """The checkpoint arguments of `fit` and `search` for this step."""
        return {"checkpoints": self.workspace.checkpoints / self.step.name,
                "checkpoint_steps": self.config.training.checkpoint_steps}

    def trial(self, number: int, params: Mapping[str, object]) -> runs.Run:
        """Open an MLflow run for a trial below this one; it is closed with this one at the latest.
        """
        trial = self.mlflow_run.trial(number, params)
        self._trials.append(trial)
        return trial

    def end_trial(self, trial: runs.Run) -> None:
        """Close a trial's run as FINISHED."""
        trial.end()
        self._trials.remove(trial)

    def add_artifact(self, name: str, path: Path) -> ArtifactRef:
        """Add an existing file of the workspace to the outputs that Git_Dvc versions."""
        rows = storage.rows(path) if path.suffix == ".parquet" else None
        handle = self.workspace.handle(name, path, rows)
        self.outputs[name] = handle
        return handle

    def log_data(self, *, artifact: str = "tokenized", **rows: pd.DataFrame) -> None:
        """Record which rows of an input are used for training and testing.

        Args:
            artifact: name of the input.
            rows: the rows by MLflow context, `training` and `testing`. Each becomes a dataset of
                the run with a digest of all its rows in order.
        """
        handle = self.inputs[artifact]
        for context, part in rows.items():
            split = "+".join(sorted(part["split"].unique())) or "none"
            self.mlflow_run.dataset(f"{artifact}.{split}", storage.rows_digest(part), handle.path,
                                    len(part), context, sha256=handle.sha256,
                                    commit=handle.commit, split=split)

    def plot(self, figure: Any, name: str) -> Picture:
        """Record a figure with the run and return it as an image for the notebook."""
        picture = Picture(plots.png(figure))
        self.mlflow_run.binary(picture.png, f"plots/{name}.png")
        return picture

    def log(self, **metrics: float) -> None:
        """Record metrics with the run and in the step's facts."""
        self.mlflow_run.metrics(_plain(metrics))
        self.facts.update(_plain(metrics))
        self.logged |= {name: value for name, value in _plain(metrics).items()
                        if isinstance(value, (int, float)) and value == value}

    def record_facts(self, **facts: object) -> None:
        """Add facts to the step's metadata, which the next step and the report read."""
        self.facts.update(_plain(facts))

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Print the progress of a computation: a bar by hand, four lines under Dagster."""
        text = f"{what} {done}/{total}".strip()
        if self.dagster_run_id is None:
            filled = int(30 * done / max(total, 1))
            end = "\n" if done >= total else "\r"
            print(f"[{'█' * filled}{'·' * (30 - filled)}] {text}", end=end, flush=True)
        elif done >= total or done * 4 // total != (done - 1) * 4 // total:
            print(text, flush=True)

    def finish(self) -> dict[str, Any]:
        """Close the run as FINISHED, pass on the outputs and return the step's metadata."""
        from ftzard.steps import row_accounts

        self._add_imported_code()
        row_accounts.record_dropped(self)
        for handle in self.outputs.values():
            self.mlflow_run.dataset(handle.name, dvc_hash(self.workspace.root / handle.path),
                                    handle.path, handle.rows, "output")
            self.mlflow_run.tags({f"data_sha256.{handle.name}": handle.sha256})
        metadata = {
            "step": self.step.name,
            "run_name": self.mlflow_run.name,
            "run_id": self.mlflow_run.id,
            "base_run_name": self.parent.name,
            "base_run_id": self.parent.id,
            "dagster_run_id": self.dagster_run_id,
            "config_hash": compose.digest(self.config),
            "artifacts": [h.to_dict() for h in self.outputs.values()],
            "records": self.records,
            "code": own_code.to_dict(self.code),
            "facts": self.facts,
        }
        self.mlflow_run.text(json.dumps(metadata, indent=1, default=str), "metadata.json")
        run_description.publish(self)
        write_json(self.workspace.metadata / f"{self.step.name}.json", metadata)
        self._yield_results(metadata)
        self._close("FINISHED")
        shutil.rmtree(self.workspace.checkpoints / self.step.name, ignore_errors=True)
        return {**metadata, "facts": ShownFacts(self.facts)}

    def _add_imported_code(self) -> None:
        """Add the workspace's modules that this process has imported, and record all code used.

        The code of a preceding step without Git_Dvc is added, so that this step's commits it.
        """
        preceding = {}
        if self.step.after and not step_named(self.step.after).versioned:
            preceding = own_code.from_dict(self.metadata.get("code"))
        more = [path for path in own_code.imported(self.workspace) if path not in self.code]
        self.code = {**preceding, **self.code, **own_code.snapshot(self.workspace, more)}
        notebook_shell.record_unsaved_cells(self)
        self.mlflow_run.tags({"own_code": json.dumps(
            {path: used.sha256[:16] for path, used in sorted(self.code.items())})})

    def _yield_results(self, metadata: dict[str, Any]) -> None:
        if self._dagstermill is None:
            return
        for name in self.step.yields:
            self._dagstermill.yield_result(self.outputs[name].to_dict(), name)
        self._dagstermill.yield_result(json.loads(json.dumps(metadata, default=str)),
                                       self.step.metadata)

    def _close(self, status: str, reason: str | None = None) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            with runs.closing(status):
                for trial in self._trials:
                    trial.end(status, reason)
                self.mlflow_run.end(status, reason)
        finally:
            self._open.close()


def start_step(step: str | Step, namespace: Mapping[str, Any]) -> StepRun:
    """Open the execution of a step from its notebook.

    Args:
        step: the step's name, or the `Step` of a notebook of one's own.
        namespace: the notebook's `globals()`, with what its parameters cell defines.

    Raises:
        FtzardError: a subclass for a missing workspace, an invalid config, and an input that is
            missing or was changed after it was versioned.
    """
    notebook_shell.show_messages_first()
    step = step if isinstance(step, Step) else step_named(step)
    location = locate(namespace, step)
    workspace = location.workspace
    resources = ExitStack()
    if location.by_hand:
        resources.enter_context(locked(workspace.state / "run.lock",
                                       {"pid": os.getpid(), "doing": f"{step.notebook} by hand"},
                                       waiting=lambda text: print(text, flush=True)))
    try:
        step_location.require_restored(workspace)
        inputs, metadata = step_inputs(step, namespace, location)
        memory.require_memory(step, inputs.values(), workspace)
        disk.require_space(step, inputs.values(), workspace, location.config)
        if location.by_hand:  # a run of Dagster has checked this before its first step
            access.require(location.config.tracking)
        code = step_location.used_code(step.notebook, location)
        tracking = connect(workspace, location.config)
        runs.reconcile(tracking)
        not_used: dict[str, tuple[Any, ...]] = {}
        if step.models:
            from ftzard.steps import champion_config

            champion_config.require_champion_known(step, location, tracking)
            location, not_used = champion_config.effective_location(step, location, tracking)
        config = compose.to_record(location.config)
        parent = runs.top_level(tracking, step.run_name, workspace.state / "mlflow.lock",
                                step.about)
        child = runs.start_child(tracking, parent, record.tags(
            step=step.name,
            config=config,
            config_hash=compose.digest(location.config),
            commit=git.head(workspace.root),
            notebook=step_location.notebook_file(step.notebook, location, code),
            library=Path(ftzard.__file__).parent,
            dagster_run_id=location.dagster_run_id,
            dagster_step=location.dagster_step,
            inputs=inputs.values()))
    except BaseException:
        resources.close()
        raise
    run = StepRun(step, location.config, workspace, child, parent, tracking, inputs, metadata,
                  location.dagster_run_id, code, force=location.force,
                  _dagstermill=namespace.get("__dm_dagstermill"), _open=resources)
    notebook_shell.close_on_exit(run._close)
    child.params(compose.flat(config))
    if not_used:
        champion_config.record_not_used(run, not_used)
    child.text(yaml.safe_dump(config, sort_keys=False), "config.yaml")
    for handle in inputs.values():
        child.dataset(handle.name, dvc_hash(workspace.root / handle.path), handle.path,
                      handle.rows, "input")
    return run


def scratch() -> Path:
    """Return a new folder that is removed when the kernel ends."""
    folder = Path(tempfile.mkdtemp(prefix="ftzard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _plain(value: Any) -> Any:
    """Return a value with numpy's numbers as Python's, so that JSON keeps them numbers."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value

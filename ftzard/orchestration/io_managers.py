"""IO managers move handles, not data: the notebook wrote the file, they check and pass on.

dagstermill calls each of them twice for one output, in the kernel and in the run's process, so
writing is atomic and gives the same result the second time. `base_path` and `file_name` say where
an artifact stands; `experiment` has resolved them before anything runs.
"""

import json
import os
from pathlib import Path

from dagster import (
    AssetMaterialization,
    Field,
    InputContext,
    IOManager,
    IOManagerDefinition,
    MetadataValue,
    OutputContext,
    TableColumn,
    TableMetadataValue,
    TableSchema,
    io_manager,
)
from dagster._core.storage.input_manager import input_manager

from ftzard.config.pipeline import Step
from ftzard.core.artifacts import ArtifactRef, verify, write_atomically, write_json
from ftzard.errors import ConfigError, DataError
from ftzard.orchestration import (
    assets,
    kernel_engine,
    metadata_tables,
    mlflow_bridge,
    step_reuse,
)
from ftzard.tracking import workspace_store
from ftzard.versioning import delivery_names
from ftzard.workspace import addresses, batch_log
from ftzard.workspace.artifact_names import DELIVERIES
from ftzard.workspace.workspace import Workspace


class ArtifactIOManager(IOManager):
    """For CSV, parquet and tokenized data: stores the handle and verifies the file."""

    def __init__(self, experiment):
        self.experiment = experiment

    def handle_output(self, context: OutputContext, obj: dict) -> None:
        handle = ArtifactRef.from_dict(obj)
        verify(handle, self.experiment.workspace.root)
        write_json(self._stored(context), handle.to_dict())
        if handle.commit and self._is_new(context):
            run = mlflow_bridge.step_details(kernel_engine.server(), self.experiment,
                                             context.step_key)
            context.log_event(AssetMaterialization(asset_key=handle.name, metadata={
                **_described(handle, self.experiment.workspace.root), **_trial(self.experiment),
                **_batches(handle, self.experiment.workspace, run),
                **_estimated(handle, self.experiment.workspace),
                **_way_to(run), **_plots(run)}))

    def load_input(self, context: InputContext) -> dict:
        for run_id in (self.experiment.run_id, *self.experiment.parents):
            stored = self._stored(context.upstream_output, run_id)
            if stored.is_file():
                return json.loads(stored.read_text(encoding="utf-8"))
        raise DataError(f"the run {self.experiment.run_id} has no handle at "
                        f"{self._stored(context.upstream_output)}; run the step before it again.")

    def _is_new(self, context: OutputContext) -> bool:
        """Return whether this process records what its op has made in this run."""
        return not kernel_engine.in_kernel() and step_reuse.of(
            self.experiment, context.step_key) is None

    def _stored(self, context: OutputContext, run_id: str | None = None) -> Path:
        name = f"{context.step_key.replace('.', '-')}.{context.name}.json"
        return self.experiment.workspace.handles / (run_id or self.experiment.run_id) / name


class MetadataIOManager(ArtifactIOManager):
    """For run metadata, which is JSON; `place` gets a copy, if set."""

    def __init__(self, experiment, place: Path | None):
        super().__init__(experiment)
        self.place = place

    def handle_output(self, context: OutputContext, obj: dict) -> None:
        write_json(self._stored(context), obj)
        if self.place is not None:
            write_json(self.place, obj)
        if (obj.get("commit") or obj.get("step") == "tuning") and self._is_new(context):
            run = mlflow_bridge.step_details(kernel_engine.server(), self.experiment,
                                             context.step_key)
            mlflow = addresses.mlflow_address(self.experiment.workspace,
                                              self.experiment.config.tracking.server)
            shared = {**_trial(self.experiment), **_way_to(run)}
            for version in assets.left_by(obj, self.experiment.workspace, mlflow, shared,
                                          _plots(run)):
                context.log_event(version)


class NotebookIOManager(IOManager):
    """Stores each executed notebook under .ftzard/executed and shows it on the run's page.

    With a prefix it is an asset as well, under PREFIX/notebooks; without one the catalog holds what
    the pipeline makes, and no notebooks.
    """

    def __init__(self, experiment, prefix: list[str]):
        self.experiment, self.prefix = experiment, prefix

    def handle_output(self, context: OutputContext, obj: bytes) -> None:
        path = self._place(context.step_key)
        write_atomically(path, lambda part: part.write_bytes(obj))
        reused = step_reuse.of(self.experiment, context.step_key)
        if reused is not None:
            context.add_output_metadata({
                **reused.metadata, "Executed notebook": MetadataValue.notebook(str(path))})
            return
        run = mlflow_bridge.step_details(kernel_engine.server(), self.experiment,
                                             context.step_key)
        shown = {"Executed notebook": MetadataValue.notebook(str(path)),
                 **_trial(self.experiment), **_way_to(run)}
        if not context.step_key.startswith("Git_Dvc_"):
            shown |= _plots(run)
        context.add_output_metadata(shown)
        if self.prefix:
            context.log_event(AssetMaterialization(
                asset_key=[*self.prefix, "notebooks", context.step_key.replace(".", "_")],
                description="The notebook as it was executed in this run.", metadata=shown))

    def load_input(self, context: InputContext) -> bytes:
        return self._place(context.upstream_output.step_key).read_bytes()

    def _place(self, step_key: str) -> Path:
        return self.experiment.workspace.executed_notebook(self.experiment.run_id, step_key)


def _trial(experiment) -> dict:
    """Return the words that mark the outputs of a trial workspace, or nothing."""
    if not experiment.config.gate.trial:
        return {}
    from ftzard.evaluation.gate import TRIAL

    return {"trial": TRIAL}


def _described(handle: ArtifactRef, root: Path) -> dict:
    """Return a file's metadata for the artifact's page: path, hash, version, rows, columns."""
    metadata = {
        "path": MetadataValue.path(str(root / handle.path)),
        "sha256": handle.sha256,
        "commit": handle.commit,
    }
    if handle.rows is not None:
        metadata["dagster/row_count"] = MetadataValue.int(handle.rows)
    if handle.format == "parquet":
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(root / handle.path)
        metadata["dagster/column_schema"] = MetadataValue.table_schema(TableSchema(
            columns=[TableColumn(f.name, str(f.type)) for f in file.schema_arrow]))
        metadata["preview"] = _preview(file)
    return metadata


def _batches(handle: ArtifactRef, workspace: Workspace, run: dict | None) -> dict:
    """Return the table's rows by the file name of their delivery."""
    if handle.format != "parquet":
        return {}
    import pyarrow.parquet as parquet

    from ftzard.reporting import batch_names

    file = parquet.ParquetFile(workspace.root / handle.path)
    if "batch" not in file.schema_arrow.names:
        return {}
    names = run["delivered_as"] if run else delivery_names.known(workspace)
    counted = file.read(columns=["batch"])["batch"].value_counts().to_pylist()
    return {"batches": metadata_tables.of_rows(
        [{"delivered as": batch_names.named(c["values"], names), "rows": c["counts"]}
         for c in counted], ("delivered as", "rows"), width=None)}


def _way_to(run: dict | None) -> dict:
    """Return the link from an asset's page to the MLflow run that made it."""
    if run is None:
        return {"MLflow run": workspace_store.NOT_HERE}
    return {"MLflow run": f"{run['name']} ({run['id']})",
            "MLflow page": MetadataValue.url(run["page"])}


def _estimated(handle: ArtifactRef, workspace: Workspace) -> dict:
    """Return what is estimated of a batch's accuracy before its labels, on its predictions."""
    last = batch_log.ESTIMATES.last(workspace) if handle.name == "predictions" else None
    return {} if last is None else {"accuracy without labels": last["sentence"]}


def _plots(run: dict | None) -> dict:
    """Return the step's plots in one entry; a large one only by name."""
    shown = []
    for name, plot in (run["plots"] if run else {}).items():
        title = Path(name).stem.replace("_", " ")
        shown.append(f"![{title}](data:image/png;base64,{plot['picture']})"
                     if plot["picture"] is not None else
                     f"{name}, an artifact of the MLflow run ({plot['bytes']:,} bytes)")
    return {"plots": MetadataValue.md("\n\n".join(shown))} if shown else {}


def _preview(file, rows: int = 5) -> TableMetadataValue:
    """Return the first rows of a parquet file, with lists truncated."""
    batch = next(file.iter_batches(batch_size=rows), None)
    return metadata_tables.of_rows(batch.to_pylist() if batch is not None else [],
                                   file.schema_arrow.names)


def _place(what: str, default: str) -> dict[str, Field]:
    """Return the fields of a file's location, for the schema of the Launchpad.

    what: the file; default: a sentence on what holds unless they say otherwise.
    """
    return {
        "base_path": Field(str, is_required=False, description=(
            f"Folder of {what}, below the workspace. {default}")),
        "file_name": Field(str, is_required=False, description=(
            f"Name of the file with {what}. {default}")),
    }


def artifact_io_manager(name: str) -> IOManagerDefinition:
    """Return an artifact's IO manager; base_path and file_name set its location."""

    @io_manager(config_schema=_place(name, f"Default: that of paths.{name}."),
                required_resource_keys={"experiment"},
                description=f"Where {name} is written; the same as paths.{name}.")
    def manager(context) -> ArtifactIOManager:
        return ArtifactIOManager(context.resources.experiment)

    return manager


def metadata_io_manager(name: str) -> IOManagerDefinition:
    """Return the IO manager of a step's run metadata, with an optional copy."""

    @io_manager(config_schema=_place(name, "Without both no copy is written."),
                required_resource_keys={"experiment"},
                description=f"Where a copy of {name} is written, if base_path and file_name say.")
    def manager(context) -> MetadataIOManager:
        experiment = context.resources.experiment
        return MetadataIOManager(experiment, metadata_place(context.resource_config, experiment))

    return manager


@io_manager(config_schema={"asset_key_prefix": Field([str], default_value=[], description=(
    "With one, executed notebooks are assets too, under PREFIX/notebooks."))},
            required_resource_keys={"experiment"},
            description="Executed notebooks, under .ftzard/executed and on the run's page.")
def notebook_io_manager(context) -> NotebookIOManager:
    """IO manager of executed notebooks."""
    return NotebookIOManager(context.resources.experiment,
                             context.resource_config["asset_key_prefix"])


def latest_input_manager(name: str):
    """Return the input manager of an artifact at the head of a job: the latest one."""

    place = f"data.{DELIVERIES[name]}" if name in DELIVERIES else f"paths.{name}"

    @input_manager(config_schema=_place(name, f"Default: that of {place}."),
                   required_resource_keys={"experiment"},
                   description=f"Finds {name} for a job that starts with it; the same as {place}.")
    def load(context) -> dict:
        from ftzard.steps.inputs import given_or_latest

        experiment = context.resources.experiment
        return given_or_latest(name, None, experiment.workspace, experiment.config).to_dict()

    return load


def metadata_place(config: dict, experiment) -> Path | None:
    """Return the file of base_path and file_name, or None without them.

    Raises ConfigError for one without the other, or for a place outside the workspace.
    """
    base, name = config.get("base_path"), config.get("file_name")
    if not base and not name:
        return None
    if not (base and name):
        raise ConfigError(f"run metadata: base_path is {base!r} and file_name {name!r}; give both.")
    root = experiment.workspace.root
    path = Path(os.path.normpath(root / base / name))
    if not path.is_relative_to(root):
        raise ConfigError(f"run metadata: {path} is outside the workspace {root}.")
    return path


def metadata_input_manager(step: Step):
    """Return the input manager of a step's metadata at the head of a job: the latest.

    base_path and file_name may name another file: .json, or a .joblib of an older system, which is
    opened only with data.trust_joblib=true.
    """

    @input_manager(config_schema=_place(step.metadata, "Default: the latest run's."),
                   required_resource_keys={"experiment"},
                   description=f"Finds the metadata of the latest {step.name} run.")
    def load(context) -> dict:
        from ftzard.steps.inputs import latest_metadata

        experiment = context.resources.experiment
        path = metadata_place(context.resource_config or {}, experiment)
        if path is None:
            return latest_metadata(step, experiment.workspace)
        return read_metadata(path, trusted=experiment.config.data.trust_joblib)

    return load


def read_metadata(path: Path, *, trusted: bool) -> dict:
    """Return the run metadata of a .json file, or of a .joblib file that is trusted."""
    if not path.is_file():
        raise DataError(f"run metadata {path} does not exist; expected a .json or .joblib file.")
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    from ftzard.data.storage import read_joblib

    return dict(read_joblib(path, trusted=trusted))

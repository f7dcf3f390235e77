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
    MetadataValue,
    OutputContext,
    TableColumn,
    TableSchema,
    io_manager,
)
from dagster._core.storage.input_manager import input_manager

from ftzard import delivery_names
from ftzard.artifact import Handle, verify, write_atomically, write_json
from ftzard.errors import ConfigError, DataError
from ftzard.escaping import markdown
from ftzard.history import lineage
from ftzard.pipeline import kernels, recorded
from ftzard.steps import Step
from ftzard.workspace import Workspace

PLACE = {
    "base_path": Field(str, is_required=False,
                       description="Folder of the file, below the workspace; default: paths."),
    "file_name": Field(str, is_required=False, description="Name of the file; default: paths."),
}


class ArtifactIOManager(IOManager):
    """For CSV, parquet and tokenized data: stores the handle and checks the file's hash."""

    def __init__(self, experiment):
        self.experiment = experiment

    def handle_output(self, context: OutputContext, obj: dict) -> None:
        handle = Handle.from_dict(obj)
        verify(handle, self.experiment.workspace.root)
        write_json(self._stored(context), handle.to_dict())
        if not kernels.in_kernel() and handle.commit:
            run = _run_of(self.experiment, context.step_key)
            context.log_event(AssetMaterialization(asset_key=handle.name, metadata={
                **_described(handle, self.experiment.workspace.root), **_trial(self.experiment),
                **_batches(handle, self.experiment.workspace, run),
                **_way_to(run), **_plots(run)}))

    def load_input(self, context: InputContext) -> dict:
        for run_id in (self.experiment.run_id, *self.experiment.parents):
            stored = self._stored(context.upstream_output, run_id)
            if stored.is_file():
                return json.loads(stored.read_text(encoding="utf-8"))
        raise DataError(f"the run {self.experiment.run_id} has no handle at "
                        f"{self._stored(context.upstream_output)}; run the step before it again.")

    def _stored(self, context: OutputContext, run_id: str | None = None) -> Path:
        name = f"{context.step_key.replace('.', '-')}.{context.name}.json"
        return self.experiment.workspace.handles / (run_id or self.experiment.run_id) / name


class MetadataIOManager(ArtifactIOManager):
    """For run metadata: JSON, small enough to travel itself; `place` gets a copy, if given."""

    def __init__(self, experiment, place: Path | None):
        super().__init__(experiment)
        self.place = place

    def handle_output(self, context: OutputContext, obj: dict) -> None:
        write_json(self._stored(context), obj)
        if self.place is not None:
            write_json(self.place, obj)


class NotebookIOManager(IOManager):
    """Keeps each executed notebook under .ftzard/executed and shows it on the run's page."""

    def __init__(self, experiment, prefix: list[str]):
        self.experiment, self.prefix = experiment, prefix

    def handle_output(self, context: OutputContext, obj: bytes) -> None:
        path = self._place(context.step_key)
        write_atomically(path, lambda part: part.write_bytes(obj))
        context.log_event(AssetMaterialization(
            asset_key=[*self.prefix, "notebooks", context.step_key.replace(".", "_")],
            description="The notebook as it was executed in this run.",
            metadata={"Executed notebook": MetadataValue.notebook(str(path)),
                      **_trial(self.experiment),
                      **_way_to(_run_of(self.experiment, context.step_key))}))

    def load_input(self, context: InputContext) -> bytes:
        return self._place(context.upstream_output.step_key).read_bytes()

    def _place(self, step_key: str) -> Path:
        return self.experiment.workspace.executed_notebook(self.experiment.run_id, step_key)


def _trial(experiment) -> dict:
    """Return the words that mark what a trial workspace makes, or nothing."""
    if not experiment.config.gate.trial:
        return {}
    from ftzard.evaluation.gate import TRIAL

    return {"trial": TRIAL}


def _described(handle: Handle, root: Path) -> dict:
    """Return what an artifact's page says of the file: place, hash, version, rows, columns."""
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
        metadata["preview"] = MetadataValue.md(_preview(file))
    return metadata


def _batches(handle: Handle, workspace: Workspace, run: dict | None) -> dict:
    """Return the table's rows by the file that each batch was delivered as."""
    if handle.format != "parquet":
        return {}
    import pyarrow.parquet as parquet

    from ftzard.evaluation import batches

    file = parquet.ParquetFile(workspace.root / handle.path)
    if "batch" not in file.schema_arrow.names:
        return {}
    names = run["delivered_as"] if run else delivery_names.known(workspace)
    counted = file.read(columns=["batch"])["batch"].value_counts().to_pylist()
    lines = [f"| {markdown(batches.named(c['values'], names))} | {c['counts']:,} |"
             for c in counted]
    table = ["| delivered as | rows |", "|---|---:|", *lines]
    return {"batches": MetadataValue.md("\n".join(table))}


def _run_of(experiment, step_key: str) -> dict | None:
    """Return what MLflow has of a step, or of the one that Git_Dvc followed."""
    return recorded.through(kernels.server(), "about", experiment,
                            step=step_key.removeprefix("Git_Dvc_"))


def _way_to(run: dict | None) -> dict:
    """Return the way from an asset's page to the MLflow run that made it."""
    if run is None:
        return {"MLflow run": lineage.NOT_HERE}
    return {"MLflow run": f"{run['name']} ({run['id']})",
            "MLflow page": MetadataValue.url(run["page"])}


def _plots(run: dict | None) -> dict:
    """Return the step's plots as pictures in the page; a large one is named only."""
    found = {}
    for name, plot in (run["plots"] if run else {}).items():
        title = Path(name).stem.replace("_", " ")
        shown = f"{name}, an artifact of the MLflow run ({plot['bytes']:,} bytes)"
        if plot["picture"] is not None:
            shown = f"![{title}](data:image/png;base64,{plot['picture']})"
        found[f"plot: {title}"] = MetadataValue.md(shown)
    return found


def _preview(file, rows: int = 5, width: int = 60) -> str:
    names = file.schema_arrow.names
    batch = next(file.iter_batches(batch_size=rows), None)
    if batch is None:
        return "no rows"
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in batch.to_pylist():
        cells = [str(row[n]) for n in names]
        cells = [markdown(c[:width]) + "…" * (len(c) > width) for c in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@io_manager(config_schema=PLACE, required_resource_keys={"experiment"})
def artifact_io_manager(context) -> ArtifactIOManager:
    """IO manager of an artifact; base_path and file_name say where it stands."""
    return ArtifactIOManager(context.resources.experiment)


@io_manager(config_schema=PLACE, required_resource_keys={"experiment"})
def metadata_io_manager(context) -> MetadataIOManager:
    """IO manager of a step's run metadata."""
    experiment = context.resources.experiment
    return MetadataIOManager(experiment, metadata_place(context.resource_config, experiment))


@io_manager(config_schema={"asset_key_prefix": Field([str], default_value=[])},
            required_resource_keys={"experiment"})
def notebook_io_manager(context) -> NotebookIOManager:
    """IO manager of executed notebooks."""
    return NotebookIOManager(context.resources.experiment,
                             context.resource_config["asset_key_prefix"])


def latest_input_manager(name: str):
    """Return the input manager of artifact `name` at the head of a job: the latest one."""

    @input_manager(config_schema=PLACE, required_resource_keys={"experiment"},
                   description=f"Finds {name} for a job that starts with it.")
    def load(context) -> dict:
        from ftzard.inputs import given_or_latest

        experiment = context.resources.experiment
        return given_or_latest(name, None, experiment.workspace, experiment.config).to_dict()

    return load


def metadata_place(config: dict, experiment) -> Path | None:
    """Return the file that base_path and file_name name together, or None without them.

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
    """Return the input manager of a step's metadata at the head of a job: its latest run's.

    base_path and file_name may name another file: .json, or a .joblib of an older system, which is
    opened only with data.trust_joblib=true.
    """

    @input_manager(config_schema=PLACE, required_resource_keys={"experiment"},
                   description=f"Finds the metadata of the latest {step.name} run.")
    def load(context) -> dict:
        from ftzard.inputs import latest_metadata

        experiment = context.resources.experiment
        path = metadata_place(context.resource_config or {}, experiment)
        if path is None:
            return latest_metadata(step, experiment.workspace)
        return read_metadata(path, trusted=experiment.config.data.trust_joblib)

    return load


def read_metadata(path: Path, *, trusted: bool) -> dict:
    """Return the run metadata in a .json file, or in a .joblib file that is trusted."""
    if not path.is_file():
        raise DataError(f"run metadata {path} does not exist; expected a .json or .joblib file.")
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    from ftzard.dataset.storage import read_joblib

    return dict(read_joblib(path, trusted=trusted))

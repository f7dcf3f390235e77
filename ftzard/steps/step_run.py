"""What every chapter opens and closes: config, inputs, MLflow child, outputs.

`start_step` works the same by hand and under Dagster. Under Dagster the parameters cell has been
replaced: `context` is there and the inputs are handles. By hand the inputs are None (the
workspace's latest artifact) or a path, and `overrides` changes the config. No Dagster is imported
here; what dagstermill put into the notebook's namespace is used as it stands.
"""

import atexit
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import yaml

import ftzard
from ftzard.config import compose, effects, unusual
from ftzard.config.pipeline import CHAINS, JOBS, Step, step_named
from ftzard.config.schema import Config
from ftzard.core import custom_functions, parent_watchdog
from ftzard.core.artifacts import ArtifactRef, dvc_hash, verify, write_json
from ftzard.core.locks import locked
from ftzard.data import reading, storage
from ftzard.data.cleaning import cleaned_by
from ftzard.data.identity import FIRST
from ftzard.errors import DataError, FtzardError, WorkspaceError
from ftzard.reporting import plots
from ftzard.sources import delivery_files
from ftzard.steps import run_description
from ftzard.steps.inputs import given_or_latest, latest_metadata, metadata_if_any
from ftzard.tasks.base import Task, task_named
from ftzard.tracking import access, record, runs
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import delivery_names, git, own_code
from ftzard.workspace import addresses, disk, drop_folders, memory
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace, find

#: The steps that are about a delivery without labels.
INFERENCE = CHAINS["inference_pipeline_job"]


@dataclass(frozen=True)
class Picture:
    """A picture that a notebook shows wherever it runs."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass
class StepRun:
    """One execution of one step.

    config: the resolved experiment; workspace: where; run: the MLflow child; inputs: the handles
    it was given, by name; metadata: of the step named by `after`, if there is one; code: the
    workspace's own code that it uses, by path.
    """

    step: Step
    config: Config
    workspace: Workspace
    mlflow_run: runs.Run
    parent: runs.Run
    tracking: runs.Tracking
    inputs: dict[str, ArtifactRef]
    metadata: dict
    dagster_run_id: str | None
    code: dict[str, own_code.Used] = field(default_factory=dict)
    outputs: dict[str, ArtifactRef] = field(default_factory=dict)
    records: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    logged: dict[str, float] = field(default_factory=dict)
    _dagstermill: object | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _trials: list[runs.Run] = field(default_factory=list)
    _closed: bool = False

    @cached_property
    def task(self) -> Task:
        """What differs between kinds of fine-tuning, of this workspace's kind."""
        return task_named(self.config.task.kind)

    @property
    def labelled(self) -> bool:
        """Whether the delivery came back from a person, with labels for rows that were asked."""
        return any(handle.name == "labelled" for handle in self.inputs.values())

    @property
    def identity(self) -> int:
        """Version of the rules by which texts and names are the same, frozen in the workspace."""
        given = "cleaned" in self.inputs
        return identity(self.workspace, self.config, self.path("cleaned") if given else None)

    @cached_property
    def own_clean(self) -> dict | None:
        """The workspace's own `data.clean` as `custom.packed` returns it; None without one."""
        name = self.config.data.clean
        if name is None:
            return None
        return custom_functions.packed(name, own_code.custom_sources(self.workspace, self.code), "data.clean")

    @cached_property
    def own_metrics(self) -> dict[str, dict]:
        """The workspace's own `metrics` by the functions' names, as `custom.packed` returns them.
        """
        sources = own_code.custom_sources(self.workspace, self.code)
        return {short: custom_functions.packed(name, sources, "metrics")
                for short, name in custom_functions.short_names(self.config.metrics or ()).items()}

    @cached_property
    def cleaning(self) -> dict:
        """How texts are cleaned, as `data.cleaning.clean` and an adapter's ftzard.json take it.
        """
        from ftzard.registry import model_records

        own = self.own_clean
        if "tokenized" in self.inputs:
            self._require_rows_cleaned(own)
        values = model_records.cleaning_values(self.config.data)
        return values if own is None else {**values, "own": own}

    @cached_property
    def delivered_as(self) -> dict[str, str]:
        """{batch: name of the file it was delivered as}, of every batch known by a name."""
        return delivery_files.delivered_as(self.workspace, self.tracking)

    def path(self, name: str) -> Path:
        """Return the verified file behind an input or an output of this step."""
        handle = self.inputs.get(name) or self.outputs.get(name)
        if handle is None:
            raise DataError(f"{self.step.name} has no artifact '{name}'; "
                            f"it has {sorted({*self.inputs, *self.outputs})}.")
        return verify(handle, self.workspace.root)

    def read(self, name: str) -> pd.DataFrame:
        """Return an input's rows, after checking that they are the bytes the handle promises."""
        return storage.read_parquet(self.path(name))

    def artifact_path(self, name: str, **parts: str) -> Path:
        """Return where the artifact `name` belongs in this workspace."""
        return self.workspace.root / getattr(self.config.paths, name).format(**parts)

    def previous(self, name: str) -> pd.DataFrame | None:
        """Return the artifact as an earlier run left it, or None if there is none yet."""
        place = self.artifact_path(name)
        return storage.read_parquet(place) if place.is_file() else None

    def store_delivery(self, name: str) -> Path:
        """Store a raw file under data/raw by its content; it is versioned with the outputs.

        So is the record of the sources that it was made of, if it is no plain file.
        """
        from ftzard import sources

        given = self.workspace.root / self.inputs[name].path
        self.record_facts(sources=sources.describe(self.workspace, given))
        digest = self.inputs[name].sha256
        called = (delivery_names.remembered(self.workspace, digest)
                  or delivery_files.name_of(self.workspace, given, digest))
        stored = reading.store_raw(given, self.workspace.root / "data",
                                   drop_folders.opener(self.workspace, given))
        self.outputs["delivery"] = self.workspace.handle("delivery", stored)
        made_of = sources.keep(self.workspace, stored)
        if made_of is not None:
            self.add_artifact("sources", made_of)
        if called is not None:
            called = delivery_names.remember(self.workspace, digest, called)
            self.record_facts(delivered_as=called)
            self.mlflow_run.tags({"delivered_as": called})
        return stored

    def write(self, name: str, rows: pd.DataFrame, *, identity: int = FIRST, **parts: str
              ) -> ArtifactRef:
        """Write an artifact under its place, complete or not at all, and return its handle.

        identity: version of the rules by which its texts and names are the same. Raises DataError
        if the artifact that stands there was made under another.
        """
        path = self.artifact_path(name, **parts)
        if name in ("cleaned", "tokenized") and path.is_file():
            self._require_identity(path, identity)
        if name == "cleaned":
            self._require_own_clean(rows)
        if path.suffix == ".csv":
            storage.write_csv(rows, path, encoding="utf-8-sig")  # what a spreadsheet needs
        else:
            storage.write_parquet(rows, path, identity=identity)
        handle = self.workspace.handle(name, path, len(rows))
        self.outputs[name] = handle
        return handle

    def _require_identity(self, path: Path, identity: int) -> None:
        kept = storage.identity_of(path)
        if kept != identity:
            raise DataError(
                f"{self.workspace.relative(path)} was made under version {kept} of the rules by "
                f"which texts and names are the same, and {self.step.notebook}.ipynb would write "
                f"it under version {identity}: rows could move from training to test. If the "
                "notebook is of another release, move it away and run 'ftzard init' for a new "
                "copy; else begin a new workspace.")

    def _require_own_clean(self, rows: pd.DataFrame) -> None:
        """Refuse rows that a notebook has cleaned without the function that the config names."""
        name = self.config.data.clean
        if name is None or self.labelled:
            return
        now, by = cleaned_by(self.own_clean), rows.get("cleaned_by")
        if by is None or not (by == now).any():
            raise DataError(
                f"data.clean is '{name}', and {self.step.notebook}.ipynb has cleaned no row with "
                "it. Let it call cleaning.clean(run, …); if it is of an earlier release, move it "
                "away and run 'ftzard init' for a new copy.")
        others = rows[(by != now) & (rows.get("labelled_by", pd.Series("", rows.index)) == "")]
        self.log(rows_cleaned_otherwise=len(others))
        if len(others):
            print(f"{len(others):,} rows of earlier deliveries were cleaned without data.clean="
                  f"{name} as it is now; their texts stay as they are, since a text decides its "
                  "side. Begin a new workspace to clean them anew.")

    def _require_rows_cleaned(self, own: dict | None) -> None:
        """Refuse to train on rows of which none was cleaned as the model's texts will be."""
        path = self.path("tokenized")
        if "cleaned_by" in storage.columns(path):
            rows = storage.read_parquet(path, columns=["split", "cleaned_by"])
            by = rows.loc[rows["split"] == "train", "cleaned_by"]
            fits = by.empty or (by == cleaned_by(own)).any()
        else:
            fits = own is None
        if not fits:
            raise DataError(
                f"data.clean is {self.config.data.clean or 'null'}, and no training row of "
                f"{self.workspace.relative(path)} was cleaned that way; expected rows cleaned as "
                "the model's texts will be. Run 'ftzard run training_pipeline_job', which cleans "
                "them; if Step2_Data_Preprocessing.ipynb is of an earlier release, which loses the "
                "column cleaned_by, move it away and run 'ftzard init' for a new copy first.")

    @property
    def checkpoints(self) -> dict:
        """Return where this step's training keeps its state, as values for `fit` and `search`."""
        return {"checkpoints": self.workspace.checkpoints / self.step.name,
                "checkpoint_steps": self.config.training.checkpoint_steps}

    def trial(self, number: int, params: Mapping[str, object]) -> runs.Run:
        """Open a grandchild run for one trial; it is closed with this run at the latest."""
        trial = self.mlflow_run.trial(number, params)
        self._trials.append(trial)
        return trial

    def end_trial(self, trial: runs.Run) -> None:
        """Close a trial's run as FINISHED."""
        trial.end()
        self._trials.remove(trial)

    def add_artifact(self, name: str, path: Path) -> ArtifactRef:
        """Add a file that stands in the workspace already to what Git_Dvc will version."""
        rows = storage.rows(path) if path.suffix == ".parquet" else None
        handle = self.workspace.handle(name, path, rows)
        self.outputs[name] = handle
        return handle

    def log_data(self, *, artifact: str = "tokenized", **rows: pd.DataFrame) -> None:
        """Record, before they are used, which rows of an input are trained on and tested on.

        rows: by their use in MLflow, `training` and `testing`. Each becomes a data set of the run
        with a digest of all its rows, in their order.
        """
        handle = self.inputs[artifact]
        for context, part in rows.items():
            side = "+".join(sorted(part["split"].unique())) or "none"
            self.mlflow_run.dataset(f"{artifact}.{side}", storage.rows_digest(part), handle.path,
                             len(part), context, sha256=handle.sha256, commit=handle.commit,
                             split=side)

    def plot(self, figure: object, name: str) -> "Picture":
        """Record a figure with the run and return it as a picture for the notebook to show."""
        picture = Picture(plots.png(figure))
        self.mlflow_run.binary(picture.png, f"plots/{name}.png")
        return picture

    def log(self, **metrics: float) -> None:
        """Record numbers with the run and keep them for the step's summary."""
        self.mlflow_run.metrics(_plain(metrics))
        self.facts.update(_plain(metrics))
        self.logged |= {name: value for name, value in _plain(metrics).items()
                        if isinstance(value, (int, float)) and value == value}

    def record_facts(self, **facts: object) -> None:
        """Keep facts for the step's metadata, where the next step and the report find them."""
        self.facts.update(_plain(facts))

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Show how far a long computation is: a bar by hand, a line now and then under Dagster."""
        shown = f"{what} {done}/{total}".strip()
        if self.dagster_run_id is None:
            filled = int(30 * done / max(total, 1))
            end = "\n" if done >= total else "\r"
            print(f"[{'█' * filled}{'·' * (30 - filled)}] {shown}", end=end, flush=True)
        elif done >= total or done * 4 // total != (done - 1) * 4 // total:
            print(shown, flush=True)

    def finish(self) -> dict:
        """Close the run as FINISHED, hand the outputs on and return the step's metadata."""
        self._add_imported_code()
        self._account_for_rows()
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
        self._describe()
        write_json(self.workspace.metadata / f"{self.step.name}.json", metadata)
        self._hand_on(metadata)
        self._close("FINISHED")
        shutil.rmtree(self.workspace.checkpoints / self.step.name, ignore_errors=True)
        return metadata

    def _describe(self) -> None:
        """Say on MLflow's pages what this execution was; its step's page shows the latest."""
        decided = bool(self.facts.get("verdict"))
        number = run_description.round_of(self.workspace, self.config.tracking.registered_model,
                                    decided=decided)
        begins = "inference_preprocessing" if self.step.name in INFERENCE else "cleaning"
        latest = (metadata_if_any(begins, self.workspace) or {}).get("facts", {})
        dagster = addresses.dagster_run(self.workspace, self.dagster_run_id) \
            if self.dagster_run_id else None
        said = run_description.of_step(
            self.step.name, self.facts, {h.name: h.rows for h in self.outputs.values()},
            round=number, batch=run_description.batch_of(self.facts, latest),
            dagster=dagster)
        self.mlflow_run.tags({runs.NOTE: said.note, **said.tags})
        self.mlflow_run.metrics(usage())
        base = addresses.mlflow_address(self.workspace, self.config.tracking.server)
        page = addresses.mlflow_run(base, self.tracking.experiment_id, self.mlflow_run.id)
        self.parent.show_latest(
            self.mlflow_run, note=f"Latest execution: [{self.mlflow_run.name}]({page}).\n\n{said.note}",
            tags=said.tags, metrics=self.logged, step=number)
    def _add_imported_code(self) -> None:
        """Add other modules of the workspace that this process has imported, and record them all.

        Code of a step that no Git_Dvc follows is handed on by the one that is followed.
        """
        before = {}
        if self.step.after and not step_named(self.step.after).versioned:
            before = own_code.from_dict(self.metadata.get("code"))
        more = [path for path in own_code.imported(self.workspace) if path not in self.code]
        self.code = {**before, **self.code, **own_code.keep(self.workspace, more)}
        self._note_cells_not_saved()
        self.mlflow_run.tags({"own_code": json.dumps(
            {path: used.sha256[:16] for path, used in sorted(self.code.items())})})

    def _note_cells_not_saved(self) -> None:
        """Say, by hand, if cells ran that the notebook in the workspace does not have."""
        shell, used = _shell(), self.code.get(f"notebooks/{self.step.notebook}.ipynb")
        if shell is None or used is None or self.dagster_run_id is not None:
            return
        ran = getattr(shell.history_manager, "input_hist_raw", [])
        count = own_code.not_saved(own_code.kept(self.workspace, used), ran)
        self.record_facts(cells_not_saved=count)
        if count:
            print(f"{count} of the cells that ran are not in {used.path} as it was saved when the "
                  "step began: what Git_Dvc commits is the file. Save the notebook, then run it "
                  "from the top.")

    def _account_for_rows(self) -> None:
        """Count and say which rows went in and are neither kept nor rejected."""
        from ftzard.steps import row_accounts

        count = row_accounts.dropped(self.step.name, self.workspace, self.config, self.inputs,
                                     self.outputs, self.facts)
        if count is not None:
            self.log(rows_dropped_by_own_code=count)
            if count:
                print(row_accounts.sentence(count))

    def _hand_on(self, metadata: dict) -> None:
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


def usage() -> dict[str, float]:
    """Return what this process has taken of the machine, under names that MLflow shows as such."""
    taken = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"system/cpu_seconds": round(taken.ru_utime + taken.ru_stime, 1),
            "system/peak_memory_megabytes": round(taken.ru_maxrss * unit / 2**20, 1)}


def start_step(step: str | Step, namespace: Mapping) -> StepRun:
    """Open the execution of a step, named or of a chapter's own, from the notebook's `globals()`.

    Raises FtzardError subclasses: no workspace, a config that does not hold, an input that is
    missing or was changed behind its handle.
    """
    sentences_first()
    step = step if isinstance(step, Step) else step_named(step)
    place = locate(namespace, step)
    opened = ExitStack()
    if place.dagster_run_id is None:
        opened.enter_context(locked(place.workspace.state / "run.lock",
                                    {"pid": os.getpid(), "doing": f"{step.notebook} by hand"},
                                    waiting=lambda text: print(text, flush=True)))
    try:
        _require_restored(place.workspace)
        inputs, metadata = _inputs(step, namespace, place)
        memory.require_memory(step, inputs.values(), place.workspace)
        disk.require_space(step, inputs.values(), place.workspace, place.config)
        if place.dagster_run_id is None:  # a run of Dagster has asked before its first step
            access.require(place.config.tracking)
        code = _code(step.notebook, place)
        tracking = connect(place.workspace, place.config)
        runs.reconcile(tracking)
        _require_registry(step, place, tracking)
        place, passed_over = _as_it_runs(step, place, tracking)
        parent = runs.top_level(tracking, step.run_name, place.workspace.state / "mlflow.lock",
                                step.about)
        child = runs.start_child(tracking, parent, record.tags(
            step=step.name,
            config=compose.to_record(place.config),
            config_hash=compose.digest(place.config),
            commit=git.head(place.workspace.root),
            notebook=_notebook(step.notebook, place, code),
            library=Path(ftzard.__file__).parent,
            dagster_run_id=place.dagster_run_id,
            dagster_step=place.dagster_step,
            inputs=inputs.values()))
    except BaseException:
        opened.close()
        raise
    run = StepRun(step, place.config, place.workspace, child, parent, tracking, inputs, metadata,
                  place.dagster_run_id, code, _dagstermill=namespace.get("__dm_dagstermill"),
                  _open=opened)
    _close_with_the_kernel(run)
    child.params(compose.flat(compose.to_record(place.config)))
    _note_not_used(run, passed_over)
    child.text(yaml.safe_dump(compose.to_record(place.config), sort_keys=False), "config.yaml")
    for handle in inputs.values():
        child.dataset(handle.name, dvc_hash(place.workspace.root / handle.path), handle.path,
                      handle.rows, "input")
    return run


def notebook_used(notebook: str, place: "StepLocation") -> dict[str, own_code.Used]:
    """Return a notebook of the workspace as its run has read it, or by hand as it is, by its path;
    nothing for one that is packaged."""
    path = f"notebooks/{notebook}.ipynb"
    known = own_code.of_run(place.workspace, place.dagster_run_id)
    found = own_code.keep(place.workspace, [path]) if known is None else known
    return {name: used for name, used in found.items() if name == path}


def _code(notebook: str, place: "StepLocation") -> dict[str, own_code.Used]:
    """Return the workspace's own code that this execution uses: what its run has read, or by hand
    what there is now."""
    found = own_code.of_run(place.workspace, place.dagster_run_id)
    if found is None:
        found = own_code.keep(place.workspace, [
            *place.code, *own_code.custom_files(place.workspace)])
    return {**{path: used for path, used in found.items() if not path.startswith("notebooks/")},
            **notebook_used(notebook, place)}


def _notebook(notebook: str, place: "StepLocation", code: Mapping[str, own_code.Used]) -> Path:
    """Return the file of a notebook as it runs."""
    used = code.get(f"notebooks/{notebook}.ipynb")
    if used is None:
        return place.workspace.notebooks / f"{notebook}.ipynb"
    return own_code.kept(place.workspace, used)


def _require_registry(step: Step, place: "StepLocation", tracking: runs.Tracking) -> None:
    """Refuse a step with models on a registry that has lost the champion, before it trains."""
    if step.models:
        from ftzard.registry import champion_alias

        champion_alias.champion(place.workspace, tracking, place.config.tracking.registered_model)


def _as_it_runs(step: Step, place: "StepLocation", tracking: runs.Tracking
                ) -> tuple["StepLocation", dict[str, tuple]]:
    """Return the place with the config that this step takes, and what of it is passed over.

    A retraining takes values from the champion's record; every other step takes them as asked.
    """
    if step.name != "retraining":
        return place, {}
    from ftzard.registry import champion_alias, effective_config, model_records

    name = place.config.tracking.registered_model
    champion = champion_alias.champion(place.workspace, tracking, name)
    known = model_records.read_record(place.workspace, champion) if champion else None
    if known is None:
        return place, {}
    taken = effective_config.retrained(place.config, known)
    return replace(place, config=taken), effective_config.not_used(place.config, taken, place.sources)


def _note_not_used(run: StepRun, passed_over: Mapping[str, tuple]) -> None:
    """Say and record which values somebody set that this step does not use."""
    if not passed_over:
        return
    from ftzard.registry import effective_config

    for key, values in passed_over.items():
        print(effective_config.sentence(key, values), flush=True)
    told = {key: {"asked": asked, "used": used} for key, (asked, used) in passed_over.items()}
    run.record_facts(config_not_used=told)
    run.mlflow_run.tags({"config_not_used": json.dumps(told)})


@dataclass(frozen=True)
class StepLocation:
    """Where a notebook runs: which workspace and config, and under which Dagster run, if any.

    sources: where each value of the config comes from; code: by hand, the files that it was made
    from.
    """

    workspace: Workspace
    config: Config
    dagster_run_id: str | None
    dagster_step: str | None
    sources: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()


def locate(namespace: Mapping, step: Step | None = None) -> StepLocation:
    """Return where this notebook runs, from what its parameters cell holds.

    step: refuse overrides that have no effect in it; under Dagster the run has refused its own.
    """
    context = namespace.get("context")
    if context is not None:
        experiment = context.resources.experiment
        return StepLocation(experiment.workspace, experiment.config, context.run_id,
                     context.step_context.step.key, experiment.sources)
    workspace = find()
    resolved = workspace.resolve({"overrides": namespace.get("overrides") or []})
    if step is not None and f"{step.name}_job" in JOBS:
        effects.refuse_without_effect(resolved, f"{step.name}_job")
        unusual.require_usual(resolved, (step.name,))
    own_code.require_functions(workspace, resolved.config)
    return StepLocation(workspace, resolved.config, None, None, resolved.sources,
                 tuple(own_code.config_files(resolved)))


def _require_restored(workspace: Workspace) -> None:
    """Refuse files of which some are of another version than the rest."""
    if workspace.unfinished_restore.is_file():
        raise WorkspaceError(
            "an 'ftzard restore' was cut off, so some files here may be of one version and some of "
            f"another. Finish it: ftzard doctor --fix -w {workspace.in_shell}")


def _plain(value: object) -> object:
    """Return a value with numpy's numbers as Python's, so that JSON keeps them numbers."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def sentences_first() -> None:
    """Show a refusal's sentence in the notebook before its traceback."""
    shell = _shell()
    if shell is None:
        return

    def show(shell, kind, error, traceback, tb_offset=None):
        print(f"✗ {error}", file=sys.stderr, flush=True)
        return shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)

    shell.set_custom_exc((FtzardError,), show)


def _shell():
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _close_with_the_kernel(run: StepRun) -> None:
    """Close the run as FAILED when a cell fails, as KILLED when the kernel ends before the end."""
    shell = _shell()

    def after_cell(result):
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            run._close("FAILED", f"{type(error).__name__}: {error}")

    if shell is not None:
        shell.events.register("post_run_cell", after_cell)
    atexit.register(lambda: run._close("KILLED", "the kernel ended before the last cell"))
    parent_watchdog.on_orphaned(lambda: run._close("KILLED", "the process of its run was killed"))


def _inputs(step: Step, namespace: Mapping, place: StepLocation) -> tuple[dict[str, ArtifactRef], dict]:
    inputs = {}
    for name in step.takes:
        given = namespace.get(name)
        if isinstance(given, Mapping):
            handle = ArtifactRef.from_dict(given)
        else:
            handle = given_or_latest(name, given, place.workspace, place.config)
        verify(handle, place.workspace.root)
        inputs[name] = handle
    metadata = {}
    if step.after:
        metadata = (namespace.get(f"{step.after}_metadata")
                    or latest_metadata(step_named(step.after), place.workspace))
    return inputs, metadata


def scratch() -> Path:
    """Return a fresh folder for files that live as long as this kernel."""
    folder = Path(tempfile.mkdtemp(prefix="ftzard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


"""Runs in MLflow: one top-level run per step, one child per execution, trials as grandchildren.

Runs are identified by tags, never by name. A top-level run is FINISHED from its creation; only
executions are RUNNING. The process that opened one closes it as FINISHED or as FAILED with the
reason; `reconcile` closes those of dead processes as KILLED.
"""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE, MLFLOW_USER

from ftzard.core.artifacts import write_atomically
from ftzard.core.escaping import markdown
from ftzard.core.locks import alive, locked
from ftzard.errors import TrackingError
from ftzard.tracking import card
from ftzard.tracking import mirror as mirroring
from ftzard.tracking.mirror import Mirror
from ftzard.tracking.store import Store, bring_here, make_sqlite

LEVEL, STEP, PID, HOST = "ftzard.level", "ftzard.step", "ftzard.pid", "ftzard.host"
TOP, CHILD, TRIAL = "top", "child", "trial"
#: The tag that MLflow shows as a run's description, Markdown.
NOTE = MLFLOW_RUN_NOTE
_LONGEST_TAG, _LONGEST_PARAM = 5000, 6000
#: The description of an experiment.
_ABOUT = (
    "The rounds of an FTzard workspace: a run for each step, and each execution of it nested in "
    "that, named by its time (UTC). The step's run shows its latest execution; its metrics are "
    "curves over the rounds. Tags: round, batch (the delivery), version and verdict.")
#: Most metrics that MLflow takes at once.
_MOST_METRICS = 1000


@dataclass(frozen=True)
class Tracking:
    """A connection: the client and the one experiment that a workspace records to.

    Attributes:
        experiment: Its name.
        mirrors: The other platforms that get every execution as well.
    """

    client: Store
    experiment_id: str
    uri: str
    experiment: str = ""
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """An open or closed run by its id; `name` is the UTC time for a child.

    Attributes:
        mirror: The same run on another platform, if it was opened with one.
    """

    tracking: Tracking
    id: str
    name: str
    mirror: Mirror | None = field(default=None, compare=False, repr=False)

    def params(self, values: Mapping[str, object]) -> None:
        self._batch(params=[Param(k, _cut(v, _LONGEST_PARAM)) for k, v in values.items()])
        if self.mirror is not None:
            self.mirror.params(values)

    def tags(self, values: Mapping[str, object]) -> None:
        self._batch(tags=[RunTag(k, _cut(v, _LONGEST_TAG)) for k, v in values.items()])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        now = int(time.time() * 1000)
        values = {k: float(v) for k, v in values.items()
                  if isinstance(v, (int, float)) and v == v}
        self._batch(metrics=[Metric(k, v, now, step) for k, v in values.items()])
        if self.mirror is not None:
            self.mirror.metrics(values, step)

    def series(self, name: str, values: Mapping[int, float]) -> None:
        """Record a metric at many steps, {step: value}, with few requests."""
        now = int(time.time() * 1000)
        points = [Metric(name, float(value), now, step) for step, value in values.items()]
        for start in range(0, len(points), _MOST_METRICS):
            self._batch(metrics=points[start:start + _MOST_METRICS])
        if self.mirror is not None:
            for step, value in values.items():
                self.mirror.metrics({name: value}, step)

    def show_latest(self, child: "Run", *, note: str, tags: Mapping[str, object],
                    metrics: Mapping[str, float], step: int) -> None:
        """Show the latest execution on this top-level run.

        Its duration becomes the time from the first execution to the end of this one.

        Args:
            child: The execution.
            note: What is to stand first on the page, Markdown.
            tags: Of the execution, those that tell it from others.
            metrics: Its key numbers; each has a point per round, so that they are curves.
            step: Which round it was.
        """
        now = int(time.time() * 1000)
        values = {NOTE: note, "latest_run": child.name, "latest_run_id": child.id, **tags}
        self._batch(tags=[RunTag(k, _cut(v, _LONGEST_TAG)) for k, v in values.items()],
                    metrics=[Metric(k, float(v), now, step) for k, v in metrics.items()])
        self.tracking.client.set_terminated(self.id, "FINISHED")

    def card(self, record: Mapping) -> str:
        """Record the model card of this run's version, made from its record; return it."""
        text = card.model_card(record)
        self.text(text, card.NAME)
        if self.mirror is not None:
            self.mirror.card(text, card.NAME)
        return text

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.tracking.client.log_artifact(self.id, str(path), folder)

    def text(self, text: str, name: str) -> None:
        self.tracking.client.log_text(self.id, text, name)

    def binary(self, content: bytes, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(name).name
            file.write_bytes(content)
            self.artifact(file, str(Path(name).parent))

    def replace_text(self, text: str, name: str) -> None:
        """Replace a text artifact, atomically on a local store."""
        uri = self.tracking.client.get_run(self.id).info.artifact_uri
        if uri.startswith("file:"):
            write_atomically(Path(local_file_uri_to_path(uri)) / name,
                             lambda part: part.write_text(text, encoding="utf-8"))
        else:
            self.text(text, name)

    def untag(self, key: str) -> None:
        self.tracking.client.delete_tag(self.id, key)

    def dataset(self, name: str, digest: str, source: str, rows: int | None, context: str,
                **more: object) -> None:
        """Record a dataset by its hash, path and use.

        Args:
            digest: The DVC hash of a file, or the hash of rows of it.
            context: 'input', 'output', 'training' or 'testing'.
            more: What else is known of its source.
        """
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        self.tracking.client.log_inputs(self.id, datasets=[DatasetInput(
            Dataset(name=name, digest=digest, source_type="dvc",
                    source=json.dumps({"path": source, **more}),
                    profile=json.dumps({"num_rows": rows}) if rows is not None else None),
            [InputTag("mlflow.data.context", context)],
        )])

    def end(self, status: str = "FINISHED", reason: str | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED; the reason becomes a tag and its note."""
        if reason:
            self.tags({"ftzard.reason": reason, NOTE: markdown(reason)})
        self.tracking.client.set_terminated(self.id, status)
        if self.mirror is not None:
            where = self.mirror.end(status)
            if where is not None:
                self.tags({mirroring.TAG: where})

    def trial(self, number: int, params: Mapping[str, object]) -> "Run":
        """Open a grandchild for one trial of a search."""
        trial = _create(self.tracking, f"{self.name}_trial_{number}", {
            LEVEL: TRIAL, MLFLOW_PARENT_RUN_ID: self.id, "ftzard.trial": str(number),
            **_process_tags(),
        }, self.mirror.part(f"trial_{number}") if self.mirror is not None else None)
        trial.params(params)
        return trial

    def _batch(self, **what: Sequence) -> None:
        self.tracking.client.log_batch(self.id, **what)


def connect(uri: str, experiment: str, *, artifacts: Path, lock: Path,
            mirrors: Sequence[str] = ()) -> Tracking:
    """Return the connection to a store; store and experiment are created if they do not exist.

    A fresh SQLite file cannot be opened by several processes at once, so this happens under a
    file lock. mirrors: other platforms that every execution is sent to as well. Raises
    TrackingError if the store cannot be reached.
    """
    with locked(lock, {"pid": os.getpid(), "doing": "opening MLflow"}):
        make_sqlite(uri)
        left = bring_here(uri, experiment, artifacts)
        if left is not None:
            print(f"This workspace was copied or moved: MLflow looked for its files in {left}, and "
                  f"looks in {artifacts} from now on.", file=sys.stderr, flush=True)
        client = Store(uri)
        entity = client.get_experiment_by_name(experiment)
        if entity is None:
            artifacts.mkdir(parents=True, exist_ok=True)
            location = artifacts.as_uri() if uri.startswith("sqlite:") else None
            entity = _create_experiment(client, experiment, location)
    require_active(client, entity)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return Tracking(client, entity.experiment_id, uri, experiment, tuple(mirrors))


def require_active(client: Store, entity) -> None:
    """Raise TrackingError for a deleted experiment."""
    if entity.lifecycle_stage != "active":
        raise TrackingError(
            f"the experiment '{entity.name}' was deleted in MLflow. Bring it back with 'mlflow "
            f"experiments restore -x {entity.experiment_id}' (MLFLOW_TRACKING_URI={client.shown}), "
            "or set tracking.experiment to another name.")


def opened(uri: str, experiment: str, *, patience_s: float | None = None) -> Tracking | None:
    """Return the connection to an existing store; None without experiment.

    Args:
        patience_s: How long trouble that may pass is waited for.
    """
    client = Store(uri, patience_s)
    entity = client.get_experiment_by_name(experiment)
    return Tracking(client, entity.experiment_id, uri, experiment) if entity is not None else None


def _create_experiment(client: Store, name: str, location: str | None):
    try:
        return client.get_experiment(client.create_experiment(
            name, artifact_location=location, tags={NOTE: _ABOUT}))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_experiment_by_name(name)  # another machine was faster


@contextmanager
def closing(status: str) -> Iterator[None]:
    """Close runs in this block; a second failure does not hide the first one.

    What cannot be closed after a failure is reported, and closed by the next start (`reconcile`).
    """
    try:
        yield
    except TrackingError as error:
        if status == "FINISHED":
            raise
        print(f"✗ {error}\n  Its run could not be closed as {status}; the next start does it, or "
              "'ftzard doctor --fix'.", file=sys.stderr, flush=True)


def top_level(tracking: Tracking, name: str, lock: Path, about: str = "") -> Run:
    """Return the top-level run of a step, created as finished if there is none.

    Args:
        about: What the step does, for its description until it has been executed.
    """
    with locked(lock, {"pid": os.getpid(), "doing": f"opening {name}"}):
        matches = _search(tracking, f"tags.`{LEVEL}` = '{TOP}' and tags.`{STEP}` = '{name}'")
        if matches:
            return matches[0]
        run = _create(tracking, name, {LEVEL: TOP, STEP: name, **({NOTE: about} if about else {})})
        run.end()
        return run


def start_child(tracking: Tracking, parent: Run, tags: Mapping[str, object]) -> Run:
    """Open the run of an execution under a step's top-level run, named by the UTC time."""
    name = datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S")
    return _create(tracking, name, {
        LEVEL: CHILD, STEP: parent.name, MLFLOW_PARENT_RUN_ID: parent.id, **_process_tags(),
        **{k: _cut(v, _LONGEST_TAG) for k, v in tags.items()},
    }, mirroring.opened(tracking.mirrors, tracking.experiment, f"{parent.name} {name}", tags))


def reopen(tracking: Tracking, run_id: str) -> Run:
    """Return a run by its id; raises TrackingError for an unknown one."""
    try:
        return Run(tracking, run_id, tracking.client.get_run(run_id).info.run_name)
    except MlflowException as error:
        raise TrackingError(
            f"MLflow knows no run {run_id} in {tracking.client.shown}: {error}") from error


def children(tracking: Tracking, step: str | None = None, status: str | None = None,
             level: str = CHILD, parent: str | None = None) -> list:
    """Return MLflow's run entities, newest first, by step, status and parent."""
    conditions = [f"tags.`{LEVEL}` = '{level}'"]
    if step:
        conditions.append(f"tags.`{STEP}` = '{step}'")
    if status:
        conditions.append(f"attributes.status = '{status}'")
    if parent:
        conditions.append(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'")
    return _entities(tracking, " and ".join(conditions))


def known(tracking: Tracking, run_id: str):
    """Return MLflow's entity of a run, or None."""
    try:
        return tracking.client.get_run(run_id)
    except MlflowException:
        return None


def tagged(tracking: Tracking, key: str, value: str) -> list:
    """Return MLflow's run entities with this tag, newest first."""
    return _entities(tracking, f"tags.`{key}` = '{value}'")


def files(tracking: Tracking, run_id: str, folder: str | None = None) -> list[str]:
    """Return the artifacts of a run in a folder by their paths, without subfolders."""
    return [f.path for f in tracking.client.list_artifacts(run_id, folder) if not f.is_dir]


def read(tracking: Tracking, run_id: str, name: str) -> bytes | None:
    """Return the content of a run's artifact, or None."""
    folder = name.rpartition("/")[0]
    if name not in files(tracking, run_id, folder or None):
        return None
    with tempfile.TemporaryDirectory() as place:
        return Path(tracking.client.download_artifacts(run_id, name, place)).read_bytes()


def reconcile(tracking: Tracking) -> list[str]:
    """Close as KILLED every run of this machine whose process is gone; return their names."""
    closed = []
    for run in abandoned(tracking):
        Run(tracking, run.info.run_id, run.info.run_name).end(
            "KILLED", f"its process {run.data.tags[PID]} ended without closing the run")
        closed.append(title(run))
    return closed


def abandoned(tracking: Tracking) -> list:
    """Return the RUNNING run entities of dead processes of this machine."""
    return [run for run in running(tracking)
            if run.data.tags.get(HOST) == socket.gethostname() and PID in run.data.tags
            and not alive(int(run.data.tags[PID]))]


def running(tracking: Tracking) -> list:
    """Return the entities of all runs that are RUNNING."""
    return _entities(tracking, "attributes.status = 'RUNNING'")


def status(run: Run) -> str:
    """Return a run's status: 'RUNNING', 'FINISHED', 'FAILED' or 'KILLED'."""
    return run.tracking.client.get_run(run.id).info.status


def title(run) -> str:
    """Return the title of a run entity: its step and its name."""
    return f"{run.data.tags.get(STEP, 'trial')} {run.info.run_name}"


def close_failed(tracking: Tracking, dagster_run_id: str, status: str, reason: str) -> int:
    """Close the RUNNING runs of a Dagster run, trials included; return their number."""
    left = _entities(
        tracking, f"attributes.status = 'RUNNING' and tags.dagster_run_id = '{dagster_run_id}'")
    trials = [t for run in left for t in _entities(
        tracking, f"attributes.status = 'RUNNING' and tags.`{MLFLOW_PARENT_RUN_ID}` = "
                  f"'{run.info.run_id}'")]
    for run in [*trials, *left]:
        Run(tracking, run.info.run_id, run.info.run_name).end(status, reason)
    return len(left) + len(trials)


def _cut(value: object, longest: int) -> str:
    """Return a value as text that MLflow accepts; truncation is marked (config.yaml is complete).
    """
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest - 1]}…"


def _process_tags() -> dict[str, str]:
    return {PID: str(os.getpid()), HOST: socket.gethostname()}


def _create(tracking: Tracking, name: str, tags: Mapping[str, str],
            also_at: Mirror | None = None) -> Run:
    run = tracking.client.create_run(
        tracking.experiment_id, run_name=name,
        tags={MLFLOW_USER: os.environ.get("USER", "ftzard"), **tags})
    return Run(tracking, run.info.run_id, name, also_at)


def _entities(tracking: Tracking, condition: str) -> list:
    entities, token = [], None
    while True:
        page = tracking.client.search_runs(
            [tracking.experiment_id], condition, max_results=1000,
            order_by=["attributes.start_time DESC"], page_token=token)
        entities += page
        token = page.token
        if not token:
            return entities


def _search(tracking: Tracking, condition: str) -> list[Run]:
    return [Run(tracking, r.info.run_id, r.info.run_name) for r in _entities(tracking, condition)]


def of_dagster_step(tracking: Tracking, dagster_run_id: str, step_key: str) -> Run | None:
    """Return the child run of a step of a Dagster run, the latest attempt, or None."""
    matches = _search(tracking, f"tags.dagster_run_id = '{dagster_run_id}' and "
                              f"tags.dagster_step = '{step_key}'")
    return matches[0] if matches else None

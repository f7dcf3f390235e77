"""Running a job of the code location in this process, and following one that runs elsewhere.

What a person sees is the same either way: a line per step with its time and its result.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path

from ftzard.config import former_names
from ftzard.config.compose import typed
from ftzard.config.pipeline import BY_NAME, DELIVERIES, DROP_FOLDERS, JOBS, STEPS
from ftzard.config.schema import Config
from ftzard.core import python_settings, yaml_file
from ftzard.core.environment import QUIET
from ftzard.errors import ConfigError, FtzardError, nearest
from ftzard.orchestration import lease
from ftzard.orchestration.code_location import job_origin
from ftzard.orchestration.kernel_server import Server, reconstructable_job
from ftzard.workspace.workspace import Workspace

#: Top-level keys of a Launchpad YAML that Dagster itself reads.
DAGSTERS_OWN = ("ops", "execution", "loggers")
#: Every resource that a job may have (those of `pipeline.jobs.resources`, without loading Dagster).
RESOURCES = frozenset(
    {"experiment", "output_notebook_io_manager", "labelled_input_manager"}
    | {f"{name}_io_manager" for step in STEPS for name in (*step.yields, step.metadata)}
    | {f"{name}_input_manager" for step in STEPS for name in (*step.takes, step.metadata)})
_EXPERIMENT = frozenset({f.name for f in fields(Config)} | {"overrides"})
_PLACE = ("Values of the config stand under resources: experiment: config:, as in "
          "resources: {experiment: {config: {training: {epochs: 2}}}}.")

_FORMER = ("Files have other places and formats, too: leave base_path and file_name out for the "
           "usual ones, but for the file that comes in. Each job has a ready YAML: "
           "ftzard/config/dagster/<job>.yaml.")

#: What papermill says of its own progress.
CHATTER = ("Executing Cell", "Ending Cell", "Input Notebook:", "Output Notebook:",
            "Executing notebook with kernel")


def environment(workspace: Workspace) -> dict[str, str]:
    """Return the environment in which Dagster works on a workspace.

    Raises WorkspaceError where this user may not write, as Dagster will.
    """
    workspace.require_writable()
    return {**python_settings.cleaned(os.environ), **QUIET, "FTZARD_WORKSPACE": str(workspace.root),
            "DAGSTER_HOME": str(workspace.dagster_home)}


@dataclass
class Report:
    """Prints a run as it goes: a line when a step ends, and what its notebook says meanwhile.

    order: the job's ops, one after the other; usual: seconds that each step with a notebook of its
    own took when it last went well, of those that have.
    """

    say: Callable[[str], None]
    order: Sequence[str] = ()
    usual: Mapping[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failure: str | None = None
    failed_step: str | None = None

    def event(self, kind: str, step: str | None, when: float, message: str = "") -> None:
        if kind == "STEP_START":
            self.started[step] = when
            about = BY_NAME[step].about if step in BY_NAME else "Version what it wrote."
            self.say(f"▸ {step:<28} {self._place(step)}{about}")
        elif kind in ("STEP_SUCCESS", "STEP_FAILURE"):
            self.seconds[step] = when - self.started.get(step, when)
            mark = "✓" if kind == "STEP_SUCCESS" else "✗"
            self.say(f"{mark} {step:<28} {self.seconds[step]:6.1f} s")
            if kind == "STEP_FAILURE":
                self.failure, self.failed_step = message, step
        elif kind in ("PIPELINE_FAILURE", "PIPELINE_CANCELED") and self.failure is None:
            self.failure = message


    def _place(self, step: str) -> str:
        """Return which step of how many this is, and how long the rest takes if that is known."""
        if step not in self.order:
            return ""
        number = self.order.index(step)
        named = BY_NAME[step].notebook if step in BY_NAME else "Git_Dvc"
        ahead = [name for name in self.order[number:] if name in BY_NAME]
        left = ""
        if ahead and all(name in self.usual for name in ahead):
            left = f", about {_clock(sum(self.usual[name] for name in ahead))} left"
        return f"step {number + 1} of {len(self.order)}: {named}{left}. "


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def ops_of(job: str) -> list[str]:
    """Return the ops of a job in the order in which they run: its steps, each with its Git_Dvc."""
    return [op for name in JOBS[job] for op in (
        (name, f"Git_Dvc_{name}") if BY_NAME[name].versioned else (name,))]


def usual_seconds(workspace: Workspace, steps: Iterable[str]) -> dict[str, float]:
    """Return how long each step took when it last went well, of those that have."""
    from ftzard.tracking import sqlite_reading

    found = {}
    with suppress(FtzardError):
        store = sqlite_reading.of_workspace(workspace, workspace.config())
        for name in steps:
            last = next((run for run in store.executions(BY_NAME[name].run_name)
                         if run.status == "FINISHED" and run.ended), None)
            if last is not None:
                found[name] = (last.ended - last.began) / 1000
    return found


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its Dagster id, its time by step, and its own sentence if it failed."""

    run_id: str
    success: bool
    seconds: float
    failure: str | None
    failed_step: str | None
    step_seconds: dict[str, float]


class _Printed(logging.Handler):
    """Hands on what a notebook prints, without papermill's chatter."""

    def __init__(self, say: Callable[[str], None]):
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            _say_printed(record.getMessage(), self.say)


def _say_printed(text: str, say: Callable[[str], None]) -> None:
    text = text.strip()
    if text and not text.startswith(CHATTER):
        for line in text.splitlines()[:12]:
            say(f"    {line}")


def run(workspace: Workspace, job: str, request: Mapping, *, resources: Mapping | None = None,
        dagster: Mapping | None = None, tags: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print) -> Outcome:
    """Run a job in this process and say how each step goes.

    request: what the `experiment` resource is told; resources: the Launchpad's other resources;
    dagster: its keys beside `resources`, which are Dagster's own; tags: of the run.
    Raises ConfigError for keys that this job does not have, KeyboardInterrupt after a run that
    Ctrl-C has ended.
    """
    os.environ.update(environment(workspace))
    _start_server(workspace, job)
    from dagster import DagsterInstance
    from dagster._core.execution.api import execute_run_iterator

    report = Report(say, ops_of(job), usual_seconds(workspace, JOBS[job]))
    printed = _Printed(say)
    logging.getLogger("papermill").addHandler(printed)
    config = {
        "resources": {**(resources or {}), "experiment": {"config": dict(request)}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        **(dagster or {}),
    }
    began = time.time()
    try:
        with DagsterInstance.get() as instance:
            close_dead_runs(instance, workspace)
            recon = reconstructable_job(job)
            made = _created(instance, recon, job, config, tags or {}, job_origin(workspace, job))
            for event in execute_run_iterator(recon, made, instance):
                if was_interrupted(event):
                    raise KeyboardInterrupt
                report.event(event.event_type_value, event.step_key, time.time(),
                             failure_sentence(event))
            finished = instance.get_run_by_id(made.run_id)
    finally:
        logging.getLogger("papermill").removeHandler(printed)
        if (unused := take_server()) is not None:
            unused.close()
    return Outcome(made.run_id, finished.is_success, time.time() - began, report.failure,
                   report.failed_step, report.seconds)


def _created(instance, recon, job: str, config: Mapping, tags: Mapping[str, str], remote):
    """Make the run; what Dagster refuses of the config is said in a line per mistake."""
    from dagster import DagsterInvalidConfigError

    try:
        return instance.create_run_for_job(
            job_def=recon.get_definition(), run_config=config, tags=dict(tags),
            job_code_origin=recon.get_python_origin(), remote_job_origin=remote)
    except DagsterInvalidConfigError as error:
        raise ConfigError("\n".join(
            f"{job}: {_refused(mistake.message)}" for mistake in error.errors)) from error


def _refused(message: str) -> str:
    """Return one of Dagster's sentences without the whole schema that it expected."""
    said, _, rest = message.partition(" Expected: ")
    return message if len(rest) <= 200 else said


_server: Server | None = None


def _start_server(workspace: Workspace, job: str) -> None:
    """Let the kernels' imports begin before this process imports Dagster."""
    global _server
    _server = Server(workspace, list(JOBS[job]))


def take_server() -> Server | None:
    """Return the kernel server that was started ahead, once, or None."""
    global _server
    server, _server = _server, None
    return server


def dead_runs(instance, workspace: Workspace, start_s: float,
              now: Callable[[], float] = time.time) -> Iterator[tuple[object, str]]:
    """Yield every unfinished run whose process is gone, and why it is thought to be.

    A run that no process has taken up `start_s` seconds after it was started is gone as well. Those
    that wait in the queue or for the workspace's lock live, and so does a run of another machine
    for as long as its lease is renewed. now: the clock.
    """
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING,
                  DagsterRunStatus.NOT_STARTED]
    for record in instance.get_run_records(RunsFilter(statuses=unfinished)):
        run = record.dagster_run
        if lease.was_taken(workspace, run.run_id):
            why = lease.lost(workspace, run.run_id, now())
            if why is not None:
                yield run, why
            continue
        waited = now() - _started_at(record)
        launched = run.status == DagsterRunStatus.STARTING
        if waited >= start_s or launched and waited >= _SERVER_S and not _server_there(run):
            yield run, f"no process took it up within {waited:.0f} s"


#: Seconds in which a run's process is there, if the code server that started it is still there.
_SERVER_S = 60.0


def _server_there(run) -> bool:
    """Return whether the code server that was to start a run's process answers."""
    told = json.loads(run.tags.get(".dagster/grpc_info", "{}"))
    place = told.get("socket") or (told.get("host"), told.get("port"))
    if place == (None, None):
        return False
    with socket.socket(socket.AF_UNIX if "socket" in told else socket.AF_INET) as probe:
        probe.settimeout(1.0)
        try:
            return probe.connect_ex(place) == 0
        except OSError:
            return False


def _started_at(record) -> float:
    """Return since when a run should have a process: it may have waited in the queue for days."""
    return max(record.create_timestamp.timestamp(), record.update_timestamp.timestamp())


def close_dead_runs(instance, workspace: Workspace, start_s: float = 300.0,
                    now: Callable[[], float] = time.time) -> list[str]:
    """Report every run of `dead_runs` as failed, or as cancelled if it was; return their ids."""
    closed = []
    for run, why in dead_runs(instance, workspace, start_s, now):
        report_ended(instance, run, f"This run was cut off: {why}. Re-execute it from failure, or "
                                    "run the job again.", canceled=run.status.value == "CANCELING")
        lease.give_up(workspace, run.run_id)
        closed.append(run.run_id)
    return closed


#: Tag of a run that ended before its first step, for no fault of its own: what it was to take has
#: not been tried.
NOT_TRIED = "ftzard/not_tried"


def report_ended(instance, run, message: str, *, canceled: bool) -> None:
    """Report a run as ended whose process is gone; one that has begun no step counts as not tried,
    unless a person has cancelled it."""
    if run.status.value != "CANCELING" and not began_a_step(instance, run.run_id):
        instance.add_run_tags(run.run_id, {NOT_TRIED: "true"})
    (instance.report_run_canceled if canceled else instance.report_run_failed)(run, message=message)


def began_a_step(instance, run_id: str) -> bool:
    """Return whether a run has come as far as the start of a step."""
    from dagster import DagsterEventType

    return bool(instance.all_logs(run_id, of_type=DagsterEventType.STEP_START))


def follow(instance, run_id: str, *, say: Callable[[str], None], pause: float = 0.5) -> Outcome:
    """Follow a run that another process executes until it ends."""
    began, cursor = time.time(), None
    job = instance.get_run_by_id(run_id).job_name
    report = Report(say, ops_of(job) if job in JOBS else ())
    while True:
        batch = instance.get_records_for_run(run_id, cursor=cursor)
        cursor = batch.cursor
        for record in batch.records:
            entry = record.event_log_entry
            if entry.dagster_event is not None:
                event = entry.dagster_event
                report.event(event.event_type_value, event.step_key, entry.timestamp,
                             failure_sentence(event))
            elif entry.level < logging.WARNING:
                _say_printed(entry.user_message, say)
        found = instance.get_run_by_id(run_id)
        if found.is_finished and not batch.has_more:
            return Outcome(run_id, found.is_success, time.time() - began, report.failure,
                           report.failed_step, report.seconds)
        time.sleep(pause)


def failure_sentence(event) -> str:
    """Return the sentence of a failure, without tracebacks and class names."""
    data = event.event_specific_data
    if event.event_type_value == "STEP_FAILURE":
        if data.user_failure_data is not None and data.user_failure_data.description:
            return data.user_failure_data.description
        return _innermost(data.error)
    if event.event_type_value in ("PIPELINE_FAILURE", "PIPELINE_CANCELED"):
        error = getattr(data, "error", None)
        return _innermost(error) if error else (event.message or "")
    return ""


def was_interrupted(event) -> bool:
    """Return whether an event ends a run because of a signal, as Ctrl-C sends one."""
    reason = getattr(event.event_specific_data, "failure_reason", None)
    return getattr(reason, "name", "") == "UNEXPECTED_TERMINATION"


def _innermost(error) -> str:
    ours = {kind.__name__ for kind in FtzardError.__subclasses__()}
    while error.cause is not None and error.cls_name not in ours:
        error = error.cause
    name, _, rest = error.message.strip().partition(": ")
    return rest if rest and "." in name and " " not in name else error.message.strip()


@dataclass(frozen=True)
class Launchpad:
    """What a Launchpad YAML says: to the experiment, to the other resources, to Dagster itself."""

    experiment: dict
    resources: dict
    dagster: dict


def launchpad_file(file: Path, job: str | None = None) -> Launchpad:
    """Read a Launchpad YAML from a file; raises ConfigError naming it for what is not understood.
    """
    values = yaml_file.read(file, "a Launchpad YAML")
    return launchpad({} if values is None else values, str(file), job)


def resources_of(job: str) -> set[str]:
    """Return the resources that a job has."""
    found, upstream = {"experiment", "output_notebook_io_manager"}, set()
    for step in (BY_NAME[name] for name in JOBS[job]):
        taken = [*step.takes, *([BY_NAME[step.after].metadata] if step.after else [])]
        found |= {f"{DELIVERIES.get(job, {}).get(name, name)}_input_manager" for name in taken
                  if name not in upstream}
        found |= {f"{name}_io_manager" for name in (*step.yields, step.metadata)}
        upstream |= {*step.yields, step.metadata}
    return found


def launchpad(values: Mapping, where: str = "the Launchpad", job: str | None = None) -> Launchpad:
    """Split a Launchpad YAML into what `experiment` is told and what the other parts are.

    where: what to call it in an error; job: the one that it is for. Raises ConfigError, a line per
    mistake, for every key that would be passed over: at the top, of a resource that no job has, or
    beside a resource's config.
    """
    found: list[str] = []
    top = _block(values, where, found)
    for key in map(str, top):
        if key != "resources" and key not in DAGSTERS_OWN:
            found.append(f"{where}: unknown key '{key}' at the top"
                         f"{_near(key, ('resources', *DAGSTERS_OWN))}")
    former: list[str] = []
    for name in _block(top.get("ops"), f"{where}: ops", found):
        if (step := former_names.step(str(name))) is not None:
            former.append(f"{where}: the op '{name}' is called {step} here.")
    resources = _block(top.get("resources"), f"{where}: resources", found)
    for name, said in resources.items():
        if name not in RESOURCES:
            now = former_names.resource(str(name), None if job is None else resources_of(job))
            if now is not None:
                former.append(f"{where}: the resource {now}.")
                continue
            found.append(f"{where}: there is no resource '{name}'{_near(name, RESOURCES)}")
            continue
        for key in _block(said, f"{where}: resources: {name}", found):
            if key != "config":
                found.append(f"{where}: unknown key '{key}' in resources: {name}"
                             f"{nearest(key, ['config'])}")
    told = {}
    if not found and not former:
        told = _block((resources.pop("experiment", None) or {}).get("config"),
                      f"{where}: resources: experiment: config", found)
    if found or former:
        raise ConfigError("\n".join((*former, *found, *([_PLACE] if found else []),
                                     *([_FORMER] if former else []))))
    return Launchpad(typed(told), resources,
                     {k: v for k, v in top.items() if k != "resources" and v})


def _near(key: str, valid: Collection[str]) -> str:
    """Return the nearest valid key; a key of the config has none: it stands at a wrong place."""
    near = "." if key in _EXPERIMENT else nearest(key, valid)
    return near if "did you mean" in near or len(valid) < 10 else "."


def _block(value: object, where: str, found: list[str]) -> dict:
    """Return a block's keys, none for an empty one; what is no block is a mistake."""
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    found.append(f"{where} is {str(value)[:60]!r}, expected keys with values.")
    return {}


@dataclass(frozen=True)
class DropFolder:
    """Where a job finds files that were put there for it.

    name: of the folder below data/, and of the workspace's property; key: the key under `data`
    that names one of its files.
    """

    name: str
    key: str


def drop_folder(job: str) -> DropFolder | None:
    """Return which drop folder a job takes its file from, if any."""
    renamed = DELIVERIES.get(job, {})
    return next((DropFolder(*DROP_FOLDERS[name]) for name in
                 (renamed.get(n, n) for n in BY_NAME[JOBS[job][0]].takes)
                 if name in DROP_FOLDERS), None)


def merged(request: Mapping, overrides: list[str]) -> dict:
    """Return a request with more override strings, as the command line gives them."""
    return {**request, "overrides": [*(request.get("overrides") or []), *overrides]}


def new_runs(instance, known: set[str], job: str) -> Iterator[str]:
    """Yield the ids of runs of a job that are not in `known` yet."""
    from dagster import RunsFilter

    for found in instance.get_runs(RunsFilter(job_name=job)):
        if found.run_id not in known:
            yield found.run_id

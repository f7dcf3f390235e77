"""Steps that need not run again: what a step computes from, and whether it has been computed.

A step's outputs follow from its inputs, the part of the config that it reads, its notebook, the
workspace's functions, FTzard's code, the installed packages and the processor. If all of these are
what they were, and everything that the execution left is still there with the same content, the
step is not run again. Only contents are compared, never times. Imports are light: the process that
runs a job asks before a kernel is there.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ftzard
from ftzard.config.compose import to_record
from ftzard.config.effects import READ_BY, read_by
from ftzard.config.pipeline import ALWAYS_LABELS, CHAMPION, Step, step_named
from ftzard.config.requests import leaves
from ftzard.config.schema import Config
from ftzard.core import installed
from ftzard.core.artifacts import sha256, write_json
from ftzard.core.notebook_hash import notebook_hash
from ftzard.tracking import sqlite_reading
from ftzard.versioning import content, git, own_code
from ftzard.versioning.dvc import read_dvc
from ftzard.workspace import notebook_copies, step_results
from ftzard.workspace.step_results import StepResult
from ftzard.workspace.workspace import Workspace

#: Keys that say where or whether something is sent, and nothing of what is computed.
_NO_RESULT = ("versioning.", "paths.min_free_mb", "data.source", "data.incoming", "data.labelled",
              "data.mix")
#: The group that counts as a whole for steps with a model.
_OF_MODELS = "model."


@dataclass(frozen=True)
class Question:
    """What an execution of a step would compute from.

    Attributes:
        facts: all of it by name; None for a step that always runs.
        why: the reason why it always runs, a clause; empty for any other.
    """

    facts: dict[str, Any] | None
    why: str = ""

    @property
    def key(self) -> str:
        """The hash of the facts."""
        text = json.dumps(self.facts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Answer:
    """The execution that a step need not repeat, or why it runs.

    Attributes:
        result: the earlier execution, or None.
        why: why the step runs, a clause; empty for the first time and for one that is not repeated.
    """

    result: StepResult | None
    why: str = ""


def question(step: Step, workspace: Workspace, config: Config, inputs: Mapping[str, object],
             run_id: str | None) -> Question:
    """Return what a step would compute from.

    Args:
        inputs: the op's inputs: handles, and the metadata of the step that it follows.
        run_id: of the Dagster run, whose snapshot of the workspace's code is used.
    """
    if step.always:
        return Question(None, step.always)
    handles = {name: value for name, value in inputs.items()
               if isinstance(value, Mapping) and "sha256" in value}
    if any(handle["name"] == "labelled" for handle in handles.values()):
        return Question(None, ALWAYS_LABELS)
    if _edited(workspace, step.notebook):
        return Question(None, f"notebooks/{step.notebook}.ipynb was edited, and what its own cells "
                              "read is not known")
    facts: dict[str, Any] = {
        f"input {name}": f"{handle['name']} {handle['path']} {handle['sha256']}"
        for name, handle in handles.items()}
    if step.after:
        facts[f"the run of {step.after}"] = dict(_mapping(inputs, f"{step.after}_metadata")).get(
            "run_id")
    facts |= _config(step, config) | _code(step, workspace, config, run_id)
    facts |= {f"{name} as it stands": _content(workspace.root / getattr(config.paths, name))
              for name in step.reads if name != CHAMPION}
    if CHAMPION in step.reads:
        facts[CHAMPION] = _champion(workspace, config)
    return Question(facts)


def is_likely(workspace: Workspace, steps: Iterable[str], config: Config) -> bool:
    """Return whether every step of a job has an execution with this config and code.

    Whether its inputs are the same is not known yet.
    """
    for step in map(step_named, steps):
        result = None if step.always else step_results.newest(workspace, step.name)
        now = {} if result is None else _config(step, config) | _code(step, workspace, config, None)
        if not now or any(result.facts.get(name) != value for name, value in now.items()):
            return False
    return True


def answer(step: Step, workspace: Workspace, config: Config, asked: Question) -> Answer:
    """Return the execution that a step need not repeat, or why it runs."""
    if asked.facts is None:
        return Answer(None, asked.why)
    if workspace.unfinished_restore.is_file():
        return Answer(None, "a restore is unfinished")
    result = step_results.read(workspace, step.name, asked.key)
    if result is None:
        latest = step_results.newest(workspace, step.name)
        return Answer(None, _difference(latest.facts, asked.facts) if latest else "")
    changed = step_results.changed_file(workspace, result)
    if changed is not None:
        return Answer(None, f"{changed} is not what that run has left")
    missing = _unrecorded(step, workspace, config, result)
    return Answer(None, missing) if missing else Answer(result)


def remember(step: Step, workspace: Workspace, config: Config, asked: Question,
             now: Question) -> StepResult | None:
    """Store the execution of a step that has just ended; None if it cannot be told from another.

    Args:
        asked: what it was to compute from, from before it ran.
        now: the same from after it ran. The step itself may have changed the champion; anything
            else that has changed meanwhile may be in the outputs or not, so nothing is stored.
    """
    if asked.facts is None or now.facts is None:
        return None
    if {**asked.facts, CHAMPION: None} != {**now.facts, CHAMPION: None}:
        return None
    try:
        metadata = json.loads((workspace.metadata / f"{step.name}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    files = {a["path"]: a["sha256"] for a in metadata["artifacts"]}
    base = workspace.root / "models" / "bases" / f"{config.model.name}.zip"
    if step.models and base.is_file():
        files.setdefault(workspace.relative(base), sha256(base))
    result = StepResult(now.key, now.facts, metadata, files, list(metadata["records"]))
    step_results.write(workspace, result)
    return result


def committed(step: Step, workspace: Workspace) -> None:
    """Add what Git_Dvc has made of a step's execution to its stored result."""
    metadata = json.loads((workspace.metadata / f"{step.name}.json").read_text("utf-8"))
    result = step_results.of_run(workspace, step.name, metadata["run_id"])
    if result is not None:
        step_results.write(workspace, StepResult(
            result.key, result.facts, metadata, result.files, result.present))


def is_committed(workspace: Workspace, config: Config, metadata: Mapping[str, Any]) -> bool:
    """Return whether git holds all that a step has left, as pushed as the config wants it.

    Args:
        metadata: of the step, as Git_Dvc has passed it on.
    """
    commit = metadata.get("commit")
    wanted = "pushed" if config.versioning.push else "off"
    if not commit or metadata.get("pushed") not in ("pushed", wanted):
        return False
    handles = metadata["artifacts"]
    if _edited(workspace, "Git_Dvc") or not all(handle.get("commit") for handle in handles):
        return False
    if git.attempt(workspace.root, "merge-base", "--is-ancestor", commit, "HEAD").returncode:
        return False
    pointers = [f"{handle['path']}.dvc" for handle in handles]
    cached = all(_is_cached(workspace, path) for path in pointers)
    return cached and git.attempt(
        workspace.root, "--literal-pathspecs", "diff", "--quiet", commit, "--", *pointers,
        *metadata["records"]).returncode == 0


def show_latest(workspace: Workspace, step: Step, result: StepResult) -> None:
    """Make an earlier execution the step's latest one, for the steps that follow and the report."""
    write_json(workspace.metadata / f"{step.name}.json", result.metadata)


def note(workspace: Workspace, run_id: str, step: str, result: StepResult) -> None:
    """Record which execution a step of a Dagster run has not repeated."""
    write_json(_noted(workspace, run_id),
               {**reused(workspace, run_id), step: _origin(result.metadata)})


def reused(workspace: Workspace, run_id: str) -> dict[str, dict[str, str]]:
    """Return the steps that a Dagster run has not repeated, with the run and commit of each."""
    try:
        return dict(json.loads(_noted(workspace, run_id).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def sentence(result: StepResult) -> str:
    """Return what is printed of a step that is not run again."""
    origin = _origin(result.metadata)
    commit = f", commit {origin['commit'][:10]}" if origin["commit"] else ""
    return ("not run again: inputs, config, code and packages are those of "
            f"{origin['step_run']} {origin['run_name']} (MLflow run {origin['run_id']}{commit}); "
            "--force runs it")


def _origin(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {"run_id": metadata["run_id"], "run_name": metadata["run_name"],
            "step_run": metadata["base_run_name"], "commit": metadata.get("commit") or "",
            "dagster_run": metadata.get("dagster_run_id") or ""}


def _is_cached(workspace: Workspace, pointer: str) -> bool:
    """Return whether DVC's cache has the data of a `.dvc` file."""
    file = workspace.root / pointer
    if not file.is_file():
        return False
    md5 = read_dvc(file.read_text(encoding="utf-8"), pointer).md5
    return content.cached(content.usual_cache(workspace.root), md5).is_file()


def _edited(workspace: Workspace, notebook: str) -> bool:
    """Return whether the workspace's copy of a notebook has other cells than the packaged one."""
    copy = workspace.notebooks / f"{notebook}.ipynb"
    return copy.is_file() and notebook_hash(copy) != notebook_hash(
        notebook_copies.packaged(workspace.task)[copy.name])


def _noted(workspace: Workspace, run_id: str) -> Path:
    return workspace.run_folder(run_id) / "reused.json"


def _mapping(values: Mapping[str, object], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


def _config(step: Step, config: Config) -> dict[str, Any]:
    """Return the values that a step reads, by their keys."""
    values = leaves(to_record(config))
    return {key: value for key, value in values.items()
            if not key.startswith(_NO_RESULT)
            and (_reads(step, key, config.task.kind)
                 or (step.models and key.startswith(_OF_MODELS)))}


def _reads(step: Step, key: str, task: str) -> bool:
    """Return whether a step reads a key; of a map or a group also if it reads a part of it."""
    near = [known for known in READ_BY if known == key or known.startswith(f"{key}.")
            or key.startswith(f"{known}.")]
    return any(step.name in read_by(known, task) for known in near)


def _code(step: Step, workspace: Workspace, config: Config, run_id: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "FTzard's code": installed.code(Path(ftzard.__file__).parent),
        "the set of packages": installed.packages(),
        "the processor": installed.processor()}
    notebook = workspace.notebooks / f"{step.notebook}.ipynb"
    if notebook.is_file():
        facts["the notebook"] = notebook_hash(notebook)
    if config.data.clean is not None or config.metrics:
        used = own_code.used_by_run(workspace, run_id)
        if used is None:
            used = own_code.snapshot(workspace, own_code.custom_files(workspace))
        facts["the code in custom/"] = {
            path: one.sha256 for path, one in sorted(used.items()) if path.startswith("custom/")}
    return facts


def _content(file: Path) -> str | None:
    return sha256(file) if file.is_file() else None


def _champion(workspace: Workspace, config: Config) -> str | None:
    """Return the champion's version and the hash of its adapter, None without one."""
    store = sqlite_reading.of_workspace(workspace, config)
    version = store.by_alias(config.tracking.registered_model, CHAMPION)
    if version is None:
        return None
    adapter = workspace.root / "models" / version.name / f"{version.number}.zip"
    return f"{version} {_content(adapter)}"


def _unrecorded(step: Step, workspace: Workspace, config: Config, result: StepResult) -> str:
    """Return what MLflow does not have any more of an execution, a clause; or nothing."""
    store = sqlite_reading.of_workspace(workspace, config)
    ids = {run.id for run in store.executions(step.run_name) if run.status == "FINISHED"}
    if result.run_id not in ids:
        return f"MLflow does not have the run {result.run_id} any more"
    facts = result.metadata["facts"]
    if facts.get("version") and facts["version"] not in {
            version.number for version in store.versions(facts["model"])}:
        return f"{facts['model']}@{facts['version']} is not registered any more"
    for trial in (facts.get("trials") or [])[:1]:
        if "adapter" in trial and config.tracking.uri is None:
            adapter = workspace.mlflow_artifacts / trial["run_id"] / "artifacts" / trial["adapter"]
            if _content(adapter) != trial.get("sha256"):
                return f"the adapter of {trial['name']} is not what that run has left"
    return ""


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the first fact that has changed, a clause."""
    for name in (*now, *before):
        old, new = before.get(name), now.get(name)
        if old != new and "." in name or name in ("seed", "threads", "metrics") and old != new:
            return f"{name} was {old} and is {new}"
        if old != new:
            return f"{name} has changed"
    return ""

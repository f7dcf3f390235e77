"""Registered models by what people call them: found, listed, described, tagged, opened.

`champion`, `challenger`, `previous` and `base` mean the workspace's own model; `NAME@3` and
`NAME@champion` any that the registry has. A version's files come from the workspace if its record
and adapter stand there, else from MLflow. Loads no torch before a model is opened.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ftzard.config.schema import Config
from ftzard.core import archive
from ftzard.errors import ModelError, TrackingError, nearest
from ftzard.evaluation import gate
from ftzard.modeling.head import DEFAULT_HEAD
from ftzard.modeling.spec import BaseSpec
from ftzard.registry import model_records, promotions
from ftzard.registry.model_record import ModelRecord
from ftzard.reporting.standings import Standings
from ftzard.tasks.base import task_in
from ftzard.tracking import model_version, sqlite_reading
from ftzard.tracking.model_version import ALIASES, Version
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.tasks.parts import Predictor
    from ftzard.tracking.runs import Tracking
    from ftzard.tracking.sqlite_reading import Reading

BASE = "base"
ROLES = (*ALIASES, BASE)
REFERENCE = re.compile(rf"(?:{'|'.join(ROLES)})|[\w-]+@(?:\d+|{'|'.join(ALIASES)})")
#: What registering, the gate and promotions write; a person's tag may not stand in for it.
_OURS = ("ftzard", "gate.", "promotion.", "mlflow.", "base_", "tokenizer_hash", "config_hash",
         "data_version")


@dataclass(frozen=True)
class Files:
    """What a model is opened from.

    Attributes:
        name: As people call it.
        version: In the registry, None for a base that is in none.
        adapter: Folder of the saved adapter, None for a bare base.
        base: Values of a `BaseSpec`.
        labels: In the order of the logits, none of a model that writes answers.
        cleaning: What is done to a raw text first.
        answering: What the task's `predictor_meta` names, as a template.
        temperature: Of its confidence, None for a bare base and where none is known.
    """

    name: str
    version: Version | None
    adapter: Path | None
    base: dict
    labels: list[str]
    cleaning: dict
    answering: dict = field(default_factory=dict)
    temperature: float | None = None

    @property
    def task(self) -> str:
        """Name of the task that it is for."""
        return self.base.get("task", DEFAULT_HEAD.task)

    def cleaned(self, texts: Iterable) -> list:
        """Return raw texts, or the messages of chats, as those of training were cleaned."""
        from ftzard.tasks.loading import clean

        return clean(texts, self.base, self.cleaning)


def is_reference(text: str) -> bool:
    """Return whether a text names a model: a role, or NAME@VERSION."""
    return re.fullmatch(REFERENCE, text) is not None


def find(store: "Reading | Tracking", config: Config, which: str) -> Version:
    """Return the version that a role, NAME@VERSION, NAME@ALIAS or a NAME's champion means.

    Raises TrackingError with what there is instead.
    """
    known, own = sqlite_reading.of(store), config.tracking.registered_model
    if which == BASE:
        bases = known.versions(model_version.base_name(own))
        if not bases:
            raise TrackingError(
                f"no base of '{own}' is registered yet; it is, as {model_version.base_name(own)}, "
                "beside the next version that a training registers.")
        return bases[-1]
    if which == model_version.CHAMPION:
        return model_version.champion(known, own)
    name, _, of = f"{own}@{which}".rpartition("@") if which in ALIASES else which.partition("@")
    if name in ROLES and name not in known.names():
        raise model_version.role_with_version(
            name, of, own, [version.number for version in known.versions(own)],
            known.by_alias(own, name) if name != BASE else None)
    if of.isdecimal():
        return model_version.numbered(known, name, int(of))
    there = known.versions(name)
    if not there:
        raise TrackingError(f"there is no model '{name}' in {known.shown}"
                            f"{nearest(name, [*ROLES, *known.names()])}")
    match = known.by_alias(name, of or model_version.CHAMPION)
    if match is None:
        aliases = known.aliases(name)
        raise TrackingError(
            f"'{which}' means no version: {name} has no {of or model_version.CHAMPION}. Its "
            f"versions are {[v.number for v in there]}, its aliases "
            f"{', '.join(f'{a} ({n})' for a, n in sorted(aliases.items())) or 'none'}; name one as "
            f"{name}@{there[-1].number}.")
    return match


def listing(workspace: Workspace, name: str | None = None) -> list[dict]:
    """Return a line per version, by model, newest first; of one model if `name` is given.

    Raises TrackingError for a name that is not registered.
    """
    known = sqlite_reading.of_workspace(workspace, workspace.config())
    names = known.names()
    if name is not None and name not in names:
        raise TrackingError(f"there is no model '{name}' in {known.shown}"
                            f"{nearest(name, names)}")
    lines = []
    for model in [name] if name is not None else names:
        aliases = known.aliases(model)
        table = Standings.of(model_records.records(workspace, model))
        lines += [_line(workspace, version, aliases, table)
                  for version in reversed(known.versions(model))]
    return lines


def _line(workspace: Workspace, version: Version, aliases: Mapping[str, int],
          table: Standings | None) -> dict:
    """Return a version's line; its scores are those of the newest test rows, if it has such.

    apart: why it has none, in which case its scores are of its own rows; measured_on: which rows.
    """
    record = model_records.read_record(workspace, version) or model_records.ModelRecord()
    tags = version.tags
    same = table.line(version.number) if table else None
    apart = table.apart_of(version.number) if table and same is None else None
    scores = same or (apart.line if apart else {})
    return {
        "model": version.name,
        "version": version.number,
        "aliases": sorted(a for a, number in aliases.items() if number == version.number),
        "kind": tags.get(model_version.KIND, model_version.TUNED if record else None),
        "accuracy": scores.get("accuracy"),
        "lower": scores.get("lower"),
        "upper": scores.get("upper"),
        "macro_f1": scores.get("macro_f1"),
        "measure": scores.get("measure", "accuracy") if scores else None,
        "score": scores.get("score", scores.get("accuracy")),
        "test_rows": scores.get("n"),
        "measured_on": table.rows if same else apart.rows if apart else None,
        "apart": apart.why if apart else None,
        "verdict": (record.get("verdict") or {}).get("decision"),
        "reasons": (record.get("verdict") or {}).get("reasons") or [],
        "trial": gate.is_trial(record.get("verdict")) or tags.get("gate.trial") == "true",
        "base": tags.get("base_model"),
        "data_version": _known(tags.get("data_version")),
        "size_bytes": int(tags[model_version.SIZE])
        if model_version.SIZE in tags else None,
        "created": datetime.fromtimestamp(version.created / 1000, UTC).isoformat(
            timespec="seconds") if version.created else None,
    }


def _known(value: str | None) -> str | None:
    return None if value in (None, "none", "not versioned") else value


def describe(workspace: Workspace, which: str) -> dict:
    """Return all that is known of a version: its line, tags, metrics, data, base, run, files."""
    config = workspace.config()
    known = sqlite_reading.of_workspace(workspace, config)
    version = find(known, config, which)
    record = model_records.read_record(workspace, version) or ModelRecord()
    run = known.run(version.run_id) if version.run_id else None
    tags, base = version.tags, record.get("base") or {}
    table = Standings.of(model_records.records(workspace, version.name))
    return {
        **_line(workspace, version, known.aliases(version.name), table),
        "task": record.task.name if record else task_in(tags).name,
        "labels": record.get("labels"),
        "tags": dict(sorted(tags.items())),
        "metrics": _metrics(version, record, table) or (
            {"run": dict(sorted(run.metrics.items()))} if run else {}),
        "calibration": record.get("calibration"),
        "data": {name: h.get("commit") for name, h in (record.get("data") or {}).items()},
        "base": {
            "name": base.get("name") or tags.get("base_model"),
            "source": base.get("source"),
            "revision": base.get("revision") or _known(tags.get("base_revision")),
            "weight_hash": base.get("weight_hash") or tags.get("base_hash"),
            "tokenizer_hash": base.get("tokenizer_hash") or tags.get("tokenizer_hash"),
            "registered": base.get("registered") or tags.get("base_version"),
        },
        "parent": record.get("parent"),
        "run": {"id": version.run_id, "name": run.name if run else None,
                "state": run.status if run else None},
        "source": version.source,
        "record": workspace.relative(model_records.record_path(workspace, version))
        if record else None,
        "promotions": record.get("promotions") or [],
    }


def _metrics(version: Version, record: Mapping, table: Standings | None) -> dict[str, dict]:
    """Return the scores of a version and of what it is held against, all on the same rows.

    {name: line}: the version itself by its name, then the other versions that have answered these
    rows, the base and the baselines. A version without a score on the newest test rows has those of
    the rows that it was judged on.
    """
    line = table.line(version.number) if table else None
    if line is not None:
        others = {f"{version.name}@{number}": scores for number, scores in table.scores.items()
                  if number != version.number}
        return {str(version): line, **others, **table.beside}
    names = {"challenger": str(version)}
    if record.get("challenged") is not None:
        names["champion"] = f"{version.name}@{record['challenged']}"
    return {names.get(role, role): scores for role, scores in (record.get("metrics") or {}).items()}


def set_tags(workspace: Workspace, which: str, pairs: Mapping[str, str | None]) -> Version:
    """Set tags on a version, or take away those whose value is None; return the version.

    Raises TrackingError for a tag that FTzard itself writes, and for one to take away that is not
    there; then nothing was changed.
    """
    from ftzard.tracking import registry

    config = workspace.config()
    tracking = sqlite_reading.of_workspace(workspace, config).tracking
    version = find(tracking, config, which)
    for key, value in pairs.items():
        if key.startswith(_OURS):
            raise TrackingError(f"the tag '{key}' is part of what FTzard records of a version and "
                                "is not changed by hand; take another name.")
        if value is None and key not in version.tags:
            own = [k for k in version.tags if not k.startswith(_OURS)]
            raise TrackingError(f"{version} has no tag '{key}'{nearest(key, own)}")
    for key, value in pairs.items():
        if value is None:
            registry.untag(tracking, version, key)
        else:
            registry.tag(tracking, version, {key: value})
    return version


def parsed_tags(pairs: list[str]) -> dict[str, str | None]:
    """Return 'KEY=VALUE' as {key: value}; 'KEY=' means that the tag is to go."""
    tags: dict[str, str | None] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[\w.-][\w./ -]*", key):
            raise TrackingError(f"'{pair}' is no tag; expected KEY=VALUE, or KEY= to take one "
                                "away. A key holds letters, digits, '_', '.', '-', '/' and spaces.")
        tags[key] = value or None
    return tags


def files(workspace: Workspace, which: str, *, labels_of: str | None = None) -> Files:
    """Return what a model is opened from, fetching it from MLflow where the workspace has it not.

    which: as for `find`; in a clone, whose registry knows nothing of the model, as the records in
    git say. labels_of: for a base that is in no registry yet, whose labels it is asked for;
    default: the champion's. Raises TrackingError and ModelError if there is no such model.
    """
    config = workspace.config()
    known = sqlite_reading.of_workspace(workspace, config)
    recorded = _on_record(workspace, config, known, which)
    if recorded is not None:
        return recorded
    if which == BASE and not known.versions(
            model_version.base_name(config.tracking.registered_model)):
        return _unregistered_base(workspace, config, files(workspace, labels_of or "champion"))
    return files_of(workspace, known, find(known, config, which))


def _on_record(workspace: Workspace, config: Config, store: "Reading", which: str
               ) -> Files | None:
    """Return what the records in git say that a model is opened from, if the registry is not here.

    Its data comes from DVC's remote. None where there is a registry that knows the model, or a
    server, or no record. Raises TrackingError if the records do not say which version is meant.
    """
    name = config.tracking.registered_model
    known = {int(record["version"]): record for record in model_records.records(workspace, name)
             if not record.get("deleted")}
    if config.tracking.uri is not None or not known or which == BASE:
        return None
    if store.is_there and store.versions(name):
        return None
    model, _, of = f"{name}@{which}".rpartition("@") if which in ALIASES else (
        which.partition("@"))
    if model != name:
        return None
    if of.isdecimal():
        number = int(of)
    else:
        last = promotions.latest(known.values())
        if of != model_version.CHAMPION or len(last) != 1:
            raise TrackingError(
                f"the registry of '{name}' is not here, and its records in models/{name} do not "
                f"say which version is '{of}'; name one: "
                f"{', '.join(f'{name}@{n}' for n in sorted(known))}.")
        number = last[0].version
    if number not in known:
        raise TrackingError(f"{name}@{number} has no record in models/{name}; there are versions "
                            f"{sorted(known)}.")
    version = Version(name, number, str(known[number].get("mlflow_run") or ""), {})
    print(f"{which}: {version}, as the records in models/{name} say; MLflow's registry of it is "
          "not here.", file=sys.stderr, flush=True)
    _fetch(workspace, version, known[number])
    folder, spec = model_records.version_files(workspace, version)
    return _tuned(version, folder, _values(spec), known[number].temperature)


def _fetch(workspace: Workspace, version: Version, record: Mapping) -> None:
    """Bring a version's adapter, and a base that no hub has, from DVC if they are not here."""
    base = record.get("base") or {}
    wanted = [model_records.adapter_archive(workspace, version)]
    if base.get("name") and base.get("revision") is None:
        wanted.append(model_records.base_archive(workspace, base["name"]))
    absent = [workspace.relative(path) for path in wanted if not path.is_file()]
    if absent:
        from ftzard.versioning.worktree import pull

        pull(workspace.root, absent)


def files_of(workspace: Workspace, store: "Reading | Tracking", version: Version) -> Files:
    """Return what a version is opened from."""
    archived = model_records.adapter_archive(workspace, version)
    record = model_records.read_record(workspace, version)
    if archived.is_file() and record is not None:
        folder, spec = model_records.version_files(workspace, version)
        return _tuned(version, folder, _values(spec), record.temperature)
    from ftzard.tracking import registry

    files = registry.files(
        sqlite_reading.connection(store), version, workspace.cache / "registered")
    packed = {name: archive.unpack(path, workspace.cache)
              for name, path in registry.archives(files).items()}
    if "adapter" in packed:
        from ftzard.modeling.adapter_meta import read_meta

        meta = read_meta(packed["adapter"])
        model_records.require_recorded_code(workspace, version, meta.get("cleaning") or {})
        spec = meta["base"]["spec"]
        return _tuned(version, packed["adapter"], _at(spec, packed.get("base")),
                      registry.temperature(files))
    config = registry.model_config(files)
    if config is None:
        raise ModelError(f"{version} was not registered by FTzard: its files in MLflow "
                         f"({version.source}) hold neither an adapter nor a base.")
    model_records.require_recorded_code(workspace, version, config["cleaning"])
    return Files(str(version), version, None, _at(config["spec"], packed.get("base")),
                 config["labels"], config["cleaning"], _answering(config["spec"], config))


def _tuned(version: Version, folder: Path, spec: dict, temperature: float | None) -> Files:
    from ftzard.modeling.adapter_meta import read_meta

    meta = read_meta(folder)
    return Files(str(version), version, folder, spec, meta["labels"], meta.get("cleaning", {}),
                 _answering(spec, meta), temperature)


def _answering(spec: Mapping, meta: Mapping) -> dict:
    return {key: meta[key] for key in task_in(spec).predictor_meta if key in meta}


def _values(spec: BaseSpec) -> dict:
    return {**spec.to_dict(), "source": spec.source}


def _at(spec: Mapping, source: Path | None) -> dict:
    return {**spec, "source": source or spec["source"]}


def _unregistered_base(workspace: Workspace, config: Config, like: Files) -> Files:
    spec = model_records.base_spec(workspace, config.model, config.task.kind)
    return Files(BASE, None, None, _values(spec), like.labels,
                 model_records.cleaning_now(workspace, config.data), like.answering)


def load_predictor(model: Files) -> "Predictor":
    """Return what a model predicts with, loaded and checked."""
    from ftzard.tasks import loading

    return loading.load_predictor(
        model.adapter, model.base, {"labels": model.labels, **model.answering})

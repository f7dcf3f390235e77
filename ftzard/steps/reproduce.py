"""Making a registered model again from its record, and saying whether it comes out the same.

The record names commit, data, config and recipe. Nothing of the workspace's present state is used
but git, the DVC cache and the remote: a fresh clone gives the same answer.
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftzard.errors import ModelError
from ftzard.registry import model_records
from ftzard.registry.model_record import ModelRecord
from ftzard.tracking.model_version import Version
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

#: What two processors may differ by, relative to a number, or to `SMALL` for smaller ones. Measured
#: on the tiny Falcon after three epochs: 7e-5 on two kinds of CPU with the same instructions.
ROUNDING, SMALL = 1e-3, 0.01


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        equal: Whether the weights are the same bytes and every number the same digits.
        rounding: The largest relative difference, where only that of another processor is left.
        differences: What is not as recorded, versions and machine included.
        weights: The hash of what was trained here; accuracy, or loss (nats per token of the wanted
            answers): on the recorded test rows.
    """

    model: str
    equal: bool
    differences: tuple[str, ...]
    weights: str
    accuracy: float | None
    loss: float | None
    test_rows: int
    rounding: float | None = None


def reproduce(workspace: Workspace, name: str, number: int,
              say: Callable[[str], object] = print) -> Reproduction:
    """Train a version again, in a clean checkout of its recorded commit, and compare.

    Raises ModelError for a version without a record or with one that names no recipe, and
    VersioningError for a commit or data that cannot be had any more.
    """
    from ftzard.versioning.worktree import pull, worktree

    record = recorded(workspace, name, number)
    say(f"{name}@{number}: trained at commit {record['git_commit'][:10]} on data "
        f"{(record['data']['tokenized']['commit'] or 'not versioned')[:10]}")
    commit = commit_of(workspace, record)
    with worktree(workspace.root, commit, say) as folder:
        place = Workspace(folder)
        files = files_of(record)
        say(f"bringing back {', '.join(files)}")
        pull(folder, files)
        made = _train_again(place, record, say)
        return replace(made, differences=(*made.differences, *_own_code(workspace, record, commit)))


def commit_of(workspace: Workspace, record: ModelRecord) -> str:
    """Return the commit to go back to: the record's own, which holds the code that ran, if it says
    which that is."""
    if "own_code" not in record:
        return record["git_commit"]
    from ftzard.versioning.versions import every_version

    path = f"models/{record['model']}/{record['version']}.yaml"
    commits = every_version(workspace.root, paths=[f":(top,literal){path}"])
    return commits[-1].commit if commits else record["git_commit"]


def _own_code(workspace: Workspace, record: ModelRecord, commit: str) -> list[str]:
    """Return a line for each file of the workspace's own code that the commit holds otherwise."""
    from ftzard.versioning.repository import blob_at

    lines = []
    for path, digest in (record.get("own_code") or {}).items():
        blob = blob_at(workspace.root, commit, path)
        now = hashlib.sha256(blob[1].encode()).hexdigest() if blob else None
        lines += differences(digest[:16], now and now[:16], f"own_code.{path} at {commit[:10]}")
    return lines


def recorded(workspace: Workspace, name: str, number: int) -> ModelRecord:
    """Return the record of a version; raises ModelError without one from which it can be made."""
    record = model_records.read_record(workspace, Version(name, number, "", {}))
    if record is None:
        known = sorted(int(p.stem) for p in (workspace.root / "models" / name).glob("*.yaml"))
        raise ModelError(f"{name}@{number} has no record in {workspace.root}; "
                         f"there are versions {known}." if known else
                         f"there is no model '{name}' in {workspace.root / 'models'}.")
    for key in ("recipe", "git_commit"):
        if not record.get(key):
            raise ModelError(f"the record of {name}@{number} has no '{key}', so it cannot be made "
                             "again; it was registered by an earlier release.")
    return record


def files_of(record: ModelRecord) -> list[str]:
    """Return the artifacts from which a version is made again."""
    files = [record.tokenized["path"]]
    if record.base["revision"] is None:
        files.append(f"models/bases/{record.base['name']}.zip")
    if record.parent is not None:
        files.append(f"models/{record['model']}/{record.parent}.zip")
    if record.get("rows_chosen"):
        files.append(f"models/{record['model']}/{record['version']}.zip")
    return files


def _train_again(place: Workspace, record: ModelRecord, say: Callable[[str], object]
                 ) -> Reproduction:
    from ftzard.core.artifacts import ArtifactRef, verify
    from ftzard.data import storage
    from ftzard.modeling import reproducibility
    from ftzard.modeling.base_model import load_base
    from ftzard.tasks.evaluation import BY_SET
    from ftzard.training.fit import fit
    from ftzard.workspace.identity_version import FIRST, identity_of

    config, recipe, task = record.config, record.recipe, record.task
    tokenized = record.tokenized
    path = verify(ArtifactRef("tokenized", tokenized["path"], tokenized["sha256"], None, "parquet"),
                  place.root)
    rows = storage.read_parquet(path)
    train, validation = training_rows(place, record, rows, say)
    start = None
    if record.parent is not None:
        start, _ = model_records.version_files(
            place, Version(record["model"], record.parent, "", {}))
    reproducibility.set_threads(recipe["threads"])
    loaded = load_base(
        model_records.base_spec(place, config.model, task.name), record["labels"])
    cleaning = model_records.cleaning_now(place, config.data)  # with the code of the model's commit
    say(f"training again on {len(train):,} rows")
    with tempfile.TemporaryDirectory() as scratch:
        fitted = fit(
            loaded, train, validation, task=task, config=record.training_config,
            folder=Path(scratch) / "adapter", start_from=start,
            extra=task.model.adapter_meta(config, loaded.tokenizer, cleaning),
            on_epoch=lambda e: say(f"epoch {e['epoch']}: train loss {e['train_loss']:.3f}, "
                                   f"validation loss {e['validation_loss']:.3f}"))
        compared = rows[(rows["split"] == "test") & ~rows["id"].isin(record.get("left_out") or [])]
        metrics = _plain(task.evaluation.test_metrics(
            task.predictor.open_predictor(fitted.folder, loaded), compared.reset_index(drop=True),
            config, by_set=record.get("answered_by") == BY_SET))
    now = {**_as_recorded(fitted.recipe, recipe),
           "replayed": recipe["replayed"], "identity": identity_of(path),
           "base": loaded.weight_hash, "tokenizer": loaded.tokenizer_hash, "test": metrics,
           "clean": cleaning["own"]["sha256"] if "own" in cleaning else None}
    then = {**recipe, "identity": record.get("identity", FIRST),
            "base": record.base["weight_hash"], "tokenizer": record.base["tokenizer_hash"],
            "test": {k: v for k, v in record.get("test_metrics", metrics).items() if k in metrics},
            "clean": record.clean_hash}
    before, here = then.pop("processor", "not on record"), now.pop("processor")
    unequal = differences(then, now)
    packages, others = _surroundings(record)
    rounded = rounding(then, now) if unequal and not packages and before != here else None
    if before != here:
        others += [f"processor: recorded {before}, now {here}"]
    return Reproduction(
        f"{record['model']}@{record['version']}", not unequal, (*unequal, *packages, *others),
        fitted.recipe["weights_sha256"], metrics.get("accuracy"), metrics.get("loss"),
        metrics["n"], rounded)


def training_rows(place: Workspace, record: ModelRecord, rows: "pd.DataFrame",
                  say: Callable[[str], object]) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return the training and validation rows that a version was trained on."""
    from ftzard.data import replay
    from ftzard.training import rows_used

    if record.get("rows_chosen"):
        say("the rows are those that the workspace's own notebook chose")
        return rows_used.chosen(_adapter(place, record), rows)
    train, validation = (rows[rows["split"] == side] for side in ("train", "validation"))
    if record.recipe["replayed"] is not None:
        train, _ = replay.mix(train, **record.recipe["replayed"], seed=record.recipe["seed"])
    return train, validation


def _adapter(place: Workspace, record: ModelRecord) -> Path:
    from ftzard.core import archive

    return archive.unpack(model_records.adapter_archive(place, record.version), place.cache)


def _as_recorded(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe of a fit with the values and measures that the recorded one has.

    What was added since is on no record: a value that then did not exist has the default that means
    the same, and nothing can be compared with a new measure.
    """
    measures = {key for epoch in then.get("history") or [] for key in epoch}
    return {**{key: value for key, value in now.items() if key in then or key == "processor"},
            **{part: {key: value for key, value in now[part].items() if key in then[part]}
               for part in ("params", "training")},
            "history": [{key: value for key, value in epoch.items() if key in measures}
                        for epoch in now["history"]]}


def differences(then: object, now: object, at: str = "") -> list[str]:
    """Return a line for each value that is not the same in both, by its place."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys([*then, *now]))
        return [line for key in keys for line in differences(
            then.get(key), now.get(key), f"{at}.{key}" if at else str(key))]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [line for i, (a, b) in enumerate(zip(then, now, strict=True))
                for line in differences(a, b, f"{at}[{i}]")]
    return [] if then == now else [f"{at}: recorded {then!r}, now {now!r}"]


def rounding(then: Mapping[str, Any], now: Mapping[str, Any]) -> float | None:
    """Return the largest relative difference of numbers, None if more differs than rounding does.

    Nothing but fractions and the hash of the weights may differ, and no fraction by more than
    `ROUNDING`.
    """
    pairs, largest = [(then, now)], 0.0
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, Mapping) and isinstance(b, Mapping) and set(a) == set(b):
            pairs += [(a[key], b[key]) for key in a if key != "weights_sha256"]
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            pairs += zip(a, b, strict=True)
        elif isinstance(a, float) and isinstance(b, float) and math.isfinite(a - b):
            largest = max(largest, abs(a - b) / max(abs(a), abs(b), SMALL))
        elif a != b:
            return None
    return largest if largest <= ROUNDING else None


def _surroundings(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what has changed around the model: (package versions, our own code)."""
    import ftzard
    from ftzard.tracking.record import code_hash, package_versions

    code = code_hash(Path(ftzard.__file__).parent)
    return (differences(record["packages"], package_versions(), "packages"),
            differences(record.get("code_hash"), code, "code_hash"))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values, default=lambda v: v.tolist()))

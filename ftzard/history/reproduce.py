"""Making a registered model again from its record, and saying whether it comes out the same.

The record names commit, data, config and recipe. Nothing of the workspace's present state is used
but git, the DVC cache and the remote: a fresh clone gives the same answer.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ftzard.errors import ModelError
from ftzard.workspace import Workspace


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    equal: whether the weights are the same bytes and every number the same digits; differences:
    what is not as recorded, versions and machine included; weights: the hash of what was trained
    here; accuracy, or loss (nats per token of the wanted answers): on the recorded test rows.
    """

    model: str
    equal: bool
    differences: tuple[str, ...]
    weights: str
    accuracy: float | None
    loss: float | None
    test_rows: int


def reproduce(workspace: Workspace, name: str, number: int,
              say: Callable[[str], object] = print) -> Reproduction:
    """Train a version again, in a clean checkout of its recorded commit, and compare.

    Raises ModelError for a version without a record or with one that names no recipe, and
    VersioningError for a commit or data that cannot be had any more.
    """
    from ftzard.versioning.worktree import pull, worktree

    record = _record(workspace, name, number)
    say(f"{name}@{number}: trained at commit {record['git_commit'][:10]} on data "
        f"{(record['data']['tokenized']['commit'] or 'not versioned')[:10]}")
    commit = _commit_of(workspace, record)
    with worktree(workspace.root, commit) as folder:
        place = Workspace(folder)
        files = _files(record)
        say(f"bringing back {', '.join(files)}")
        pull(folder, files)
        made = _train_again(place, record, say)
        return replace(made, differences=(*made.differences, *_own_code(workspace, record, commit)))


def _commit_of(workspace: Workspace, record: Mapping) -> str:
    """Return the commit to go back to: the record's own, which holds the code that ran, if it says
    which that is."""
    if "own_code" not in record:
        return record["git_commit"]
    from ftzard.versioning.versions import every_version

    path = f"models/{record['model']}/{record['version']}.yaml"
    told = every_version(workspace.root, paths=[f":(top,literal){path}"])
    return told[-1].commit if told else record["git_commit"]


def _own_code(workspace: Workspace, record: Mapping, commit: str) -> list[str]:
    """Return a line for each file of the workspace's own code that the commit holds otherwise."""
    from ftzard.versioning.repository import blob_at

    lines = []
    for path, digest in (record.get("own_code") or {}).items():
        held = blob_at(workspace.root, commit, path)
        now = hashlib.sha256(held[1].encode()).hexdigest() if held else None
        lines += differences(digest[:16], now and now[:16], f"own_code.{path} at {commit[:10]}")
    return lines


def _record(workspace: Workspace, name: str, number: int) -> dict:
    from ftzard.notebooks import model_files
    from ftzard.tracking.registry import Version

    record = model_files.read_record(workspace, Version(name, number, "", {}))
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


def _files(record: Mapping) -> list[str]:
    files = [record["data"]["tokenized"]["path"]]
    if record["base"]["revision"] is None:
        files.append(f"models/bases/{record['base']['name']}.zip")
    if record["parent"] is not None:
        files.append(f"models/{record['model']}/{record['parent']}.zip")
    if record.get("rows_chosen"):
        files.append(f"models/{record['model']}/{record['version']}.zip")
    return files


def _train_again(place: Workspace, record: Mapping, say: Callable[[str], object]) -> Reproduction:
    from ftzard.artifact import Handle, verify
    from ftzard.config.compose import from_record
    from ftzard.dataset import replay, storage
    from ftzard.dataset.identity import FIRST
    from ftzard.models import adapter, reproducibility, rows_used
    from ftzard.models.base import load_base
    from ftzard.models.fitting import fit
    from ftzard.notebooks import instructing, model_files
    from ftzard.tracking.registry import Version

    config, recipe = from_record(record["config"]), record["recipe"]
    tokenized = record["data"]["tokenized"]
    path = verify(
        Handle("tokenized", tokenized["path"], tokenized["sha256"], None, "parquet"), place.root)
    rows = storage.read_parquet(path)
    train, validation = (rows[rows["split"] == side] for side in ("train", "validation"))
    if record.get("rows_chosen"):
        train, validation = rows_used.chosen(_adapter(place, record), rows)
        say("the rows are those that the workspace's own notebook chose")
    elif recipe["replayed"] is not None:
        train, _ = replay.mix(train, **recipe["replayed"], seed=recipe["seed"])
    start = None
    if record["parent"] is not None:
        start, _ = model_files.version_files(
            place, Version(record["model"], record["parent"], "", {}))
    reproducibility.set_threads(recipe["threads"])
    task = config.task.kind
    loaded = load_base(model_files.base_spec(place, config.model, task), record["labels"])
    cleaning = model_files.cleaning_now(place, config.data)  # with the code of the model's commit
    kept = {"cleaning": cleaning}
    if task == "instruction_tuning":
        kept = instructing.kept(config, loaded.tokenizer)
    say(f"training again on {len(train):,} rows")
    with tempfile.TemporaryDirectory() as scratch:
        fitted = fit(
            loaded, train, validation, folder=Path(scratch) / "adapter",
            params=recipe["params"], training=recipe["training"], seed=recipe["seed"],
            metric=recipe["metric"], train_embeddings=recipe["train_embeddings"],
            start_from=start, extra=kept,
            on_epoch=lambda e: say(f"epoch {e['epoch']}: train loss {e['train_loss']:.3f}, "
                                   f"validation loss {e['validation_loss']:.3f}"))
        if task == "instruction_tuning":
            compared = rows[~rows["id"].isin(record.get("left_out") or [])]
            metrics = _answer_metrics(
                adapter.open_answerer(fitted.folder, loaded), compared, config)
        else:
            metrics = _test_metrics(adapter.open_classifier(fitted.folder, loaded), rows)
    now = {**fitted.recipe, "replayed": recipe["replayed"],
           "identity": storage.identity_of(path), "base": loaded.weight_hash,
           "tokenizer": loaded.tokenizer_hash, "test": metrics,
           "clean": cleaning["own"]["sha256"] if "own" in cleaning else None}
    then = {**recipe, "identity": record.get("identity", FIRST),
            "base": record["base"]["weight_hash"], "tokenizer": record["base"]["tokenizer_hash"],
            "test": {k: v for k, v in record.get("test_metrics", metrics).items() if k in metrics},
            "clean": (record.get("clean") or {}).get("sha256")}
    unequal = differences(then, now)
    return Reproduction(
        f"{record['model']}@{record['version']}", not unequal,
        (*unequal, *_surroundings(record)), fitted.recipe["weights_sha256"],
        metrics.get("accuracy"), metrics.get("loss"), metrics["n"])


def _adapter(place: Workspace, record: Mapping) -> Path:
    from ftzard.models import archive
    from ftzard.notebooks import model_files
    from ftzard.tracking.registry import Version

    version = Version(record["model"], record["version"], "", {})
    return archive.unpack(model_files.adapter_archive(place, version), place.cache)


def _test_metrics(classifier, rows) -> dict:
    from ftzard.evaluation.calibration import scaled
    from ftzard.evaluation.metrics import classification_metrics

    test = rows[rows["split"] == "test"].reset_index(drop=True)
    chances = scaled(classifier.logits(test["input_ids"].tolist()), 1.0)
    return _plain(classification_metrics(test["label"], chances, classifier.meta["labels"]))


def _answer_metrics(answerer, rows, config) -> dict:
    from ftzard.notebooks import answer_contests

    test = rows[rows["split"] == "test"].reset_index(drop=True)
    return _plain(answer_contests.metrics_of(
        answerer, test, config.task.instructions.generated_rows, config.seed))


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


def _surroundings(record: Mapping) -> list[str]:
    """Return what has changed around the model: package versions and our own code."""
    import ftzard
    from ftzard.tracking.record import code_hash, package_versions

    lines = differences(record["packages"], package_versions(), "packages")
    return lines + differences(record.get("code_hash"), code_hash(Path(ftzard.__file__).parent),
                               "code_hash")


def _plain(values: dict) -> dict:
    return json.loads(json.dumps(values, default=lambda v: v.tolist()))

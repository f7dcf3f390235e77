"""A model's files in a workspace, and its config in the shape that the library takes.

models/bases/<name>.zip is a base that no hub has; models/<model>/<version>.zip is an adapter with
its head and tokenizer; models/<model>/<version>.yaml is the record from which it can be rebuilt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ftzard.config.schema import Data, Model
from ftzard.core import archive, custom_functions
from ftzard.core.artifacts import sha256, write_atomically
from ftzard.errors import DataError, ModelError, in_shell
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.head import DEFAULT_HEAD
from ftzard.modeling.spec import BaseSpec
from ftzard.registry.model_record import ModelRecord
from ftzard.tasks import base as tasks
from ftzard.tasks.base import task_named
from ftzard.tracking.model_version import Version
from ftzard.versioning.content import content
from ftzard.workspace.record_file import read_record_file
from ftzard.workspace.workspace import Workspace

#: What a folder's base consists of: weights, configs, and tokenizers of either kind.
BASE_FILES = (".safetensors", ".json", ".txt", ".model")
PACKED = "packed.json"

if TYPE_CHECKING:
    import pandas as pd


def base_archive(workspace: Workspace, name: str) -> Path:
    """Return where the archive of a base that no hub can give again stands."""
    return workspace.root / "models" / "bases" / f"{name}.zip"


def adapter_archive(workspace: Workspace, version: Version) -> Path:
    """Return where a version's adapter stands."""
    return workspace.root / "models" / version.name / f"{version.number}.zip"


def record_path(workspace: Workspace, version: Version) -> Path:
    """Return where a version's record stands."""
    return adapter_archive(workspace, version).with_suffix(".yaml")


def shipped_base(workspace: Workspace, model: Model, scratch: Path) -> Path | None:
    """Return the archive of a base that no hub has, packed into `scratch` if it is a folder.

    Returns None for a base that its hub id and revision are enough to fetch.
    """
    packed = base_archive(workspace, model.name)
    if model.build is not None or model.revision is None and packed.is_file():
        return packed
    source = _base_location(workspace, model.source, model.revision, model.name)
    return archive.pack(source, scratch / "base.zip") if Path(source).is_dir() else None


def build_base(workspace: Workspace, model: Model, texts, scratch: Path) -> Path | None:
    """Build the base of `model` and its tokenizer from these texts, once; return its archive.

    The base of a folder is packed as it is. Returns None for a base from a hub. Raises ModelError
    if the workspace's base was built with other sizes or has other weights than the folder:
    adapters would no longer fit it.
    """
    if model.build is None:
        return _pack_folder(workspace, model, scratch)
    path, wanted = base_archive(workspace, model.name), vars(model.build)
    if not path.is_file():
        from ftzard.modeling import tiny_falcon

        folder = tiny_falcon.build(scratch / model.name, texts, **wanted)
        (folder / "build.json").write_text(json.dumps(wanted, sort_keys=True) + "\n")
        return archive.pack(folder, path)
    built = json.loads((archive.unpack(path, workspace.cache) / "build.json").read_text())
    if built != wanted:
        raise ModelError(
            f"the base {workspace.relative(path)} was built with {built}, but model.build asks for "
            f"{wanted}; it is frozen at first use. Give the new one another model.name.")
    return path


def _pack_folder(workspace: Workspace, model: Model, scratch: Path) -> Path | None:
    """Pack the base of a folder, once, with the hash of its weights; None if there is no folder."""
    folder, path = workspace.root / model.source, base_archive(workspace, model.name)
    if not folder.is_dir():
        return path if model.revision is None and path.is_file() else None
    if path.is_file():
        _require_same(workspace, folder, path)
        return path
    from ftzard.modeling.hub import hash_weights

    part = scratch / model.name
    part.mkdir(parents=True)
    for file in folder.iterdir():
        if file.suffix in BASE_FILES:
            (part / file.name).symlink_to(file.resolve())
    (part / PACKED).write_text(json.dumps({"weight_hash": hash_weights(folder, None)}) + "\n")
    return archive.pack(part, path)


def _require_same(workspace: Workspace, folder: Path, path: Path) -> None:
    from ftzard.modeling.hub import hash_weights

    actual = hash_weights(folder, None)
    place = archive.unpack(path, workspace.cache)
    packed = place / PACKED
    expected = (json.loads(packed.read_text())["weight_hash"] if packed.is_file()
                else hash_weights(place, None))
    if expected != actual:
        raise ModelError(
            f"the base {workspace.relative(path)} was packed with weights {expected[:12]}…, but "
            f"{folder} has {actual[:12]}…; it is frozen at first use. Give the new one another "
            "model.name.")


def base_spec(workspace: Workspace, model: Model, task: str = DEFAULT_HEAD.task) -> BaseSpec:
    """Return how to load the base that the config names, for a task (`task.kind`).

    Raises ModelError for a folder that does not exist and for a hub id without its commit.
    """
    from ftzard.modeling.hub import hash_weights

    source = _base_location(workspace, model.source, model.revision, model.name)
    if not Path(source).is_dir():
        hash_weights(source, model.revision)  # refuses before a hub is asked again and again
    return spec_at(source, model, task)


def spec_at(source: str | Path, model: Model, task: str = DEFAULT_HEAD.task) -> BaseSpec:
    """Return how to load the base that the config describes, found at `source`."""
    return BaseSpec(
        source=source, name=model.name,
        revision=model.revision, quantisation=model.quantisation,
        double_quantisation=model.double_quantisation, compute_dtype=model.compute_dtype,
        lora_targets=None if model.lora_targets is None else tuple(model.lora_targets),
        max_length=model.max_length, attention=model.attention, gated=model.gated,
        head=task_named(task).head)


def version_folder(workspace: Workspace, version: Version) -> Path:
    """Return a version's unpacked adapter; raises ModelError if it is not in the workspace."""
    path = adapter_archive(workspace, version)
    if not path.is_file():
        raise ModelError(
            f"the adapter of {version} is not at {workspace.relative(path)}; bring it back with "
            f"'dvc pull {in_shell(workspace.relative(path))}.dvc'.")
    folder = archive.unpack(path, workspace.cache)
    require_recorded_code(workspace, version, read_meta(folder).get("cleaning") or {})
    return folder


def version_files(workspace: Workspace, version: Version) -> tuple[Path, BaseSpec]:
    """Return a version's unpacked adapter and the spec of its base."""
    folder = version_folder(workspace, version)
    base = (read_record(workspace, version) or ModelRecord()).base
    if not base:
        raise ModelError(
            f"{version} has no record {workspace.relative(record_path(workspace, version))}, which "
            "says what its base is; bring it back with git.")
    source = _base_location(workspace, base["source"], base.get("revision"), base["name"])
    return folder, tasks.base_spec({**read_meta(folder)["base"]["spec"], "source": source})


def _base_location(workspace: Workspace, source: str | None, revision: str | None, name: str
                   ) -> str | Path:
    """Return a base's hub id or folder, or the unpacked archive of one that the workspace keeps."""
    if revision is not None:
        return source
    path = base_archive(workspace, name)
    folder = None if source is None else workspace.root / source
    if path.is_file():
        if folder is not None and folder.is_dir():
            _require_same(workspace, folder, path)
        return archive.unpack(path, workspace.cache)
    if folder is not None:
        return folder if folder.is_dir() else source
    raise ModelError(
        f"the base {workspace.relative(path)} does not exist; the preprocessing step builds "
        "it, so run 'preprocessing_job' first.")


def hashes(meta: dict) -> dict[str, str]:
    """Return the hashes of base and tokenizer that an adapter was made with, as a run's tags."""
    return {"base_hash": meta["base"]["weight_hash"], "tokenizer_hash": meta["tokenizer_hash"]}


def write_record(workspace: Workspace, version: Version, record: dict) -> Path:
    """Write a version's record beside its adapter; what it said before under other keys stays."""
    return replace_record(workspace, version,
                          {**(read_record(workspace, version) or {}), **record})


def replace_record(workspace: Workspace, version: Version, record: dict) -> Path:
    """Write a version's record as it is given, whatever it said before."""
    path = record_path(workspace, version)
    text = yaml.safe_dump(json.loads(json.dumps(record, default=str)), sort_keys=False,
                          allow_unicode=True)
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_record(workspace: Workspace, version: Version) -> ModelRecord | None:
    """Return a version's record, or None if there is none."""
    path = record_path(workspace, version)
    return ModelRecord(read_record_file(path)) if path.is_file() else None


def tokenized_rows(workspace: Workspace, record: ModelRecord, side: str | None = None
                   ) -> pd.DataFrame | None:
    """Return the rows of a version's own data version, by its record: of one side, or all.

    They are read from the working tree if it still holds these bytes, else from DVC. None if the
    record names none or they were never committed; raises VersioningError if they cannot be had,
    DataError if what was committed is not what the record says.
    """
    from ftzard.data import storage

    handle = record.tokenized
    if not handle:
        return None
    file = workspace.root / handle["path"]
    if not file.is_file() or sha256(file) != handle["sha256"]:
        if not handle["commit"]:
            return None
        file = content(workspace.root, handle["path"], handle["commit"]).file
        digest = sha256(file)
        if digest != handle["sha256"]:
            raise DataError(
                f"{handle['path']} at {handle['commit'][:10]} has sha256 {digest[:12]}…, but "
                f"{record.get('model')}@{record.get('version')} was trained on "
                f"{handle['sha256'][:12]}…; the record or the data was changed by hand.")
    rows = storage.read_parquet(file)
    return rows if side is None else rows[rows["split"] == side].reset_index(drop=True)


def records(workspace: Workspace, name: str) -> list[ModelRecord]:
    """Return every record of a model, oldest version first."""
    return [ModelRecord(read_record_file(path))
            for _, path in sorted(_numbered(workspace, name).items())]


def _numbered(workspace: Workspace, name: str) -> dict[int, Path]:
    return {int(path.stem): path for path in (workspace.root / "models" / name).glob("*.yaml")
            if path.stem.isdecimal()}


def last_number(workspace: Workspace, name: str) -> int:
    """Return the highest version of a model that has a record, 0 if none has."""
    return max(_numbered(workspace, name), default=0)


def cleaning_now(workspace: Workspace, data: Data) -> dict:
    """Return how texts are cleaned by the config and the modules that the workspace has now."""
    if data.clean is None:
        return data.cleaning
    own = custom_functions.packed(data.clean, custom_functions.read(workspace.root), "data.clean")
    return {**data.cleaning, "own": own}


def require_recorded_code(workspace: Workspace, version: Version, cleaning: Mapping) -> None:
    """Refuse a model with code of its own that is not code on record in this workspace's git.

    A version with a record of its own must bring the code that it names; a base, or a copy of a
    model under another name, code that some model's record names.

    Args:
        workspace: The workspace whose records count.
        version: What is to be opened.
        cleaning: How it cleans texts, from its ftzard.json or its MLflow configuration.

    Raises:
        ModelError: Its code is not on record, or the record's code is not with it.
    """
    own, record = cleaning.get("own"), read_record(workspace, version)
    one = own["sha256"][:12] if own else "none"
    if record is not None:
        recorded = record.clean_hash
        if (own or {}).get("sha256") != recorded:
            raise ModelError(
                f"{version} brings code of its own with hash {one}, but its record says "
                f"{recorded[:12] if recorded else 'none'}; it is not run. Bring model and record "
                "back with git and DVC.")
    elif own is not None:
        names = sorted({path.parent.name for path in (workspace.root / "models").glob("*/*.yaml")})
        known = {each.clean_hash for name in names for each in records(workspace, name)}
        if own["sha256"] not in known:
            raise ModelError(
                f"{version} cleans texts with a function of its own ({own['function']}, hash "
                f"{one}), which no model's record in this workspace names; it is not run. Bring "
                "the records with 'git pull'.")

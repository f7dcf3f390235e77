"""From the name of a source to its bytes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ftzard.config.schema import Config
from ftzard.core.artifacts import dvc_hash, sha256, write_atomically
from ftzard.data import reading
from ftzard.errors import DataError
from ftzard.sources.source import FORMS, Source
from ftzard.versioning import versions
from ftzard.versioning.content import content, exact_commit
from ftzard.workspace import artifact_names, drop_folders
from ftzard.workspace.workspace import Workspace


@dataclass(frozen=True)
class Opened:
    """A source whose bytes are here.

    Attributes:
        files: In order.
        own: Whether they are tables of FTzard's own (cleaned rows), with its columns.
        version: The commit or revision that it is of, None if nothing versions it.
    """

    source: Source
    files: tuple[Path, ...]
    version: str | None
    sha256: str
    own: bool = False
    facts: dict = field(default_factory=dict)

    def record(self, **counts: object) -> dict:
        """Return the record of this source, with what was counted of it."""
        record = {"name": self.source.name, "kind": self.source.kind, "version": self.version,
                  "sha256": self.sha256, "rows": None, "usable": None, "rejected": None,
                  "taken": None, "weight": None}
        return {**record, **self.facts, **counts}


def cache_folder(workspace: Workspace) -> Path:
    """Return where the bytes of sources are kept."""
    return workspace.cache / "sources"


def keep_bytes(workspace: Workspace, content: bytes, ending: str) -> Path:
    """Write bytes under their hash, once."""
    path = cache_folder(workspace) / f"{hashlib.sha256(content).hexdigest()}{ending}"
    if not path.is_file() or sha256(path) != path.name.split(".", 1)[0]:
        write_atomically(path, lambda part: part.write_bytes(content))
    return path


def open_source(workspace: Workspace, config: Config, source: Source) -> Opened:
    """Return a source with its bytes, fetched if need be.

    Raises DataError, VersioningError or TrackingError if it is not there, or cannot be had.
    """
    if source.kind == "dvc":
        return _version(workspace, config, source)
    if source.kind == "hf":
        return _hub(workspace, source)
    if source.kind == "comet":
        from ftzard.tracking import comet_artifacts

        holder, artifact = source.place.split("/")
        folder = comet_artifacts.download(
            source.name, holder, artifact, source.version,
            cache_folder(workspace) / "comet" / holder / artifact / source.version)
        return _files(folder, source, source.version)
    path = workspace.root / source.place
    drop_folders.refuse_outside(workspace, path)
    if path.is_dir():
        for file in path.iterdir():
            drop_folders.refuse_outside(workspace, file)
        return _files(path, Source(source.name, "folder", source.place), None)
    if not path.is_file():
        raise DataError(f"{source.name} does not exist in {workspace.root}; expected a file, a "
                        f"folder, or {'; '.join(FORMS.values())}.")
    return Opened(source, (path,), committed(workspace, path), sha256(path))


def committed(workspace: Workspace, path: Path) -> str | None:
    """Return the commit that versions a file as it stands, or None."""
    if not path.is_relative_to(workspace.root):
        return None
    commits = versions.history(workspace.root, workspace.relative(path))[:1]
    return commits[0].commit if commits and commits[0].md5 == dvc_hash(path) else None


def _files(folder: Path, source: Source, version: str | None) -> Opened:
    """Open the files of known types in a folder, in order of their names."""
    there = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    files = [p for p in there if p.name.lower().endswith(reading.TYPES)]
    deeper = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")
                    and any(q.name.lower().endswith(reading.TYPES) for q in p.rglob("*")))
    if deeper:
        raise DataError(
            f"{source.name} has files of rows in sub-folders ({', '.join(deeper[:3])}), which are "
            "not looked into; expected all of them in the folder itself.")
    if not files:
        raise DataError(f"{source.name} holds no file of a known type ({', '.join(reading.TYPES)}) "
                        f"among its {len(there)} files; expected at least one.")
    listed = {path.name: sha256(path) for path in files}
    whole = hashlib.sha256("".join(f"{n}:{d}\n" for n, d in listed.items()).encode()).hexdigest()
    facts = {"files": listed, "left_out": [p.name for p in there if p not in files]}
    return Opened(source, tuple(files), version, whole, facts=facts)


def _version(workspace: Workspace, config: Config, source: Source) -> Opened:
    """Open a version of an artifact of this workspace."""
    commit = exact_commit(workspace.root, source.version)
    there = versions.in_force(workspace.root, commit)
    paths = artifact_names.select(workspace, config, source.place, there)
    if len(paths) > 1:
        raise DataError(f"{source.name}: {len(paths)} artifacts are called '{source.place}' there: "
                        f"{', '.join(paths[:5])}{', …' if len(paths) > 5 else ''}; expected the "
                        "path of one.")
    content_there = content(workspace.root, paths[0], there[paths[0]])
    ending = reading.file_type(PurePosixPath(content_there.path), reading.STORED_TYPES)
    file = keep_bytes(workspace, content_there.file.read_bytes(), ending)
    return Opened(source, (file,), content_there.commit, file.name.split(".", 1)[0],
                   own={"id", "batch", "text", "label"} <= set(_header(file)),
                   facts={"artifact": content_there.path})


def _header(file: Path) -> list[str]:
    return reading.header(file) if file.name.endswith(".parquet") else []


def _hub(workspace: Workspace, source: Source) -> Opened:
    """Open a data set of the Hugging Face hub: exactly the commit that is named.

    Its files are fetched first and read then: asked by its name, the library would take any
    version that it finds in its cache when the hub does not answer.
    """
    from huggingface_hub import snapshot_download

    from ftzard.modeling import hub

    try:
        folder = snapshot_download(source.place, repo_type="dataset", revision=source.version,
                                   token=hub.token())
    except Exception as error:
        offline = type(error).__name__ in ("LocalEntryNotFoundError", "OfflineModeIsEnabled")
        why = ("the hub was not reached (no network, or HF_HUB_OFFLINE is set), and that commit is "
               "not in the hub's cache here" if offline else hub.message(error))
        raise DataError(
            f"{source.name} cannot be had: {why}. Check owner, name and commit at "
            f"https://huggingface.co/datasets/{source.place}, set {hub.TOKEN} if it is gated, or "
            "fetch it once where there is a network.") from hub.cause(error)
    return loaded(workspace, source, Path(folder))


def loaded(workspace: Workspace, source: Source, folder: Path) -> Opened:
    """Return a data set of the hub as one table; folder: where its files are.

    Raises DataError if it cannot be read, or has several splits and the name says none of them.
    """
    import datasets

    datasets.disable_progress_bars()
    cache = str(workspace.cache / "datasets")
    try:
        dataset = datasets.load_dataset(str(folder), cache_dir=cache)
    except Exception as error:  # whatever its files hold
        words = " ".join(str(error).split())[:300]
        raise DataError(f"{source.name} cannot be read as a data set ({type(error).__name__}: "
                        f"{words}); expected files that the library datasets reads.") from error
    read = _read_of(source, folder, cache)
    splits = list(dataset)
    if source.part is None and len(splits) > 1 or source.part not in (None, *splits):
        problem = f"has no split '{source.part}'" if source.part else "has several splits"
        raise DataError(f"{source.name} {problem}; expected #SPLIT at its end, one of "
                        f"{', '.join(splits)}.")
    part = source.part or splits[0]
    left_out = _left_out(source, folder, read, part)
    table = dataset[part].with_format("arrow")[:]

    def write(place: Path) -> None:
        import pyarrow.parquet as parquet

        parquet.write_table(table, place)

    key = hashlib.sha256(source.name.encode()).hexdigest()[:16]
    file = write_atomically(cache_folder(workspace) / "hub" / f"{key}.parquet", write)
    return Opened(source, (file,), source.version, sha256(file),
                   facts={"split": part, "files": {name: sha256(folder / name)
                                                   for name in read.get(part, ())},
                          "left_out": left_out})


def _read_of(source: Source, folder: Path, cache: str) -> dict[str, list[str]]:
    """Return the names of the files in a folder that the library reads for each split.

    Raises DataError for one that is elsewhere: no commit of the data set holds it.
    """
    import datasets

    files = datasets.load_dataset_builder(str(folder), cache_dir=cache).config.data_files or {}
    inside = folder.resolve()
    for name in (str(name) for names in files.values() for name in names):
        if not Path(name).is_relative_to(inside):
            raise DataError(f"{source.name} reads {name}, which is none of its own files; expected "
                            "rows that are in the data set itself, as its commit has them.")
    return {str(split): sorted(Path(name).relative_to(inside).as_posix() for name in names)
            for split, names in files.items()}


def _left_out(source: Source, folder: Path, read: Mapping[str, list[str]], part: str) -> list[str]:
    """Return the names of a data set's files that are not of the split `part`.

    Raises DataError if one that may hold rows is of no split, unless the data set's own card says
    which files are its rows: of files of several formats the library reads the commonest alone.
    """
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                   if path.is_file())
    there = [n for n in there if not any(p.startswith(".") for p in PurePosixPath(n).parts)]
    of_some = {name for names in read.values() for name in names}
    lost = [n for n in there if n not in of_some and n.lower().endswith(reading.TYPES)]
    if lost and not _says_its_files(folder):
        raise DataError(
            f"{source.name} has {len(of_some)} files that the library datasets reads "
            f"({', '.join(sorted(of_some)[:3])}) and {len(lost)} more of rows that it leaves out "
            f"({', '.join(lost[:3])}): it takes one format, and names that tell a split where "
            "there are such. Expected all of them to be read. Bring the files yourself as a folder "
            "of data.source, or name a data set whose card says which files are its rows.")
    return [name for name in there if name not in read.get(part, ())]


def _says_its_files(folder: Path) -> bool:
    """Return whether the card of a data set names the files with its rows."""
    from datasets.load import dataset_module_factory

    configs = dataset_module_factory(str(folder)).builder_configs_parameters.metadata_configs or {}
    return any("data_files" in config for config in configs.values())

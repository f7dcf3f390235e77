"""From the sources that a config names to one delivery, and the record of what it is made of."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ftzard.config.schema import Config
from ftzard.core.artifacts import sha256, write_atomically, write_json
from ftzard.data import reading, storage
from ftzard.sources.open import Opened, cache_folder, committed, keep_bytes, open_source
from ftzard.sources.rows import Reader, draw, json_lines, lacking
from ftzard.sources.source import parse
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

#: How many hex digits name a batch.
DIGITS = 12


def materialise(workspace: Workspace, config: Config, given: str | None = None, *,
                answers: bool = True) -> Path:
    """Return the file that holds the rows of a source, or of the config's mix; written once.

    Args:
        given: The source's name; None takes `data.mix`.
        answers: False for a batch that is not labelled yet. It stands in the workspace's cache, or
            under data/raw if it was a delivery before; its name is the hash of its content, and
            `describe` tells what it is made of.
    """
    weights = {given: 1.0} if given is not None else dict(config.data.mix)
    opened = [open_source(workspace, config, parse(name)) for name in sorted(weights)]
    asked = _asked(config, opened, weights, given is None, answers)
    known = cache_folder(workspace) / "asked" / f"{asked}.json"
    if known.is_file():
        record = json.loads(known.read_text(encoding="utf-8"))
        path = _whole(workspace, record)
        if path is not None:
            write_json(cache_folder(workspace) / f"{record['sha256']}.json", record)
            return path
    alone = opened[0] if given is not None else None
    if alone is not None and len(alone.files) == 1 and not alone.own:
        path = keep_bytes(workspace, alone.files[0].read_bytes(), reading.file_type(
            alone.files[0], reading.STORED_TYPES))
        count = rows_of(path, config)
        origins = [alone.record(rows=count, taken=count)]
    else:
        reader = Reader(config, answers, lacking(config, opened))
        if alone is not None:
            rows = reader.rows(alone)
            origins = [alone.record(rows=len(rows), taken=len(rows))]
        else:
            rows, origins = draw(config, opened, weights, reader,
                                 identity(workspace, config))
        path = keep_bytes(workspace, json_lines(rows, config), ".jsonl")
    record = {"sha256": path.name.split(".", 1)[0], "file": path.name, "sources": origins}
    if given is None:
        record |= {"seed": config.seed, "sample_rows": config.data.sample_rows,
                   "batch": _batch_of_mix(weights)}
    write_json(cache_folder(workspace) / f"{record['sha256']}.json", record)
    write_json(known, record)
    return _whole(workspace, record)


def _batch_of_mix(names: Iterable[str]) -> str:
    """Return the batch that all draws of a mix of these sources are."""
    key = "\x00".join(["mix", *sorted(names)])
    return hashlib.sha256(key.encode()).hexdigest()[:DIGITS]


def batch_of(workspace: Workspace, delivery: Path) -> str:
    """Return the batch that a delivery is, 12 hex digits.

    A draw of a mix is the batch of its sources' names, whatever was drawn: another draw (other
    weights, another seed, another edition of a file) takes the place of the one before. Any other
    delivery is its content.
    """
    record = _record(workspace, Path(delivery))
    origins = {} if record is None else json.loads(record.read_text(encoding="utf-8"))
    return origins.get("batch") or reading.batch_of(delivery)


def _whole(workspace: Workspace, record: Mapping) -> Path | None:
    """Return where the file of a record stands: as a delivery if it was one; None if it is gone."""
    for folder in (workspace.raw, cache_folder(workspace)):
        path = folder / record["file"]
        if path.is_file() and sha256(path) == record["sha256"]:
            return path
    return None


def describe(workspace: Workspace, delivery: Path) -> list[dict]:
    """Return what a delivery is made of, a source each.

    Each says: name (as the config named it), kind, version (commit or revision, None if nothing
    versions it), sha256 (of its bytes), rows, usable, rejected ({reason: rows}), taken, weight and,
    of a folder, its files; None for what was not looked at. A plain file is its own source.
    """
    delivery = Path(delivery)
    record = _record(workspace, delivery)
    if record is not None:
        return json.loads(record.read_text(encoding="utf-8"))["sources"]
    path = delivery if delivery.is_absolute() else workspace.root / delivery
    source = parse(workspace.relative(path))
    return [Opened(source, (path,), committed(workspace, path), sha256(path)).record()]


def keep(workspace: Workspace, delivery: Path) -> Path | None:
    """Put the record of a delivery where it can be versioned with it, and return that path.

    None for a plain file, which has none. What a delivery was made of first is never overwritten.
    """
    record = _record(workspace, Path(delivery))
    if record is None:
        return None
    target = workspace.root / "data" / "sources" / record.name
    if not target.is_file():
        if target.with_name(f"{target.name}.dvc").is_file():
            return None  # versioned already; its bytes are not here
        text = record.read_text(encoding="utf-8")
        write_atomically(target, lambda part: part.write_text(text, encoding="utf-8"))
    return target


def _record(workspace: Workspace, delivery: Path) -> Path | None:
    name = f"{delivery.name.split('.', 1)[0]}.json"
    places = (workspace.root / "data" / "sources", cache_folder(workspace))
    return next((place / name for place in places if (place / name).is_file()), None)


def rows_of(path: Path, config: Config) -> int | None:
    """Return how many rows a file has, None for one of another type."""
    if path.name.endswith(".parquet"):
        return storage.rows(path)
    if not path.name.endswith(reading.TYPES):
        return None
    return reading.count_lines(path, **reading.layout(config.data)).rows


def _asked(config: Config, opened: list[Opened], weights: Mapping[str, float], mixed: bool,
           answers: bool) -> str:
    """Return a hash of all that decides what is written."""
    data = config.data
    columns = {name: getattr(data, name) for name in (
        "text_column", "input_column", "messages_column", "label_column", "group_column",
        "split_column", "split", "encoding", "delimiter", "labels")}
    if data.ignored_columns:  # as before without any, so that what is kept is found again
        columns["ignored_columns"] = data.ignored_columns
    drawn = {"seed": config.seed, "sample_rows": data.sample_rows, "mention": data.mention,
             "link": data.link, "max_characters": data.max_characters,
             "max_rejected": data.max_rejected} if mixed else {}
    if data.quoting != "csv":
        columns["quoting"] = data.quoting  # left out, files of before are found again
    asked = {"sources": [[o.source.name, o.version, o.sha256, weights[o.source.name]]
                         for o in opened], "task": config.task.kind, "answers": answers,
             **columns, **drawn}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

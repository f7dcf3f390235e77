"""The rows a job will see and their lengths in tokens, told before it runs.

They come from the workspace's latest artifacts where those hold the job's delivery already, else
from the delivery itself, cleaned and split as the steps will do it. Nothing is written.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.config.pipeline import JOBS
from ftzard.config.schema import Config
from ftzard.data import cleaning, reading, splitting, storage
from ftzard.data.labeling import labeling_queue
from ftzard.errors import DataError, ModelError
from ftzard.registry import model_records
from ftzard.sources import ingest
from ftzard.steps.inputs import given_or_latest
from ftzard.tasks.classification.checks import tokenized_as
from ftzard.tasks.instruction_tuning import instructions
from ftzard.tasks.instruction_tuning.checks import answered_as
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

#: Of a larger delivery this many rows are looked at, and the counts are scaled up.
LOOKED_AT = 20_000
#: What a token is worth where the tokenizer is not here yet.
CHARACTERS_PER_TOKEN = 4.0
COLUMNS = ["batch", "split", "label", "length", "cut"]


@dataclass(frozen=True)
class Expected:
    """Rows that are expected.

    rows: batch, split, label, length and cut (tokens, the end token included); source: where they
    come from, for a person; scale: by how much there are more of them than were looked at;
    assumptions: what was taken for granted.
    """

    rows: pd.DataFrame
    source: str
    scale: float = 1.0
    assumptions: tuple[str, ...] = ()

    def count(self, side: str) -> int:
        """Return how many rows of a side ('train', 'validation', 'test') there will be."""
        return round(self.scale * int((self.rows["split"] == side).sum()))

    def side(self, name: str) -> pd.DataFrame:
        """Return the rows of a side that were looked at."""
        return self.rows[self.rows["split"] == name].reset_index(drop=True)


def expected_rows(workspace: Workspace, config: Config, job: str, tokenizer) -> Expected:
    """Return the rows that a job will see.

    tokenizer: of the base, or None where it is not here; lengths are then counted in characters.
    Raises DataError if a file that the job takes is not there or cannot be used.
    """
    first = JOBS[job][0]
    if first == "cleaning" and "retraining" in JOBS[job]:
        return _handed_in(workspace, config, tokenizer)
    if first == "cleaning":
        return _delivered(workspace, config, tokenizer)
    if first == "preprocessing":
        path = _place(workspace, config, "cleaned")
        return _prepared(storage.read_parquet(path), config, tokenizer, _told(workspace, path),
                         identity=storage.identity_of(path))
    if first == "inference_preprocessing":
        return _incoming(workspace, config, tokenizer)
    name = "incoming_tokenized" if first in ("inference", "sampling") else "tokenized"
    path = _place(workspace, config, name)
    if name == "tokenized" and tokenizer is not None:
        _require_tokens_of(storage.read_parquet(path), config, tokenizer)
    elif name == "tokenized":
        return replace(_tokenized(workspace, path), assumptions=(
            "tokens as they were counted for another base, since this one's tokenizer is not here "
            "yet; the job will ask for the preprocessing step again",))
    return _tokenized(workspace, path)


def _delivered(workspace: Workspace, config: Config, tokenizer) -> Expected:
    """A raw file, which may be among the workspace's rows already."""
    path = workspace.root / given_or_latest("raw", None, workspace, config).path
    batch = ingest.batch_of(workspace, path)
    for name in ("tokenized", "cleaned") if batch == reading.batch_of(path) else ():
        there = workspace.root / getattr(config.paths, name)
        if there.is_file() and (storage.read_parquet(there, ["batch"])["batch"] == batch).any():
            told = f"{_told(workspace, there)}, where {workspace.relative(path)} is already"
            if name == "tokenized":
                if not _as_this_base_does_it(there, config, tokenizer):
                    continue
                return _tokenized(workspace, there, told)
            return _prepared(storage.read_parquet(there), config, tokenizer, told,
                             identity=storage.identity_of(there))
    data = config.data
    raw = cleaning.sample_rows(_read(path, config, answers=True), data.sample_rows, config.seed,
                               data.sample_stratified and config.task.instructions is None)
    looked, scale = _part(raw)
    rules = identity(workspace, config)
    rows, rejected = _cleaned(looked, workspace, config, batch, rules)
    earlier = workspace.root / config.paths.cleaned
    everything, repeated = cleaning.append(
        storage.read_parquet(earlier) if earlier.is_file() else None, rows, identity=rules)
    cleaning.check(rows, rejected, repeated, labels=data.labels, max_rejected=data.max_rejected,
                   min_rows=min(data.min_rows, len(looked)))
    told = f"{workspace.relative(path)}, cleaned and split here: {len(raw):,} rows, of which " \
           f"{(len(rejected) + len(repeated)) * scale:,.0f} cannot be used"
    if earlier.is_file():
        told += f"; with the earlier batches of {_told(workspace, earlier)}"
    return _prepared(everything, config, tokenizer, told, scale, identity=rules)


def _handed_in(workspace: Workspace, config: Config, tokenizer) -> Expected:
    """Labels that came back, beside all rows there are."""
    path = workspace.root / given_or_latest("labelled", None, workspace, config).path
    new = labeling_queue.read_labelled(path, free=config.task.instructions is not None)
    new = new[new["label"].str.strip() != ""].assign(batch=reading.batch_of(path))
    told = f"{workspace.relative(path)}: {len(new):,} labelled rows"
    rules = identity(workspace, config)
    new = _prepared(new, config, tokenizer, told, whole=False, identity=rules)
    place = _place(workspace, config, "tokenized")
    if _as_this_base_does_it(place, config, tokenizer):
        earlier = _tokenized(workspace, place)
    else:
        place = _place(workspace, config, "cleaned")
        earlier = _prepared(storage.read_parquet(place), config, tokenizer, _told(workspace, place),
                            identity=rules)
    return Expected(pd.concat([earlier.rows, new.rows], ignore_index=True),
                    f"{new.source}, with {earlier.source}", 1.0, new.assumptions)


def _incoming(workspace: Workspace, config: Config, tokenizer) -> Expected:
    """An unlabeled batch."""
    path = workspace.root / given_or_latest("incoming", None, workspace, config).path
    raw = _read(path, config, answers=False)
    looked, scale = _part(raw)
    rules = identity(workspace, config)
    rows, rejected = _cleaned(looked, workspace, config, reading.batch_of(path), rules)
    told = f"{workspace.relative(path)}, cleaned here: {len(raw):,} rows, of which " \
           f"{len(rejected) * scale:,.0f} cannot be used"
    return _prepared(rows.assign(label=""), config, tokenizer, told, scale, whole=False,
                     identity=rules)


def _read(path: Path, config: Config, *, answers: bool) -> pd.DataFrame:
    """Return the rows of a delivery as step 1 or, without answers, step 2.1 reads them."""
    data = config.data
    more = {**reading.layout(data), "group_column": data.group_column,
            "split_column": data.split_column if answers and data.split == "given" else None}
    if config.task.instructions is not None:
        return instructions.read(
            path, instruction_column=data.text_column, input_column=data.input_column,
            output_column=data.label_column if answers else None,
            messages_column=data.messages_column, ignored=data.ignored_columns or (), **more)
    return reading.read_raw(
        path, text_column=data.text_column, label_column=data.label_column if answers else None,
        **more)


def _cleaned(rows: pd.DataFrame, workspace: Workspace, config: Config, batch: str, identity: int
             ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows as they are cleaned, and those that cannot be used."""
    data = config.data
    if config.task.instructions is not None:
        return instructions.clean(rows, batch=batch, max_characters=data.max_characters,
                                  identity=identity)
    return cleaning.clean(rows, batch=batch, labels=data.labels if "label" in rows else None,
                          identity=identity, **model_records.cleaning_now(workspace, data))


def _part(raw: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return at most `LOOKED_AT` of the rows, drawn over the whole file, and how many fold."""
    if len(raw) <= LOOKED_AT:
        return raw, 1.0
    part = raw.sample(LOOKED_AT, random_state=0).sort_index().reset_index(drop=True)
    return part, len(raw) / LOOKED_AT


def _prepared(rows: pd.DataFrame, config: Config, tokenizer, told: str, scale: float = 1.0, *,
              identity: int, whole: bool = True) -> Expected:
    """Return cleaned rows with their sides and lengths, as preprocessing will find them.

    identity: version of the rules by which texts are the same; whole: whether they are all that
    will be trained on; sides that a training would refuse are refused then.
    """
    data = config.data
    ratio = {"train": data.train_share, "validation": data.validation_share,
             "test": data.test_share}
    rows = splitting.assign(rows, salt=data.salt, ratio=ratio,
                            by=data.split if "split" in rows else "text", identity=identity)
    rows, leaving = splitting.drop_near_duplicates(rows, identity)
    if len(leaving):
        told += f"; {len(leaving) * scale:,.0f} leave training, since they are like a test or " \
                "validation row"
    if whole:
        free = config.task.instructions is not None
        splitting.check_splits(rows.drop(columns="label") if free else rows)
    lengths, cut, assumptions = _lengths(rows, tokenizer, config)
    if scale > 1:
        assumptions += (f"{len(rows):,} rows stand for {len(rows) * scale:,.0f}",)
    return Expected(rows.assign(length=lengths, cut=cut)[COLUMNS], told, scale, assumptions)


def _lengths(rows: pd.DataFrame, tokenizer, config: Config
             ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return tokens per row, tokens cut away per row, and what was assumed."""
    texts, most = rows["text"], config.model.max_length
    if config.task.instructions is not None and tokenizer is not None and "messages" in rows:
        from ftzard.tasks.instruction_tuning import tokenize_rows
        from ftzard.tasks.instruction_tuning.tokenization import encode as encode_answers

        found = encode_answers(
            rows["messages"].map(tokenize_rows.turns).tolist(), rows["label"].tolist(), tokenizer,
            tokenize_rows.template_of(config, tokenizer), most)
        return found.length, found.cut, ()
    if tokenizer is not None:
        from ftzard.modeling.tokenizer import encode

        _, lengths, cut = encode(texts.tolist(), tokenizer, most)
        return lengths, cut, ()
    if config.task.instructions is not None:
        texts = texts + rows["label"]
    found = np.ceil(texts.str.len().to_numpy() / CHARACTERS_PER_TOKEN).astype(np.int64) + 1
    return np.minimum(found, most), np.maximum(found - most, 0), (
        f"a token for every {CHARACTERS_PER_TOKEN:g} characters, since the tokenizer is not here "
        "yet",)


def _require_tokens_of(rows: pd.DataFrame, config: Config, tokenizer) -> None:
    """Raise ModelError if rows were tokenized otherwise than this base, as configured, does it."""

    if config.task.instructions is None:
        tokenized_as(rows, tokenizer, config.model.max_length)
        return
    from ftzard.tasks.instruction_tuning import tokenize_rows

    answered_as(rows, tokenizer, tokenize_rows.template_of(config, tokenizer),
                       config.model.max_length)


def _as_this_base_does_it(path: Path, config: Config, tokenizer) -> bool:
    """Return whether a tokenized table is of this base; one whose tokenizer is not here made none.
    """
    if tokenizer is None:
        return False
    try:
        _require_tokens_of(storage.read_parquet(path), config, tokenizer)
    except ModelError:
        return False
    return True


def _tokenized(workspace: Workspace, path: Path, told: str | None = None) -> Expected:
    rows = storage.read_parquet(path)
    if "label" not in rows:
        rows = rows.assign(label="")
    return Expected(rows[COLUMNS].reset_index(drop=True), told or _told(workspace, path))


def _place(workspace: Workspace, config: Config, name: str) -> Path:
    path = workspace.root / getattr(config.paths, name)
    if not path.is_file():
        raise DataError(f"{name}: {workspace.relative(path)} does not exist in {workspace.root}; "
                        "expected a file, written by the step before.")
    return path


def _told(workspace: Workspace, path: Path) -> str:
    return f"{workspace.relative(path)} ({storage.rows(path):,} rows)"

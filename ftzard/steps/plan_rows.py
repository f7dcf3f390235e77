"""The rows a job will see and their lengths in tokens, computed before it runs.

They come from the workspace's latest artifacts where those hold the job's delivery already, else
from the delivery itself, cleaned and split as the steps will do it. Nothing is written.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ftzard.config.pipeline import JOBS
from ftzard.config.schema import Config
from ftzard.data import cleaning, near_duplicates, reading, splitting, storage
from ftzard.data.labeling import labeling_queue
from ftzard.errors import DataError, ModelError
from ftzard.registry import model_records
from ftzard.sources import ingest
from ftzard.steps.inputs import given_or_latest
from ftzard.tasks.base import task_named
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.identity_version import identity_of
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.modeling.tokenizer import PreTrainedTokenizerBase as Tokenizer

#: Of a larger delivery this many rows are looked at, and the counts are scaled up.
LOOKED_AT = 20_000
#: What a token is worth where the tokenizer is not here yet.
CHARACTERS_PER_TOKEN = 4.0
COLUMNS = ["batch", "split", "label", "length", "cut"]


@dataclass(frozen=True)
class Expected:
    """Rows that are expected.

    Attributes:
        rows: Batch, split, label, length and cut (tokens, the end token included).
        source: Where they come from, for a person.
        scale: By how much there are more of them than were looked at.
        assumptions: What was taken for granted.
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


def expected_rows(workspace: Workspace, config: Config, job: str, tokenizer: "Tokenizer | None"
                  ) -> Expected:
    """Return the rows that a job will see.

    Args:
        tokenizer: Of the base, or None where it is not here; lengths are then counted in
            characters.

    Raises:
        DataError: If a file that the job takes is not there or cannot be used.
    """
    first = JOBS[job][0]
    if first == "cleaning" and "retraining" in JOBS[job]:
        return _handed_in(workspace, config, tokenizer)
    if first == "cleaning":
        return _delivered(workspace, config, tokenizer)
    if first == "preprocessing":
        path = _place(workspace, config, "cleaned")
        return _prepared(storage.read_parquet(path), config, tokenizer, _rows_in(workspace, path),
                         identity=identity_of(path))
    if first == "inference_preprocessing":
        return _incoming(workspace, config, tokenizer)
    name = "incoming_tokenized" if first in ("inference", "sampling") else "tokenized"
    path = _place(workspace, config, name)
    if name == "tokenized" and tokenizer is not None:
        task_named(config.task.kind).data.require_tokens_of(
            storage.read_parquet(path), tokenizer, config)
    elif name == "tokenized":
        return replace(_tokenized(workspace, path), assumptions=(
            "tokens as they were counted for another base, since this one's tokenizer is not here "
            "yet; the job will ask for the preprocessing step again",))
    return _tokenized(workspace, path)


def _delivered(workspace: Workspace, config: Config, tokenizer: "Tokenizer | None") -> Expected:
    """A raw file, which may be among the workspace's rows already."""
    path = workspace.root / given_or_latest("raw", None, workspace, config).path
    batch = ingest.batch_of(workspace, path)
    for name in ("tokenized", "cleaned") if batch == reading.batch_of(path) else ():
        there = workspace.root / getattr(config.paths, name)
        if there.is_file() and (storage.read_parquet(there, ["batch"])["batch"] == batch).any():
            sentence = f"{_rows_in(workspace, there)}, where {workspace.relative(path)} is already"
            if name == "tokenized":
                if not _as_this_base_does_it(there, config, tokenizer):
                    continue
                return _tokenized(workspace, there, sentence)
            return _prepared(storage.read_parquet(there), config, tokenizer, sentence,
                             identity=identity_of(there))
    data, part = config.data, task_named(config.task.kind).data
    raw = cleaning.sample_rows(part.read(path, data), data.sample_rows, config.seed,
                               data.sample_stratified)
    looked, scale = _part(raw)
    rules = identity(workspace, config)
    rows, rejected = part.clean(looked, data, batch=batch, identity=rules,
                                cleaning=model_records.cleaning_now(workspace, data))
    earlier = workspace.root / config.paths.cleaned
    everything, repeated = cleaning.append(
        storage.read_parquet(earlier) if earlier.is_file() else None, rows, identity=rules,
        keys=part.text_keys, one_label=part.ONE_LABEL)
    part.check(rows, rejected, repeated, labels=data.labels, max_rejected=data.max_rejected,
               min_rows=min(data.min_rows, len(looked)))
    sentence = f"{workspace.relative(path)}, cleaned and split here: {len(raw):,} rows, of which " \
           f"{(len(rejected) + len(repeated)) * scale:,.0f} cannot be used"
    if earlier.is_file():
        sentence += f"; with the earlier batches of {_rows_in(workspace, earlier)}"
    return _prepared(everything, config, tokenizer, sentence, scale, identity=rules)


def _handed_in(workspace: Workspace, config: Config, tokenizer: "Tokenizer | None") -> Expected:
    """Labels that came back, beside all rows there are."""
    path = workspace.root / given_or_latest("labelled", None, workspace, config).path
    new = labeling_queue.read_labelled(path, free=task_named(config.task.kind).labeling.FREE_TEXT)
    new = new[new["label"].str.strip() != ""].assign(batch=reading.batch_of(path))
    sentence = f"{workspace.relative(path)}: {len(new):,} labelled rows"
    rules = identity(workspace, config)
    place = _place(workspace, config, "tokenized")
    if _as_this_base_does_it(place, config, tokenizer):
        earlier = _tokenized(workspace, place)
    else:
        place = _place(workspace, config, "cleaned")
        earlier = _prepared(storage.read_parquet(place), config, tokenizer,
                            _rows_in(workspace, place), identity=rules)
    labeling = task_named(config.task.kind).labeling
    assumptions: tuple[str, ...] = ()
    if not labeling.FREE_TEXT:
        form = labeling.label_format(config.data, rules, earlier.rows["label"])
        names = form.parse(new["label"])
        sentence += f", of which {int(names.isna().sum()):,} have an unknown label and are refused"
        new = new.assign(label=names).dropna(subset="label")
        if task_named(config.task.kind).labels_grow:
            assumptions = _new_labels(earlier.rows["label"], new["label"])
    new = _prepared(new, config, tokenizer, sentence, whole=False, identity=rules)
    return Expected(pd.concat([earlier.rows, new.rows], ignore_index=True),
                    f"{new.source}, with {earlier.source}", 1.0, (*new.assumptions, *assumptions))


def _new_labels(earlier: pd.Series, new: pd.Series) -> tuple[str, ...]:
    """Return a sentence on labels that no row has so far."""
    names = [f"'{name}'" for name in sorted({*new} - {*earlier})]
    if not names:
        return ()
    return (f"no row so far has the label {' or '.join(names)}: the model's head gets a row for "
            "it, and earlier rows count as not asked about it",)


def _incoming(workspace: Workspace, config: Config, tokenizer: "Tokenizer | None") -> Expected:
    """An unlabeled batch."""
    path = workspace.root / given_or_latest("incoming", None, workspace, config).path
    part = task_named(config.task.kind).data
    raw = part.read(path, config.data, labelled=False)
    looked, scale = _part(raw)
    rules = identity(workspace, config)
    rows, rejected = part.clean(looked, config.data, batch=reading.batch_of(path), identity=rules,
                                cleaning=model_records.cleaning_now(workspace, config.data))
    sentence = f"{workspace.relative(path)}, cleaned here: {len(raw):,} rows, of which " \
           f"{len(rejected) * scale:,.0f} cannot be used"
    return _prepared(rows, config, tokenizer, sentence, scale, whole=False,
                     identity=rules)


def _part(raw: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return at most `LOOKED_AT` of the rows, drawn over the whole file, and how many fold."""
    if len(raw) <= LOOKED_AT:
        return raw, 1.0
    part = raw.sample(LOOKED_AT, random_state=0).sort_index().reset_index(drop=True)
    return part, len(raw) / LOOKED_AT


def _prepared(rows: pd.DataFrame, config: Config, tokenizer: "Tokenizer | None", sentence: str,
              scale: float = 1.0, *, identity: int, whole: bool = True) -> Expected:
    """Return cleaned rows with their sides and lengths, as preprocessing will find them.

    identity: version of the rules by which texts are the same; whole: whether they are all that
    will be trained on; sides that a training would refuse are refused then.
    """
    data, part = config.data, task_named(config.task.kind).data
    rows = splitting.assign(rows, salt=data.salt, ratio=data.split_ratio,
                            by=data.split if "split" in rows else "text", identity=identity)
    rows, leaving = near_duplicates.drop_near_duplicates(rows, identity,
                                                         repeated_of=part.repeated_of)
    if len(leaving):
        sentence += f"; {len(leaving) * scale:,.0f} leave training, since they are like a test " \
                    "or validation row"
    if whole:
        part.check_splits(rows)
    assumptions: tuple[str, ...] = ()
    if tokenizer is not None:
        rows, _ = part.tokenize(rows, tokenizer, config)
    else:
        length = np.ceil(part.length_in_characters(rows) / CHARACTERS_PER_TOKEN).astype(int) + 1
        most = config.model.max_length
        rows = rows.assign(length=np.minimum(length, most), cut=np.maximum(length - most, 0))
        assumptions = (f"a token for every {CHARACTERS_PER_TOKEN:g} characters, since the "
                       "tokenizer is not here yet",)
    if scale > 1:
        assumptions += (f"{len(rows):,} rows stand for {len(rows) * scale:,.0f}",)
    return Expected(rows.reindex(columns=COLUMNS, fill_value=""), sentence, scale, assumptions)


def _as_this_base_does_it(path: Path, config: Config, tokenizer: "Tokenizer | None") -> bool:
    """Return whether a tokenized table is of this base; one whose tokenizer is not here made none.
    """
    if tokenizer is None:
        return False
    try:
        task_named(config.task.kind).data.require_tokens_of(
            storage.read_parquet(path), tokenizer, config)
    except ModelError:
        return False
    return True


def _tokenized(workspace: Workspace, path: Path, sentence: str | None = None) -> Expected:
    rows = storage.read_parquet(path)
    if "label" not in rows:
        rows = rows.assign(label="")
    return Expected(rows[COLUMNS].reset_index(drop=True), sentence or _rows_in(workspace, path))


def _place(workspace: Workspace, config: Config, name: str) -> Path:
    path = workspace.root / getattr(config.paths, name)
    if not path.is_file():
        raise DataError(f"{name}: {workspace.relative(path)} does not exist in {workspace.root}; "
                        "expected a file, written by the step before.")
    return path


def _rows_in(workspace: Workspace, path: Path) -> str:
    return f"{workspace.relative(path)} ({storage.rows(path):,} rows)"

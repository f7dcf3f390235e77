"""Which rows of a file the compared models have learned: on those, neither shows what it can."""

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from ftzard.data.messages import as_text, to_json
from ftzard.data.near_duplicates import repeats
from ftzard.errors import VersioningError
from ftzard.registry import model_records
from ftzard.registry.lookup import Files
from ftzard.tasks.base import task_named
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace


def counted(workspace: Workspace, models: Sequence[Files], rows: pd.DataFrame) -> dict:
    """Return {'rows': n, 'by': {model: n}}: rows that stand, or nearly, in their training data.

    A bare base has none; None is for a model whose training data is not on record, or cannot be
    had. Nearly is what `near_duplicates.drop_near_duplicates` means by it.

    Args:
        rows: (text, and messages and label of free answers).
    """
    by, any_of_them = {}, pd.Series(False, rows.index)
    config = workspace.config()
    rules, repeated_of = identity(workspace, config), task_named(config.task.kind).data.repeated_of
    for model in models:
        if model.adapter is None or model.version is None:
            continue
        trained = _training_rows(workspace, model)
        if trained is None:
            by[model.name] = None
            continue
        compared = _as_it_reads(model, rows) if model.cleaning.get("own") else rows
        repeated = repeats(compared, trained, rules, repeated_of)
        by[model.name] = int(repeated.sum())
        any_of_them |= repeated
    return {"rows": int(any_of_them.sum()), "by": by}


def _as_it_reads(model: Files, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows cleaned by a model's own function; of another model the texts may be others."""
    if "messages" not in rows:
        return rows.assign(text=model.cleaned(rows["text"]))
    chats = model.cleaned(rows["messages"].map(json.loads))
    return rows.assign(text=list(map(as_text, chats)), messages=list(map(to_json, chats)))


def sentence(rows: Mapping) -> str:
    """Return what is to be said of the rows of a comparison, with a space before it, or ''.

    Args:
        rows: {n, learned}; without the second, as for test rows, there is nothing to say.
    """
    learned = rows.get("learned") or {"rows": 0, "by": {}}
    clause, by = "", {name: n for name, n in learned["by"].items() if n}
    if learned["rows"]:
        clause = (f" {learned['rows']:,} of {rows['n']:,} rows stand in the training data, up to "
                  f"one word ({', '.join(f'{n:,} in that of {name}' for name, n in by.items())}): "
                  "who has learned them looks better there than on new rows.")
    unknown = [name for name, n in learned["by"].items() if n is None]
    if unknown:
        clause += (f" Whether {' and '.join(unknown)} learned any of these rows is not known: the "
                   "training data is not here.")
    return clause


def _training_rows(workspace: Workspace, model: Files) -> pd.DataFrame | None:
    record = model_records.read_record(workspace, model.version) or model_records.ModelRecord()
    try:
        return model_records.tokenized_rows(workspace, record, "train")
    except VersioningError:
        return None

"""Checks of classification: rows are tokenized as configured, models have the same labels."""

from collections.abc import Mapping, Sequence

import pandas
import yaml
from transformers import PreTrainedTokenizerBase

from ftzard.errors import ModelError
from ftzard.modeling.checks import COMPARED_ROWS
from ftzard.modeling.tokenizer import encode


def tokenized_as(
    rows: pandas.DataFrame, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> None:
    """Raise ModelError if the first rows' token ids are not what this tokenizer makes of them.

    Args:
        rows: A table with input_ids and, to be compared with, text.
    """
    if "text" not in rows:
        return
    head = rows.head(COMPARED_ROWS)
    expected, _, _ = encode(head["text"].tolist(), tokenizer, max_length)
    for text, stored, ids in zip(head["text"], head["input_ids"], expected, strict=True):
        if list(stored) != ids:
            raise ModelError(
                f"the rows were tokenized otherwise than this base does it: {text[:40]!r} stands "
                f"as {list(stored)[:6]}… ({len(stored)} ids), this tokenizer makes {ids[:6]}… "
                f"({len(ids)} ids of at most {max_length}). Run the preprocessing step again with "
                "this model."
            )


def require_named(new: Sequence[str], known: Sequence[str], name: str,
                  labels: Mapping[str, str] | None) -> None:
    """Raise ModelError for labels that are new to a model and that data.labels does not name.

    Args:
        new: Labels that rows have and the model does not know.
        known: Those that it knows.
        name: Of the model.
        labels: Data.labels, raw value -> name.
    """
    unnamed = [label for label in new if label not in (labels or {}).values()]
    if unnamed:
        raise ModelError(
            f"rows have the label '{unnamed[0]}' (such labels: {len(unnamed)}), which {name} does "
            f"not know and data.labels does not name; {name} knows {', '.join(known)}. To add it "
            f"to this model, set data.labels to {naming([*known, *new], labels)}. To leave it "
            "out, correct these rows; to begin anew, set another tracking.registered_model.")


def naming(names: Sequence[str], labels: Mapping[str, str] | None) -> str:
    """Return a value of data.labels, as YAML, that keeps what it has and gives all these names."""
    known = dict(labels or {})
    whole = known | {name: name for name in names if name not in known.values()}
    return yaml.safe_dump(whole, default_flow_style=True, allow_unicode=True, sort_keys=False,
                          width=10**6).strip()


def same_labels(
    ours: Sequence[str], theirs: Sequence[str], *, whose: str, others: str, subset: bool = False
) -> None:
    """Raise ModelError if two label maps differ, naming both, before anything is loaded for them.

    Args:
        ours, theirs: Labels in the order of the logits.
        whose, others: What people call the two sides.
        subset: Rather than the same in the same order, `ours` may be any of `theirs`.
    """
    ours, theirs = [str(label) for label in ours], [str(label) for label in theirs]
    if set(ours) <= set(theirs) if subset else ours == theirs:
        return
    unknown = [label for label in ours if label not in theirs]
    raise ModelError(
        f"{whose} has the labels {ours}, {others} has {theirs}"
        + (f"; unknown to it: {unknown}" if unknown else "")
        + ". A model answers with the labels it was trained with: map the new names in "
        "data.labels, or train afresh under another tracking.registered_model."
    )

"""Step 2: every row gets its split by its own text, and becomes tokens."""

import pandas as pd

from ftzard.data import near_duplicates, splitting
from ftzard.modeling.tokenizer import PreTrainedTokenizerBase, load_tokenizer, tokenizer_hash
from ftzard.registry import model_records
from ftzard.reporting import plots
from ftzard.steps.step_run import Picture, StepRun, scratch


def assign_splits(run: StepRun, cleaned: pd.DataFrame, *, ratio: dict[str, float], salt: str,
                  by: str = "text") -> pd.DataFrame:
    """Return the rows with their split: train, validation or test.

    Raises:
        DataError: If a row has another split than an earlier run gave it.
    """
    rows = splitting.assign(cleaned, ratio=ratio, salt=salt, by=by, identity=run.identity)
    splitting.refuse_moved(rows, run.previous("tokenized"))
    return rows


def drop_near_duplicates(run: StepRun, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without those of training that are like a test or validation row.

    Raises:
        DataError: For splits that cannot be trained on or measured with.
    """
    part = run.task.data
    remaining, near = near_duplicates.drop_near_duplicates(rows, run.identity,
                                                           repeated_of=part.repeated_of)
    part.check_splits(remaining)
    learned = near_duplicates.learned_before(remaining, run.previous("tokenized"), run.identity,
                                             part.repeated_of)
    run.log(near_duplicates_dropped=len(near), test_rows_learned_before=learned)
    leaks = near["reason"].value_counts().to_dict()
    if learned:
        leaks["test row like one learned before"] = learned
    run.record_facts(leaks=leaks, near_duplicates=len(near))
    return remaining


def base_tokenizer(run: StepRun, rows: pd.DataFrame) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the base.

    A base that the config describes and no hub has is built first, with a tokenizer that learns
    from the training rows only.
    """
    model = run.config.model
    corpus = run.task.data.tokenizer_corpus(rows[rows["split"] == "train"], run.config)
    built = model_records.build_base(run.workspace, model, corpus, scratch())
    if built:
        run.add_artifact("base", built)
    base = model_records.base_spec(run.workspace, model, run.task.name)
    tokenizer = load_tokenizer(base.source, base.revision)
    run.mlflow_run.tags({"tokenizer_hash": tokenizer_hash(tokenizer)})
    return tokenizer


def tokenize(run: StepRun, rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Return the rows with their token ids; log how many tokens there are, and how many are cut."""
    tokenized, numbers = run.task.data.tokenize(rows, tokenizer, run.config)
    run.log(**numbers)
    return tokenized


def plot_token_lengths(run: StepRun, tokenized: pd.DataFrame, max_length: int) -> Picture:
    """Return the picture of row lengths before they were cut."""
    return run.plot(plots.token_lengths(tokenized["length"] + tokenized["cut"], max_length),
                    "token_lengths")


def count_by_split(run: StepRun, rows: pd.DataFrame) -> pd.DataFrame:
    """Return how many rows of each label, or of each source, every split has."""
    values = run.task.data.counted_by(rows)
    counted = rows[["split"]].assign(**{values.name: values}).explode(values.name)
    return counted.groupby([values.name, "split"]).size().unstack()


def plot_balance(run: StepRun, rows: pd.DataFrame) -> Picture:
    """Return the picture of `count_by_split`."""
    counts = count_by_split(run, rows).fillna(0).astype(int)
    return run.plot(plots.class_balance(
        {name or "all rows": split.to_dict() for name, split in counts.iterrows()}),
        "class_balance")

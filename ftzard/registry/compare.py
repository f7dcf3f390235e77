"""`ftzard compare A B`: two models on the same rows, each in a process of its own.

Any two of champion, challenger, previous, base and registered versions. The rows are all test rows
of all batches, or a labelled file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ftzard.config.schema import Config
from ftzard.core import custom_functions
from ftzard.core.artifacts import write_atomically
from ftzard.data import reading, storage
from ftzard.errors import DataError, ModelError
from ftzard.registry import lookup, seen_rows
from ftzard.registry.lookup import Files
from ftzard.tasks import comparison_page
from ftzard.tasks.base import task_named
from ftzard.tasks.comparison import Comparison, description
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace


def compare(workspace: Workspace, first: str, second: str, *, file: Path | None = None,
            say: Callable[[str], object] = print) -> Comparison:
    """Let two models answer the same rows; each is loaded, asked and timed in its own process.

    Args:
        workspace: with the registry, the records and the test rows.
        first: 'champion', 'challenger', 'previous', 'base' or NAME@VERSION.
        second: another one.
        file: a labelled file with the config's columns, instead of the workspace's test rows; which
            of its rows either has learned is counted.
        say: called with a line of progress.

    Raises:
        ModelError: both are one model, are not for the same task or do not share two labels; before
            either is loaded.
        DataError: there are no rows to compare on.
    """
    config = workspace.config()
    asked = (first, second)
    models = [lookup.files(workspace, which, labels_of=asked[1 - i])
              for i, which in enumerate(asked)]
    if models[0].name == models[1].name:
        raise ModelError(f"'{first}' and '{second}' are both {models[0].name}; expected two models "
                         "to compare.")
    require_same_task(*models)
    require_shared_labels(*models)
    if file is None:
        rows, described = test_rows(workspace, config)
    else:
        rows, described = labelled_rows(models[0], config, file, identity(workspace, config))
        described["learned"] = seen_rows.counted(workspace, models, rows)
    sources = custom_functions.read(workspace.root) if config.metrics else {}
    own = {short: custom_functions.packed(name, sources, "metrics")
           for short, name in custom_functions.short_names(config.metrics or ()).items()}
    return compare_on(models, rows, described, asked=asked, config=config, own_metrics=own, say=say)


def compare_on(models: Sequence[Files], rows: pd.DataFrame, described: Mapping, *,
               asked: tuple[str, str], config: Config,
               own_metrics: Mapping[str, Mapping] | None = None,
               say: Callable[[str], object] = print) -> Comparison:
    """Compare two models of one task on rows.

    Args:
        described: What the rows are, as `tasks.comparison.description` returns it.
        own_metrics: The workspace's own metrics, as `custom_functions.packed` returns each.
    """
    return task_named(models[0].task).comparison.compare(
        models, rows, dict(described), asked=asked, config=config, own_metrics=own_metrics or {},
        caveat=seen_rows.sentence(described), say=say)


def require_same_task(first: Files, second: Files) -> None:
    """Raise ModelError, naming both, if two models are not for the same task."""
    if first.task != second.task:
        raise ModelError(f"{first.name} is for {first.task} and {second.name} for {second.task}; "
                         "expected two of one task to compare.")


def require_shared_labels(first: Files, second: Files) -> None:
    """Raise ModelError, naming both, if two models of labels do not share two or more of them."""
    if (first.labels or second.labels) and len(set(first.labels) & set(second.labels)) < 2:
        raise ModelError(
            f"{first.name} knows the labels {first.labels} and {second.name} {second.labels}; "
            "expected two or more that both know, since they are to answer the same rows.")


def test_rows(workspace: Workspace, config: Config) -> tuple[pd.DataFrame, dict]:
    """Return the test rows of all batches (id, batch, text, label), and what they are.

    Those of instructions have their messages, too, and those that were not asked about a label
    which one.
    """
    path = workspace.root / config.paths.tokenized
    if not path.is_file():
        raise DataError(
            f"there are no test rows: {workspace.relative(path)} does not exist. Run 'ftzard run "
            "preprocessing_job', bring it back with 'dvc pull', or name a file with --file.")
    rows = storage.read_parquet(path)
    rows = rows[rows["split"] == "test"].reset_index(drop=True)
    if rows.empty:
        raise DataError(f"{workspace.relative(path)} has no test rows; name a labelled file with "
                        "--file.")
    return (rows.filter(["id", "batch", "text", "label", "messages", "not_asked"]),
            description(workspace.relative(path), rows))


def labelled_rows(model: Files, config: Config, file: Path, identity: int
                  ) -> tuple[pd.DataFrame, dict]:
    """Return the usable rows of a labelled file, cleaned as a delivery is, and what they are.

    Args:
        identity: Version of the rules by which texts and names are the same.
    """
    part = task_named(model.task).data
    data = replace(config.data, group_column=None, split="text")
    raw = part.read(file, data, lacking=part.optional_columns(data))
    rows, rejected = part.clean(raw, data, batch=reading.batch_of(file), identity=identity,
                                cleaning=data.cleaning)
    described = description(str(file), rows, rejected["reason"])
    if rows.empty:
        raise DataError(f"{file} has no row that can be used: {described['rejected']}.")
    return rows.filter(["id", "batch", "text", "label", "messages"]), described


def report(comparison: Comparison, path: Path, examples: int = 50,
           others: Sequence[Comparison] = ()) -> Path:
    """Write the comparison as one page that needs no other file; return its path.

    Args:
        others: Of the same first model with more models.
    """
    text = comparison_page.render(comparison, examples, others)
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))

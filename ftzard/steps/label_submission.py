"""The rows that wait for labels, and labels handed in for them as a file in data/labelled."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ftzard.config.schema import Config
from ftzard.data.labeling import labeling_queue, submissions
from ftzard.data.storage import read_parquet, write_csv
from ftzard.errors import DataError, nearest
from ftzard.tasks.base import task_named
from ftzard.workspace import row_log
from ftzard.workspace.identity_rules import identity
from ftzard.workspace.workspace import Workspace

#: How many refused rows an error names.
NAMED = 5


def waiting_rows(workspace: Workspace) -> pd.DataFrame:
    """Return the rows of all batches that were queued for labels and have none yet.

    Columns are those of the queue's files: id, batch, text, …, label (as far as it is filled in).
    """
    config = workspace.config()
    cleaned, rules = _cleaned(workspace, config), identity(workspace, config)
    reviewed = row_log.reviewed(workspace)
    batches = [submissions.waiting(file, cleaned, rules, reviewed)
               for file in sorted(workspace.labelling.glob("*.csv"))]
    batches = [batch for batch in batches if batch is not None]
    if not batches:
        return pd.DataFrame({name: pd.Series(dtype="str") for name in labeling_queue.QUEUE})
    return pd.concat(batches, ignore_index=True).fillna("").drop_duplicates("id")


def submit(workspace: Workspace, labels: Mapping[str, str] | pd.DataFrame | Path | str, *,
           person: str) -> Path:
    """Hand in labels; return the file in data/labelled that the retraining job takes.

    Args:
        workspace: whose queue the rows were in.
        labels: {id: label}, a table with the columns id and label (rows with an empty label are
            left out), or a file as `ftzard label`, a spreadsheet or Label Studio writes it.
        person: who labeled, where the file does not say so.

    Raises:
        DataError: nothing was queued, an id is not in the queue, a label is none of the task's, a
            row has two labels or none has one. Nothing is written then.
    """
    queue = submissions.queues(workspace.labelling)
    if queue is None:
        raise DataError("no row was queued for labels: data/labelling is empty. Run "
                        "inference_pipeline_job on a batch first.")
    if isinstance(labels, str | Path):
        given = labeling_queue.read_labelled(Path(labels), by=person)
    else:
        given = _of_queue(labels, queue, person)
    given = given[given["label"].str.strip() != ""].reset_index(drop=True)
    if given.empty:
        raise DataError("none of the rows has a label; expected an id and a label for each.")
    config = workspace.config()
    cleaned = _cleaned(workspace, config)
    label_format = task_named(config.task.kind).labeling.label_format(
        config.data, identity(workspace, config), [] if cleaned is None else cleaned["label"])
    _, refused = labeling_queue.accept(given, queue, label_format)
    if len(refused):
        named = "; ".join(f"row {row.id}: {row.reason}"
                          for row in refused.head(NAMED).itertuples(index=False))
        more = f"; and {len(refused) - NAMED:,} more" if len(refused) > NAMED else ""
        raise DataError(f"{len(refused):,} of {len(given):,} labels cannot be handed in: {named}"
                        f"{more}. Nothing was written; mend these rows, or leave them out; a new "
                        "label is named in data.labels of ftzard.yaml first, beside all others.")
    return write_submission(workspace.labelled, given, batch="api", person=person)


def _cleaned(workspace: Workspace, config: Config) -> pd.DataFrame | None:
    """Return the cleaned rows of all batches, or None before the first."""
    path = workspace.root / config.paths.cleaned
    return read_parquet(path) if path.is_file() else None


def _of_queue(labels: Mapping[str, str] | pd.DataFrame, queue: pd.DataFrame, person: str
              ) -> pd.DataFrame:
    """Return labels with the batch and text of their rows; an unknown id has neither."""
    if isinstance(labels, pd.DataFrame):
        for name in ("id", "label"):
            if name not in labels:
                raise DataError(f"the table of labels has no column '{name}'"
                                f"{nearest(name, labels.columns)}")
        rows = labels[["id", "label"]]
    else:
        rows = pd.DataFrame(list(labels.items()), columns=["id", "label"])
    rows = rows.fillna("").astype("str")
    known = queue.drop_duplicates("id").set_index("id").reindex(rows["id"])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return rows.assign(
        **{name: known[name].fillna("").to_numpy()
           for name in ("batch", "text", *labeling_queue.OPTIONAL) if name in known},
        labelled_by=person, labelled_at=now, own_answer="", seen="")


def submission_name(folder: Path, *, batch: str, person: str, used: Collection[str] = ()) -> str:
    """Return a name for a file of labels that none in the folder, and none that is taken, has."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in person)
    stem = f"{batch}_{name}_{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}"
    while (folder / f"{stem}.csv").exists() or f"{stem}.csv" in used:
        stem += "_more"
    return f"{stem}.csv"


def write_submission(folder: Path, rows: pd.DataFrame, *, batch: str, person: str) -> Path:
    """Write labeled rows into a folder under a name of their own; return the file."""
    name = submission_name(folder, batch=batch, person=person)
    return write_csv(rows, folder / name, encoding="utf-8-sig")

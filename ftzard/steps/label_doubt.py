"""Labels in doubt: a ranked queue of them, and what a person who reviewed it blind has said.

The queue stands in data/labelling like that of a batch, under a name of its own, with neither label
nor suggestion, so that whoever reviews it in the terminal, on the page, in a spreadsheet or in
Label Studio sees a text alone. What is handed in goes the way of all labels and makes a data
version; nothing changes before.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ftzard.core.artifacts import write_json
from ftzard.data.labeling import label_studio, labeling_queue
from ftzard.data.labeling.labeling_queue import SUSPECT, SUSPECTS
from ftzard.data.storage import read_parquet
from ftzard.errors import DataError
from ftzard.steps.labeling_batch import store_of
from ftzard.steps.step_run import StepRun
from ftzard.tasks.base import Task, task_named
from ftzard.workspace import row_log
from ftzard.workspace.row_log import CANNOT_SAY, CHANGED, CONFIRMED
from ftzard.workspace.workspace import Workspace


def ask(workspace: Workspace, most: int) -> tuple[str, int]:
    """Return the name of the queue of labels in doubt and how many of its rows wait.

    One that still has rows to review is returned as it is; else the labels are searched anew.

    Args:
        workspace: Whose rows are searched.
        most: Rows of a new queue, the most doubtful ones.

    Raises:
        DataError: If there are no rows yet, the task has no such search, or nothing is in doubt.
    """
    done = row_log.reviewed(workspace)
    seen = {entry["id"] for entry in row_log.LABEL_REVIEWS.entries(workspace)}
    for file in sorted(workspace.labelling.glob(f"{SUSPECTS}*.csv"), reverse=True):
        ids = labeling_queue.read_queue(file)["id"]
        if (~ids.isin(seen)).any():  # else nobody can say, and what is left is searched anew
            return file.stem, int((~ids.isin(done)).sum())
    config = workspace.config()
    path = workspace.root / config.paths.tokenized
    if not path.is_file():
        raise DataError("there are no rows with labels yet; run training_pipeline_job first.")
    task = task_named(config.task.kind)
    search = getattr(task.evaluation, "suspects", None)
    if search is None:
        raise DataError(f"labels in doubt are searched with task=classification; this workspace's "
                        f"task is {config.task.kind}.")
    rows = read_parquet(path)
    doubtful = search(rows, sorted(rows["label"].unique()), config.seed)
    doubtful = doubtful[~doubtful["id"].isin(done)].head(most)
    if doubtful.empty:
        raise DataError(f"no label of {len(rows):,} rows is in doubt that was not reviewed.")
    cleaned = read_parquet(workspace.root / config.paths.cleaned)
    name = f"{SUSPECTS}-{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}"
    return _write(workspace, name, doubtful, cleaned, task), len(doubtful)


def _write(workspace: Workspace, name: str, doubtful: pd.DataFrame, cleaned: pd.DataFrame,
           task: Task) -> str:
    groups = (cleaned.set_index("id")["group"] if "group" in cleaned
              else pd.Series(dtype="str")).reindex(doubtful["id"]).fillna("")
    queue = pd.DataFrame({
        "id": doubtful["id"].to_numpy(), "batch": doubtful["batch"].to_numpy(),
        "text": doubtful["text"].to_numpy(), "suggestion": "", "confidence": "",
        "side": doubtful["split"].where(doubtful["split"] == "test", "train").to_numpy(),
        "chosen_by": SUSPECT, "group": groups.to_numpy(), "blind": labeling_queue.YES, "label": ""},
        dtype="str")
    place = workspace.labelling / f"{name}.csv"
    labeling_queue.queue_csv(queue, place)
    write_json(place.with_suffix(".json"), label_studio.tasks(
        queue, "none", task.labeling.label_studio_value))
    return name


def as_before(run: StepRun, cleaned: pd.DataFrame, earlier: pd.DataFrame | None
              ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return labels that came back with what their rows had before, and the reviewed ones.

    A reviewed row keeps its number, split and source: only its label is a person's now.

    Args:
        run: The step.
        cleaned: The labels that count, as cleaned rows.
        earlier: The cleaned rows of all batches.

    Returns:
        The labels, and of those that were in doubt id, before, after, labelled_by and labelled_at.
    """
    doubted = asked(run.workspace)
    again = cleaned["id"].isin(doubted) if earlier is not None else pd.Series(False, cleaned.index)
    if earlier is None or not again.any():
        return cleaned, cleaned.head(0).assign(before="", after="")
    known = earlier.drop_duplicates("id").set_index("id")
    again &= cleaned["id"].isin(known.index)
    ids = cleaned.loc[again, "id"]
    given = {"label", "labelled_by", "labelled_at", "own_answer", "id", "not_asked"}
    for name in (column for column in known.columns if column not in given):
        if name not in cleaned:
            cleaned = cleaned.assign(**{name: pd.Series("", cleaned.index, dtype="str")})
        cleaned.loc[again, name] = known.loc[ids, name].to_numpy()
    reviewed = cleaned.loc[again, ["id", "labelled_by", "labelled_at"]].assign(
        before=known.loc[ids, "label"].to_numpy(), after=cleaned.loc[again, "label"].to_numpy())
    return cleaned, reviewed


def remember(run: StepRun, reviewed: pd.DataFrame) -> None:
    """Record what a person said of labels in doubt: kept, changed, and where nobody can say."""
    lines = [{"id": row.id, "result": CONFIRMED if row.before == row.after else CHANGED,
              "before": str(row.before), "after": str(row.after),
              "reviewed_by": row.labelled_by, "reviewed_at": row.labelled_at}
             for row in reviewed.itertuples(index=False)]
    if lines:
        lines += _cannot_say(run.workspace, {line["id"] for line in lines})
    path = row_log.LABEL_REVIEWS.add(run.workspace, lines)
    if path is None:
        return
    run.add_artifact("label_reviews", path)
    counts = {result: sum(line["result"] == result for line in lines)
              for result in (CONFIRMED, CHANGED, CANNOT_SAY)}
    run.log(**{f"labels_{name.replace(' ', '_')}": n for name, n in counts.items()})
    run.record_facts(reviewed=counts)
    print(f"labels in doubt: {counts[CONFIRMED]:,} kept, {counts[CHANGED]:,} changed, of "
          f"{counts[CANNOT_SAY]:,} nobody can say. Changed test labels are other test rows: the "
          "gate's next decision on them is counted.")


def asked(workspace: Workspace) -> Mapping[str, Path]:
    """Return the rows that are or were in a queue of labels in doubt, with its file."""
    return {row_id: file for file in workspace.labelling.glob(f"{SUSPECTS}*.csv")
            for row_id in labeling_queue.read_queue(file)["id"]}


def _cannot_say(workspace: Workspace, done: set[str]) -> list[dict[str, str]]:
    store = store_of(workspace)
    if not store.path.is_file():
        return []
    return [{"id": answer.id, "result": CANNOT_SAY, "before": "", "after": "",
             "reviewed_by": answer.person, "reviewed_at": answer.labelled_at}
            for file in sorted(workspace.labelling.glob(f"{SUSPECTS}*.csv"))
            for answer in store.answers(file.stem)
            if answer.cannot_say and answer.id not in done]

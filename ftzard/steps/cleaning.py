"""Step 1: the rows of a delivery are read, cleaned and added to the table of all batches."""

from pathlib import Path

import pandas as pd

from ftzard.data import cleaning, intake_summary, reading
from ftzard.data.labeling import labeling_queue, submissions
from ftzard.reporting import plots
from ftzard.sources import ingest
from ftzard.steps import accuracy_estimate
from ftzard.steps.step_run import Picture, StepRun


def read(run: StepRun, delivery: Path) -> pd.DataFrame:
    """Return the rows of a delivery as they stand in its file.

    Args:
        run: the step, which records the filled columns that no model learns from.
        delivery: the file; raw rows, or rows of the queue with labels.

    Raises:
        DataError: For whatever cannot be read without guessing.
    """
    data = run.config.data
    if run.labelled:
        submissions.require_queue(delivery.name, submissions.queues(run.workspace.labelling))
        run.record_facts(not_read=[])
        return labeling_queue.read_labelled(
            delivery, at=submissions.time_of(_given(run)), free=run.task.labeling.FREE_TEXT)
    rows = run.task.data.read(delivery, data)
    unread = run.task.data.unread_columns(delivery, data)
    if unread:
        print(f"Not read: {', '.join(unread)}.")
    run.record_facts(not_read=unread)
    return cleaning.sample_rows(rows, data.sample_rows, run.config.seed, data.sample_stratified)


def clean(run: StepRun, delivery: Path, rows: pd.DataFrame
          ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (cleaned, rejected): the rows that can be used, and the others with a reason each.

    Of labels that a person handed in, the refused ones are also written back, to be mended.
    """
    batch = ingest.batch_of(run.workspace, delivery)
    if not run.labelled:
        return run.task.data.clean(rows, run.config.data, batch=batch, identity=run.identity,
                                   cleaning=run.cleaning)
    given, earlier = _given(run), run.previous("cleaned")
    labels = run.task.labeling.label_format(run.config.data, run.identity,
                                            [] if earlier is None else earlier["label"])
    accepted = submissions.accept(
        rows, delivery.name, batch=batch, queue=submissions.queues(run.workspace.labelling),
        labels=labels, earlier=earlier)
    submissions.report_refused(accepted.refused, run.workspace.quarantine, given.name,
                               at=submissions.time_of(given))
    run.log(**accepted.numbers)
    run.record_facts(labels=accepted.facts)
    print(accepted.sentence)
    return accepted.cleaned, accepted.rejected


def append(run: StepRun, cleaned: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of all batches with this one, and the rows that earlier batches have.

    Raw rows replace those of the same batch; labels replace those of the same rows.
    """
    part = run.task.data
    table, repeated = cleaning.append(
        run.previous("cleaned"), cleaned, replace_batch=not run.labelled, identity=run.identity,
        keys=part.text_keys, one_label=part.ONE_LABEL)
    return part.mark_not_asked(table, cleaned, run.config.data), repeated


def check(run: StepRun, cleaned: pd.DataFrame, rejected: pd.DataFrame, repeated: pd.DataFrame, *,
          min_rows: int, max_rejected: float) -> None:
    """Raise DataError for a delivery with too few rows to train on, or too many rejected ones."""
    run.task.data.check(cleaned, rejected, repeated, labels=run.config.data.labels,
                        min_rows=min_rows, max_rejected=max_rejected)


def write(run: StepRun, delivery: Path, table: pd.DataFrame, cleaned: pd.DataFrame,
          rejected: pd.DataFrame, repeated: pd.DataFrame) -> pd.DataFrame:
    """Write the tables of cleaned and rejected rows, record their numbers; return the second."""
    part = run.task.data
    lines = (labeling_queue.count_lines(delivery) if run.labelled
             else reading.count_lines(delivery, **reading.layout(run.config.data)))
    summary = intake_summary.arrived(
        run.previous("cleaned"), table, cleaned, rejected, repeated, run.facts["sources"], lines,
        keys=None if part.ONE_LABEL else lambda rows: part.text_keys(rows, run.identity))
    rejected = cleaning.append_rejected(run.previous("rejected"), rejected, repeated,
                                        batch=ingest.batch_of(run.workspace, delivery))
    reasons = rejected["reason"].value_counts().to_dict()
    run.record_facts(identity=run.identity, rows_by_source=summary.rows_by_source, rejected=reasons)
    run.write("cleaned", table, identity=run.identity)
    run.write("rejected", rejected)
    run.log(**summary.numbers)
    print(summary)
    if run.labelled:
        accuracy_estimate.audit(run, table)
    return rejected


def plot_rejected(run: StepRun, rejected: pd.DataFrame) -> Picture | str:
    """Return the picture of the rejected rows by reason."""
    if rejected.empty:
        return "no row was rejected"
    return run.plot(plots.rejected_rows(rejected["reason"].value_counts().to_dict()),
                    "rejected_rows")


def _given(run: StepRun) -> Path:
    """Return the file that was handed in, before it was stored."""
    return run.workspace.root / run.inputs["raw"].path

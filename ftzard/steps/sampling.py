"""Step 6: the rows of a batch that a person is asked to label."""

import pandas as pd

from ftzard.core.artifacts import write_json
from ftzard.data import query_strategies
from ftzard.data.labeling import label_studio, labeling_queue, submissions
from ftzard.reporting import plots
from ftzard.steps import next_labels, query_inputs
from ftzard.steps.step_run import Picture, StepRun
from ftzard.tracking import registry
from ftzard.workspace import notices, round_notices


def select(run: StepRun, predictions: pd.DataFrame, *, strategy: str, budget: int | str,
           audit_rows: int, random_share: float, quantile: float | None, show_suggestions: str
           ) -> tuple[pd.DataFrame, float | None]:
    """Return the queue, and the lowest score of the rows that were ranked by one.

    The other arguments are those of `query_strategies.select`, and keys of `sampling`.
    """
    labelled, batch = run.previous("cleaned"), predictions["batch"].iloc[0]
    asking = {
        "budget": next_labels.budget(run) if budget == next_labels.AUTO else budget,
        "audit_rows": audit_rows, "exclude_texts": labelled["text"],
        "test_texts": submissions.texts_of_test_rows(run.workspace.labelling,
                                                     run.previous("tokenized")),
        "waiting": submissions.waiting(run.artifact_path("queue", batch=batch), labelled,
                                       run.identity),
        "identity": run.identity}
    queue, threshold = query_strategies.select(
        predictions, strategy=strategy, random_share=random_share, quantile=quantile,
        seed=run.config.seed, show_suggestions=show_suggestions,
        overlap=run.config.sampling.overlap,
        scorer=run.task.evaluation.uncertainty, **asking,
        **query_inputs.of(run, predictions))
    counts = query_strategies.counts(predictions, queue, **asking)
    run.log(**{name.replace(" ", "_"): count for name, count in counts.items()},
            threshold=threshold)
    run.record_facts(batch=batch, strategy=strategy, quantile=quantile,
                     show_suggestions=show_suggestions)
    return queue, threshold


def write(run: StepRun, queue: pd.DataFrame, predictions: pd.DataFrame) -> None:
    """Write the queue, the champion's suggestions beside it, and the same rows for Label Studio.

    Prints the labelling interface of a new Label Studio project.
    """
    batch = predictions["batch"].iloc[0]
    champion = str(registry.champion(run.tracking, run.config.tracking.registered_model))
    place = run.artifact_path("queue", batch=batch)
    run.add_artifact("suggestions", labeling_queue.keep_suggestions(place, queue, predictions,
                                                                    champion))
    run.write("queue", queue, batch=batch)
    if len(queue):
        notices.add(run.workspace, run.config.notify, round_notices.waiting(
            run.workspace, batch, queue["text"].tolist()))
    labeling = run.task.labeling
    run.add_artifact("queue_tasks", write_json(
        place.with_suffix(".json"),
        label_studio.tasks(queue, champion, labeling.label_studio_value)))
    print("labelling interface of a new Label Studio project:")
    print(labeling.label_studio_interface(labeling.label_format(
        run.config.data, run.identity, run.previous("cleaned")["label"]).names))


def plot_uncertainty(run: StepRun, predictions: pd.DataFrame, threshold: float | None) -> Picture:
    """Return the histogram of the batch's uncertainty, with the threshold of the ranked rows."""
    strategy = run.config.sampling.strategy
    shown = query_strategies.shown_by(strategy)
    scores = run.task.evaluation.uncertainty(predictions, shown)
    ranked = strategy in (*query_strategies.UNCERTAINTIES, "mix")
    marked = threshold if ranked else None
    run.record_facts(shown_by=shown, shown_threshold=marked)
    return run.plot(plots.uncertainty_histogram(scores, marked), "uncertainty")

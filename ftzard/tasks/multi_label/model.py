"""Multi-label classification's part of training, and of what is measured around a model."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.config.schema import Config, Data
from ftzard.config.training_config import TrainingConfig
from ftzard.errors import ModelError
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress
from ftzard.tasks.base import Baseline, Predicted
from ftzard.tasks.classification.checks import same_labels, tokenized_as
from ftzard.tasks.classification.model import adapter_meta, benchmark
from ftzard.tasks.multi_label import baselines, label_sets
from ftzard.tasks.multi_label.metrics import set_scores
from ftzard.tasks.multi_label.objective import LabelSets
from ftzard.tasks.multi_label.predictor import (
    Answered,
    LabelSetClassifier,
    bare_predictor,
    confidence,
)
from ftzard.tasks.multi_label.thresholds import sigmoid

__all__ = ["adapter_meta", "benchmark"]

#: The column by which training rows are counted.
ROWS_BY = "label"
#: What the learning curves show of each epoch, and what its line says.
CURVES = ("loss", "micro_f1")
EPOCH_METRIC = "micro_f1"


def head_labels(rows: pd.DataFrame) -> list[str]:
    """Return the labels that a head gets, in the order of its logits."""
    return label_sets.names_in(rows["label"])


def objective(loaded: LoadedBase, train_rows: pd.DataFrame, validation_rows: pd.DataFrame,
              config: TrainingConfig) -> LabelSets:
    """Return the objective on rows with input_ids and label."""
    return LabelSets(train_rows, validation_rows, loaded.labels, config.class_weights)


def check_rows(loaded: LoadedBase, train_rows: pd.DataFrame, validation_rows: pd.DataFrame,
               config: TrainingConfig, adapter_meta: Mapping) -> None:
    """Raise ModelError for rows that were tokenized otherwise than this base does it."""
    if config.packing is not None:
        raise ModelError(
            "packing is asked for in a training for labels, where a text is answered as a whole; "
            "expected none. Remove 'packing' from the training's values.")
    for rows in (train_rows, validation_rows):
        tokenized_as(rows, loaded.tokenizer, loaded.spec.max_length)


def continued_labels(rows: pd.DataFrame, adapter: Path, name: str, data: Data) -> list[str]:
    """Return the labels of an adapter; raises ModelError if the rows have others, too.

    Args:
        name: Of the model, for the message.
    """
    labels = read_meta(adapter)["labels"]
    same_labels(head_labels(rows), labels, whose="the data", others=name, subset=True)
    return labels


def bare(loaded: LoadedBase, config: Config) -> LabelSetClassifier:
    """Return the base itself with its untrained head, to compare with."""
    return bare_predictor(loaded)


def validation_baseline(loaded: LoadedBase, train: pd.DataFrame, validation: pd.DataFrame,
                        config: Config) -> Baseline:
    """Return what a trained model has to beat on validation rows: TF-IDF, and one set for all."""
    labels = head_labels(pd.concat([train, validation]))
    targets = label_sets.indicators(validation["label"].tolist(), labels)
    model = baselines.TfidfBaseline.fit(train["text"], train["label"], labels, config.seed)
    tfidf = set_scores(targets, model.chosen(validation["text"]))["micro_f1"]
    frequent = set_scores(targets, baselines.most_frequent(
        train["label"], len(validation), labels))["micro_f1"]
    return Baseline(
        {"tfidf_validation_micro_f1": tfidf, "most_frequent_validation_micro_f1": frequent},
        f"to beat on validation: micro F1 of TF-IDF {tfidf:.3f}, of the most frequent label set "
        f"{frequent:.3f}")


def calibrate(predictor: LabelSetClassifier, rows: pd.DataFrame) -> None:
    """Return None: each label has a threshold instead of a temperature."""
    return None


def predict(predictor: LabelSetClassifier, rows: pd.DataFrame, on_step: Progress | None = None
            ) -> Predicted:
    """Return what a model predicts for tokenized rows."""
    logits, embeddings = predictor.answers(rows["input_ids"].tolist(), on_step=on_step)
    chances = sigmoid(logits)
    chosen = predictor.chosen(chances)
    columns = {
        "suggestion": np.array(label_sets.from_indicators(chosen, predictor.labels), dtype=object),
        "confidence": confidence(chances, chosen), "logits": list(logits),
        "probabilities": list(chances), "thresholds": [predictor.thresholds] * len(rows)}
    return Predicted(columns, {}, Answered(chances, chosen), embeddings)

"""Classification's part of training, and of what is measured around a model."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from ftzard.config.schema import Config, Data
from ftzard.config.training_config import TrainingConfig
from ftzard.errors import ModelError
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress, probabilities
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.base import Baseline, Predicted
from ftzard.tasks.benchmark import latency_of, spread, times
from ftzard.tasks.classification import asked, baselines, calibration
from ftzard.tasks.classification.checks import require_named, tokenized_as
from ftzard.tasks.classification.metrics import classification_metrics
from ftzard.tasks.classification.objective import Labels
from ftzard.tasks.classification.predictor import Classifier, bare_classifier

#: The column by which training rows are counted.
ROWS_BY = "label"
#: What the learning curves show of each epoch, and what its line says.
CURVES = ("loss", "accuracy")
EPOCH_METRIC = "accuracy"
#: Rows of a timed pass that are answered one at a time, and together.
TIMED = (32, 512)


def head_labels(rows: pd.DataFrame) -> list[str]:
    """Return the labels that a head gets, in the order of its logits."""
    return sorted(rows["label"].unique())


def objective(loaded: LoadedBase, train_rows: pd.DataFrame, validation_rows: pd.DataFrame,
              config: TrainingConfig) -> Labels:
    """Return the objective on rows with input_ids and label."""
    return Labels(train_rows, validation_rows, loaded.labels, config.class_weights)


def check_rows(loaded: LoadedBase, train_rows: pd.DataFrame, validation_rows: pd.DataFrame,
               config: TrainingConfig, adapter_meta: Mapping) -> None:
    """Raise ModelError for rows that were tokenized otherwise than this base does it."""
    if config.packing is not None:
        raise ModelError(
            "packing is asked for in a training for classification, where a text is answered as a "
            "whole; expected none. Remove 'packing' from the training's values.")
    for rows in (train_rows, validation_rows):
        tokenized_as(rows, loaded.tokenizer, loaded.spec.max_length)


def adapter_meta(config: Config, tokenizer: PreTrainedTokenizerBase, cleaning: Mapping,
                 continues: Path | None = None) -> dict:
    """Return what an adapter's ftzard.json keeps beside its base: how texts are cleaned."""
    return {"cleaning": dict(cleaning)}


def continued_labels(rows: pd.DataFrame, adapter: Path, name: str, data: Data) -> list[str]:
    """Return the labels of a model that goes on from an adapter: its own, then the new ones.

    A label is new if the rows have it and `data.labels` names it.

    Args:
        name: Of the model, for the message.

    Raises:
        ModelError: For other labels.
    """
    labels = read_meta(adapter)["labels"]
    new = [label for label in head_labels(rows) if label not in labels]
    require_named(new, labels, name, data.labels)
    return [*labels, *new]


def bare(loaded: LoadedBase, config: Config) -> Classifier:
    """Return the base itself with its untrained head, to compare with."""
    return bare_classifier(loaded)


def validation_baseline(loaded: LoadedBase, train: pd.DataFrame, validation: pd.DataFrame,
                        config: Config) -> Baseline:
    """Return what a trained model has to beat on the validation rows: TF-IDF and majority class."""
    labels = head_labels(pd.concat([train, validation]))
    chances = baselines.tfidf(
        train["text"], train["label"], validation["text"], labels, config.seed)
    chances = asked.shares(chances, asked.mask(validation, labels))
    tfidf = classification_metrics(validation["label"], chances, labels)["accuracy"]
    majority = validation["label"].value_counts(normalize=True).max()
    return Baseline(
        {"tfidf_validation_accuracy": tfidf, "majority_validation_accuracy": majority},
        f"to beat on validation: TF-IDF {tfidf:.3f}, majority class {majority:.3f}")


def calibrate(predictor: Classifier, rows: pd.DataFrame) -> float:
    """Return the temperature of a classifier's confidence, fitted on tokenized validation rows."""
    logits = asked.among(predictor.logits(rows["input_ids"].tolist()),
                         asked.mask(rows, predictor.labels))
    return calibration.fit_temperature(rows["label"], logits, predictor.labels)


def predict(predictor: Classifier, rows: pd.DataFrame, on_step: Progress | None = None
            ) -> Predicted:
    """Return what a model predicts for tokenized rows."""
    logits, embeddings = predictor.answers(rows["input_ids"].tolist(), on_step=on_step)
    chances = probabilities(logits)
    columns = {
        "suggestion": np.array(predictor.labels)[chances.argmax(axis=1)],
        "confidence": chances.max(axis=1), "logits": list(logits), "probabilities": list(chances)}
    return Predicted(columns, {}, chances, embeddings)


def benchmark(classifier: Classifier, request: Mapping
              ) -> tuple[dict, int, Callable[[], dict]]:
    """Return the logits of a classifier, how many texts were cut, and what times it once."""
    input_ids, lengths, cut = encode(request["texts"], classifier.tokenizer, classifier.max_length)
    logits = classifier.logits(input_ids, batch_size=request["batch_size"])
    singles, together = (spread(len(input_ids), most) for most in TIMED)
    tokens = int(sum(lengths[i] for i in together))

    def turn() -> dict:
        latency = latency_of(lambda ids: classifier.logits([ids]), [input_ids[i] for i in singles])
        began = time.perf_counter()
        classifier.logits([input_ids[i] for i in together], batch_size=request["batch_size"])
        return times(latency, len(together), tokens, time.perf_counter() - began)

    return {"logits": logits}, int((cut > 0).sum()), turn

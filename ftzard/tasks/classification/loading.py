"""Opening a classifier: a saved adapter on its base, or the bare base."""

from pathlib import Path

from ftzard.modeling.adapter import open_adapter, require_bare
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.spec import CLASSIFICATION, BaseSpec
from ftzard.tasks.classification.predictor import Classifier


def open_classifier(folder: Path, base: BaseSpec | LoadedBase) -> Classifier:
    """Return the classifier of a saved adapter on its base.

    base: a spec, which is loaded, or a base in memory, to which the adapter is attached (one at a
    time: `detach` first). Raises ModelError if the base has other weights, another tokenizer or
    other labels than the adapter was trained with, before weights are loaded.
    """
    adapted, base, meta = open_adapter(folder, base, CLASSIFICATION)
    return Classifier(adapted, base.tokenizer, list(base.labels), meta["max_length"], meta)


def bare_classifier(loaded: LoadedBase) -> Classifier:
    """Return the base itself with its untrained head, to compare with."""
    require_bare(loaded, CLASSIFICATION)
    return Classifier(
        loaded.model, loaded.tokenizer, list(loaded.labels), loaded.spec.max_length, {}
    )

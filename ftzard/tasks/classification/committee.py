"""A committee: several adapters of one base that answer the same texts, one after the other."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy

from ftzard.errors import ModelError
from ftzard.modeling.adapter import detach
from ftzard.modeling.base_model import BaseSpec, LoadedBase, load_base
from ftzard.modeling.inference import Progress, probabilities
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.classification.predictor import Classifier, open_classifier


def answers(
    folders: Sequence[Path],
    base: BaseSpec | LoadedBase,
    labels: Sequence[str],
    texts: Sequence[str],
    *,
    on_member: Callable[[int], Progress | None] | None = None,
    open_model: Callable[..., Classifier] = open_classifier,
    chances: Callable[[numpy.ndarray], numpy.ndarray] = probabilities,
) -> list[numpy.ndarray]:
    """Return each member's probabilities (rows, labels) of the texts, in label order.

    Args:
        folders: Of two or more saved adapters.
        base: Theirs, as a spec or in memory without an adapter, which it is without afterwards.
        on_member: Given a member's number (from 0), returns what to call with (rows done, rows in
            all).
        open_model, chances: Open a member on the loaded base, and make probabilities of its
            logits.

    Raises:
        ModelError: For fewer than two members, or for one that was trained on another base or with
            other labels.
    """
    if len(folders) < 2:
        raise ModelError(
            f"a committee needs two or more adapters, got {len(folders)}; tune with "
            "tuning.trials=2 or more."
        )
    loaded = base
    if isinstance(base, BaseSpec):
        loaded = load_base(base, labels, continues=folders[0])
    members = []
    for number, folder in enumerate(folders):
        classifier = open_model(folder, loaded)
        try:
            input_ids, _, _ = encode(texts, classifier.tokenizer, classifier.max_length)
            on_step = on_member(number) if on_member is not None else None
            members.append(chances(classifier.logits(input_ids, on_step=on_step)))
        finally:
            detach(loaded)
    return members

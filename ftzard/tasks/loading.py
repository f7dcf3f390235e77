"""A model of any task, opened from its files to predict."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ftzard.modeling.base_model import load_base
from ftzard.tasks.base import base_spec, task_in

if TYPE_CHECKING:
    from ftzard.tasks.parts import Predictor


def load_predictor(adapter: Path | None, spec: Mapping, meta: Mapping) -> "Predictor":
    """Return the model of a saved adapter on its base, or a bare base, loaded and checked.

    Args:
        adapter: Folder of the adapter, None for the bare base.
        spec: Values of a `BaseSpec`, its source where the base is.
        meta: Of a bare base, its labels and what the task's `predictor_meta` names.
    """
    predictor, base = task_in(spec).predictor, base_spec(spec)
    if adapter is not None:
        return predictor.open_predictor(adapter, base)
    return predictor.bare_predictor(load_base(base, meta.get("labels", ())), meta)


def clean(texts: Iterable, spec: Mapping, cleaning: Mapping) -> list:
    """Return raw texts as the model's training rows were cleaned.

    Args:
        texts: Raw texts, or the messages of chats.
        spec: Values of the model's `BaseSpec`.
        cleaning: What its ftzard.json says of cleaning.
    """
    return task_in(spec).predictor.clean(texts, cleaning)

"""Labelling for classification: a person picks one of a few names."""

from collections.abc import Iterable

from ftzard.config.schema import Data
from ftzard.data.identity import label_list
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.labeling.label_studio import choice as label_studio_value
from ftzard.data.labeling.label_studio import (
    choices_interface as label_studio_interface,
)

__all__ = ["FREE_TEXT", "label_studio_interface", "label_studio_value"]

FREE_TEXT = False


def label_format(data: Data, identity: int, labels: Iterable[str]) -> OneOf:
    """Return one of the names of `data.labels`, or of those of `labels`, sorted."""
    return OneOf(label_list(data.labels, identity) or sorted({*labels} - {""}))

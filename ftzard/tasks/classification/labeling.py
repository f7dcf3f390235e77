"""Labelling for classification: a person picks one of a few names."""

from ftzard.data.labeling.label_studio import choice as label_studio_value
from ftzard.data.labeling.label_studio import (
    choices_interface as label_studio_interface,
)

__all__ = ["FREE_TEXT", "label_studio_interface", "label_studio_value"]

FREE_TEXT = False

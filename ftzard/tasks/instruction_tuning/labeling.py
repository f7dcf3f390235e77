"""Labelling for instruction tuning: a person writes the answer."""

from ftzard.data.labeling import label_studio
from ftzard.data.labeling.label_studio import free_text as label_studio_value

__all__ = ["FREE_TEXT", "label_studio_interface", "label_studio_value"]

FREE_TEXT = True


def label_studio_interface(labels: list[str]) -> str:
    """Return the labelling interface of a new Label Studio project: one text."""
    return label_studio.text_interface()

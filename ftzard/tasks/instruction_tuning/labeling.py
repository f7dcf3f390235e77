"""Labelling for instruction tuning: a person writes the answer."""

from collections.abc import Iterable

import pandas as pd

from ftzard.config.schema import Data
from ftzard.data.labeling import label_studio
from ftzard.data.labeling.label_formats import FreeText
from ftzard.data.labeling.label_studio import free_text as label_studio_value
from ftzard.data.messages import one_turn, to_json

__all__ = ["FREE_TEXT", "label_studio_interface", "label_studio_value"]

FREE_TEXT = True


class Answer(FreeText):
    """The answer to an instruction, which keeps the messages and the source it was asked with."""

    queue_columns = ("messages", "source")

    def completed(self, accepted: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with messages and source; one without messages was asked in one turn."""
        values = asked.reindex(columns=self.queue_columns, fill_value="").fillna("").astype("str")
        one = accepted["text"].map(lambda text: to_json(one_turn(text)))
        messages = values["messages"].where(values["messages"] != "", one.to_numpy())
        place = accepted.columns.get_loc("label") + 1
        completed = accepted.copy()
        for name, column in (("source", values["source"]), ("messages", messages)):
            completed.insert(place, name, pd.Series(column.to_numpy(), completed.index,
                                                    dtype="str"))
        return completed


def label_format(data: Data, identity: int, labels: Iterable[str]) -> Answer:
    """Return any text."""
    return Answer()


def label_studio_interface(labels: list[str]) -> str:
    """Return the labelling interface of a new Label Studio project: one text."""
    return label_studio.text_interface()

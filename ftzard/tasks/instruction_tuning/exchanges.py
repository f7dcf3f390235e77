"""Questions and answers of chats: a row may repeat an exchange whose text differs."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.data.normalization import arrow, normalise_all


@dataclass(frozen=True)
class Exchanges:
    """Questions and answers of rows, flat over all rows: of each row the last, and earlier ones.

    Attributes:
        words: Each question, with its input, and its answer as one string of words.
        owner: The row.
        last: Whether it is the row's last one.
    """

    reason = "question and answer"
    words: pa.Array
    owner: np.ndarray
    last: np.ndarray

    def again(self, rows: np.ndarray, references: np.ndarray, *, earlier: bool, whole: str
              ) -> np.ndarray:
        """Return those of `rows` that say again what `references` say last, or the other way round.

        Args:
            earlier: Whether earlier exchanges count as well: those of the leaving rows, or, if
                `whole` is 'kept', those of the rows that stay.
        """
        every = np.ones(len(self.last), dtype=bool) if earlier else self.last
        leaving, staying = (self.last, every) if whole == "kept" else (every, self.last)
        ours = np.flatnonzero(leaving & np.isin(self.owner, rows))
        theirs = np.flatnonzero(staying & np.isin(self.owner, references))
        repeated = pc.is_in(self.words.take(pa.array(ours)),
                            value_set=self.words.take(pa.array(theirs))).to_numpy(False)
        return np.unique(self.owner[ours[repeated]])


def exchanges_of(frame: pd.DataFrame, identity: int) -> Exchanges | None:
    """Return the questions and answers of rows; None where no row has both messages and an answer.
    """
    if not {"messages", "label"} <= set(frame):
        return None
    asked, answers, owner, last = [], [], [], []
    for row, (cell, label) in enumerate(zip(frame["messages"], frame["label"], strict=True)):
        turns = [*json.loads(cell), {"role": "assistant", "content": label}]
        pairs = [pair for pair in zip(turns[:-1], turns[1:], strict=True)
                 if pair[0]["role"] == "user"]
        asked += ["\n\n".join(filter(None, (question["content"], question.get("input"))))
                  for question, _ in pairs]
        answers += [answer["content"] for _, answer in pairs]
        owner += [row] * len(pairs)
        last += [False] * (len(pairs) - 1) + [True] * bool(pairs)
    conversations = pc.binary_join_element_wise(
        normalise_all(pd.Series(asked, dtype="str"), identity),
        normalise_all(pd.Series(answers, dtype="str"), identity), *arrow(["\x00"]))
    return Exchanges(conversations, np.array(owner, dtype=np.int64), np.array(last, dtype=bool))

"""Predictions in shards: put together in order, and the same after they lay in files."""

import numpy as np
import pandas as pd
import pytest

from ftzard.errors import DataError
from ftzard.tasks import shards
from ftzard.tasks.base import Predicted
from ftzard.tasks.multi_label.predictor import Answered


def predicted(rows: pd.DataFrame, kind: str) -> Predicted:
    """What a model would say of numbered rows."""
    numbers = rows["number"].to_numpy()
    chances = np.stack([numbers / 7, 1 - numbers / 7], axis=1)
    answers = {"array": chances, "table": pd.DataFrame({"answer": numbers.astype(str)}),
               "fields": Answered(chances, chances > 0.5)}[kind]
    return Predicted(
        {"suggestion": np.array(["no", "yes"])[numbers % 2], "confidence": chances.max(axis=1),
         "logits": list(chances.astype("float32"))},
        {"unfinished": int((numbers % 3 == 0).sum())}, answers,
        np.stack([numbers, numbers + 1], axis=1).astype("float32"))


def plain(one: Predicted) -> list:
    answers = one.answers
    answers = (answers["answer"].tolist() if isinstance(answers, pd.DataFrame) else
               [answers.probabilities.tolist(), answers.chosen.tolist()]
               if isinstance(answers, Answered) else answers.tolist())
    frame = pd.DataFrame(dict(one.columns))
    return [frame["suggestion"].tolist(), frame["confidence"].tolist(),
            [row.tolist() for row in frame["logits"]], one.metrics, answers,
            one.embeddings.tolist(), one.embeddings.dtype, frame["logits"].iloc[0].dtype]


@pytest.mark.parametrize("kind", ["array", "table", "fields"])
def test_shards_are_the_whole_in_order_also_out_of_files(monkeypatch, tmp_path, kind):
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    rows, steps = pd.DataFrame({"number": range(10)}), []

    class Part:
        @staticmethod
        def predict(predictor, shard, on_step):
            on_step(len(shard), len(shard))
            return predicted(shard, kind)

    whole = plain(predicted(rows, kind))
    assert plain(shards.predict(Part, None, rows, lambda *step: steps.append(step))) == whole
    assert steps == [(4, 10), (8, 10), (10, 10)]
    found = []
    for number, shard in enumerate(shards.of(rows)):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = shards.write(predicted(shard, kind), folder)
        found.append(shards.read(folder, told))
    assert len(found) == 3 and plain(shards.joined(found)) == whole


def test_no_rows_are_one_shard_of_none():
    assert [len(shard) for shard in shards.of(pd.DataFrame({"number": []}))] == [0]


def test_a_shard_cannot_name_a_class_of_anywhere(tmp_path):
    told = shards.write(predicted(pd.DataFrame({"number": [1]}), "array"), tmp_path)
    with pytest.raises(DataError, match="expected a class of ftzard.tasks"):
        shards.read(tmp_path, {**told, "answers": "subprocess:Popen"})

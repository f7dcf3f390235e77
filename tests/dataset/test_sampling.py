import math

import numpy as np
import pandas as pd
import pytest

from ftzard.dataset.sampling import counts, select, uncertainty
from ftzard.errors import ConfigError, DataError


def predictions(confidences, split="train", texts=None, batch="b") -> pd.DataFrame:
    count = len(confidences)
    return pd.DataFrame(
        {
            "id": [f"{split}{i:03}" for i in range(count)],
            "batch": batch,
            "split": split,
            "text": texts or [f"{split} text {i}" for i in range(count)],
            "suggestion": "pos",
            "confidence": confidences,
            "probabilities": [[c, 1 - c] for c in confidences],
        }
    )


@pytest.mark.parametrize("strategy", ["least_confidence", "margin", "entropy"])
@pytest.mark.parametrize("classes", [2, 4])
def test_uncertainty_runs_from_none_to_complete(strategy, classes):
    sure, unsure = np.eye(classes)[0], np.full(classes, 1 / classes)
    between = np.full(classes, 0.4 / (classes - 1))
    between[0] = 0.6
    scores = uncertainty(np.stack([sure, unsure, between]), strategy)
    assert scores[0] == pytest.approx(0)
    assert scores[1] == pytest.approx(1)
    assert 0 < scores[2] < 1


def test_uncertainty_of_a_known_row():
    p = [[0.5, 0.3, 0.2]]
    assert uncertainty(p, "least_confidence")[0] == pytest.approx(0.75)
    assert uncertainty(p, "margin")[0] == pytest.approx(0.8)
    entropy = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2)) / math.log(3)
    assert uncertainty(p, "entropy")[0] == pytest.approx(entropy)


def test_random_is_a_matter_of_the_seed():
    p = np.full((50, 2), 0.5)
    assert (uncertainty(p, "random", seed=1) == uncertainty(p, "random", seed=1)).all()
    assert (uncertainty(p, "random", seed=1) != uncertainty(p, "random", seed=2)).any()


@pytest.mark.parametrize("p", [[[0.5, 0.6]], [[math.nan, 1.0]], [[-0.1, 1.1]], [[1.0]], [1.0]])
def test_what_is_no_distribution_is_refused(p):
    with pytest.raises(DataError, match="[Pp]robabilities"):
        uncertainty(p, "margin")


def test_an_unknown_strategy_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'entropy'"):
        uncertainty([[0.5, 0.5]], "entopy")


def test_the_most_uncertain_training_rows_and_random_test_rows_are_asked():
    rows = pd.concat(
        [
            predictions([0.99, 0.55, 0.7, 0.6]),
            predictions([0.58], "validation"),
            predictions([0.5] * 30 + [0.99] * 30, "test"),
        ]
    )
    options = {"strategy": "least_confidence", "budget": 3, "audit_rows": 20, "seed": 7}
    queue, threshold = select(rows, **options)
    assert list(queue) == ["id", "batch", "text", "suggestion", "confidence", "side", "label"]
    asked, audit = queue[queue["side"] == "train"], queue[queue["side"] == "test"]
    assert asked["id"].tolist() == ["train001", "validation000", "train003"]
    assert threshold == pytest.approx(0.8)
    assert len(audit) == 20 and audit["id"].str.startswith("test").all()
    assert audit["confidence"].nunique() == 2, "drawn uniformly, not by uncertainty"
    assert (queue["label"] == "").all()
    again, _ = select(rows.sample(frac=1, random_state=1), **options)
    assert again.equals(queue), "the order of the predictions does not matter"


def test_the_same_words_are_asked_once_and_labelled_texts_not_again():
    texts = ["So good!", "so good", "known TEXT", "new"]
    rows = predictions([0.5, 0.5, 0.5, 0.9], texts=texts)
    queue, threshold = select(
        rows,
        strategy="margin",
        budget=10,
        audit_rows=5,
        seed=0,
        exclude_texts=["Known text."],
    )
    assert queue["text"].tolist() == ["So good!", "new"]
    assert threshold == pytest.approx(0.2)
    assert counts(rows, queue, budget=10, audit_rows=5, exclude_texts=["known text"]) == {
        "predicted": 4,
        "already labelled": 1,
        "same words as another": 1,
        "uncertain rows asked": 2,
        "audit rows asked": 0,
        "short of the budget": 8,
        "short of the audit rows": 5,
    }


def test_only_audit_rows_have_no_threshold():
    queue, threshold = select(
        predictions([0.9], "test"), strategy="margin", budget=0, audit_rows=1, seed=0
    )
    assert queue["side"].tolist() == ["test"] and math.isnan(threshold)


@pytest.mark.parametrize(
    "rows, options, error, said",
    [
        (predictions([]), {}, DataError, "no predictions"),
        (predictions([0.9]), {"exclude_texts": ["train text 0"]}, DataError, "1 are labelled alre"),
        (predictions([0.9]), {"budget": 0, "audit_rows": 0}, ConfigError, "sampling.budget=0"),
        (predictions([0.9]), {"budget": -1}, ConfigError, "sampling.budget=-1"),
        (predictions([0.9]), {"strategy": "x"}, ConfigError, "sampling.strategy='x'"),
    ],
)
def test_a_queue_that_cannot_be_made_says_why(rows, options, error, said):
    with pytest.raises(error, match=said):
        select(rows, **{"strategy": "margin", "budget": 1, "audit_rows": 1, "seed": 0, **options})

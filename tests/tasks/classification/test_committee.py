"""A committee answers as its members do, one after the other, and leaves the base bare."""

import numpy
import pytest

from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach, detach, save
from ftzard.tasks.classification import committee
from ftzard.tasks.classification.predictor import open_classifier
from tests.small_model import LABELS
from tests.training_calls import train


@pytest.fixture(scope="module")
def members(shared_base, rows, tmp_path_factory):
    """Two adapters that learnt from different rows."""
    folder, made = tmp_path_factory.mktemp("members"), []
    for number, part in enumerate((rows.iloc[:80], rows.iloc[80:160])):
        model = attach(shared_base, rank=4, alpha=8, dropout=0.0, seed=number)
        try:
            train(model, part.reset_index(drop=True), rows.iloc[160:].reset_index(drop=True),
                  labels=LABELS, epochs=2, learning_rate=5e-3, batch_size=16, seed=number)
            made.append(save(shared_base, folder / str(number)))
        finally:
            detach(shared_base)
    return made


def test_each_member_answers_as_it_would_alone(members, loaded, rows):
    texts = rows["text"].head(20).tolist()
    seen = []
    found = committee.answers(members, loaded, LABELS, texts, on_member=lambda number: (
        lambda done, total: seen.append((number, done, total))))
    assert len(found) == 2 and all(part.shape == (20, 2) for part in found)
    for folder, part in zip(members, found, strict=True):
        alone = open_classifier(folder, loaded).predict(texts)
        detach(loaded)
        assert numpy.allclose(numpy.stack(alone["probabilities"]), part)
    assert not numpy.allclose(found[0], found[1], atol=1e-3), "they learnt different things"
    assert seen == [(0, 20, 20), (1, 20, 20)]
    assert loaded.attachment is None


def test_one_member_is_no_committee(members, loaded):
    with pytest.raises(ModelError, match="two or more adapters, got 1; tune with tuning.trials=2"):
        committee.answers(members[:1], loaded, LABELS, ["a text"])


def test_a_member_of_another_base_is_refused_and_the_base_stays_bare(members, loaded, tmp_path):
    with pytest.raises(ModelError, match="labels"):
        committee.answers(members, _other(loaded), LABELS, ["a text"])
    assert loaded.attachment is None


def _other(loaded):
    from dataclasses import replace

    return replace(loaded, labels=["no", "yes"])

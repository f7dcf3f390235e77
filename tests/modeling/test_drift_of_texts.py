"""Drift of real predictions: a small Falcon, trained for seconds, and texts that change."""

import random

import numpy
import pandas
import pytest

from ftzard.evaluation.drift import Ruler, Sample, compare
from ftzard.modeling.adapter import attach, detach
from ftzard.modeling.base_model import load_base
from ftzard.modeling.inference import answers, probabilities
from ftzard.modeling.tokenizer import encode
from tests.small_model import LABELS, make_texts
from tests.training_calls import train

TRADE = ("invoice shipment customs tariff quarterly revenue logistics warehouse supplier contract "
         "liability procurement compliance audit ledger").split()


@pytest.fixture(scope="module")
def champion(spec, texts):
    """A base with an adapter that tells the two labels apart."""
    loaded = load_base(spec, LABELS, device="cpu")
    model = attach(loaded, rank=8, alpha=16, dropout=0.0, seed=1, train_embeddings=True)
    input_ids, _, _ = encode(texts["text"], loaded.tokenizer, 40)
    rows = texts.assign(input_ids=input_ids)
    trained = train(model, rows.iloc[:180], rows.iloc[180:], labels=LABELS, epochs=4,
                    learning_rate=5e-3, batch_size=16, seed=3)
    assert trained.best["accuracy"] > 0.9
    yield lambda batch: sample(loaded, model, batch)
    detach(loaded)


def sample(loaded, model, texts: pandas.Series) -> Sample:
    input_ids, length, cut = encode(texts.tolist(), loaded.tokenizer, 40)
    found, embeddings = answers(model, input_ids, pad_id=loaded.tokenizer.pad_token_id)
    return Sample.of(texts.tolist(), length + cut, probabilities(found), embeddings)


@pytest.fixture(scope="module")
def reference(champion) -> Ruler:
    return Ruler(champion(make_texts(600, seed=50)["text"]))


def verdict(champion, reference, texts: pandas.Series):
    return compare(champion(texts), reference, LABELS, draws=1000)


def test_at_most_one_of_twenty_new_batches_alarms(champion, reference):
    new = make_texts(20 * 150, seed=51)["text"]
    alarms = [verdict(champion, reference, new[i * 150:(i + 1) * 150]).alarm for i in range(20)]
    assert sum(alarms) <= 1


def test_a_class_prior_moved_from_half_to_four_fifths_alarms(champion, reference):
    new = make_texts(600, seed=52)
    positive, negative = (new[new["label"] == label]["text"] for label in reversed(LABELS))
    found = verdict(champion, reference, pandas.concat([positive[:160], negative[:40]]))
    assert found.alarm and "predicted classes" in found.raised_by


def test_letters_shuffled_within_words_alarm(champion, reference):
    draw = random.Random(1)
    shuffled = make_texts(200, seed=53)["text"].map(
        lambda text: " ".join("".join(draw.sample(word, len(word))) for word in text.split()))
    found = verdict(champion, reference, shuffled)
    assert found.alarm and "tokens per character" in found.raised_by
    assert not {"words", "characters"} & set(found.raised_by)


def test_another_domain_alarms(champion, reference):
    draw = random.Random(2)
    other = pandas.Series([" ".join(draw.choices(TRADE, k=draw.randint(3, 30)))
                           for _ in range(200)])
    found = verdict(champion, reference, other)
    assert found.alarm and "embedding" in found.raised_by
    assert numpy.isfinite(found.score)

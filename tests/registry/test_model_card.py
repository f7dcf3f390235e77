"""The card of an exported model says what is on record, and what is not."""

import pytest

from ftzard.registry.model_card import Card, render

METRICS = {"challenger": {"accuracy": 0.9, "lower": 0.8, "upper": 0.95, "macro_f1": 0.9, "n": 60}}
REPEATS = "Training rows that repeat one of them, up to one word, were taken out."


def told(**record) -> str:
    """Return the card of a model with such a record."""
    return render(Card(
        "Model@2", "merged", ["glad", "sad"], {"name": "tiny"}, None,
        {"compute_dtype": "float32", "quantisation": "none"}, "lora", {}, 64,
        {"largest": 0.001, "rows": 10, "changed": 0}, {"metrics": METRICS, **record}, [], {}))


@pytest.mark.parametrize(("data", "sentence"), [
    ({"split": "text", "group_column": None},
     f"The test rows were kept out of training by a hash of their text. {REPEATS}"),
    ({"split": "text", "group_column": "author"},
     "kept out of training by a hash of their group, or of their text where they have none. "
     f"{REPEATS}"),
    ({"split": "given", "group_column": None},
     "The test rows are those that the data came with as its test split; of deliveries without "
     f"one, those that a hash of their text decided on. {REPEATS}")])
def test_what_kept_test_rows_apart_is_what_was_done(data, sentence):
    card = told(config={"data": data})
    assert sentence in card and card.count("The test rows") == 1


def test_a_card_without_the_config_claims_nothing():
    assert "What decided which rows are test rows is not on record." in told()
    assert "hash of their text" not in told()


@pytest.mark.parametrize(("record", "sentence"), [
    ({"trained_rows": 1060}, "Trained on 1,060 rows."),
    ({"trained_rows": 1060, "recipe": {"replayed": {"ratio": 1.0}}}, "Trained on 1,060 rows."),
    ({}, "Trained on 5,000 rows."), ({"recipe": {"replayed": None}}, "Trained on 5,000 rows."),
    ({"recipe": {"replayed": {"ratio": 1.0}}},
     "How many rows it was trained on is not on record.")])
def test_the_rows_it_was_trained_on_are_not_those_of_its_table(record, sentence):
    card = told(rows={"train": 5000, "test": 900}, batches=["a", "b"], **record)
    assert f"{sentence} Its table has 5,000 train rows, 900 test rows, batches: a, b." in card


def test_the_code_of_a_card_divides_by_the_temperature_on_record():
    assert ".logits.float().div(1.25).softmax(dim=-1)" in told(temperature=1.25)
    assert ".logits.float().softmax(dim=-1)" in told()


def test_a_trial_says_that_it_is_one_and_what_it_was_warned_of():
    verdict = {"decision": "promote", "reasons": ["So it is."], "warnings": ["TF-IDF is better."],
               "limits": {"trial": True}}
    assert "**A trial (gate.trial=true)" in told(verdict=verdict)
    assert "TF-IDF is better." in told(verdict=verdict)
    assert "A trial" not in told(verdict=verdict | {"limits": {"trial": False}})

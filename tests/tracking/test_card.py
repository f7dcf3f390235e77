"""The card that a platform's page gets, of a model that writes answers."""

from ftzard.tracking import card
from tests.tracking.test_mirror import RECORD


def test_a_card_says_what_for_what_not_and_how_to_load_it():
    said = card.model_card({**RECORD, "config": {"model": {"max_length": 64}}})
    assert "Telling which of sad, glad a text is" in said
    assert "About 19 of 100 texts like the test rows get a wrong label." in said
    assert "Texts longer than 64 tokens are cut" in said
    assert 'mlflow.pyfunc.load_model("models:/Model/2")' in said and len(said) < 5000


def test_the_card_of_a_model_that_writes_has_its_template_and_its_losses():
    line = {"measure": "loss", "score": 0.91, "lower": 0.8, "upper": 1.0, "loss": 0.91,
            "perplexity": 2.484, "rouge_l": 0.7, "exact_match": None, "n": 300}
    said = card.model_card({
        **RECORD, "labels": [], "metrics": {"challenger": line},
        "config": {"task": {"kind": "instruction_tuning", "instructions": {"template": "alpaca"}}}})
    assert "- task: instruction_tuning, template alpaca" in said and "labels" not in said
    assert ("| Model@2 | loss 0.910 | 0.800 to 1.000 | 0.910 | 2.48 | 0.700 | none | 300 |"
            in said)
    assert "refused. It gains nothing." in said and "falcon_tiny" in said

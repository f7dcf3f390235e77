"""Embeddings come with the prediction, for nothing, and change none of it."""

import numpy
import pytest
import torch

from ftzard.errors import ModelError
from ftzard.modeling.adapter import attach
from ftzard.modeling.batching import pad
from ftzard.modeling.inference import answers, logits, probabilities
from ftzard.tasks.classification.predictor import bare_classifier


@pytest.fixture
def adapted(loaded):
    return attach(loaded, rank=4, alpha=8, dropout=0.1, seed=1, train_embeddings=True)


def test_the_logits_are_those_of_a_prediction_without_embeddings(adapted, loaded, rows):
    input_ids, pad_id = rows["input_ids"].tolist(), loaded.tokenizer.pad_token_id
    found, embeddings = answers(adapted, input_ids, pad_id=pad_id)
    assert (found == logits(adapted, input_ids, pad_id=pad_id)).all()
    assert embeddings.shape == (len(rows), 64) and embeddings.dtype == numpy.float32


def test_an_embedding_is_the_mean_of_its_own_tokens_last_hidden_states(adapted, loaded, rows):
    input_ids, pad_id = rows["input_ids"].tolist()[:40], loaded.tokenizer.pad_token_id
    _, embeddings = answers(adapted, input_ids, pad_id=pad_id, batch_size=16)
    for row in (0, 7, 39):
        with torch.inference_mode():
            one = adapted(**pad([input_ids[row]], pad_id), output_hidden_states=True)
        expected = one.hidden_states[-1][0].mean(dim=0).numpy()
        assert numpy.allclose(embeddings[row], expected, atol=2e-3), row


def test_a_bound_of_tokens_changes_no_order_and_next_to_no_digit(adapted, loaded, rows):
    input_ids, pad_id = rows["input_ids"].tolist(), loaded.tokenizer.pad_token_id
    seen = []
    found = logits(adapted, input_ids, pad_id=pad_id, tokens=100,
                   on_step=lambda done, total: seen.append(done))
    assert len(seen) > len(input_ids) * 5 // 100
    assert numpy.abs(found - logits(adapted, input_ids, pad_id=pad_id)).max() < 1e-5


def test_a_bare_base_has_embeddings_too_and_nothing_is_left_behind(loaded, rows):
    classifier, before = bare_classifier(loaded), dict(loaded.model.score._forward_pre_hooks)
    classifier.answers(rows["input_ids"].tolist()[:5])
    assert dict(loaded.model.score._forward_pre_hooks) == before
    assert [a.shape for a in classifier.answers([])] == [(0, 2), (0, 64)]


def test_a_temperature_changes_how_sure_it_is_and_no_label(loaded):
    texts = ["so good", "so bad", "what a day", "the train was late again"]
    classifier = bare_classifier(loaded)
    plain, hot = classifier.predict(texts), classifier.predict(
        texts, temperature=3.0, abstain_below=1.0)
    assert (plain["label"] == hot["label"]).all()
    assert (hot["confidence"] < plain["confidence"]).all() and (hot["confidence"] >= 0.5).all()
    raw = classifier.logits([loaded.tokenizer(text)["input_ids"] for text in texts])
    assert numpy.allclose(probabilities(raw, 3.0), probabilities(raw / 3.0))
    assert not plain["abstains"].any() and hot["abstains"].all()
    assert not classifier.predict(texts, temperature=3.0)["abstains"].any()
    assert not classifier.predict(texts, abstain_below=1.0)["abstains"].any(), "not calibrated"


def test_a_failure_on_the_way_leaves_nothing_behind_either(adapted, loaded, rows):
    before = hooks(adapted)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers(adapted, rows["input_ids"].tolist(), pad_id=loaded.tokenizer.pad_token_id,
                on_step=stop)
    assert not torch.is_inference_mode_enabled()
    assert hooks(adapted) == before


def hooks(model) -> dict[str, int]:
    return {name: len(part._forward_pre_hooks) for name, part in model.named_modules()}


def test_a_model_without_a_head_is_refused(loaded, rows):
    with pytest.raises(ModelError, match="no classification head"):
        answers(loaded.model.transformer, rows["input_ids"].tolist()[:2], pad_id=0)

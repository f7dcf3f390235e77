"""What was answered once is known to the last bit, and nothing else is taken for it."""

import numpy as np
import pytest

from ftzard.modeling.prediction_cache import AnswerStore, Question

FIRST = Question("logits", [[5, 6, 7], [8, 9]])
SECOND = Question("logits", [[1], [2, 3], [4]])
MODEL = {"adapter": "a" * 64}


class Generator:
    """Answers with numbers that follow from the ids, and counts how often it was asked."""

    def __init__(self, shift: float = 0.0):
        self.shift, self.asked = shift, []

    def __call__(self, question: Question) -> dict:
        self.asked.append(question.key)
        sums = [[sum(ids) / 3 + self.shift, len(ids)] for ids in question.input_ids]
        return {"logits": np.array(sums, dtype=np.float32),
                "answer": np.array([f"№ {len(ids)}" for ids in question.input_ids])}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "answers"


def opened(folder, **machinery) -> AnswerStore:
    return AnswerStore(folder, {"threads": 2, **machinery})


def test_a_set_that_was_answered_is_not_answered_again_and_a_new_one_is(folder):
    once = opened(folder).answers(MODEL, [FIRST], Generator())
    answerer, store = Generator(shift=9.0), opened(folder)
    again = store.answers(MODEL, [FIRST, SECOND], answerer)
    assert answerer.asked == [SECOND.key] and (store.recalled, store.computed) == (2, 3)
    for name in ("logits", "answer"):
        assert again[0][name].dtype == once[0][name].dtype
        assert again[0][name].tobytes() == once[0][name].tobytes()


@pytest.mark.parametrize("other", [
    Question("logits", [[8, 9], [5, 6, 7]]),
    Question("logits", [[5, 6, 7], [8, 9], [1]]),
    Question("logits", [[5, 6], [7, 8, 9]]),
    Question("losses", FIRST.input_ids),
    Question("logits", FIRST.input_ids, [1, 1]),
], ids=["order", "one row more", "other rows", "kind", "lengths"])
def test_another_question_is_another_key(folder, other):
    opened(folder).answers(MODEL, [FIRST], Generator())
    answerer = Generator()
    opened(folder).answers(MODEL, [other], answerer)
    assert answerer.asked == [other.key] != [FIRST.key]


@pytest.mark.parametrize(("model", "machinery"), [
    ({"adapter": "b" * 64}, {}), (MODEL, {"threads": 1}), (MODEL, {"packages": {"torch": "3"}})])
def test_another_model_or_other_machinery_knows_nothing(folder, model, machinery):
    opened(folder).answers(MODEL, [FIRST], Generator())
    answerer = Generator()
    opened(folder, **machinery).answers(model, [FIRST], answerer)
    assert answerer.asked == [FIRST.key]


@pytest.mark.parametrize("damage", [
    lambda told: told[:-1], lambda told: told[:40] + bytes([told[40] ^ 1]) + told[41:],
    lambda told: b""])
def test_a_damaged_file_is_no_answer_and_is_written_anew(folder, damage):
    opened(folder).answers(MODEL, [FIRST], Generator())
    file, = folder.rglob("*.npz")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    answerer = Generator()
    opened(folder).answers(MODEL, [FIRST], answerer)
    assert answerer.asked == [FIRST.key] and file.read_bytes() == whole


def test_if_a_set_does_not_come_out_as_it_is_kept_nothing_is_taken_from_the_store(folder):
    opened(folder).answers(MODEL, [FIRST, SECOND], Generator())
    opened(folder).answers({"adapter": "other"}, [FIRST], Generator())
    differing, store = Generator(shift=1e-6), opened(folder)
    found = store.answers(MODEL, [SECOND, FIRST], differing, check=True)
    assert np.array_equal(found[0]["logits"], Generator(shift=1e-6)(SECOND)["logits"])
    assert np.array_equal(found[1]["logits"], Generator(shift=1e-6)(FIRST)["logits"])
    assert "2 rows" in store.doubt
    further = Generator()
    store.answers({"adapter": "other"}, [FIRST], further)
    assert further.asked == [FIRST.key], "what was kept of another model is in doubt, too"


def test_the_check_answers_the_smallest_set_alone(folder):
    opened(folder).answers(MODEL, [FIRST, SECOND], Generator())
    answerer, store = Generator(), opened(folder)
    store.answers(MODEL, [SECOND, FIRST], answerer, check=True)
    assert answerer.asked == [FIRST.key] and store.doubt is None


def test_models_that_are_no_longer_asked_leave_the_store(folder):
    opened(folder).answers(MODEL, [FIRST], Generator())
    store = opened(folder)
    store.answers({"adapter": "other"}, [FIRST], Generator())
    store.forget_others()
    assert len(list(folder.iterdir())) == 1
    answerer = Generator()
    opened(folder).answers({"adapter": "other"}, [FIRST], answerer)
    assert answerer.asked == []

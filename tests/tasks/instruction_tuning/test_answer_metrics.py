"""Free answers are measured as the papers and `rouge-score` do, and never silently wrongly."""

import math

import numpy as np
import pandas as pd
import pytest
from rouge_score.rouge_scorer import RougeScorer

from ftzard.errors import DataError
from ftzard.tasks.instruction_tuning import answer_metrics


def test_an_exact_match_looks_past_the_space_around_and_the_way_accents_are_written():
    given = ["Paris", " Paris\n", "paris", "Paris.", "", "cafe\u0301", "a  b"]
    wanted = ["Paris", "Paris", "Paris", "Paris", "Paris", "caf\u00e9", "a b"]
    assert answer_metrics.exact_match(given, wanted).tolist() == [
        True, True, False, False, False, True, False]


def test_rouge_l_of_english_is_the_package_s_own():
    pairs = [
        ("The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log."),
        ("1. First, wash it.\n2. Then dry it!", "Wash it first, and then dry it."),
        ("", "something"), ("word", "another"), ("same words", "same words"),
        ("snake_case and e-mail", "snake case and e mail"),
    ]
    plain = RougeScorer(["rougeL"], use_stemmer=False)
    found = answer_metrics.rouge_l([a for a, _ in pairs], [w for _, w in pairs])
    assert found.tolist() == [plain.score(w, a)["rougeL"].fmeasure for a, w in pairs]
    assert found[2] == 0 and found[4] == 1


def test_rouge_l_by_hand():
    # the longest common subsequence is 'the cat the mat', 4 of 5 and of 6 words
    found = answer_metrics.rouge_l(["the cat on the mat"], ["the cat sat by the mat"])
    assert found[0] == pytest.approx(2 * (4 / 5) * (4 / 6) / (4 / 5 + 4 / 6))


@pytest.mark.parametrize(("answer", "wanted", "expected"), [
    ("Η Αθήνα είναι πόλη", "η αθήνα είναι πόλη", 1.0),
    ("Äpfel und Birnen", "Äpfel und Nüsse", 2 / 3),
    ("北京是首都", "北京是城市", 0.6),
    (":-)", ":-)", 1.0),
    (":-(", ":-)", 0.0),
])
def test_words_of_any_script_count(answer, wanted, expected):
    assert answer_metrics.rouge_l([answer], [wanted])[0] == pytest.approx(expected)


def test_an_empty_wanted_answer_is_refused():
    for measured in (answer_metrics.exact_match, answer_metrics.rouge_l):
        with pytest.raises(DataError, match="wanted answer of row 1 is empty"):
            measured(["a", "b"], ["a", " \n"])
        with pytest.raises(DataError, match="1 answers and 2 wanted"):
            measured(["a"], ["a", "b"])
    assert answer_metrics.rouge_l([], []).shape == (0,)


def test_loss_counts_every_token_the_same_and_perplexity_is_its_exponential():
    found = answer_metrics.measure(np.array([1.0, 3.0]), np.array([9, 1]), ["yes"], ["yes"])
    assert found == {
        "loss": pytest.approx(1.2), "perplexity": pytest.approx(math.exp(1.2)), "exact_match": 1.0,
        "rouge_l": 1.0, "n": 2, "generated": 1, "supervised_tokens": 10}
    bare = answer_metrics.measure([1000.0], [3])
    assert bare["perplexity"] == math.inf and bare["rouge_l"] is None and bare["generated"] == 0


@pytest.mark.parametrize(("loss", "tokens", "given", "said"), [
    ([1.0], [0], (), "row 0 has 0 supervised tokens"),
    ([1.0, np.nan], [1, 1], (), "loss of row 1 is nan"),
    ([-1.0], [1], (), "loss of row 0 is -1.0"),
    ([], [], (), "test set is empty"),
    ([1.0, 2.0], [1], (), "one of each per row"),
    ([1.0], [1], ("a", "b"), "2 generated answers for 1 measured"),
])
def test_what_cannot_be_measured_is_refused(loss, tokens, given, said):
    with pytest.raises(DataError, match=said):
        answer_metrics.measure(np.array(loss), np.array(tokens), given, given)


def test_losses_of_another_tokenizer_are_brought_to_the_same_tokens():
    """The same answers at the same probability: 2 tokens for one model, 3 for the other."""
    mine, theirs = np.array([3.0]), np.array([2.0])
    found = answer_metrics.in_tokens(theirs, np.array([3]), np.array([2]))
    assert found.tolist() == mine.tolist()


ROWS = pd.DataFrame({"id": [f"r{i}" for i in range(30)], "batch": "b1",
                     "text": [f"question {i}" for i in range(30)],
                     "label": [f"answer {i}" for i in range(30)]})


def test_rows_are_drawn_by_seed_and_those_that_differ_most_follow():
    said = {"base": ["?"] * 30, "champion": ["x"] * 30, "challenger": list(ROWS["label"])}
    scores = {"champion": np.zeros(30), "challenger": np.arange(30) / 30}
    found = answer_metrics.side_by_side(ROWS, said, scores, shown=10, apart=3, seed=4)
    assert list(found) == ["why", "id", "batch", "text", "wanted", "base", "champion", "challenger",
                           "champion score", "challenger score"]
    drawn = found[found["why"] == answer_metrics.DRAWN]
    rest = [i for i in range(29, 0, -1) if f"r{i}" not in set(drawn["id"])]
    assert len(drawn) == 10 and drawn["id"].is_unique
    assert found["id"].tolist()[10:] == [f"r{i}" for i in rest[:3]]
    assert (found["challenger"] == found["wanted"]).all()
    again = answer_metrics.side_by_side(ROWS, said, scores, shown=10, apart=3, seed=4)
    assert again.equals(found)
    assert not answer_metrics.side_by_side(ROWS, said, scores, shown=10, apart=3,
                                           seed=5).equals(found)


def test_rows_on_which_they_do_not_differ_are_not_called_apart():
    said = {"challenger": ["x"] * 30, "base": ["x"] * 30}
    found = answer_metrics.side_by_side(ROWS, said,
                                        {"challenger": np.ones(30), "base": np.ones(30)},
                                 seed=0)
    assert set(found["why"]) == {answer_metrics.DRAWN} and len(found) == 10
    few = answer_metrics.side_by_side(ROWS.head(3), {"challenger": list("abc")}, {}, seed=0)
    assert few["challenger"].tolist() == list("abc")


def test_answers_that_are_not_one_per_row_are_refused():
    with pytest.raises(DataError, match="2 answers of the base for 30 rows"):
        answer_metrics.side_by_side(ROWS, {"base": ["a", "b"]}, {}, seed=0)
    with pytest.raises(DataError, match="no answers of the challenger"):
        answer_metrics.side_by_side(ROWS, {"base": ["a"] * 30}, {}, seed=0)

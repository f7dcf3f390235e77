"""How unsure a model is of a row's labels, each by itself."""

import numpy as np
import pytest

from ftzard.errors import ConfigError, DataError
from ftzard.tasks.multi_label.uncertainty import STRATEGIES, disagreement, uncertainty


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_row_whose_labels_are_all_sure_comes_last(strategy):
    p = np.array([[0.99, 0.01, 0.02], [0.99, 0.5, 0.02], [0.55, 0.5, 0.45]])
    found = uncertainty(p, strategy)
    assert found[0] < found[1] <= found[2] and ((found >= 0) & (found <= 1)).all()
    assert uncertainty(np.array([[0.0, 1.0]]), strategy)[0] == 0
    assert uncertainty(np.array([[0.5, 0.5]]), strategy)[0] == 1


def test_margin_is_the_distance_to_the_threshold_of_the_label():
    p = np.array([[0.31, 0.9], [0.5, 0.9], [0.1, 0.9]])
    assert uncertainty(p, "margin", np.array([0.3, 0.5])).argsort().tolist() == [2, 1, 0]


def test_a_committee_disagrees_where_its_members_do():
    sure, other, unsure = (np.array([[v, 0.1]]) for v in (0.95, 0.05, 0.5))
    assert disagreement([sure, sure])[0] == disagreement([unsure, unsure])[0] == 0
    assert disagreement([sure, other])[0] > disagreement([sure, unsure])[0] > 0
    with pytest.raises(DataError, match="committee of 1"):
        disagreement([sure])


def test_what_is_no_strategy_or_no_probability_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'entropy'"):
        uncertainty(np.array([[0.5]]), "entropie")
    with pytest.raises(DataError, match="predict again"):
        uncertainty(np.array([[1.5]]), "entropy")

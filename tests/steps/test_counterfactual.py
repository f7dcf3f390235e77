"""A model without some of its rows: the same bits where nothing is left out, else what it lost."""

import pytest

from ftzard.errors import DataError, ModelError
from ftzard.steps import counterfactual
from tests.trained import NAME, trained  # noqa: F401 - the fixture

pytestmark = pytest.mark.slow


def test_with_nothing_left_out_it_is_the_model_to_the_last_bit(trained):  # noqa: F811
    found = counterfactual.without(trained, NAME, 1, None, say=lambda _: None)
    assert found.equal and found.rows == 0 and found.retrained == (1,)
    assert found.difference == 0 and found.verdict == "no difference is shown"


def test_a_label_that_is_left_out_is_missed(trained):  # noqa: F811
    said = []
    found = counterfactual.without(trained, NAME, 1, "label=glad", say=said.append)
    assert not found.equal and found.rows > 0
    assert found.verdict == "helps" and found.lower > 0
    assert found.difference == pytest.approx(found.score - found.without_score)
    assert f"label=glad: {found.rows:,} training rows" in found.sentence and said


def test_what_the_rows_do_not_have_is_named_with_what_they_have(trained):  # noqa: F811
    with pytest.raises(DataError, match="label=gladd names 0 of the 2 values .*'glad'"):
        counterfactual.without(trained, NAME, 1, "label=gladd")
    with pytest.raises(DataError, match="expected FACTOR=VALUE with one of batch, labelled_by"):
        counterfactual.without(trained, NAME, 1, "colour=red")


def test_what_would_take_too_long_is_refused_with_the_estimate(trained):  # noqa: F811
    with pytest.raises(ModelError, match=r"1 trainings .* would take about .* expected 1e-06"):
        counterfactual.without(trained, NAME, 1, "label=glad", minutes=1e-6)

"""A model without some of its rows: the same bits where nothing is left out, else what it lost."""

import pytest

from ftzard.cli.tables import counterfactual_table
from ftzard.errors import DataError, ModelError
from ftzard.steps import counterfactual
from tests.trained import NAME, trained  # noqa: F401 - the fixture

pytestmark = pytest.mark.slow


def test_with_nothing_left_out_it_is_the_model_to_the_last_bit(trained):  # noqa: F811
    found = counterfactual.without(trained, NAME, 1, None, say=lambda _: None)
    assert found.equal and found.rows == 0 and found.retrained == (1,)
    assert found.difference == 0 and found.verdict == "no difference is shown"


@pytest.fixture
def two(trained, monkeypatch):  # noqa: F811
    """The workspace with its training rows in two batches, of 100 and of 40 rows."""
    stage = counterfactual._stage

    def in_batches(place, record):
        made = stage(place, record)
        made.train["batch"] = ["many"] * 100 + ["few"] * (len(made.train) - 100)
        return made

    monkeypatch.setattr(counterfactual, "_stage", in_batches)
    return trained


def test_the_table_has_each_batch_with_what_the_model_gains_by_it(two):
    said = []
    found = counterfactual.without_each(two, NAME, 1, say=said.append)
    assert {(one.without, one.rows) for one in found} == {("batch=many", 100), ("batch=few", 40)}
    assert [one.difference for one in found] == sorted(one.difference for one in found)
    for one in found:
        assert not one.equal and one.retrained == (1,) and one.n == 60
        assert one.difference == pytest.approx(one.score - one.without_score)
        assert one.lower <= one.difference <= one.upper
        assert one.confidence == pytest.approx(0.975)
    assert "batch=many: training version 1 again on 40 of 140 rows" in said
    assert "batch=few: 40 training rows" in next(
        one.sentence for one in found if one.rows == 40)
    shown = counterfactual_table(found).rows
    assert [row[0] for row in shown] == [one.without for one in found]
    assert {row[1] for row in shown} == {"40", "100"}


def test_what_the_rows_do_not_have_is_named_with_what_they_have(trained):  # noqa: F811
    with pytest.raises(DataError, match="label=gladd names 0 of the 2 values .*'glad'"):
        counterfactual.without(trained, NAME, 1, "label=gladd")
    with pytest.raises(DataError, match="expected FACTOR=VALUE with one of batch, labelled_by"):
        counterfactual.without(trained, NAME, 1, "colour=red")


def test_what_would_take_too_long_is_refused_with_the_estimate(trained):  # noqa: F811
    with pytest.raises(DataError, match="all of one batch"):
        counterfactual.without_each(trained, NAME, 1)
    with pytest.raises(ModelError, match=r"1 trainings .* would take about .* expected 1e-06"):
        counterfactual.without(trained, NAME, 1, "label=glad", minutes=1e-6)


def test_the_command_takes_its_options_and_refuses_what_has_no_effect(trained, ftzard):  # noqa: F811
    def refused(*options) -> str:
        code, said = ftzard("reproduce", f"{NAME}@1", *options, "-w", trained.root)
        assert code == 1
        return said

    assert "--minutes has no effect" in refused("--minutes", "5")
    assert "give one of them" in refused("--without", "label=glad", "--without-each")
    assert "label=gladd names 0 of the 2 values" in refused("--without", "label=gladd")
    assert "expected 0 or fewer" in refused("--without", "label=glad", "--minutes", "0")
    assert "all of one batch" in refused("--without-each")

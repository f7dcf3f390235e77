"""Each measure has its unit and its words, and accuracy keeps the ones it has always had."""

import pytest

from ftzard.errors import DataError
from ftzard.evaluation import metric_info
from ftzard.evaluation.metric_info import ACCURACY, EXACT_MATCH, LOSS, ROUGE_L

LINE = {"model": "challenger", "score": 2.3104, "lower": 2.2, "upper": 2.4, "loss": 2.3104,
        "perplexity": 10.078, "rouge_l": 0.3124, "exact_match": 0.125, "n": 1200, "generated": 100}


@pytest.mark.parametrize(("measure", "value", "said"), [
    (ACCURACY, 0.8134, "81.3 %"), (LOSS, 2.3104, "2.310 nats per token"),
    (ROUGE_L, 0.3124, "0.312"), (EXACT_MATCH, 0.125, "12.5 %"), (LOSS, None, "–"),
])
def test_a_value_has_its_unit(measure, value, said):
    assert measure.value(value) == said


@pytest.mark.parametrize(("measure", "gain", "said"), [
    (ACCURACY, 0.0604, "+6.0 points"), (ACCURACY, -0.0604, "−6.0 points"),
    (ACCURACY, 0.0004, "0.0 points"), (LOSS, -0.0504, "−0.050 nats"), (LOSS, -0.0004, "0.000 nats"),
    (ROUGE_L, 0.0213, "+0.021"),
])
def test_a_difference_has_its_sign_and_unit(measure, gain, said):
    assert measure.gain(gain) == said
    assert measure.gain(abs(gain), sign=False) == said.lstrip("+−")


def test_an_axis_is_told_in_the_measure_s_own_scale():
    assert (ACCURACY.tick(0.8), ACCURACY.tick(-0.015, sign=True)) == ("80 %", "−1.5")
    assert (LOSS.tick(2.5), LOSS.tick(0.05, sign=True), LOSS.tick(0, sign=True)) == (
        "2.5", "+0.05", "0")


def test_what_names_no_measure_is_of_accuracy():
    assert metric_info.measure_of(None) is metric_info.measure_of({}) is ACCURACY
    assert metric_info.measure_of({"measure": "rouge_l"}) is ROUGE_L
    with pytest.raises(DataError, match="did you mean 'rouge_l'"):
        metric_info.of("rougel")


def test_a_record_s_line_is_said_by_its_measure():
    record = {"measure": "loss", "metrics": {"challenger": LINE}}
    line = metric_info.scores_of(record)
    assert metric_info.sentence(line) == (
        "loss 2.310 nats per token (2.200–2.400) on 1,200 test rows, perplexity 10.08, ROUGE-L "
        "0.312, exact match 12.5 %")
    other = metric_info.scores_of({**record, "measure": "exact_match",
                                "metrics": {"challenger": LINE | {"score": None, "lower": None}}})
    assert metric_info.score(other) == 0.125
    assert metric_info.sentence(other).startswith("exact match 12.5 % on 100 test rows, perplexity")
    assert metric_info.scores_of(record, "champion") is None and metric_info.scores_of({}) is None


def test_a_record_of_accuracy_is_said_as_ever():
    line = {"accuracy": 0.8134, "lower": 0.79, "upper": 0.83, "macro_f1": 0.8, "n": 1200}
    assert metric_info.scores_of({"metrics": {"challenger": line}}) is line
    assert metric_info.sentence(line) == "81.3% of 1,200 test rows"
    assert metric_info.score(line) == 0.8134

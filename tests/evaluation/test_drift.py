"""An alarm for what has changed, at most one in twenty where nothing has, and what clears it."""

import json

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ftzard.errors import DataError
from ftzard.evaluation import drift
from ftzard.evaluation.drift import STATISTICS, Ruler, Sample, compare
from tests.evaluation.simulated import CLASSES, freely, made


@pytest.fixture(scope="module")
def reference() -> Ruler:
    return Ruler(made(1200, 0))


def found(reference, batch, **options):
    return compare(batch, reference, CLASSES, **{"draws": 800, **options})


@pytest.mark.parametrize("rows", [60, 600, 2500])
def test_at_most_one_of_twenty_batches_of_the_same_distribution_alarms(reference, rows):
    alarms = [found(reference, made(rows, 100 + seed)).alarm for seed in range(20)]
    assert sum(alarms) <= 1


def test_about_as_many_alarms_as_were_asked_for():
    """Each batch has its own reference: its chance is part of what the threshold allows for."""
    scores = [found(made(250, 2 * i), made(200, 2 * i + 1), false_alarms=0.1, clearing=0.3,
                    draws=200) for i in range(150)]
    assert 0.04 < np.mean([d.alarm for d in scores]) < 0.17
    assert 0.2 < np.mean([d.verdict != "none" for d in scores]) < 0.4


@pytest.mark.parametrize(
    ("change", "statistic"),
    [
        ({"share": 0.8}, "predicted classes"),
        ({"surer": 1.0}, "confidence"),
        ({"longer": 1.4}, "words"),
        ({"longer": 1.4}, "characters"),
        ({"pieces": 1.5}, "tokens per character"),
        ({"moved": 0.5}, "embedding"),
    ],
)
def test_each_change_raises_an_alarm_and_is_named(reference, change, statistic):
    batch = found(reference, made(500, 7, **change))
    assert batch.alarm and batch.verdict == "drift"
    assert statistic in batch.raised_by
    assert statistic in drift.sentence(batch)
    untouched = {s.name for s in batch.statistics if not s.beyond}
    assert {"words", "confidence"} & untouched, "one change is not an alarm of everything"


def test_the_sentence_has_the_numbers_a_reader_wants(reference):
    said = drift.sentence(found(reference, made(500, 7, share=0.8)))
    assert said.startswith("Alarm: the batch differs from what the champion was trained on")
    assert "'positive' instead of" in said or "'negative' instead of" in said
    longer = drift.sentence(found(reference, made(500, 7, longer=2.0)))
    assert "words (mean 2" in longer and "instead of 14" in longer


def test_an_alarm_is_raised_above_the_upper_threshold_and_cleared_only_under_the_lower(reference):
    wide = {"false_alarms": 0.01, "clearing": 0.98}
    usual, changed = made(500, 11), made(500, 7, longer=1.4)
    assert found(reference, usual, **wide).verdict == "unclear"
    assert not found(reference, usual, **wide, stood=False).alarm
    between = found(reference, usual, **wide, stood=True)
    assert between.alarm and between.lower < between.score < between.upper
    assert "stays" in drift.sentence(between)
    cleared = found(reference, usual, clearing=0.1, stood=True)
    assert cleared.verdict == "none" and not cleared.alarm
    assert "cleared" in drift.sentence(cleared)
    assert "stays" in drift.sentence(found(reference, changed, stood=True))


@pytest.mark.parametrize("shift", [-0.3, -0.05, 0.05, 0.3])
def test_numbers_are_compared_as_kolmogorov_and_smirnov_do(reference, shift):
    """Against another implementation, for batches on either side of the reference."""
    batch = made(300, 5)
    batch = Sample(batch.probabilities, batch.words, batch.characters * (1 + shift), batch.tokens,
                   batch.embeddings)
    measured = dict(zip(STATISTICS, reference.measure(batch), strict=True))
    for name in ("words", "characters", "confidence", "tokens per character"):
        expected = ks_2samp(batch.values(name), reference.reference.values(name)).statistic
        assert measured[name] == pytest.approx(expected, abs=1e-12), name


@pytest.mark.parametrize("stood", [True, False])
def test_too_few_rows_cannot_tell_and_leave_the_alarm_as_it_was(reference, stood):
    batch = found(reference, made(20, 1, longer=3), stood=stood)
    assert batch.verdict == "cannot tell" and batch.alarm is stood and batch.statistics == ()
    assert "20 rows" in drift.sentence(batch) and json.dumps(batch.to_dict())
    assert batch.flat() == {"drift_alarm": float(stood), "drift_rows": 20.0}


def test_everything_is_told_in_plain_values(reference):
    batch = found(reference, made(500, 7, share=0.8))
    told = json.loads(json.dumps(batch.to_dict()))
    assert [s["name"] for s in told["statistics"]] == list(STATISTICS)
    for s in told["statistics"]:
        assert 0 <= s["usual"] < s["lower"] < s["upper"]
        assert s["beyond"] == (s["value"] > s["upper"])
    shares = told["statistics"][0]
    assert shares["batch"]["positive"] > shares["reference"]["positive"]
    assert told["rows"] == 500 and told["reference_rows"] == 1200 and told["raised_by"]
    flat = batch.flat()
    assert flat["drift_alarm"] == 1 and flat["drift_score"] > flat["drift_upper"]
    assert flat["drift_tokens_per_character"] < flat["drift_tokens_per_character_upper"]


def test_the_same_seed_says_the_same_and_larger_sides_are_drawn_from(reference):
    batch = made(300, 3)
    again = Ruler(made(1200, 0))
    assert found(reference, batch).to_dict() == found(again, batch).to_dict()
    assert found(reference, batch).score != found(reference, batch, seed=1).score
    big = found(made(9000, 5), made(7000, 6))
    assert (big.rows, big.reference_rows) == (4000, 4000) and not big.alarm


def test_what_never_varied_may_differ_by_a_row_or_two(reference):
    """A champion that named one class throughout: another name or two is no alarm, many are."""
    p = np.tile([0.1, 0.9], (400, 1))
    known = reference.reference
    same = Sample(p, *(getattr(known, n)[:400] for n in ("words", "characters", "tokens",
                                                         "embeddings")))
    other = made(400, 8)

    def batch(named):
        chances = p.copy()
        chances[:named] = [0.9, 0.1]
        return Sample(chances, other.words, other.characters, other.tokens, other.embeddings)

    assert not found(same, batch(1)).alarm
    assert found(same, batch(60)).raised_by == ["predicted classes"]


def test_texts_are_measured_in_words_and_characters():
    sample = Sample.of(["one two", "three"], [4, 2], np.full((2, 2), 0.5), np.zeros((2, 3)))
    assert sample.words.tolist() == [2, 1] and sample.characters.tolist() == [7, 5]
    assert sample.values("tokens per character").tolist() == [4 / 7, 2 / 5]


@pytest.fixture(scope="module")
def answered() -> Ruler:
    return Ruler(freely(made(1200, 0)))


def test_free_answers_are_compared_by_all_but_classes(answered):
    usual = compare(freely(made(500, 11)), answered, (), draws=800)
    assert [s.name for s in usual.statistics] == list(STATISTICS[1:]) and not usual.alarm
    assert json.dumps(usual.to_dict()) and "drift_predicted_classes" not in usual.flat()
    for change, statistic in (({"surer": 1.0}, "confidence"), ({"longer": 1.4}, "words"),
                              ({"pieces": 1.5}, "tokens per character"),
                              ({"moved": 0.5}, "embedding")):
        found = compare(freely(made(500, 7, **change)), answered, (), draws=800)
        assert found.alarm and statistic in found.raised_by
    alarms = [compare(freely(made(300, 100 + i)), answered, (), draws=800).alarm for i in range(20)]
    assert sum(alarms) <= 1


def test_a_sample_of_answers_has_its_confidence_and_refuses_what_is_none(reference, answered):
    of = Sample.of_answers(["one two", "three"], [4, 2], [0.9, 0.4], np.zeros((2, 3)))
    assert of.values("confidence").tolist() == [0.9, 0.4] and of.words.tolist() == [2, 1]
    with pytest.raises(DataError, match="confidences from -2.3 to 0.4"):
        Sample.of_answers(["a", "b"], [1, 1], [-2.3, 0.4], np.zeros((2, 3)))
    with pytest.raises(DataError, match="2 columns of probabilities, the reference 1"):
        compare(made(100, 1), answered, ())
    with pytest.raises(DataError, match="1 columns of probabilities, the reference 2"):
        found(reference, freely(made(100, 1)))


def test_samples_that_cannot_be_compared_are_refused(reference):
    other = made(100, 1)
    narrow = Sample(other.probabilities, other.words, other.characters, other.tokens,
                    other.embeddings[:, :5])
    with pytest.raises(DataError, match="5 columns of embeddings, the reference 24"):
        found(reference, narrow)
    with pytest.raises(DataError, match="3 classes"):
        compare(other, reference, ["a", "b", "c"])
    with pytest.raises(DataError, match="one of each per row"):
        Sample(other.probabilities, other.words[:5], other.characters, other.tokens,
               other.embeddings)
    with pytest.raises(DataError, match="not finite"):
        Sample(other.probabilities, other.words, other.characters, other.tokens,
               other.embeddings * np.nan)
    with pytest.raises(DataError, match="false_alarms < clearing"):
        found(reference, other, false_alarms=0.2, clearing=0.1)
    with pytest.raises(DataError, match="draws"):
        found(reference, other, false_alarms=0.001)

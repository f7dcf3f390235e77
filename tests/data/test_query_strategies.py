import math
import random

import numpy as np
import pandas as pd
import pytest

from ftzard.data.labeling.labeling_queue import queue_csv, read_queue
from ftzard.data.near_duplicates import all_shapes, drop_near_duplicates, like_test_rows
from ftzard.data.query_strategies import (
    STRATEGIES,
    counts,
    disagreement,
    select,
    spread,
    uncertainty,
)
from ftzard.errors import ConfigError, DataError


def predictions(confidences, split="train", texts=None, batch="b") -> pd.DataFrame:
    count = len(confidences)
    return pd.DataFrame(
        {
            "id": [f"{split}{i:03}" for i in range(count)],
            "batch": batch,
            "split": split,
            "text": texts or [f"{split} text {i}" for i in range(count)],
            "suggestion": "pos",
            "confidence": confidences,
            "probabilities": [[c, 1 - c] for c in confidences],
        }
    )


@pytest.mark.parametrize("strategy", ["least_confidence", "margin", "entropy"])
@pytest.mark.parametrize("classes", [2, 4])
def test_uncertainty_runs_from_none_to_complete(strategy, classes):
    sure, unsure = np.eye(classes)[0], np.full(classes, 1 / classes)
    between = np.full(classes, 0.4 / (classes - 1))
    between[0] = 0.6
    scores = uncertainty(np.stack([sure, unsure, between]), strategy)
    assert scores[0] == pytest.approx(0)
    assert scores[1] == pytest.approx(1)
    assert 0 < scores[2] < 1


def test_uncertainty_of_a_known_row():
    p = [[0.5, 0.3, 0.2]]
    assert uncertainty(p, "least_confidence")[0] == pytest.approx(0.75)
    assert uncertainty(p, "margin")[0] == pytest.approx(0.8)
    entropy = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2)) / math.log(3)
    assert uncertainty(p, "entropy")[0] == pytest.approx(entropy)


def test_random_is_a_matter_of_the_seed():
    p = np.full((50, 2), 0.5)
    assert (uncertainty(p, "random", seed=1) == uncertainty(p, "random", seed=1)).all()
    assert (uncertainty(p, "random", seed=1) != uncertainty(p, "random", seed=2)).any()


@pytest.mark.parametrize("p", [[[0.5, 0.6]], [[math.nan, 1.0]], [[-0.1, 1.1]], [[1.0]], [1.0]])
def test_what_is_no_distribution_is_refused(p):
    with pytest.raises(DataError, match="[Pp]robabilities"):
        uncertainty(p, "margin")


def test_an_unknown_strategy_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'entropy'"):
        uncertainty([[0.5, 0.5]], "entopy")


def test_the_most_uncertain_training_rows_and_random_test_rows_are_asked():
    rows = pd.concat(
        [
            predictions([0.99, 0.55, 0.7, 0.6]),
            predictions([0.58], "validation"),
            predictions([0.5] * 30 + [0.99] * 30, "test"),
        ]
    )
    options = {"strategy": "least_confidence", "budget": 3, "audit_rows": 20, "seed": 7}
    queue, threshold = select(rows, **options)
    assert list(queue) == ["id", "batch", "text", "suggestion", "confidence", "side", "chosen_by",
                           "group", "blind", "label"]
    assert queue["chosen_by"].value_counts().to_dict() == {"least_confidence": 3, "audit": 20}
    asked, audit = queue[queue["side"] == "train"], queue[queue["side"] == "test"]
    assert asked["id"].tolist() == ["train001", "validation000", "train003"]
    assert threshold == pytest.approx(0.8)
    assert len(audit) == 20 and audit["id"].str.startswith("test").all()
    said = rows.set_index("id")["confidence"]
    assert audit["id"].map(said).nunique() == 2, "drawn uniformly, not by uncertainty"
    assert (queue["label"] == "").all()
    again, _ = select(rows.sample(frac=1, random_state=1), **options)
    assert again.equals(queue), "the order of the predictions does not matter"


def test_the_same_words_are_asked_once_and_labelled_texts_not_again():
    texts = ["So good!", "so good", "known TEXT", "new"]
    rows = predictions([0.5, 0.5, 0.5, 0.9], texts=texts)
    queue, threshold = select(
        rows,
        strategy="margin",
        budget=10,
        audit_rows=5,
        seed=0,
        exclude_texts=["Known text."],
    )
    assert queue["text"].tolist() == ["So good!", "new"]
    assert threshold == pytest.approx(0.2)
    assert counts(rows, queue, budget=10, audit_rows=5, exclude_texts=["known text"]) == {
        "predicted": 4,
        "already labelled": 1,
        "same words as another": 1,
        "nearly a test row": 0,
        "waiting from before": 0,
        "uncertain rows asked": 2,
        "random rows asked": 0,
        "audit rows asked": 0,
        "short of the budget": 8,
        "short of the audit rows": 5,
    }


def test_a_quantile_asks_for_the_most_uncertain_share_and_the_budget_still_bounds_it():
    rows = pd.concat([predictions([0.51 + i / 100 for i in range(40)]),
                      predictions([0.5] * 20, split="test")])

    def asked(budget, quantile, **changes):
        return select(rows, **{"strategy": "least_confidence", "budget": budget, "audit_rows": 5,
                               "seed": 0, "quantile": quantile, **changes})

    queue, threshold = asked(30, 0.75)
    ranked = queue[queue["side"] == "train"]
    assert ranked["id"].tolist() == [f"train{i:03}" for i in range(10)]  # a quarter of 40
    scores = uncertainty(np.stack(rows["probabilities"].tolist()[:40]), "least_confidence")
    assert threshold >= np.quantile(scores, 0.75) > np.sort(scores)[-11]
    assert (queue["side"] == "test").sum() == 5  # the audit rows stay uniform
    assert counts(rows, queue, budget=30, audit_rows=5)["short of the budget"] == 20
    assert (asked(4, 0.75)[0]["side"] == "train").sum() == 4
    assert (asked(30, None)[0]["side"] == "train").sum() == 30
    # Rows that were labelled since count in the quantile, so that the rest stays what it was.
    later, _ = asked(30, 0.75, exclude_texts=[f"train text {i}" for i in range(6)])
    assert later.loc[later["side"] == "train", "id"].tolist() == [
        f"train{i:03}" for i in range(6, 10)]
    mixed, _ = asked(20, 0.75, strategy="mix", random_share=0.5)
    assert (mixed["chosen_by"] == "random").sum() == 10
    assert set(mixed.loc[mixed["chosen_by"] == "least_confidence", "id"]) <= {
        f"train{i:03}" for i in range(10)}


@pytest.mark.parametrize(("change", "message"), [
    ({"quantile": 1.0}, "sampling.quantile=1.0, expected between 0 and 1"),
    ({"strategy": "random"}, "no effect with sampling.strategy='random'"),
    ({"strategy": "diversity"}, "no effect with sampling.strategy='diversity'"),
])
def test_a_quantile_that_can_have_no_effect_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        select(predictions([0.6, 0.7]), **{"strategy": "margin", "budget": 1, "audit_rows": 1,
                                           "seed": 0, "quantile": 0.5, **change})


def test_only_audit_rows_have_no_threshold():
    queue, threshold = select(
        predictions([0.9], "test"), strategy="margin", budget=0, audit_rows=1, seed=0
    )
    assert queue["side"].tolist() == ["test"] and threshold is None


@pytest.mark.parametrize(
    "rows, options, error, said",
    [
        (predictions([]), {}, DataError, "no predictions"),
        (predictions([0.9]), {"exclude_texts": ["train text 0"]}, DataError, "1 are labelled alre"),
        (predictions([0.9]), {"budget": 0, "audit_rows": 0}, ConfigError, "sampling.budget=0"),
        (predictions([0.9]), {"budget": -1}, ConfigError, "sampling.budget=-1"),
        (predictions([0.9]), {"strategy": "x"}, ConfigError, "sampling.strategy='x'"),
    ],
)
def test_a_queue_that_cannot_be_made_says_why(rows, options, error, said):
    with pytest.raises(error, match=said):
        select(rows, **{"strategy": "margin", "budget": 1, "audit_rows": 1, "seed": 0, **options})


class TestCommittee:
    def test_disagreement_is_of_the_members_and_not_of_their_doubt(self):
        sure, other, torn = [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]
        one, two = np.array([sure, torn, sure]), np.array([other, torn, sure])
        assert disagreement([one, two]) == pytest.approx([1, 0, 0])
        between = disagreement([np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]])])
        assert 0 < between[0] < 1

    def test_a_known_divergence(self):
        """Two members, (1, 0) and (1/2, 1/2): ln 4/3 - (ln 2)/2 + (ln 4)/4 ... by hand 0.3113."""
        found = disagreement([np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])])
        mean = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
        assert found[0] == pytest.approx((mean - math.log(2) / 2) / math.log(2))

    def test_what_is_disputed_is_asked_first(self):
        rows = predictions([0.5, 0.9, 0.9, 0.9])
        queue, threshold = select(rows, strategy="committee", budget=2, audit_rows=0, seed=0,
                                  disagreement=np.array([0.0, 0.2, 0.8, 0.1]))
        assert queue["id"].tolist() == ["train002", "train001"]
        assert set(queue["chosen_by"]) == {"committee"} and threshold == pytest.approx(0.2)

    @pytest.mark.parametrize("strategy", ["committee", "diversity"])
    def test_without_what_it_ranks_by_it_refuses(self, strategy):
        with pytest.raises(DataError, match=f"'{strategy}' needs the .* of 1 rows, got none"):
            select(predictions([0.9]), strategy=strategy, budget=1, audit_rows=0, seed=0)
        with pytest.raises(ConfigError, match="does not rank by the champion's probabilities"):
            uncertainty([[0.5, 0.5]], strategy)

    def test_one_member_or_other_shapes_are_refused(self):
        p = np.array([[0.5, 0.5]])
        with pytest.raises(DataError, match="committee of 1"):
            disagreement([p])
        with pytest.raises(DataError, match="shapes"):
            disagreement([p, np.array([[0.2, 0.3, 0.5]])])


class TestDiversity:
    def clustered(self) -> np.ndarray:
        """Three narrow heaps of 20 and one far row, as unit vectors with a little noise."""
        draw = np.random.default_rng(3)
        heaps = np.repeat(np.eye(4)[:3], 20, axis=0) + draw.normal(0, 0.001, (60, 4))
        return np.vstack([heaps, [[0, 0, 0, 1.0]]])

    def test_rows_of_every_heap_are_drawn_before_a_second_of_one(self):
        for seed in range(5):
            drawn = spread(self.clustered(), 4, seed=seed)
            assert len({*(drawn // 20)}) == 4
        assert (spread(self.clustered(), 61, seed=0) != spread(self.clustered(), 61, seed=1)).any()
        assert sorted(spread(self.clustered(), 100, seed=0)) == list(range(61))

    def test_equal_rows_are_still_drawn(self):
        assert sorted(spread(np.ones((5, 3)), 5, seed=0)) == [0, 1, 2, 3, 4]
        with pytest.raises(DataError, match="not finite"):
            spread(np.array([[math.nan, 1]]), 1, seed=0)

    def test_a_queue_covers_what_one_by_confidence_would_not(self):
        rows = predictions([0.5] * 20 + [0.9] * 41)
        options = {"budget": 4, "audit_rows": 0, "seed": 0, "embeddings": self.clustered()}
        diverse, threshold = select(rows, strategy="diversity", **options)
        heaps = {int(i[-3:]) // 20 for i in diverse["id"]}
        assert heaps == {0, 1, 2, 3} and threshold is None
        unsure, _ = select(rows, strategy="least_confidence", **options)
        assert {int(i[-3:]) // 20 for i in unsure["id"]} == {0}


class TestMix:
    def rows(self) -> pd.DataFrame:
        return predictions([0.5 + n / 1000 for n in range(400)])

    def test_a_share_is_drawn_by_chance_and_says_so(self):
        queue, threshold = select(self.rows(), strategy="mix", budget=100, random_share=0.4,
                                  audit_rows=0, seed=0)
        assert queue["chosen_by"].value_counts().to_dict() == {"least_confidence": 60, "random": 40}
        ranked = queue[queue["chosen_by"] == "least_confidence"]["id"]
        by_chance = queue[queue["chosen_by"] == "random"]["id"]
        expected = [i for i in self.rows()["id"] if i not in set(by_chance)][:60]
        assert ranked.tolist() == expected, "the most uncertain of those not drawn by chance"
        assert threshold == pytest.approx(2 * (1 - (0.5 + int(expected[-1][-3:]) / 1000)))

    def test_rows_by_chance_estimate_without_bias_what_ranked_ones_do_not(self):
        """The mean confidence of a batch, from labels of 100 rows, over 40 seeds."""
        rows = self.rows()
        chance, ranked = [], []
        for seed in range(40):
            queue, _ = select(rows, strategy="mix", budget=100, random_share=0.5, audit_rows=0,
                              seed=seed)
            by = queue.assign(confidence=queue["id"].map(rows.set_index("id")["confidence"]))
            by = by.groupby("chosen_by")["confidence"].mean()
            chance.append(by["random"])
            ranked.append(by["least_confidence"])
        truth = rows["confidence"].mean()
        assert abs(np.mean(chance) - truth) < 0.006, np.mean(chance)
        assert truth - np.mean(ranked) > 0.1

    def test_the_share_is_of_mix_alone_and_must_be_one(self):
        queue, _ = select(self.rows(), strategy="margin", budget=10, random_share=0.5,
                          audit_rows=0, seed=0)
        assert set(queue["chosen_by"]) == {"margin"}
        with pytest.raises(ConfigError, match="random_share=1.5"):
            select(self.rows(), strategy="mix", budget=10, random_share=1.5, audit_rows=0, seed=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_asks_for_a_test_text_as_a_training_row(strategy):
    """Exact, in another case, with one word more, less or changed; from any batch's test set."""
    draw = random.Random(0)
    words = [f"word{n}" for n in range(200)]
    texts = [" ".join(draw.sample(words, 9)) for _ in range(120)]
    test = texts[:30]
    planted = [test[0], test[1].upper() + " !!", " ".join(test[2].split()[:-1]), test[3] + " more",
               " ".join(["other", *test[4].split()[1:]]), test[5]]
    rows = pd.concat([
        predictions([0.5] * 6 + [0.7] * 60, texts=planted + texts[30:90]),
        predictions([0.9] * 30, "test", texts=texts[90:])], ignore_index=True)
    test_texts = test[:5] + texts[90:95]
    options = {"strategy": strategy, "budget": 66, "audit_rows": 20, "seed": 0,
               "disagreement": np.linspace(1, 0, len(rows)),
               "embeddings": np.random.default_rng(0).normal(size=(len(rows), 8))}
    queue, _ = select(rows, test_texts=test_texts, **options)
    asked = queue[queue["side"] == "train"]
    assert not set(asked["text"]) & set(planted[:5]) and planted[5] in set(asked["text"])
    assert len(asked) == 61
    trained = pd.concat([pd.DataFrame({"text": test_texts, "split": "test"}),
                         asked.assign(split="train")])
    assert drop_near_duplicates(trained)[1].empty
    audit = queue[queue["side"] == "test"]
    assert set(audit["id"]) <= set(rows.loc[rows["split"] == "test", "id"]) and len(audit) == 20
    assert counts(rows, queue, budget=66, audit_rows=20,
                  test_texts=test_texts)["nearly a test row"] == 5


class TestNearDuplicates:
    texts = ["one two three four five six seven", "one two three four five six SEVEN eight",
             "one two three four five six nine eight", "so good", "so bad"]

    def test_are_asked_for_once_the_most_uncertain_of_them(self):
        rows = predictions([0.9, 0.6, 0.8, 0.7, 0.7], texts=self.texts)
        queue, _ = select(rows, strategy="margin", budget=5, audit_rows=0, seed=0)
        assert queue["text"].tolist() == [self.texts[1], "so good", "so bad"]

    def test_are_not_asked_beside_an_audit_row(self):
        rows = pd.concat([predictions([0.5] * 3, texts=self.texts[:3]),
                          predictions([0.9], "test", texts=["one two three four five six eight"])])
        queue, _ = select(rows, strategy="margin", budget=3, audit_rows=1, seed=0)
        assert queue["side"].tolist() == ["test"]

    def test_are_what_the_split_takes_them_for(self):
        draw, found = random.Random(1), []
        words = ["some", "words", "it's", "so...good", "here", "?!", "now"]
        for _ in range(80):
            text = draw.choices(words, k=draw.randint(3, 9))
            other = list(text)
            for _ in range(draw.randint(0, 2)):
                place = draw.randrange(len(other))
                gone, new = draw.randint(0, 1), draw.randint(0, 1)
                other[place : place + gone] = draw.choices(words, k=new)
                other = other or ["now"]
            a, b = " ".join(text), " ".join(other)
            one, two = all_shapes([a, b])
            found.append(not one.isdisjoint(two))
            assert (like_test_rows(pd.Series([b]), [a])[0] != "") == found[-1], (a, b)
        assert 10 < sum(found) < 70


class TestAgain:
    """Asking for the same batch again, after some of its labels have come back."""

    options = {"strategy": "least_confidence", "budget": 6, "audit_rows": 4, "seed": 0}

    def rows(self) -> pd.DataFrame:
        return pd.concat([predictions([0.5 + n / 100 for n in range(40)]),
                          predictions([0.7] * 20, "test")], ignore_index=True)

    def test_what_waits_stays_as_it_is_and_no_more_is_asked(self, tmp_path):
        queue, threshold = select(self.rows(), **self.options)
        queue_csv(queue, tmp_path / "q.csv")
        written = (tmp_path / "q.csv").read_bytes()
        waiting = read_queue(tmp_path / "q.csv")
        again, same = select(self.rows(), waiting=waiting, **self.options)
        assert again["id"].tolist() == queue["id"].tolist() and same == threshold
        queue_csv(again, tmp_path / "q.csv")
        assert (tmp_path / "q.csv").read_bytes() == written
        other = self.rows().assign(probabilities=[[1 - c, c] for c in np.linspace(0, 0.4, 60)])
        kept, _ = select(other, waiting=waiting, **self.options)
        assert kept["id"].tolist() == queue["id"].tolist(), "whatever the model thinks by now"

    def test_labelled_rows_make_room_for_new_ones(self, tmp_path):
        queue, _ = select(self.rows(), **self.options)
        queue.loc[5, "label"] = "pos"
        queue_csv(queue, tmp_path / "q.csv")
        labelled = queue.iloc[[0, 1, 6]]
        waiting = read_queue(tmp_path / "q.csv").drop([0, 1, 6])
        again, _ = select(self.rows(), waiting=waiting, exclude_texts=labelled["text"],
                          **self.options)
        assert again["id"].tolist()[:7] == waiting["id"].tolist()
        assert again["label"].tolist()[3] == "pos", "filled in, not yet handed in"
        assert again["side"].value_counts().to_dict() == {"train": 6, "test": 4}
        assert again["id"].is_unique and not set(again["id"]) & set(labelled["id"])
        told = counts(self.rows(), again, budget=6, audit_rows=4, waiting=waiting,
                      exclude_texts=labelled["text"])
        assert told["waiting from before"] == 7 and told["short of the budget"] == 0

    def test_a_smaller_budget_takes_nothing_back(self):
        queue, _ = select(self.rows(), **self.options)
        less, _ = select(self.rows(), waiting=queue, **{**self.options, "budget": 2,
                                                        "audit_rows": 1})
        assert less["id"].tolist() == queue["id"].tolist()

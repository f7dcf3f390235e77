"""What is new to a model is decided row by row, and what is replayed is as many as was asked."""

import pandas as pd
import pytest

from ftzard.data import replay


def rows(batch: str, numbers, label: str = "good", **more) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{batch}{n}" for n in numbers], "batch": batch,
                         "text": [f"{batch} text {n}" for n in numbers], "label": label, **more})


def together(*parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)


BASE = rows("base", range(1000))


def mixed(train: pd.DataFrame, learned: pd.DataFrame | None, ratio: float | None = 1.0,
          batches=("base", "X")) -> tuple[pd.DataFrame, dict]:
    return replay.mix(train, **replay.batch_groups(train, learned, batches), ratio=ratio, seed=0)


class TestNew:
    def test_labels_that_come_late_for_a_known_batch_are_all_trained_on(self):
        """Thirty of a batch's hundred labels were learned; the others come with a new batch."""
        learned = together(BASE, rows("X", range(30)))
        train = together(BASE, rows("X", range(100)), rows("Y", range(50)))
        chosen, counts = mixed(train, learned)
        assert set(rows("X", range(30, 100))["id"]) | set(train["id"].tail(50)) <= set(chosen["id"])
        assert counts == {"new_rows": 120, "replayed_rows": 120, "earlier_rows": 1030}

    def test_a_corrected_label_is_new_and_the_same_label_is_not(self):
        learned = together(BASE, rows("X", range(30)))
        train = together(BASE, rows("X", range(20)), rows("X", range(20, 30), label="bad"))
        told = replay.batch_groups(train, learned, ["base", "X"])
        assert told == {"known": ["base", "X"], "fresh": [f"X{n}" for n in range(20, 30)]}
        chosen, counts = mixed(train, learned, ratio=0.0)
        assert counts["new_rows"] == 10 and chosen["id"].tolist() == told["fresh"]

    def test_of_instructions_the_messages_count_with_the_answer(self):
        def asked(numbers, system: str) -> pd.DataFrame:
            return rows("X", numbers, source="", messages=[f'["{system}{n}"]' for n in numbers])

        learned = asked(range(10), "be brief ")
        assert mixed(asked(range(10), "be brief "), learned)[1]["new_rows"] == 0
        assert mixed(asked(range(10), "be kind "), learned)[1]["new_rows"] == 10

    def test_a_row_that_was_learned_under_another_id_is_not_new(self):
        learned = together(BASE, rows("X", range(30)))
        again = rows("X", range(30)).assign(id=[f"other{n}" for n in range(30)], batch="Z")
        assert mixed(together(BASE, again), learned)[1]["new_rows"] == 0

    def test_a_batch_without_a_learned_row_is_new_as_a_whole(self):
        train = together(BASE, rows("X", range(30)))
        assert replay.batch_groups(train, BASE, ["base", "X"]) == {"known": ["base"], "fresh": []}

    def test_where_nobody_knows_what_was_learned_the_batches_decide(self):
        train = together(BASE, rows("X", range(100)), rows("Y", range(50)))
        _, counts = mixed(train, None)
        assert counts["new_rows"] == 50 and counts["earlier_rows"] == 1100

    def test_what_was_told_goes_through_a_record(self):
        """`reproduce` draws the same rows from what the record says."""
        train = together(BASE, rows("X", range(100)), rows("Y", range(50)))
        told = {**replay.batch_groups(train, together(BASE, rows("X", range(30))), []),
                "ratio": 0.5}
        first, _ = replay.mix(train, **told, seed=3)
        again, _ = replay.mix(train, **told, seed=3)
        assert first.equals(again) and len(first) == 180


class TestReplayed:
    @pytest.mark.parametrize(("batches", "size", "new", "ratio", "wanted"), [
        (40, 20, 10, 1.0, 10), (40, 20, 10, 0.25, 2), (7, 3, 5, 2.0, 10), (3, 1, 1, 2.0, 2),
        (40, 20, 1, 0.0, 0), (2, 5, 20, 1.0, 10), (13, 17, 100, 1.37, 137)])
    def test_as_many_rows_as_the_ratio_says_from_however_small_groups(
            self, batches, size, new, ratio, wanted):
        train = together(*(rows(f"b{n:02}", range(size)) for n in range(batches)),
                         rows("new", range(new)))
        chosen, counts = replay.mix(train, [f"b{n:02}" for n in range(batches)], ratio=ratio,
                                    seed=0)
        assert counts["replayed_rows"] == wanted
        assert len(chosen) == wanted + new and chosen["id"].is_unique

    def test_shares_hold_to_within_a_row(self):
        train = together(rows("a", range(60)), rows("a", range(60, 100), label="bad"),
                         rows("b", range(23)), rows("new", range(31)))
        chosen, _ = replay.mix(train, ["a", "b"], ratio=1.0, seed=0)
        found = chosen[chosen["batch"] != "new"].groupby(["batch", "label"]).size()
        exact = {("a", "bad"): 40, ("a", "good"): 60, ("b", "good"): 23}
        assert all(abs(found[kind] - count * 31 / 123) < 1 for kind, count in exact.items())

    def test_it_is_not_always_the_first_groups_that_give_the_rows_left_over(self):
        train = together(*(rows(f"b{n:02}", range(20)) for n in range(40)), rows("new", range(10)))
        known = [f"b{n:02}" for n in range(40)]
        given = {tuple(sorted(set(replay.mix(train, known, ratio=1.0, seed=seed)[0]["batch"])))
                 for seed in range(5)}
        assert len(given) == 5

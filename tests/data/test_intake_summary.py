"""What is said of a delivery is true of the table, repeats of earlier batches included."""

import pandas as pd
import pytest

from ftzard.data import cleaning, intake_summary
from ftzard.data.line_counts import LineCounts
from ftzard.errors import DataError
from ftzard.tasks.classification import text_rows
from ftzard.tasks.instruction_tuning import instructions


def delivered(batch: str, numbers, answer: str = "answer {}", source: str = "", more=()):
    """Return (cleaned, rejected) of instructions, one for each number."""
    texts = [*(f"Question number {n} of many things" for n in numbers), *more]
    raw = pd.DataFrame({
        "row": range(len(texts)), "text": texts, "input": "", "messages": "", "source": source,
        "label": [answer.format(n) for n in numbers] + ["x"] * len(more)})
    return instructions.clean(raw, batch=batch)


def come(earlier, cleaned, rejected, sources=()):
    """Let a delivery come to a table as step 1 does; returns (table, repeated, arrival)."""
    table, repeated = instructions.append(earlier, cleaned)
    return table, repeated, intake_summary.arrived(
        earlier, table, cleaned, rejected, repeated, sources, keys=instructions.text_keys)


def asked(*names: str, weight: float | None = 1.0) -> list[dict]:
    return [{"name": name, "weight": weight} for name in names]


@pytest.fixture
def first() -> pd.DataFrame:
    return delivered("b1", range(100))[0]


def test_rows_that_repeat_an_earlier_batch_are_read_once_and_not_usable(first):
    cleaned, rejected = delivered("b2", range(60, 160), more=[""])
    _, repeated, told = come(first, cleaned, rejected)
    assert (told.read, told.usable, told.rejected, told.in_all) == (101, 60, 41, 160)
    kept = cleaning.append_rejected(None, rejected, repeated, batch="b2")
    assert len(kept) == told.rejected, "the rejected table and the numbers agree"
    assert told.numbers["rows_read"] == told.numbers["rows_usable"] + told.numbers["rows_rejected"]
    assert "60 of 101 rows are in the table; 100 rows of other deliveries stay" in str(told)


def test_the_same_delivery_again_replaces_nothing_and_is_usable(first):
    _, _, told = come(first, *delivered("b1", range(100)))
    assert (told.usable, told.replaced, told.beside) == (100, 0, 0)


def test_a_corrected_edition_is_told_to_stand_beside_the_old_one(first):
    cleaned, rejected = delivered("b2", range(90, 130), answer="better answer {}")
    table, _, told = come(first, cleaned, rejected)
    assert told.answered_twice == 10 and len(table) == 140
    assert "10 instructions now have two different answers" in str(told)


def test_labels_that_contradict_earlier_ones_are_told(raw):
    def batch(name: str, label: str, texts: list[str]):
        return text_rows.clean(raw(texts, [label] * len(texts)), batch=name)

    first = batch("b1", "sad", ["one", "two"])[0]
    cleaned, rejected = batch("b2", "glad", ["two", "three"])
    table, repeated = cleaning.append(first, cleaned)
    told = intake_summary.arrived(first, table, cleaned, rejected, repeated)
    assert told.contradicting == 1 and told.answered_twice == 0
    assert "1 left because an earlier delivery has their text with another label" in str(told)
    assert table["label"].tolist() == ["sad", "sad", "glad"]


class TestMix:
    def test_another_draw_takes_the_place_of_the_one_before(self):
        def draw(ours: int, theirs: int) -> pd.DataFrame:
            return pd.concat([delivered("mix", range(ours), source="ours")[0],
                              delivered("mix", range(1000, 1000 + theirs), source="theirs")[0]],
                             ignore_index=True)

        none = delivered("mix", [])[1]
        table, _, told = come(None, draw(30, 30), none, asked("ours", "theirs"))
        assert told.rows_by_source == {"ours": 30, "theirs": 30} and told.replaced == 0
        sources = [{"name": "ours", "weight": 1.0}, {"name": "theirs", "weight": 9.0}]
        table, _, told = come(table, draw(5, 45), none, sources)
        assert told.rows_by_source == {"ours": 5, "theirs": 45}
        assert table["source"].value_counts().to_dict() == told.rows_by_source
        assert told.replaced == 25 and told.in_all == 50
        assert "25 rows of an earlier delivery of this batch are gone" in str(told)
        assert "5 rows of ours (10.0%, asked for 10.0%), 45 rows of theirs (90.0%" in str(told)

    def test_a_source_that_the_table_has_already_is_refused(self, first):
        cleaned = pd.concat([delivered("mix", range(50), source="dvc://cleaned@abcdef1")[0],
                             delivered("mix", range(200, 250), source="new")[0]],
                            ignore_index=True)
        none = delivered("mix", [])[1]
        with pytest.raises(DataError, match="data.mix: all 50 rows that were drawn of 'dvc://clea"):
            come(first, cleaned, none, asked("dvc://cleaned@abcdef1", "new"))

    def test_a_file_of_a_folder_may_be_known_already(self, first):
        cleaned = pd.concat([delivered("day", range(50), source="monday.csv")[0],
                             delivered("day", range(200, 250), source="tuesday.csv")[0]],
                            ignore_index=True)
        _, _, told = come(first, cleaned, delivered("day", [])[1], asked("days", weight=None))
        assert told.rows_by_source == {"tuesday.csv": 50} and told.weights == {}


class TestCheck:
    limits = {"min_rows": 50, "max_rejected": 0.1}

    def test_rows_are_counted_after_repeats_have_left(self, first):
        cleaned, rejected = delivered("b2", range(60, 120))
        _, repeated = instructions.append(first, cleaned)
        cleaning.check(cleaned, rejected, **self.limits)
        with pytest.raises(DataError, match="Only 20 of 60 rows are left .*40 others are dup"):
            cleaning.check(cleaned, rejected, repeated, **self.limits)

    def test_a_delivery_without_a_new_row_is_refused_however_few_are_enough(self, first):
        cleaned, rejected = delivered("b2", range(60))
        _, repeated = instructions.append(first, cleaned)
        with pytest.raises(DataError, match="None of 60 rows is new .60 duplicate of an earlier"):
            cleaning.check(cleaned, rejected, repeated, min_rows=0, max_rejected=0.1)

    def test_the_very_same_batch_again_passes(self, first):
        cleaned, rejected = delivered("b1", range(100))
        _, repeated = instructions.append(first, cleaned)
        cleaning.check(cleaned, rejected, repeated, **self.limits)

    def test_labels_against_earlier_ones_count_as_rows_that_cannot_be_used(self, raw):
        texts = [f"text {n}" for n in range(100)]
        old, _ = text_rows.clean(raw(texts, ["sad", "glad"] * 50), batch="b1")
        new, rejected = text_rows.clean(raw(texts[50:] + [f"new {n}" for n in range(60)],
                                           ["glad", "sad"] * 55), batch="b2")
        _, repeated = cleaning.append(old, new)
        with pytest.raises(DataError, match="50 of 110 rows cannot be used .*50 contradicts the "
                                            "label of an earlier batch.*never replaces"):
            cleaning.check(new, rejected, repeated, **self.limits)


class TestRejected:
    def test_labels_that_are_handed_in_again_are_not_rejected_once_more(self):
        other = delivered("b1", range(5))[0]
        again, _ = delivered("asked", range(5))
        _, repeated = instructions.append(other, again, replace_batch=False)
        assert len(repeated) == 5 and set(repeated["batch"]) == {"asked"}
        refused = cleaning.rejected_rows("file", pd.Series([0]), pd.Series(["t"]), ["label empty"])
        once = cleaning.append_rejected(None, refused, repeated, batch="file")
        twice = cleaning.append_rejected(once, refused, repeated, batch="file")
        assert len(twice) == len(once) == 6
        grown = cleaning.append_rejected(twice, refused.head(0), repeated, batch="longer file")
        assert len(grown) == 6

    def test_what_other_batches_have_rejected_stays(self):
        def of(batch: str, reason: str) -> pd.DataFrame:
            return cleaning.rejected_rows(batch, pd.Series([0]), pd.Series(["t"]), [reason])

        known = pd.concat([of("a", "duplicate"), of("b", "empty text")], ignore_index=True)
        both = cleaning.append_rejected(known, of("b", "label missing"), of("c", "duplicate"),
                                        batch="b")
        assert both[["batch", "reason"]].values.tolist() == [
            ["a", "duplicate"], ["b", "label missing"], ["c", "duplicate"]]


def test_instructions_that_differ_by_a_sign_or_a_capital_are_others():
    def asking(batch: str, *texts: str) -> pd.DataFrame:
        return delivered(batch, [], more=texts)[0]

    table, repeated = instructions.append(
        asking("b1", "Is 3 < 5 true?"),
        asking("b2", "Is 3 != 5 true?", "IS 3 < 5 true?", "Is  3 <\n5 true?"))
    assert len(table) == 3 and repeated["text"].tolist() == ["Is  3 <\n5 true?"]


def test_lines_of_the_file_are_told_beside_its_rows(first):
    cleaned, rejected = delivered("b2", range(100, 120))
    table, repeated = instructions.append(first, cleaned)
    lines = LineCounts(lines=22, rows=20, blank_lines=1, rows_over_lines=0)
    told = intake_summary.arrived(first, table, cleaned, rejected, repeated, lines=lines)
    assert str(told).endswith("the file has 22 lines and 20 rows, 0 of them over several lines, "
                              "and 1 blank lines")
    assert told.numbers["file_lines"] == 22 and told.numbers["file_rows"] == told.read

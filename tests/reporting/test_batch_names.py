"""A batch is called by the file a person delivered, and two files of one name stay apart."""

from ftzard.reporting import batch_names

FIRST, SECOND, THIRD = "7d0a323bc6a8", "caaac4d6aecf", "0123456789ab"


def test_text_names_the_file_and_the_beginning_of_the_hash():
    names = {FIRST: "march.csv"}
    assert batch_names.named(FIRST, names) == "march.csv (7d0a323)"
    assert batch_names.named(SECOND, names) == SECOND


def test_a_sentence_calls_every_batch_by_its_name_and_keeps_what_only_looks_like_one():
    names = {FIRST: "march.csv", SECOND: r"a\1.csv"}
    said = f"Veto by test set '{FIRST}': worse than {SECOND}, not than {THIRD} or {FIRST}00."
    assert batch_names.with_names(said, names) == (
        rf"Veto by test set 'march.csv (7d0a323)': worse than a\1.csv (caaac4d), not than {THIRD} "
        f"or {FIRST}00.")
    assert batch_names.with_names(said, {}) == said


def test_an_axis_has_the_file_alone_and_the_hash_where_no_name_is_known():
    assert batch_names.ticks([FIRST, SECOND], {FIRST: "march.csv"}) == ["march.csv", "caaac4d6"]
    assert batch_names.ticks([FIRST], None) == ["7d0a323b"]


def test_two_files_of_one_name_stay_apart_at_an_axis():
    names = {FIRST: "batch.csv", SECOND: "batch.csv", THIRD: "other.csv"}
    assert batch_names.ticks(names, names) == ["batch.csv\n7d0a323", "batch.csv\ncaaac4d",
                                               "other.csv"]


def test_a_long_name_loses_its_type_then_its_middle_and_what_then_reads_the_same_stays_apart():
    assert batch_names.ticks([FIRST], {FIRST: "reviews_march.csv.gz"}, 14) == ["reviews_march"]
    names = {FIRST: "customer_reviews_2026_march.csv", SECOND: "customer_reviews_2026_april.csv",
             THIRD: "customer_reviews_2025_march.csv"}
    first, second, third = batch_names.ticks(names, names, 14)
    assert first == "custome…_march\n7d0a323"
    assert all(len(line) <= 14 for name in (first, second, third) for line in name.split("\n"))
    assert len({first, second, third}) == 3 and "\n" not in second

import itertools
import random

import pandas as pd
import pytest

from ftzard.data.near_duplicates import NEAR_WORDS, drop_near_duplicates
from ftzard.data.normalization import normalise
from ftzard.data.splitting import assign, check_splits, position
from ftzard.errors import ConfigError, DataError

RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}


def table(texts, **columns) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, **columns})


def sides(texts, salt="ftzard", **columns) -> list[str]:
    return assign(table(texts, **columns), ratio=RATIO, salt=salt)["split"].tolist()


@pytest.mark.parametrize(
    "text, place",
    [
        ("so good", 0.68797),
        ("Not bad, at all!", 0.60415),
        ("I like @tea", 0.35333),
        ("http://a.b", 0.11528),
        ("😀", 0.68262),
        ("Straße", 0.75635),
        ("cafe\u0301", 0.18552),
        ("7", 0.19450),
    ],
)
def test_the_place_of_a_text_is_pinned(text, place):
    """Changing one would move rows that are already split in somebody's workspace."""
    assert position(normalise(text), "ftzard") == pytest.approx(place, abs=1e-5)


def test_shares_follow_the_ratio():
    shares = pd.Series(sides([f"text {i}" for i in range(20_000)])).value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.01)
    assert shares["validation"] == pytest.approx(0.1, abs=0.01)
    assert shares["test"] == pytest.approx(0.2, abs=0.01)


def test_a_row_keeps_its_side_whatever_stands_around_it():
    texts = [f"text {i}" for i in range(500)]
    alone = dict(zip(texts, sides(texts), strict=False))
    more = texts + [f"other {i}" for i in range(500)]
    random.Random(1).shuffle(more)
    assert {t: s for t, s in zip(more, sides(more), strict=False) if t in alone} == alone


def test_texts_with_the_same_words_share_a_side():
    for i in range(50):
        assert len(set(sides([f"so good {i}", f"So GOOD, {i}!!", f"so good {i} 😀"]))) == 1


def test_a_group_shares_a_side_and_rows_without_one_go_by_their_text():
    frame = table([f"t {i}" for i in range(300)], group=["ann", "bob", ""] * 100)
    split = assign(frame, ratio=RATIO, salt="s")["split"]
    assert split[frame["group"] == "ann"].nunique() == 1
    assert split[frame["group"] == ""].nunique() == 3
    assert split[2] == sides(["t 2"], salt="s")[0]


def test_another_salt_is_another_split():
    texts = [f"text {i}" for i in range(200)]
    assert sides(texts, salt="a") != sides(texts, salt="b")


@pytest.mark.parametrize(
    "ratio",
    [
        {"train": 0.8, "validation": 0.1, "test": 0.2},
        {"train": 0.8, "test": 0.2},
        {"train": 0.8, "validation": 0.0, "test": 0.2},
        {"train": 0.7, "valid": 0.1, "test": 0.2},
    ],
)
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(ConfigError, match="train, validation and test that add up to 1"):
        assign(table(["a"]), ratio=ratio, salt="s")


def test_a_published_split_is_kept_under_its_usual_names():
    frame = table(list("abcde"), split=["Train", "val", "dev", "valid", "test"])
    split = assign(frame, ratio=RATIO, salt="s", by="given")["split"].tolist()
    assert split == ["train", "validation", "validation", "validation", "test"]


def test_a_later_batch_without_a_published_split_goes_by_its_text():
    texts = [f"t {i}" for i in range(100)]
    frame = table(["a", *texts], split=["test"] + [""] * 100, batch=["p"] + ["q"] * 100)
    split = assign(frame, ratio=RATIO, salt="s", by="given")["split"].tolist()
    assert split == ["test", *sides(texts, salt="s")]


@pytest.mark.parametrize(
    "columns, by, error, said",
    [
        ({"split": ["train", "tset"]}, "given", DataError, "Split 'tset'.*did you mean 'test'"),
        ({"split": ["train", ""]}, "given", DataError, "1 rows of batch .* have no split"),
        ({}, "given", DataError, "data.split_column"),
        ({}, "gven", ConfigError, "data.split='gven'.*did you mean 'given'"),
    ],
)
def test_a_split_that_cannot_be_kept_is_refused(columns, by, error, said):
    with pytest.raises(error, match=said):
        assign(table(["a", "b"], **columns), ratio=RATIO, salt="s", by=by)


LONG = "one two three four five six seven"


@pytest.mark.parametrize(
    "train, test, reason",
    [
        (LONG, LONG.upper() + "!", "duplicate of a test row"),
        (LONG, LONG.replace("three", "3"), "near-duplicate of a test row"),
        (LONG, LONG.replace("three ", ""), "near-duplicate of a test row"),
        (LONG.replace("seven", ""), LONG, "near-duplicate of a test row"),
        (LONG, "two three four five six seven one", "near-duplicate of a test row"),
        (LONG, LONG.replace("three", "3").replace("six", "6"), None),
        (LONG, LONG + " eight nine", None),
        ("so very good", "so very bad", None),
        ("one two three four", "one two three 4", "near-duplicate of a test row"),
        ("one two three", "one two three four", None),
        ("😀", "😀", "duplicate of a test row"),
    ],
)
def test_what_counts_as_near(train, test, reason):
    frame = table([train, test, "else"], split=["train", "test", "train"], row=[0, 1, 2])
    kept, dropped = drop_near_duplicates(frame)
    assert dropped["reason"].tolist() == ([reason] if reason else [])
    assert len(kept) + len(dropped) == 3
    assert (kept["split"] == "test").sum() == 1


def test_the_side_that_leaves_is_the_one_further_from_the_test():
    frame = table(
        [LONG, LONG + " a", LONG + " b", "x", "x", "y", "y"],
        split=["test", "validation", "train", "validation", "train", "train", "train"],
    )
    kept, dropped = drop_near_duplicates(frame)
    assert kept["text"].tolist() == [LONG, "x", "y", "y"]
    assert dropped["reason"].tolist() == [
        "near-duplicate of a test row",
        "near-duplicate of a test row",
        "duplicate of a validation row",
    ]


def _near(a: list[str], b: list[str]) -> bool:
    """The definition, word for word."""

    def less_one(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[:i] + words[i + 1 :]) for i in range(len(words))}

    if min(len(a), len(b)) < NEAR_WORDS:
        return a == b
    return bool(({tuple(a)} | less_one(a)) & ({tuple(b)} | less_one(b)))


def test_it_finds_what_comparing_all_pairs_finds():
    draw = random.Random(3)
    texts = [draw.choices("ab", k=draw.randint(1, 9)) for _ in range(300)]
    split = draw.choices(["train", "test"], [0.5, 0.5], k=300)
    frame = table([" ".join(words) for words in texts], split=split, row=range(300))
    kept, dropped = drop_near_duplicates(frame)
    tests = [words for words, side in zip(texts, split, strict=False) if side == "test"]
    expected = {
        row
        for row, (words, side) in enumerate(zip(texts, split, strict=False))
        if side == "train" and any(_near(words, other) for other in tests)
    }
    assert 0 < len(expected) < split.count("train")
    assert set(dropped["row"]) == expected
    assert set(kept["row"]) == set(range(300)) - expected


def test_one_side_empty_drops_nothing():
    frame = table(["a b", "a b"], split=["train", "train"])
    kept, dropped = drop_near_duplicates(frame)
    assert len(kept) == 2 and dropped.empty and "reason" in dropped
    kept, dropped = drop_near_duplicates(frame.head(0))
    assert kept.empty and dropped.empty


def split_table(train=8, validation=2, test=4) -> pd.DataFrame:
    split = ["train"] * train + ["validation"] * validation + ["test"] * test
    label = list(itertools.islice(itertools.cycle(["neg", "pos"]), len(split)))
    return table([f"t {i}" for i in range(len(split))], split=split, label=label)


def test_splits_that_can_be_used_pass():
    check_splits(split_table(), min_rows=2)
    check_splits(split_table(), min_rows={"train": 8}, labels=["neg", "pos"])
    check_splits(split_table().drop(columns="label"), min_rows=2)


@pytest.mark.parametrize(
    "frame, options, said",
    [
        (split_table(), {"min_rows": 3}, "validation split has 2 of 14 rows, at least 3"),
        (split_table(), {"min_rows": {"train": 9}}, "train split has 8 of 14 rows, at least 9"),
        (split_table(test=0), {}, "test split has 0 of 10 rows"),
        (split_table(validation=1), {"labels": ["neg", "pos"]},
         "validation split has no row labelled 'pos'"),
        (split_table(), {"labels": ["neg", "pos", "mix"]}, "train split has no row labelled 'mix'"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(frame, options, said):
    with pytest.raises(DataError, match=said):
        check_splits(frame, **options)

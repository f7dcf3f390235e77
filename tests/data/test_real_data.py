"""The whole way of a delivery, on real tweets where they lie beside the project."""

import pandas as pd

from ftzard.data.cleaning import append, sample_rows
from ftzard.data.near_duplicates import drop_near_duplicates
from ftzard.data.reading import batch_of, read_raw, store_raw
from ftzard.data.splitting import assign, check_splits
from ftzard.data.storage import read_parquet, write_parquet
from ftzard.tasks.classification.text_rows import check, clean

RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}
LABELS = {"0": "negative", "4": "positive"}


def test_sentiment140(shared_data, tmp_path):
    kept = store_raw(shared_data / "sentiment140" / "training.csv.gz", tmp_path)
    raw = read_raw(kept, text_column="text", label_column="target", encoding="latin-1")
    assert len(raw) == 80_000
    raw = sample_rows(raw, 16_000, seed=1)
    assert raw["label"].value_counts().to_dict() == {"0": 8000, "4": 8000}
    cleaned, rejected = clean(raw, batch=batch_of(kept), labels=LABELS)
    check(cleaned, rejected, min_rows=50, max_rejected=0.1, labels=LABELS)
    assert len(cleaned) + len(rejected) == 16_000
    assert len(cleaned) > 15_500
    assert not cleaned["text"].str.contains("https?://|&amp;|&lt;|&quot;").any()
    assert not cleaned["text"].str.contains(r"(?:^| )@(?!user\b)\w", regex=True).any()

    kept_rows, dropped = drop_near_duplicates(assign(cleaned, ratio=RATIO, salt="ftzard"))
    check_splits(kept_rows, min_rows={"test": 1500, "validation": 500, "train": 5000})
    assert len(dropped) < 0.01 * len(cleaned)
    path = write_parquet(kept_rows, tmp_path / "t.parquet")
    assert read_parquet(path).equals(kept_rows)


def test_no_tweet_changes_sides_when_a_batch_is_added(shared_data):
    path = shared_data / "sentiment140" / "training.csv.gz"
    raw = read_raw(path, text_column="text", label_column="target", encoding="latin-1")
    first, _ = clean(raw[:5000], batch="one", labels=LABELS)
    second, _ = clean(raw[5000:10000], batch="two", labels=LABELS)
    both, rejected = append(first, second)
    assert len(both) + len(rejected) == len(first) + len(second)
    before = assign(first, ratio=RATIO, salt="s").set_index("id")["split"]
    after = assign(both, ratio=RATIO, salt="s").set_index("id")["split"]
    assert after.loc[before.index].equals(before)


def test_tweeteval_emotion_keeps_its_published_split(shared_data, tmp_path):
    files = {"train": "train.csv", "val": "val.csv", "test": "test.csv"}
    tables = [
        pd.read_csv(shared_data / "tweeteval_emotion" / file).assign(part=part)
        for part, file in files.items()
    ]
    pd.concat(tables).to_csv(tmp_path / "emotion.csv", index=False)
    raw = read_raw(
        tmp_path / "emotion.csv", text_column="text", label_column="label", split_column="part"
    )
    cleaned, rejected = clean(raw, batch="b")
    check(cleaned, rejected, min_rows=50, max_rejected=0.1)
    frame, dropped = drop_near_duplicates(assign(cleaned, ratio=RATIO, salt="s", by="given"))
    labels = ["anger", "joy", "optimism", "sadness"]
    check_splits(frame, min_rows=100, labels=labels)
    counts = frame["split"].value_counts()
    assert counts["test"] == 1421
    assert 370 <= counts["validation"] <= 374
    assert 3200 <= counts["train"] <= 3257
    assert sorted(frame["label"].unique()) == labels
    assert len(frame) + len(dropped) + len(rejected) == 3257 + 374 + 1421

import csv
import random
import time

import numpy as np
import pandas as pd
import pytest

from ftzard.data import near_duplicates, reading, splitting
from ftzard.tasks.classification import baselines, text_rows
from ftzard.tasks.sample import write_sample
from tools.sample_data import lexicon
from tools.sample_data.__main__ import MAKERS
from tools.sample_data.generator import (
    careless,
    first_impression,
    generate,
    posts,
    write,
)
from tools.sample_data.grammar import PLAIN_VOICE, SLANG_VOICE, Voice, contrast

SEEDS = (0, 1, 2)
LABELS = {"0": "negative", "4": "positive"}
NAMES = sorted(LABELS.values())
RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}


@pytest.fixture(scope="module", params=SEEDS)
def sample(request):
    return generate(request.param)


def usable(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    raw = pd.DataFrame({"row": np.arange(len(table)), "text": table["text"].fillna(""),
                        "label": table["target"].astype(str)})
    return text_rows.clean(raw, batch="sample", labels=LABELS)


def by_words(train: pd.DataFrame, test: pd.DataFrame) -> float:
    """The accuracy of TF-IDF with logistic regression: counting words and word pairs."""
    chances = baselines.tfidf(train["text"], train["label"], test["text"], NAMES, 0)
    return float((np.array(NAMES)[chances.argmax(axis=1)] == test["label"].to_numpy()).mean())


def sided(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    cleaned, _ = usable(table)
    return near_duplicates.drop_near_duplicates(splitting.assign(cleaned, ratio=RATIO,
                                                                 salt="ftzard"))


def side(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["split"] == name]


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a", seed=3), write(tmp_path / "b", seed=3)
    assert sorted(first) == sorted(second) and len(first) == 5
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)
    other = write(tmp_path / "c", seed=4)
    assert all(first[name].read_bytes() != other[name].read_bytes() for name in first)


@pytest.mark.parametrize("task", MAKERS)
def test_the_shipped_files_are_the_generated_ones(tmp_path, task):
    shipped, made = write_sample(task, tmp_path / "shipped"), MAKERS[task](tmp_path / "made")
    assert shipped.keys() == made.keys() and len(made) == 5
    assert all(shipped[name].name == made[name].name for name in made)
    assert all(shipped[name].read_bytes() == made[name].read_bytes() for name in made)


def test_generating_takes_less_than_two_seconds_of_cpu():
    started = time.process_time()
    generate(5)
    assert time.process_time() - started < 2


def test_files_are_in_the_seeds_raw_format(tmp_path):
    files = write(tmp_path)
    with open(files["training"], encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["", "target", "text"]
    assert [row[0] for row in rows[1:]] == [str(i) for i in range(len(rows) - 1)]
    assert {row[1] for row in rows[1:]} == {"0", "4", "2"}
    for batch in ("batch_1", "batch_2"):
        incoming = pd.read_csv(files[batch], index_col=0)
        labels = pd.read_csv(files[f"{batch}_labels"], index_col=0)
        assert incoming.columns.tolist() == ["text"]
        assert labels.columns.tolist() == ["text", "target"]
        assert labels["text"].tolist() == incoming["text"].tolist()
        assert set(labels["target"]) == {0, 4}
    raw = reading.read_raw(files["training"], text_column="text", label_column="target")
    assert len(raw) == len(rows) - 1


def test_sizes_and_classes(sample):
    assert 5_900 <= len(sample.training) <= 6_100
    assert len(sample.batch_1) == len(sample.batch_2) == 2_000
    share = (sample.training["target"] == 4).mean()
    assert 0.46 < share < 0.54


def test_a_few_rows_are_unusable_and_some_repeat(sample):
    _, rejected = usable(sample.training)
    reasons = rejected["reason"].value_counts()
    unusable = rejected[~rejected["reason"].str.startswith("duplicate")]
    assert 5 <= len(unusable) < 0.05 * len(sample.training)
    assert 0.01 < reasons["duplicate"] / len(sample.training) < 0.03
    assert sample.training["text"].isna().sum() == 3
    for reason in ("empty text", "contradicting labels", "unknown label '2'"):
        assert 2 <= reasons[reason] <= 20


def test_posts_look_like_posts(sample):
    texts = sample.training["text"].dropna()
    habits = ("@", "https://", "#", "!", "😊|😍|👍|🎉", "aaa|eee|iii|ooo|uuu", "[A-Z]", "lol|tbh")
    for habit in habits:
        assert texts.str.contains(habit).mean() > 0.002, habit
    words = texts.str.split().str.len()
    assert words.median() > 8 and words.max() < 60
    known = set(" ".join(generate(9).training["text"].dropna()).lower().split())
    rare = [w for w in set(" ".join(texts).lower().split()) - known if w.isalpha()]
    assert len(rare) > 100, "misspellings"


def test_counting_words_gets_between_75_and_90_percent(sample):
    rows, near = sided(sample.training)
    assert len(near) < 0.02 * len(rows)
    assert 1_000 < len(side(rows, "test")) < 1_300
    assert 0.75 <= by_words(side(rows, "train"), side(rows, "test")) <= 0.90


def test_word_order_decides_what_a_contrast_means():
    """Counting words and pairs falls far behind where two opposite opinions meet."""
    opposed = Voice(lexicon.TOPICS, lexicon.GOOD, lexicon.BAD, ((contrast, 1.0),))
    rng = random.Random(0)
    tables = [
        pd.DataFrame(posts(rng, count, ((voice, 1.0),)), columns=["text", "target"])
        for count, voice in ((4_000, PLAIN_VOICE), (1_000, opposed))
    ]
    plain, hard = (t.assign(label=t["target"].astype(str).map(LABELS)) for t in tables)
    assert by_words(plain, hard) < 0.70


def test_the_first_batch_drifts_and_the_second_does_not(sample):
    cleaned, _ = usable(sample.training)
    first, _ = usable(sample.batch_1_labels)
    familiar = cleaned.sample(2_000, random_state=0)
    assert by_words(cleaned, first) < 0.68

    def words(texts) -> set[str]:
        return {w for w in " ".join(texts).lower().split() if w.isalpha()}

    def unknown(texts) -> float:
        known = words(cleaned["text"])
        every = [w for w in " ".join(texts).lower().split() if w.isalpha()]
        return sum(w not in known for w in every) / len(every)

    assert unknown(first["text"]) > 0.10
    assert unknown(sample.batch_2["text"]) < 0.02
    assert words(familiar["text"]) & set(SLANG_VOICE.good), "names in the training posts"


def test_the_first_batchs_labels_can_be_learnt(sample):
    rows, _ = sided(sample.batch_1_labels)
    assert by_words(side(rows, "train"), side(rows, "test")) > 0.85


def test_the_second_batchs_labels_are_careless(sample):
    rng = random.Random(0)
    truth = posts(rng, 2_000, ((PLAIN_VOICE, 1.0),))
    said = careless(rng, truth)
    assert [text for text, _ in said] == [text for text, _ in truth]
    wrong = np.mean([a != b for (_, a), (_, b) in zip(truth, said, strict=True)])
    assert 0.35 < wrong < 0.45
    cleaned, _ = usable(sample.training)
    labelled, _ = usable(sample.batch_2_labels)
    assert by_words(cleaned, labelled) < 0.70


def test_the_careless_person_goes_by_the_first_opinion():
    good, bad = (4, 0)
    for text, said in (
        ("the soup was bland but the lovely staff saved it", bad),
        ("although the staff was kind the soup ruined it", good),
        ("@anna_k the bill was not nice at all", good),
        ("I hate the cover, the prose is poetic", bad),
    ):
        assert first_impression(text) == said
        answers = [careless(random.Random(seed), [(text, good)])[0][1] for seed in range(200)]
        assert 0.65 < np.mean([answer == said for answer in answers]) < 0.85


def test_no_word_judges_both_ways():
    good = set(lexicon.GOOD).union(*(t.good for t in lexicon.TOPICS))
    bad = set(lexicon.BAD).union(*(t.bad for t in lexicon.TOPICS))
    assert not good & bad
    slang = lexicon.SLANG
    assert set(slang.turned_good) <= bad and set(slang.turned_bad) <= good
    assert not set(slang.good + slang.bad) & (good | bad)

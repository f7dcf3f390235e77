"""Whether the interval of a predicted gain covers what the next round measures, on real tweets.

    python bench/next_labels.py TRAINING_CSV_GZ

Ten rounds: 1,500 tweets to begin with, 800 more in each, drawn by chance; all are tested on the
same 3,000 tweets. A logistic regression on character n-grams stands for the model, since a
fine-tuned one is not made eleven times on two cores in five minutes; TF-IDF of words on parts of
the rows is the cheap curve beside it, as in evaluation. After each round the gain of the next one
is predicted.
"""

import sys
import time

import pandas as pd
from machine import store
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ftzard.evaluation import learning_curve
from ftzard.evaluation.learning_curve import Point
from ftzard.tasks.classification import curve_points

FIRST, MORE, ROUNDS, TEST = 1500, 800, 10, 3000
CLASSES = ["negative", "positive"]


def model(train: pd.DataFrame, test: pd.DataFrame) -> Point:
    pipeline = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2),
        LogisticRegression(max_iter=1000))
    pipeline.fit(train["text"], train["label"])
    return Point(len(train), pipeline.predict(test["text"]) == test["label"].to_numpy())


def main(path: str) -> None:
    began = time.perf_counter()
    tweets = pd.read_csv(path, encoding="latin-1")
    tweets = tweets.assign(label=tweets["target"].map({0: "negative", 4: "positive"}))
    rows = tweets.sample(TEST + FIRST + ROUNDS * MORE, random_state=0)[["text", "label"]]
    test, train = rows[:TEST].reset_index(drop=True), rows[TEST:].reset_index(drop=True)
    models, rounds = [], []
    for number in range(ROUNDS + 1):
        size = FIRST + number * MORE
        models.append(model(train[:size], test))
        if rounds:
            gain = float(models[-1].right.mean() - models[-2].right.mean())
            rounds[-1] |= {"measured": gain,
                           "covered": bool(rounds[-1]["lower"] <= gain <= rounds[-1]["upper"])}
            print(rounds[-1], flush=True)
        if number < ROUNDS:
            parts = curve_points.of_parts(train[:size], test, CLASSES, 0)
            told = learning_curve.outlook(
                models, parts, MORE, size=size, trained_share=1.0, least=0.005, confidence=0.95,
                more_rows=0, seed=0)
            rounds.append({"size": size, "gain": told.gain, "lower": told.lower,
                           "upper": told.upper, "chance": told.chance,
                           "stops_after": told.stops_after})
    print(store("next_labels", {
        "rounds": rounds, "covered": sum(r["covered"] for r in rounds),
        "seconds": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main(sys.argv[1])

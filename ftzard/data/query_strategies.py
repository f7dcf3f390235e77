"""Which rows of an unlabelled batch a person is asked to label.

Rows of the training side, to learn from: the ones that teach most by the chosen strategy, or some
of them drawn by chance. And rows drawn uniformly from the test side alone, to measure with: a test
set of uncertain rows would say little about the batch. They stand among the others, so that
whoever stops early has labelled their share of both. What was asked before and is not labelled
yet stays asked, and counts towards both numbers. A free answer has no probabilities of
labels: such rows are ranked by the confidence with which the champion wrote it.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from ftzard.data.identity import FIRST
from ftzard.data.labeling.labeling_queue import NEVER, hide, queue_columns
from ftzard.data.near_duplicates import all_shapes, like_test_rows
from ftzard.data.normalization import asked_keys
from ftzard.errors import ConfigError, DataError, nearest

#: Strategies that rank a row by the champion's probabilities of it.
UNCERTAINTIES = ("least_confidence", "margin", "entropy")
STRATEGIES = (*UNCERTAINTIES, "committee", "diversity", "mix", "random")
#: Those that free answers can be chosen by.
OF_ANSWERS = ("least_confidence", "mix", "random")
#: Those that do not rank rows by a score.
UNRANKED = ("diversity", "random")
RANDOM, AUDIT = "random", "audit"
#: Returns each row's uncertainty in [0, 1] of predictions, by a strategy, with a seed.
Scorer = Callable[..., np.ndarray]


def uncertainty(probabilities: np.ndarray, strategy: str, *, seed: int = 0) -> np.ndarray:
    """Return each row's uncertainty in [0, 1]; 1 is a model that knows nothing.

    Args:
        probabilities: (rows, classes), each row adding up to 1. least_confidence is (1 - max p) ·
            k / (k - 1), margin 1 less the lead of the first class over the second, entropy is
            divided by log k, random draws a number per row from `seed`. mix ranks by least
            confidence; committee and diversity need more than the champion's probabilities
            (`disagreement`, `spread`).
    """
    _check_strategy(strategy)
    if strategy in ("committee", "diversity"):
        raise ConfigError(
            f"sampling.strategy='{strategy}' does not rank by the champion's probabilities; "
            f"expected one of {', '.join(UNCERTAINTIES)} here."
        )
    p = _distributions(probabilities)
    classes = p.shape[1]
    if strategy == "random":
        return np.random.default_rng(seed).random(len(p))
    if strategy in ("least_confidence", "mix"):
        return (1 - p.max(axis=1)) * classes / (classes - 1)
    if strategy == "margin":
        ordered = np.sort(p, axis=1)
        return 1 - (ordered[:, -1] - ordered[:, -2])
    return _entropy(p) / np.log(classes)


def doubt(confidence: pd.Series | np.ndarray) -> np.ndarray:
    """Return 1 - confidence of free answers, in [0, 1]; DataError for a confidence beyond that."""
    values = np.asarray(confidence, dtype=float)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        raise DataError(f"{wrong.sum()} of {len(values)} answers have a confidence that is none, "
                        f"such as {values[wrong][0]}; expected 0 to 1. Predict again.")
    return 1 - values


def uncertainty_of(predictions: pd.DataFrame, strategy: str, *, seed: int = 0) -> np.ndarray:
    """Return each row's `uncertainty` by its probabilities, or the `doubt` of free answers."""
    if "probabilities" in predictions:
        return uncertainty(np.stack(predictions["probabilities"].to_list()), strategy, seed=seed)
    if strategy not in OF_ANSWERS:
        raise ConfigError(
            f"sampling.strategy='{strategy}' ranks by probabilities of labels, which free "
            f"answers do not have; expected one of {', '.join(OF_ANSWERS)}.")
    return doubt(predictions["confidence"])


def shown_by(strategy: str) -> str:
    """Return the strategy whose scores are shown for a strategy, which may rank by other ones."""
    return strategy if strategy in UNCERTAINTIES else "least_confidence"


def disagreement(members: Sequence[np.ndarray]) -> np.ndarray:
    """Return how much the members of a committee disagree about each row, in [0, 1].

    Args:
        members: (rows, classes) probabilities of two or more models. It is the Jensen-Shannon
            divergence of their distributions (the entropy of the mean less the mean of the
            entropies), divided by its largest possible value, the log of the smaller of classes
            and members. A row of which all are equally unsure scores 0: no label of it would
            settle a dispute.
    """
    if len(members) < 2:
        raise DataError(f"A committee of {len(members)} cannot disagree; expected 2 or more.")
    p = [_distributions(member) for member in members]
    if len({member.shape for member in p}) > 1:
        raise DataError(f"The committee's probabilities have shapes "
                        f"{sorted({member.shape for member in p})}; expected one for all.")
    divergence = _entropy(np.mean(p, axis=0)) - np.mean([_entropy(m) for m in p], axis=0)
    return np.clip(divergence / np.log(min(len(p), p[0].shape[1])), 0, 1)


def spread(embeddings: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Return `count` row numbers that lie apart from each other, in the order they were drawn.

    Rows are drawn as k-means++ draws its first centres: each with a chance proportional to its
    squared distance to the nearest row drawn before, after scaling to length one. Unlike the
    farthest row each time, that does not ask for outliers alone.

    Args:
        embeddings: (rows, width).
    """
    x = np.asarray(embeddings, dtype=np.float32)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise DataError(f"Embeddings have shape {x.shape} or numbers that are not finite; "
                        "expected finite ones of shape (rows, width).")
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    draw = np.random.default_rng(seed)
    free = np.ones(len(x), dtype=bool)
    distance = np.ones(len(x))
    chosen: list[int] = []
    for _ in range(min(count, len(x))):
        weight = np.where(free, distance, 0.0)
        total = weight.sum()
        weight = weight / total if total > 0 else free / free.sum()
        row = int(draw.choice(len(x), p=weight))
        chosen.append(row)
        free[row] = False
        distance = np.minimum(distance, np.maximum(2 - 2 * (x @ x[row]), 0))
    return np.array(chosen, dtype=np.int64)


def _check_strategy(strategy: str) -> None:
    if strategy not in STRATEGIES:
        hint = nearest(strategy, STRATEGIES)
        raise ConfigError(f"sampling.strategy='{strategy}' is unknown{hint}")


def _distributions(probabilities: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2:
        raise DataError(f"Probabilities have shape {p.shape}, expected (rows, at least 2 classes).")
    wrong = ~(np.isfinite(p).all(axis=1) & (p >= 0).all(axis=1) & (abs(p.sum(axis=1) - 1) < 1e-3))
    if wrong.any():
        raise DataError(
            f"{wrong.sum()} of {len(p)} rows have probabilities that are no distribution, such as "
            f"{p[wrong][0].tolist()}; predict again."
        )
    return p


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)


class _Asked:
    """The texts of a queue so far; what equals one of them up to one word is asked no more."""

    def __init__(self, texts: Iterable[str], identity: int) -> None:
        self.identity = identity
        self.shapes: set[tuple] = set().union(*all_shapes(list(texts), identity))

    def take(self, rows: pd.DataFrame, most: int) -> pd.DataFrame:
        """Return the first `most` rows, in their order, that are asked for the first time."""
        positions: list[object] = []
        for start in range(0, len(rows), 1000):
            part = rows.iloc[start : start + 1000]
            shapes_of = all_shapes(part["text"].tolist(), self.identity)
            for index, shapes in zip(part.index, shapes_of, strict=True):
                if len(positions) >= most:
                    return rows.loc[positions]
                if self.shapes.isdisjoint(shapes):
                    self.shapes |= shapes
                    positions.append(index)
        return rows.loc[positions]


def _askable(
    predictions: pd.DataFrame,
    exclude_texts: Iterable[str],
    test_texts: Iterable[str],
    waiting: pd.DataFrame | None,
    identity: int,
) -> pd.DataFrame:
    """Rows in order of id with why each is not asked: known, repeated, measured (near a test row).

    A row that waits for its label already is none of these, and is marked as waiting.
    """
    words = asked_keys(predictions["text"], identity).to_pylist()
    words = pd.Series(words, predictions.index, dtype="str")
    waits = predictions["id"].isin([] if waiting is None else waiting["id"])
    known = words.isin(asked_keys(exclude_texts, identity).to_pylist())
    ordered = predictions["id"].sort_values(kind="stable").index
    repeated = words.loc[ordered].duplicated().reindex(predictions.index)
    rows = predictions.assign(waits=waits, known=known,
                              repeated=repeated & ~known & ~waits, measured=False)
    training = rows.index[(rows["split"] != "test") & ~known & ~waits]
    test_texts = list(test_texts)
    if len(training) and test_texts:
        like = like_test_rows(rows.loc[training, "text"], test_texts, identity)
        rows.loc[training, "measured"] = (like != "").to_numpy()
    return rows.loc[ordered]


def select(
    predictions: pd.DataFrame,
    *,
    strategy: str,
    budget: int,
    audit_rows: int,
    seed: int,
    random_share: float = 0.25,
    quantile: float | None = None,
    show_suggestions: str = NEVER,
    overlap: float = 0.0,
    exclude_texts: pd.Series | list[str] = (),
    test_texts: Iterable[str] = (),
    waiting: pd.DataFrame | None = None,
    disagreement: np.ndarray | None = None,
    embeddings: np.ndarray | None = None,
    scorer: Scorer = uncertainty_of,
    identity: int = FIRST,
) -> tuple[pd.DataFrame, float | None]:
    """Return (queue, threshold): the rows to label, and the lowest score of those ranked by one.

    Args:
        predictions: Id, batch, split, text, suggestion, confidence, probabilities; without the
            last, suggestions are free answers, and messages and source come along into the queue.
            Ranked are the rows of the training side (train and validation); `audit_rows` are drawn
            uniformly from the test side.
        random_share: Of the budget, drawn uniformly from the training side before the rest is
            ranked, with strategy='mix'.
        quantile: Ranked are only rows whose score reaches this quantile of the training side's
            scores (labelled and waiting rows among them, so that asking does not move it); None
            for all. Of texts that are the same up to one word one is asked; none of those in
            `exclude_texts`; and for training none that is nearly one of `test_texts`.
        overlap: `sampling.overlap`; a row that two people are asked has no suggestion in the
            queue.
        show_suggestions: Only with 'before' does a row of the training side keep its suggestion in
            the queue; a row of the test side never does.
        waiting: Rows of this batch's queue that have no label yet; they stay, first and in their
            order, and count towards budget and audit_rows. disagreement (rows) and embeddings
            (rows, width): what committee and diversity rank by, in the order of `predictions`.
        scorer: Gives the rows' scores by the other strategies.
        identity: Version of the rules by which texts are the same.

    Fewer rows than asked for are all taken (`counts` says how many were missing), and the budget of
    which `random_share` is taken is then as many as there are; no row at all is a DataError. The
    threshold is None when no row was ranked by a score.
    """
    _check_strategy(strategy)
    if budget < 0 or audit_rows < 0 or budget + audit_rows == 0:
        raise ConfigError(
            f"sampling.budget={budget} and sampling.audit_rows={audit_rows}, expected numbers from "
            "0 that are not both 0."
        )
    if not 0 <= random_share <= 1:
        raise ConfigError(f"sampling.random_share={random_share}, expected between 0 and 1.")
    if quantile is not None and not 0 < quantile < 1:
        raise ConfigError(f"sampling.quantile={quantile}, expected between 0 and 1, or null.")
    if quantile is not None and strategy in UNRANKED:
        raise ConfigError(
            f"sampling.quantile={quantile} has no effect with sampling.strategy='{strategy}', "
            "which ranks by no uncertainty; expected null, or another strategy.")
    if predictions.empty:
        raise DataError("There are no predictions to choose from; run the inference step first.")
    rows = predictions.reset_index(drop=True)
    scores = _scores(rows, strategy, seed, disagreement, embeddings, scorer)
    rows = _askable(rows.assign(score=scores), exclude_texts, test_texts, waiting, identity)
    columns = queue_columns(predictions.columns)
    parts = _columns_of(waiting, columns)
    asked = _Asked(parts["text"], identity)
    budget -= int((parts["side"] == "train").sum())
    audit_rows -= int((parts["side"] == "test").sum())
    free = rows[~rows["known"] & ~rows["repeated"] & ~rows["measured"] & ~rows["waits"]]
    test = free["split"] == "test"
    audited = _drawn(free[test], audit_rows, seed, asked)
    training = free[~test]
    budget = min(budget, len(training))
    share = round(random_share * budget) if strategy == "mix" else 0
    by_chance = _drawn(training, budget if strategy == "random" else share, seed, asked)
    by_chance = by_chance.sort_values("id")
    rest = training.drop(by_chance.index)
    if quantile is not None:
        rest = rest[rest["score"] >= least_score(rows, quantile)]
    if strategy == "diversity":
        drawn = spread(embeddings[rest.index], len(rest) if budget * 2 > len(rest) else budget * 2,
                       seed=seed)
        rest = rest.iloc[drawn]
    else:
        rest = rest.sort_values(["score", "id"], ascending=[False, True])
    ranked = asked.take(rest, budget - len(by_chance)) if strategy != "random" else rest.head(0)
    if parts.empty and ranked.empty and by_chance.empty and audited.empty:
        raise DataError(
            f"None of {len(rows)} predicted rows is left to label: {rows['known'].sum()} are "
            f"labelled already, {rows['repeated'].sum()} repeat another's words, "
            f"{rows['measured'].sum()} are like a test row; bring a new batch."
        )
    chosen_by = "least_confidence" if strategy == "mix" else strategy
    new = pd.concat([
        ranked.assign(side="train", chosen_by=chosen_by),
        by_chance.assign(side="train", chosen_by=RANDOM),
        audited.assign(side="test", chosen_by=AUDIT)])
    new = _mixed(new.reindex(columns=columns, fill_value=""), seed)
    new = new.astype({"confidence": "str"})
    queue = hide((pd.concat([parts, new]) if len(parts) else new).reset_index(drop=True),
                 show_suggestions, overlap)
    ranked_by_score = rows["id"].isin(queue.loc[queue["chosen_by"] == chosen_by, "id"])
    if strategy in UNRANKED or not ranked_by_score.any():
        return queue, None
    return queue, float(rows.loc[ranked_by_score, "score"].min())


def least_score(rows: pd.DataFrame, quantile: float) -> float:
    """Return the score that a row of the training side has to reach to be ranked; NaN if none is.

    Args:
        rows: With split and score.
    """
    return float(rows.loc[rows["split"] != "test", "score"].quantile(quantile))


def _scores(rows: pd.DataFrame, strategy: str, seed: int, disagreement: np.ndarray | None,
            embeddings: np.ndarray | None, scorer: Scorer) -> np.ndarray:
    needed = {"committee": ("disagreement", disagreement), "diversity": ("embeddings", embeddings)}
    if strategy not in needed or "probabilities" not in rows:
        return scorer(rows, strategy, seed=seed)
    name, values = needed[strategy]
    if values is None or len(values) != len(rows):
        raise DataError(
            f"sampling.strategy='{strategy}' needs the {name} of {len(rows)} rows, got "
            f"{'none' if values is None else len(values)}."
        )
    return np.asarray(values, dtype=float) if strategy == "committee" else np.zeros(len(rows))


def _columns_of(waiting: pd.DataFrame | None, columns: Sequence[str]) -> pd.DataFrame:
    if waiting is None:
        return pd.DataFrame({name: pd.Series(dtype="str") for name in columns})
    return waiting.reindex(columns=columns, fill_value="").astype("str").reset_index(drop=True)


def _drawn(rows: pd.DataFrame, most: int, seed: int, asked: _Asked) -> pd.DataFrame:
    """Return at most `most` rows drawn uniformly, in the order in which they were drawn."""
    shuffled = rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
    return asked.take(shuffled, max(0, most))


def _mixed(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rows with those of the test side at places drawn by chance among the others.

    Either kind keeps its order: the most uncertain rows come first, and any beginning of the audit
    rows is a uniform sample of them.
    """
    audits = np.array(rows["side"] == "test")
    places = np.random.default_rng([seed, len(rows)]).permutation(audits)
    order = np.empty(len(rows), dtype=np.int64)
    order[places], order[~places] = np.flatnonzero(audits), np.flatnonzero(~audits)
    return rows.iloc[order]


def counts(
    predictions: pd.DataFrame,
    queue: pd.DataFrame,
    *,
    budget: int,
    audit_rows: int,
    exclude_texts: pd.Series | list[str] = (),
    test_texts: Iterable[str] = (),
    waiting: pd.DataFrame | None = None,
    identity: int = FIRST,
) -> dict[str, int]:
    """Return the numbers behind a queue, for the report, and how many rows it is short of.

    'uncertain rows asked' are all of the training side, whatever ranked them.
    """
    rows = _askable(predictions.reset_index(drop=True), exclude_texts, test_texts, waiting,
                    identity)
    asked = int((queue["side"] == "train").sum())
    audited = int((queue["side"] == "test").sum())
    return {
        "predicted": len(rows),
        "already labelled": int(rows["known"].sum()),
        "same words as another": int(rows["repeated"].sum()),
        "nearly a test row": int(rows["measured"].sum()),
        "waiting from before": 0 if waiting is None else len(waiting),
        "uncertain rows asked": asked,
        "random rows asked": int((queue["chosen_by"] == RANDOM).sum()),
        "audit rows asked": audited,
        "short of the budget": max(0, budget - asked),
        "short of the audit rows": max(0, audit_rows - audited),
    }

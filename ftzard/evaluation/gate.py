"""Whether the challenger takes the champion's place: the evidence, the rules and the sentences.

Both models have answered the same rows. The paired bootstrap gives the interval of the difference
in accuracy over all test sets together, the exact McNemar test guards it where few rows differ.
Promotion needs the interval above zero and a gain worth having; a class or a test set that
provably lost too much vetoes; a tie keeps the champion; too few rows cannot tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, exp, lgamma, log, sqrt
from statistics import NormalDist

import numpy as np

from ftzard.errors import DataError
from ftzard.evaluation.metrics import class_indices

POWER = 0.8


@dataclass(frozen=True, eq=False)
class Predicted:
    """One model's answers on one test set: three aligned sequences, one entry per row.

    ids: unique row ids; labels: the true label names; predicted: the model's label names.
    """

    ids: Sequence[str]
    labels: Sequence[str]
    predicted: Sequence[str]

    def __post_init__(self) -> None:
        for field in ("ids", "labels", "predicted"):
            object.__setattr__(self, field, np.asarray(getattr(self, field)).astype(str))
        sizes = {len(self.ids), len(self.labels), len(self.predicted)}
        if len(sizes) != 1:
            raise DataError(
                f"{len(self.ids)} ids, {len(self.labels)} labels and {len(self.predicted)} "
                "predictions; expected one of each per row."
            )
        if len(np.unique(self.ids)) != len(self.ids):
            values, counts = np.unique(self.ids, return_counts=True)
            raise DataError(
                f"row id '{values[counts.argmax()]}' stands {counts.max()} times in one test set; "
                "a row counts once, so remove the duplicates."
            )

    @classmethod
    def from_probabilities(
        cls,
        ids: Sequence[str],
        labels: Sequence[str],
        probabilities: np.ndarray,
        classes: Sequence[str],
    ) -> "Predicted":
        """Take the most likely class of each row of an (n, k) array as the prediction."""
        return cls(ids, labels, np.asarray(classes)[np.asarray(probabilities).argmax(axis=1)])


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, and every number behind it.

    decision: 'promote', 'refuse' or 'cannot tell'; reasons: sentences for a person; against:
    'champion', or 'majority class' for the first model ever; difference, lower, upper: of the
    accuracies over the union of the test sets (challenger minus the other), as shares; discordant:
    rows that exactly one of the two got right; rows_needed: rows with which min_gain would be shown
    at the observed discordance with 80 % power, where evidence is what is missing; per_class and
    per_test_set: [{label or name, difference, lower, upper, n, veto, …}]; limits: the settings.
    """

    promoted: bool
    decision: str
    reasons: list[str]
    warnings: list[str]
    against: str
    challenger_accuracy: float
    champion_accuracy: float
    difference: float
    lower: float
    upper: float
    n: int
    discordant: int
    mcnemar_p: float
    rows_needed: int | None
    per_class: list[dict]
    per_test_set: list[dict]
    baselines: list[dict]
    limits: dict

    def to_dict(self) -> dict:
        """Return the verdict as plain values that JSON can hold."""
        return asdict(self)


def judge(
    challenger: Mapping[str, Predicted],
    champion: Mapping[str, Predicted] | None,
    classes: Sequence[str],
    *,
    min_gain: float,
    max_class_loss: float,
    max_forgetting: float,
    min_rows: int,
    baselines: Mapping[str, Mapping[str, Predicted]],
    baseline_veto: bool,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Verdict:
    """Decide whether `challenger` replaces `champion`, and say why.

    challenger, champion: test set name -> Predicted, the same sets with the same row ids (any
    order) and labels; champion None for the first model ever, which must beat the majority class.
    min_gain, max_class_loss (of a class's recall), max_forgetting (of a test set's accuracy): as
    shares, 0.01 is one point. baselines: name -> its answers on the same sets; one that is more
    accurate than the challenger is a warning, or with `baseline_veto` a refusal. Raises DataError
    if sets, ids, labels or names do not match, or no row is left.
    """
    rows = _union(challenger, classes)
    first = champion is None
    other = _majority(rows) if first else _matched(rows, champion, "champion", classes)
    rng = np.random.default_rng(seed)

    def compare(mask: np.ndarray | slice, before: np.ndarray) -> dict:
        return _paired(rows["correct"][mask], before[mask], confidence, resamples, rng)

    everything = slice(None)
    total = compare(everything, other)
    class_limit, set_limit = (1, 1) if first else (max_class_loss, max_forgetting)
    per_class = [
        {"label": str(name)} | _lost(compare(rows["true"] == i, other), class_limit, confidence)
        for i, name in enumerate(classes)
        if (rows["true"] == i).any()
    ]
    per_test_set = [
        {"name": name} | _lost(compare(rows["set"] == i, other), set_limit, confidence)
        for i, name in enumerate(challenger)
    ]
    held_against = [
        {"name": name} | compare(everything, _matched(rows, answers, name, classes))
        for name, answers in baselines.items()
    ]
    better = [b for b in held_against if b["difference"] < 0]
    warnings = [_baseline_sentence(b) for b in better]

    n, alpha = total["n"], 1 - confidence
    shown = total["lower"] > 0 and total["p"] < alpha
    gained = first or total["difference"] >= min_gain
    aim = total["difference"] if first else min_gain
    needed = None
    if n < min_rows or (not shown and total["upper"] >= 0):
        needed = _rows_needed(aim, total["discordant"] / n, n, confidence, min_rows)
    vetoes = _veto_sentences(per_class, per_test_set, max_class_loss, max_forgetting)
    if baseline_veto:
        vetoes += [sentence + " The configuration makes that a veto." for sentence in warnings]

    against = "majority class" if first else "champion"
    summary = _summary_sentence(total, against, confidence)
    if n < min_rows:
        decision = "cannot tell"
        reasons = [
            f"The test sets hold {_count(n)} rows, fewer than the {_count(min_rows)} that a "
            "decision needs."
        ]
    else:
        reasons = []
        if not shown:
            reasons.append(_not_shown_sentence(total, against, confidence))
        if shown and not gained:
            reasons.append(
                f"The gain of {_points(total['difference'])} is real but smaller than the "
                f"{_points(min_gain)} that a change of model must bring."
            )
        decision = "promote" if shown and gained and not vetoes else "refuse"
        reasons += vetoes
        if decision == "promote":
            reasons.append(_promoted_sentence(first))
    if needed and aim > 0:
        reasons.append(
            f"About {_count(needed)} test rows would be needed to show a gain of "
            f"{_points(aim)} where {_share(total['discordant'] / n)} of the rows differ."
        )
    return Verdict(
        promoted=decision == "promote",
        decision=decision,
        reasons=[summary, *reasons],
        warnings=warnings,
        against=against,
        challenger_accuracy=total["challenger"],
        champion_accuracy=total["champion"],
        difference=total["difference"],
        lower=total["lower"],
        upper=total["upper"],
        n=n,
        discordant=total["discordant"],
        mcnemar_p=total["p"],
        rows_needed=needed,
        per_class=per_class,
        per_test_set=per_test_set,
        baselines=held_against,
        limits={
            "min_gain": float(min_gain),
            "max_class_loss": float(max_class_loss),
            "max_forgetting": float(max_forgetting),
            "min_rows": int(min_rows),
            "confidence": float(confidence),
            "resamples": int(resamples),
            "baseline_veto": bool(baseline_veto),
            "seed": int(seed),
        },
    )


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided McNemar p-value of `wins` against `losses` discordant rows."""
    m, k = wins + losses, min(wins, losses)
    if m == 0:
        return 1.0
    term = exp(lgamma(m + 1) - lgamma(k + 1) - lgamma(m - k + 1) - m * log(2))
    tail = 0.0
    while k >= 0 and term > tail * 1e-17:
        tail += term
        term *= k / (m - k + 1)
        k -= 1
    return min(1.0, 2 * tail)


def _union(challenger: Mapping[str, Predicted], classes: Sequence[str]) -> dict:
    if not challenger:
        raise DataError("the gate got no test set; give at least one, keyed by its name.")
    sets = list(challenger.values())
    ids = np.concatenate([s.ids for s in sets])
    if len(ids) == 0:
        raise DataError(f"the test sets {list(challenger)} hold no rows; nothing can be judged.")
    values, counts = np.unique(ids, return_counts=True)
    if counts.max() > 1:
        raise DataError(
            f"row id '{values[counts.argmax()]}' stands in more than one test set; a row counted "
            "twice makes the interval too narrow, so keep it in one."
        )
    true = class_indices(np.concatenate([s.labels for s in sets]), classes)
    guess = class_indices(np.concatenate([s.predicted for s in sets]), classes)
    return {
        "sets": dict(challenger),
        "true": true,
        "correct": guess == true,
        "set": np.repeat(np.arange(len(sets)), [len(s.ids) for s in sets]),
    }


def _majority(rows: dict) -> np.ndarray:
    """Return which rows the most frequent class of the test sets gets right."""
    return rows["true"] == np.bincount(rows["true"]).argmax()


def _matched(
    rows: dict, answers: Mapping[str, Predicted], who: str, classes: Sequence[str]
) -> np.ndarray:
    """Return which of the challenger's rows `who` got right, in the challenger's order."""
    if set(answers) != set(rows["sets"]):
        raise DataError(
            f"the challenger was tested on {sorted(rows['sets'])} but {who} on {sorted(answers)}; "
            "both must answer the same test sets."
        )
    correct = []
    for name, mine in rows["sets"].items():
        theirs = answers[name]
        if len(mine.ids) == len(theirs.ids) and (mine.ids == theirs.ids).all():
            order = slice(None)
        else:
            order = _order(mine.ids, theirs.ids, name, who)
        labels, predicted = theirs.labels[order], theirs.predicted[order]
        if (labels != mine.labels).any():
            row = mine.ids[(labels != mine.labels).argmax()]
            raise DataError(
                f"test set '{name}': row '{row}' has different labels for the challenger and "
                f"{who}; both must be scored against the same truth."
            )
        class_indices(predicted, classes)
        correct.append(labels == predicted)
    return np.concatenate(correct)


def _order(mine: np.ndarray, theirs: np.ndarray, name: str, who: str) -> np.ndarray:
    lost, extra = np.setdiff1d(mine, theirs), np.setdiff1d(theirs, mine)
    if len(lost) or len(extra):
        raise DataError(
            f"test set '{name}': the challenger answered {len(mine)} rows and {who} {len(theirs)}, "
            f"{len(lost) + len(extra)} of them not shared (such as "
            f"'{(lost if len(lost) else extra)[0]}'); a paired comparison needs the same rows, so "
            "predict both on the same test set."
        )
    sorter = np.argsort(theirs)
    return sorter[np.searchsorted(theirs, mine, sorter=sorter)]


def _paired(
    after: np.ndarray,
    before: np.ndarray,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> dict:
    """Compare two correctness masks of the same n rows.

    A resample of rows with replacement is a multinomial draw of how many rows were won, lost and
    equal, so the whole bootstrap is one call.
    """
    n = len(after)
    wins, losses = int((after & ~before).sum()), int((before & ~after).sum())
    draws = rng.multinomial(n, [wins / n, losses / n, 1 - (wins + losses) / n], size=resamples)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile((draws[:, 0] - draws[:, 1]) / n, [tail, 1 - tail])
    return {
        "difference": (wins - losses) / n,
        "lower": float(lower),
        "upper": float(upper),
        "n": n,
        "challenger": float(after.mean()),
        "champion": float(before.mean()),
        "discordant": wins + losses,
        "p": mcnemar(wins, losses),
    }


def _lost(result: dict, limit: float, confidence: float) -> dict:
    """Add to a class or test set whether it vetoes: its whole interval lies beyond the limit.

    The exact test must agree that it lost at all: a bootstrap of a handful of rows cannot know.
    """
    return result | {"veto": result["upper"] < -limit and result["p"] < 1 - confidence}


def _rows_needed(
    gain: float, discordance: float, n: int, confidence: float, min_rows: int
) -> int | None:
    """Rows to show `gain` with 80 % power if this share of rows is discordant.

    None if the n rows there are should have been enough, or no number would be.
    """
    needed = min_rows
    if gain > 0:
        discordance = max(discordance, gain)
        z_alpha = NormalDist().inv_cdf(0.5 + confidence / 2)
        z_power = NormalDist().inv_cdf(POWER)
        root = z_alpha * sqrt(discordance) + z_power * sqrt(max(0.0, discordance - gain * gain))
        needed = max(min_rows, ceil((root / gain) ** 2))
    return needed if needed > n else None


def _summary_sentence(total: dict, against: str, confidence: float) -> str:
    return (
        f"On {_count(total['n'])} test rows the challenger is right on "
        f"{_share(total['challenger'])}, the {against} on {_share(total['champion'])}: a "
        f"difference of {_points(total['difference'], sign=True)} ({_percent(confidence)} interval "
        f"{_points(total['lower'], sign=True, unit=False)} to "
        f"{_points(total['upper'], sign=True)})."
    )


def _not_shown_sentence(total: dict, against: str, confidence: float) -> str:
    if total["upper"] < 0:
        return f"The challenger is worse than the {against}; the interval lies below zero."
    keeps = "and a tie keeps the champion" if against == "champion" else "so it is not accepted"
    if total["lower"] > 0:
        return (
            f"Only {total['discordant']} rows differ, and the exact test finds no difference "
            f"(p = {total['p']:.2f}), {keeps}."
        )
    return f"The interval includes zero: no difference is shown at {_percent(confidence)}, {keeps}."


def _promoted_sentence(first: bool) -> str:
    if first:
        return "It is the first model and beats the majority class, so it becomes the champion."
    return "The gain is shown and large enough, and no class or test set lost too much."


def _veto_sentences(
    per_class: list[dict], per_test_set: list[dict], max_class_loss: float, max_forgetting: float
) -> list[str]:
    return [
        f"Veto by class '{p['label']}': its recall fell by {_points(-p['difference'])} "
        f"(at least {_points(-p['upper'])}) on {_count(p['n'])} rows; the limit is "
        f"{_points(max_class_loss)}."
        for p in per_class
        if p["veto"]
    ] + [
        f"Veto by test set '{p['name']}': its accuracy fell by {_points(-p['difference'])} "
        f"(at least {_points(-p['upper'])}) on {_count(p['n'])} rows; the limit is "
        f"{_points(max_forgetting)}."
        for p in per_test_set
        if p["veto"]
    ]


def _baseline_sentence(baseline: dict) -> str:
    return (
        f"Baseline '{baseline['name']}' is right on {_share(baseline['champion'])}, more than the "
        f"challenger's {_share(baseline['challenger'])} on the same rows."
    )


def _points(share: float, sign: bool = False, unit: bool = True) -> str:
    number = f"{100 * share:+.1f}" if sign and abs(share) >= 5e-4 else f"{100 * abs(share):.1f}"
    return number.replace("-", "−") + (" points" if unit else "")


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _count(number: int) -> str:
    return f"{number:,}"

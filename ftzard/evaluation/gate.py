"""Whether the challenger takes the champion's place: the evidence, the rules and the sentences.

Both models have answered the same rows. The paired bootstrap gives the interval of the difference
over all test sets together; an exact test guards it where few rows differ: McNemar's for answers
that are right or wrong, sign flips of the differences for scores. Promotion needs the interval
above zero and a gain worth having; a class or a test set that provably lost too much vetoes; a tie
keeps the champion; too few rows cannot tell.

The first model has no champion to beat. It must beat the majority class (or the bare base) in the
same paired way, must not be surely worse than the best cheap baseline, and its confidence must be
worth believing; else there is no champion yet. In a trial workspace the last two only warn.

A challenger that knows labels which the champion does not know has another reason to be promoted.
Both are compared on the rows of the labels that both know. Promotion needs each new label to be
found (the interval of its recall lies above zero) and the shared rows not to be surely worse (their
interval lies above minus `max_class_loss`); vetoes hold as ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf

import numpy as np

from ftzard.config.schema import Gate
from ftzard.evaluation import gate_sentences as sentences
from ftzard.evaluation import metric_info, paired
from ftzard.evaluation.error_budget import Allowance
from ftzard.evaluation.gate_sentences import count
from ftzard.evaluation.intervals import wilson_interval
from ftzard.evaluation.metric_info import ACCURACY
from ftzard.evaluation.paired import (
    BASE,
    EVERY_ROW,
    LabelPairs,
    Predicted,
    Scored,
    ScorePairs,
    compare_hits,
)

#: Limits that are about labels: where scores are judged there are none.
OF_CLASSES = ("max_class_loss", "first_baseline_margin", "first_calibration_error")
#: The decision on a first model that is not good enough.
NO_CHAMPION = "no champion yet"
#: What every page says of a model that was judged in a trial workspace.
TRIAL = ("A trial (gate.trial=true): it was made to try the loop, and the rules for a first "
         "champion only warned.")
#: What records call a verdict's fields where the measure is accuracy.
_OF_ACCURACY = {"challenger_score": "challenger_accuracy", "champion_score": "champion_accuracy",
                "p": "mcnemar_p"}


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, and every number behind it.

    decision: 'promote', 'refuse', 'cannot tell' or, of a first model, 'no champion yet'; reasons:
    sentences for a person; against: 'champion', or for the first model ever 'majority class'
    (accuracy) or 'base' (scores); measure: the name of what was compared; challenger_score,
    champion_score: its mean over the union of the test sets (a loss as a loss; champion: whoever
    stood against the challenger); difference, lower, upper: by how much the challenger is better,
    below zero if it is worse; discordant: rows that the two did not answer alike; p: of the exact
    test; rows_needed: where evidence is what is missing, rows with which min_gain would be shown
    with 80 % power, never fewer than min_rows; and min_rows itself where the interval has no zero
    in it already; per_class (empty for scores) and per_test_set: [{label or name, difference,
    lower, upper, n, veto, …}]; limits: the settings, whether the workspace is a trial among them;
    new_labels: of labels that the champion does not know, [{label, recall, lower, upper, n, found,
    not_asked}], where all other numbers are of the rows of the other labels.
    error_budget: what the decision spent of the budget, as `Allowance.account` returns it, None
    without a budget.
    """

    promoted: bool
    decision: str
    reasons: list[str]
    warnings: list[str]
    against: str
    challenger_score: float
    champion_score: float
    difference: float
    lower: float
    upper: float
    n: int
    discordant: int
    p: float
    rows_needed: int | None
    per_class: list[dict]
    per_test_set: list[dict]
    baselines: list[dict]
    limits: dict
    measure: str = ACCURACY.name
    new_labels: list[dict] = field(default_factory=list)
    error_budget: dict | None = None

    def to_dict(self) -> dict:
        """Return the verdict as plain values that JSON can hold.

        Of accuracy it has the names that records have always had: challenger_accuracy,
        champion_accuracy and mcnemar_p, and no measure. `means` reads both. new_labels are left
        out where there are none.
        """
        values = asdict(self)
        if not self.new_labels:
            del values["new_labels"]
        if self.error_budget is None:
            del values["error_budget"]
        if self.measure != ACCURACY.name:
            return values
        return {_OF_ACCURACY.get(k, k): v for k, v in values.items() if k != "measure"}


def from_dict(values: Mapping) -> Verdict:
    """Return the verdict that `Verdict.to_dict` gave as plain values."""
    new = {old: name for name, old in _OF_ACCURACY.items()}
    known = {new.get(key, key): value for key, value in values.items()}
    return Verdict(**{f.name: known[f.name] for f in fields(Verdict) if f.name in known})


def confidence_of(verdict: Mapping) -> float | None:
    """Return the confidence of a verdict's interval: that of its round, or the configured one."""
    account = verdict.get("error_budget") or {}
    if account.get("level"):
        return 1 - 2 * account["level"]
    return (verdict.get("limits") or {}).get("confidence")


def is_trial(verdict: Mapping | None) -> bool:
    """Return whether a verdict, as `Verdict.to_dict` gives it, was spoken in a trial workspace."""
    return bool(((verdict or {}).get("limits") or {}).get("trial"))


def means(verdict: Mapping) -> tuple[float, float, float]:
    """Return (challenger's mean, the other's mean, p) of a verdict as `to_dict` gives it."""
    return tuple(verdict[old if old in verdict else new] for new, old in _OF_ACCURACY.items())


def judge(
    challenger: Mapping[str, Predicted] | Mapping[str, Scored],
    champion: Mapping[str, Predicted] | Mapping[str, Scored] | None,
    limits: Gate,
    *,
    baselines: Mapping[str, Mapping[str, Predicted]] | Mapping[str, Mapping[str, Scored]],
    seed: int,
    classes: Sequence[str] = (),
    measure: str = ACCURACY.name,
    first_opponent: str = BASE,
    calibration_error: float | None = None,
    calibration_chance: float = 0.0,
    new_labels: Mapping[str, int] | None = None,
    allowance: Allowance | None = None,
) -> Verdict:
    """Decide whether `challenger` replaces `champion`.

    Labels are right or wrong, and each class may veto. Scores are compared by their means, in the
    unit of the measure, which is that of min_gain and max_forgetting too.

    Args:
        challenger: by test set, its labels or scores.
        champion: the same of the champion: the same sets with the same row ids (any order) and
            labels or weights. None for the first model, which must beat the majority class, or of
            scores the baseline `first_opponent`.
        limits: the configured gate; of labels, shares: 0.01 is one point.
        baselines: by name, the same of each. One that is better than the challenger is a warning,
            or with `limits.baseline_veto` a refusal.
        seed: of the bootstrap.
        classes: label names; none where scores of rows without labels are compared.
        measure: what is compared, such as 'accuracy', 'samples_f1' or 'loss'.
        first_opponent: of scores, the baseline that a first model must beat.
        calibration_error: of a first model, the expected calibration error on the test rows after
            temperature scaling, a share; None if it was not measured.
        calibration_chance: the error that a calibrated model may show on so few rows.
        new_labels: of labels that the challenger knows and the champion does not, how many rows
            were not asked about each, which is only put on record.
        allowance: what this decision may spend of the error budget: its level is that of the
            interval of the difference and of the exact test; vetoes and baselines, which promote
            nothing, stay at `limits.confidence`. None tests at that, too.

    Raises:
        DataError: sets, ids, labels, weights or names do not match, no row is left, or the base is
            missing where it has to be beaten.
    """
    new, everything = dict(new_labels or {}), challenger
    if new:
        challenger, champion, *shared = (
            paired.without_labels(answers, new) for answers in
            (challenger, champion, *baselines.values()))
        baselines = dict(zip(baselines, shared, strict=True))
    pairs = (LabelPairs(challenger, classes) if measure == ACCURACY.name
             else ScorePairs(challenger, metric_info.of(measure), classes, first_opponent))
    first, rng = champion is None, np.random.default_rng(seed)
    if allowance is not None and (first or new):  # it claims no gain, but has seen the rows
        allowance = replace(allowance, level=0.0)
    before = None if first else pairs.matched(champion, "champion")
    others = {name: pairs.matched(answers, name) for name, answers in baselines.items()}
    if first:
        before = pairs.before_first(others)

    def compare(where: np.ndarray | slice, other: np.ndarray) -> dict:
        return pairs.compare(where, other, limits.confidence, limits.resamples, rng)

    if first or allowance is None or not allowance.level:
        total, level = compare(EVERY_ROW, before), limits.confidence
    else:
        level = allowance.confidence
        total = pairs.compare(EVERY_ROW, before, level, allowance.draws(limits.resamples), rng)

    def veto(result: dict, limit: float) -> dict:
        return _with_veto(result, inf if first else limit, limits.confidence)

    answers = baselines.get(pairs.first_opponent) if first else champion
    per_class = [
        {"label": name} | veto(compare_hits(after, other, limits.confidence, limits.resamples, rng),
                               limits.max_class_loss)
        for name, after, other in pairs.by_class(answers, before)]
    per_test_set = [
        {"name": name} | veto(total if where is EVERY_ROW and level == limits.confidence
                              else compare(where, before), limits.max_forgetting)
        for name, where in pairs.by_set()]
    against_baselines = [
        {"name": name} | (total if other is before else compare(EVERY_ROW, other))
        for name, other in others.items()]
    against = pairs.first_opponent if first else "champion"
    warnings = [sentences.better_baseline(b, pairs.measure) for b in against_baselines
                if b["difference"] < 0 and b["name"] != against]
    vetoes = sentences.vetoes(per_class, per_test_set, limits, pairs.measure)
    if limits.baseline_veto:
        vetoes += [f"{warning} The configuration makes that a veto." for warning in warnings]
    if first and pairs.measure.of_labels:
        unfit = [
            *sentences.below_baseline(
                against_baselines, limits.first_baseline_margin, limits.confidence),
            *sentences.badly_calibrated(
                calibration_error, limits.first_calibration_error, calibration_chance)]
        if limits.trial:
            warnings += [f"{sentence} In a trial that is only a warning." for sentence in unfit]
        else:
            vetoes += unfit
    arrived = [_new_label(everything, label, limits, rng) | {"not_asked": unasked}
               for label, unasked in new.items()]
    decision, reasons, rows_needed = (
        _decide_new(total, arrived, vetoes, limits) if arrived
        else _decide(pairs, total, before, vetoes, against, limits, level, allowance))
    return Verdict(
        promoted=decision == "promote",
        decision=decision,
        reasons=reasons,
        warnings=warnings,
        against=against,
        challenger_score=total["challenger"],
        champion_score=total["champion"],
        difference=total["difference"],
        lower=total["lower"],
        upper=total["upper"],
        n=total["n"],
        discordant=total["discordant"],
        p=total["p"],
        rows_needed=rows_needed,
        per_class=per_class,
        per_test_set=per_test_set,
        baselines=against_baselines,
        limits={name: value for name, value in vars(limits).items()
                if pairs.measure.of_labels or name not in OF_CLASSES} | {"seed": int(seed)},
        measure=pairs.measure.name,
        new_labels=arrived,
        error_budget=None if allowance is None else _account(
            pairs, total, before, decision, limits, allowance, rng),
    )


def _new_label(challenger: Mapping[str, Predicted], label: str, limits: Gate,
               rng: np.random.Generator) -> dict:
    """Return the recall of a label that the champion cannot find, and whether it is shown.

    Of the paired bootstrap's interval and Wilson's the wider ends count: the one knows no doubt
    where every row is found, the other is above zero as soon as one row is.
    """
    hits = np.concatenate([
        one.predicted[one.labels == label] == label for one in challenger.values()])
    if not len(hits):
        return {"label": label, "recall": 0.0, "lower": 0.0, "upper": 1.0, "n": 0, "found": False}
    result = compare_hits(hits, np.zeros_like(hits), limits.confidence, limits.resamples, rng)
    lower, upper = wilson_interval(int(hits.sum()), len(hits), limits.confidence)
    lower, upper = min(lower, result["lower"]), max(upper, result["upper"])
    return {"label": label, "recall": result["challenger"], "lower": lower, "upper": upper,
            "n": len(hits), "found": lower > 0}


def _decide_new(total: dict, arrived: list[dict], vetoes: list[str], limits: Gate
                ) -> tuple[str, list[str], int | None]:
    """Return what `_decide` does, of a challenger with labels that the champion does not know."""
    reasons = [sentences.summary(total, "champion", limits.confidence, ACCURACY),
               *(sentences.new_label(entry, limits.confidence) for entry in arrived)]
    if total["n"] < limits.min_rows:
        reasons.append(sentences.too_few(total["n"], limits.min_rows))
        return "cannot tell", reasons, limits.min_rows
    loses = total["lower"] <= -limits.max_class_loss
    promoted = not loses and not vetoes and all(entry["found"] for entry in arrived)
    return ("promote" if promoted else "refuse",
            [*reasons, sentences.shared_labels(total, limits.max_class_loss), *vetoes], None)


def _account(pairs: LabelPairs | ScorePairs, total: dict, before: np.ndarray, decision: str,
             limits: Gate, allowance: Allowance, rng: np.random.Generator) -> dict:
    """Return what a decision has spent of the error budget, and what fresh rows alone say."""
    counted = bool(allowance.level and total["discordant"] and total["n"] >= limits.min_rows)
    rows = {str(name): int((pairs.set == i).sum()) for i, name in enumerate(pairs.sets)}
    fresh, comparison = np.isin(pairs.set, [i for i, name in enumerate(pairs.sets)
                                            if allowance.fresh(str(name))]), None
    if counted and fresh.any():
        comparison = total if fresh.all() else pairs.compare(
            fresh, before, allowance.confidence, allowance.draws(limits.resamples), rng)
        comparison = {name: comparison[name] for name in ("n", "difference", "lower", "upper", "p")}
    earned = comparison is not None and decision == "promote" and bool(
        comparison["lower"] > 0 and comparison["p"] < 2 * allowance.level)
    return allowance.account(counted=counted, earned=earned, rows=rows, fresh=comparison)


def _decide(pairs: LabelPairs | ScorePairs, total: dict, before: np.ndarray, vetoes: list[str],
            against: str, limits: Gate, confidence: float, allowance: Allowance | None
            ) -> tuple[str, list[str], int | None]:
    """Return the decision, its reasons as sentences, and the rows that it would take, if more."""
    first, n, measure = against != "champion", total["n"], pairs.measure
    shown = total["lower"] > 0 and total["p"] < 1 - confidence
    excludes_zero = shown or total["upper"] < 0
    gain = total["difference"] if first else limits.min_gain
    alike = total["discordant"] == 0
    needed = None
    if n < limits.min_rows or not excludes_zero:
        needed = limits.min_rows
        if gain > 0 and not excludes_zero and not alike:
            needed = max(needed, pairs.rows_needed(gain, before, confidence))
        needed = needed if needed > n else None
    reasons = [sentences.summary(total, against, confidence, measure)]
    if allowance is not None and not first:
        reasons.append(sentences.of_budget(allowance))
        if not allowance.level:
            return "cannot tell", reasons, None
    if n < limits.min_rows:
        decision = "cannot tell"
        reasons.append(sentences.too_few(n, limits.min_rows))
        if excludes_zero:
            return decision, [*reasons, "The interval excludes zero already; it is gate.min_rows "
                              f"that asks for {count(limits.min_rows)} rows."], needed
    else:
        gained = first or total["difference"] >= limits.min_gain
        if alike:
            reasons.append(sentences.alike(against))
        elif not shown:
            reasons.append(sentences.not_shown(total, against, confidence))
        elif not gained:
            reasons.append(
                f"The gain of {measure.gain(total['difference'], sign=False)} is real but smaller "
                f"than the {measure.gain(limits.min_gain, sign=False)} that a change of model must "
                "bring.")
        decision = "promote" if shown and gained and not vetoes else (
            NO_CHAMPION if first else "refuse")
        reasons += vetoes
        if decision == "promote":
            reasons.append(sentences.promoted(against, measure))
    if needed and gain > 0 and not alike:
        shows = f"show a gain of {measure.gain(gain, sign=False)} {pairs.variation(before)}."
        reasons.append(
            f"gate.min_rows asks for {count(needed)}, which would do to {shows}"
            if n < limits.min_rows and needed == limits.min_rows
            else f"About {count(needed)} test rows would be needed to {shows}")
    return decision, reasons, needed


def _with_veto(result: dict, limit: float, confidence: float) -> dict:
    """Add to a class or test set whether it vetoes: its whole interval lies beyond the limit.

    The exact test must agree that it lost at all: a bootstrap of a handful of rows cannot know.
    """
    return result | {"veto": result["upper"] < -limit and result["p"] < 1 - confidence}


def interval(
    answers: Mapping[str, Scored], *, measure: str, confidence: float = 0.95, resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return (mean, lower, upper) of one model over all its test sets, in the measure's own unit.

    answers: test set name -> Scored; the interval is a bootstrap of the rows.
    """
    goodness, rows = metric_info.of(measure).goodness, ScorePairs(answers, metric_info.of(measure))
    lower, upper = paired.bootstrap(rows.scores, rows.weights, confidence, resamples,
                                    np.random.default_rng(seed))
    ends = sorted((goodness(lower), goodness(upper)))
    return goodness(paired.mean(rows.scores, rows.weights)), *ends

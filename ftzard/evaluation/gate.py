"""Whether the challenger takes the champion's place: the evidence, the rules and the sentences.

Both models have answered the same rows. The paired bootstrap gives the interval of the difference
over all test sets together, an exact test guards it where few rows differ: McNemar's for answers
that are right or wrong (`judge`), sign flips of the differences for scores (`judge_scores`).
Promotion needs the interval above zero and a gain worth having; a class or a test set that
provably lost too much vetoes; a tie keeps the champion; too few rows cannot tell.

The first model has no champion to beat. It must beat the majority class (or the bare base) in the
same paired way, must not be surely worse than the best cheap baseline, and its confidence must be
worth believing; else there is no champion yet. In a trial workspace the last two only warn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np

from ftzard.errors import DataError
from ftzard.evaluation import metric_info, paired
from ftzard.evaluation.metric_info import ACCURACY, Measure
from ftzard.evaluation.paired import Predicted, Scored

POWER = 0.8
#: The bare base among the baselines: what the first model judged by scores has to beat.
BASE = "base"
#: What of the config's group `gate` is about labels, and has no place where scores are judged.
OF_CLASSES = ("max_class_loss", "first_baseline_margin", "first_calibration_error")
#: The decision on a first model that is not good enough.
NO_CHAMPION = "no champion yet"
#: What every page says of a model that was judged in a trial workspace.
TRIAL = ("A trial (gate.trial=true): it was made to try the loop, and the rules for a first "
         "champion only warned.")
#: What today's records call a verdict's fields where the measure is accuracy.
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
    lower, upper, n, veto, …}]; limits: the settings, whether the workspace is a trial among them.
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

    def to_dict(self) -> dict:
        """Return the verdict as plain values that JSON can hold.

        Of accuracy it has the names that records have always had: challenger_accuracy,
        champion_accuracy and mcnemar_p, and no measure. `means` reads both.
        """
        told = asdict(self)
        if self.measure != ACCURACY.name:
            return told
        return {_OF_ACCURACY.get(k, k): v for k, v in told.items() if k != "measure"}


def is_trial(verdict: Mapping | None) -> bool:
    """Return whether a verdict, as `Verdict.to_dict` gives it, was spoken in a trial workspace."""
    return bool(((verdict or {}).get("limits") or {}).get("trial"))


def means(verdict: Mapping) -> tuple[float, float, float]:
    """Return (challenger's mean, the other's mean, p) of a verdict as `to_dict` gives it."""
    return tuple(verdict[old if old in verdict else new] for new, old in _OF_ACCURACY.items())


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
    first_baseline_margin: float = 0.02,
    first_calibration_error: float = 0.1,
    calibration_error: float | None = None,
    calibration_chance: float = 0.0,
    trial: bool = False,
) -> Verdict:
    """Decide whether `challenger` replaces `champion`, and say why.

    challenger, champion: test set name -> Predicted, the same sets with the same row ids (any
    order) and labels; champion None for the first model ever, which must beat the majority class.
    min_gain, max_class_loss (of a class's recall), max_forgetting (of a test set's accuracy): as
    shares, 0.01 is one point. baselines: name -> its answers on the same sets; one that is more
    accurate than the challenger is a warning, or with `baseline_veto` a refusal.

    A first model is refused too where the whole interval of its difference from the most accurate
    baseline lies below -`first_baseline_margin`, and where `calibration_error` (a share: expected
    calibration error on the test rows after temperature scaling, None if not measured) is above
    `first_calibration_error` and above `calibration_chance`, which a calibrated model may show on
    so few rows; with `trial` these two are warnings. Raises DataError if sets, ids, labels or names
    do not match, or no row is left.
    """
    rows = paired.union(challenger, classes)
    first = champion is None
    other = paired.majority(rows) if first else paired.matched(rows, champion, "champion", classes)
    rng = np.random.default_rng(seed)

    def compare(mask: np.ndarray | slice, before: np.ndarray) -> dict:
        return paired.compare(rows["correct"][mask], before[mask], confidence, resamples, rng)

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
        {"name": name} | compare(everything, paired.matched(rows, answers, name, classes))
        for name, answers in baselines.items()
    ]
    discordance = total["discordant"] / total["n"]
    found = [] if not first else [
        *_below_baseline(held_against, first_baseline_margin, confidence),
        *_badly_calibrated(calibration_error, first_calibration_error, calibration_chance)]
    return _decided(
        ACCURACY, total, per_class, per_test_set, held_against, first_model=found,
        against="majority class" if first else "champion", first=first,
        rows_for=lambda gain: _rows_needed(gain, discordance, total["n"], confidence, min_rows),
        where=f"where {_share(discordance)} of the rows differ",
        limits={
            "min_gain": float(min_gain),
            "max_class_loss": float(max_class_loss),
            "max_forgetting": float(max_forgetting),
            "min_rows": int(min_rows),
            "confidence": float(confidence),
            "resamples": int(resamples),
            "baseline_veto": bool(baseline_veto),
            "first_baseline_margin": float(first_baseline_margin),
            "first_calibration_error": float(first_calibration_error),
            "trial": bool(trial),
            "seed": int(seed),
        },
    )


def judge_scores(
    challenger: Mapping[str, Scored],
    champion: Mapping[str, Scored] | None,
    *,
    measure: str,
    min_gain: float,
    max_forgetting: float,
    min_rows: int,
    baselines: Mapping[str, Mapping[str, Scored]],
    baseline_veto: bool,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
    trial: bool = False,
) -> Verdict:
    """Decide as `judge` does, on the rows' scores instead of right and wrong.

    challenger, champion: test set name -> Scored, the same sets with the same row ids (any order)
    and weights; champion None for the first model ever, which must beat the bare base: the baseline
    named 'base'. measure: 'loss', 'rouge_l' or 'exact_match', in whose unit min_gain and
    max_forgetting (of a test set's mean) are; trial: kept with the verdict. Raises DataError if
    sets, ids or weights do not match, no row is left, or the base is missing where it is needed.
    """
    told = metric_info.of(measure)
    rows = paired.union_of_scores(challenger)
    first = champion is None
    if first and BASE not in baselines:
        raise DataError(
            f"there is no champion and no baseline named '{BASE}' among {sorted(baselines)}; the "
            "first model must beat the bare base, so measure it on the same rows."
        )
    other = paired.matched_scores(rows, baselines[BASE] if first else champion,
                                  BASE if first else "champion")
    rng = np.random.default_rng(seed)

    def compare(mask: np.ndarray | slice, before: np.ndarray) -> dict:
        return paired.compare_scores(rows["scores"][mask], before[mask], rows["weights"][mask],
                                     told, confidence, resamples, rng)

    everything = slice(None)
    total = compare(everything, other)
    limit = float("inf") if first else max_forgetting
    single = len(challenger) == 1
    per_test_set = [
        {"name": name}
        | _lost(total if single else compare(rows["set"] == i, other), limit, confidence)
        for i, name in enumerate(challenger)
    ]
    held_against = [
        {"name": name} | (total if first and name == BASE
                          else compare(everything, paired.matched_scores(rows, answers, name)))
        for name, answers in baselines.items()
    ]
    spread = paired.spread(rows["scores"] - other, rows["weights"])
    return _decided(
        told, total, [], per_test_set, held_against, first_model=[],
        against=BASE if first else "champion", first=first,
        rows_for=lambda gain: _rows_for_scores(gain, spread, total["n"], confidence, min_rows),
        where="at how much the rows' differences vary",
        limits={
            "min_gain": float(min_gain),
            "max_forgetting": float(max_forgetting),
            "min_rows": int(min_rows),
            "confidence": float(confidence),
            "resamples": int(resamples),
            "baseline_veto": bool(baseline_veto),
            "trial": bool(trial),
            "seed": int(seed),
        },
    )


def interval(
    answers: Mapping[str, Scored], *, measure: str, confidence: float = 0.95, resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return (mean, lower, upper) of one model over all its test sets, in the measure's own unit.

    answers: test set name -> Scored; the interval is a bootstrap of the rows.
    """
    told, rows = metric_info.of(measure), paired.union_of_scores(answers)
    lower, upper = paired.bootstrap(rows["scores"], rows["weights"], confidence, resamples,
                                    np.random.default_rng(seed))
    ends = sorted((told.goodness(lower), told.goodness(upper)))
    return told.goodness(paired.mean(rows["scores"], rows["weights"])), *ends


def _decided(
    measure: Measure,
    total: dict,
    per_class: list[dict],
    per_test_set: list[dict],
    held_against: list[dict],
    *,
    first_model: list[str],
    against: str,
    first: bool,
    rows_for: Callable[[float], int | None],
    where: str,
    limits: dict,
) -> Verdict:
    """Apply the rules to what was compared.

    first_model: what is wrong with a first model beside the comparison, as sentences; rows_for:
    gain -> rows that would show it, or None; where: the end of the sentence that says so.
    """
    min_gain, min_rows, confidence = (limits[k] for k in ("min_gain", "min_rows", "confidence"))
    better = [b for b in held_against if b["difference"] < 0 and b["name"] != against]
    warnings = [_baseline_sentence(b, measure) for b in better]
    n, alpha = total["n"], 1 - confidence
    shown = total["lower"] > 0 and total["p"] < alpha
    gained = first or total["difference"] >= min_gain
    aim = total["difference"] if first else min_gain
    needed = None
    if n < min_rows and (shown or total["upper"] < 0):
        needed = min_rows  # the interval has no zero in it: no more rows are needed to show it
    elif n < min_rows or (not shown and total["upper"] >= 0):
        needed = rows_for(aim)
    vetoes = _veto_sentences(per_class, per_test_set, limits, measure)
    if limits["baseline_veto"]:
        vetoes += [sentence + " The configuration makes that a veto." for sentence in warnings]
    if limits["trial"]:
        warnings += [f"{sentence} In a trial that is only a warning." for sentence in first_model]
    else:
        vetoes += first_model

    summary = _summary_sentence(total, against, confidence, measure)
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
                f"The gain of {measure.gain(total['difference'], sign=False)} is real but smaller "
                f"than the {measure.gain(min_gain, sign=False)} that a change of model must bring."
            )
        decision = "promote" if shown and gained and not vetoes else (
            NO_CHAMPION if first else "refuse")
        reasons += vetoes
        if decision == "promote":
            reasons.append(_promoted_sentence(first, measure))
    if n < min_rows and needed == min_rows:
        if shown or total["upper"] < 0:
            reasons.append("The interval excludes zero already; it is gate.min_rows that asks for "
                           f"{_count(min_rows)} rows.")
        elif aim > 0:
            reasons.append(
                f"gate.min_rows asks for {_count(min_rows)}, which would do to show a gain of "
                f"{measure.gain(aim, sign=False)} {where}.")
    elif needed and aim > 0:
        reasons.append(
            f"About {_count(needed)} test rows would be needed to show a gain of "
            f"{measure.gain(aim, sign=False)} {where}."
        )
    return Verdict(
        promoted=decision == "promote",
        decision=decision,
        reasons=[summary, *reasons],
        warnings=warnings,
        against=against,
        challenger_score=total["challenger"],
        champion_score=total["champion"],
        difference=total["difference"],
        lower=total["lower"],
        upper=total["upper"],
        n=n,
        discordant=total["discordant"],
        p=total["p"],
        rows_needed=needed,
        per_class=per_class,
        per_test_set=per_test_set,
        baselines=held_against,
        limits=limits,
        measure=measure.name,
    )


def _below_baseline(held_against: list[dict], margin: float, confidence: float) -> list[str]:
    """Return a sentence if a model is surely worse than the most accurate of its baselines."""
    best = max(held_against, key=lambda b: b["champion"], default=None)
    if best is None or best["upper"] >= -margin:
        return []
    return [
        f"Baseline '{best['name']}' is surely better: {_share(best['champion'])} against "
        f"{_share(best['challenger'])}, a difference of {_points(best['difference'], sign=True)} "
        f"({_percent(confidence)} interval {_points(best['lower'], sign=True, unit=False)} to "
        f"{_points(best['upper'], sign=True)}), all of it below "
        f"{_points(-margin, sign=True)} (gate.first_baseline_margin)."]


def _badly_calibrated(error: float | None, limit: float, chance: float) -> list[str]:
    """Return a sentence if the confidence of a model cannot be believed.

    chance: the error that a calibrated model may show on as many rows.
    """
    if error is None or error <= max(limit, chance):
        return []
    return [
        f"Its confidence is off by {_points(error)} (expected calibration error on the test rows, "
        f"after temperature scaling); the limit for a first champion is {_points(limit)} "
        "(gate.first_calibration_error)."]


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


def _rows_for_scores(
    gain: float, spread: float, n: int, confidence: float, min_rows: int
) -> int | None:
    """Rows to show `gain` with 80 % power if the rows' differences spread so; None as above."""
    needed = min_rows
    if gain > 0:
        normal = NormalDist()
        root = (normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(POWER)) * spread / gain
        needed = max(min_rows, ceil(root ** 2))
    return needed if needed > n else None


def _summary_sentence(total: dict, against: str, confidence: float, measure: Measure) -> str:
    if measure is not ACCURACY:
        difference = total["difference"]
        word = "better" if difference > 0 else "worse"
        how = f"{word} by {measure.gain(difference, sign=False)}" if difference else "no difference"
        return (
            f"On {_count(total['n'])} test rows the challenger's {measure.title} is "
            f"{measure.value(total['challenger'])}, the {against}'s "
            f"{measure.value(total['champion'], unit=measure.scale == 100)}: {how} "
            f"({_percent(confidence)} interval of the gain "
            f"{measure.gain(total['lower'], unit=False)} to {measure.gain(total['upper'])})."
        )
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


def _promoted_sentence(first: bool, measure: Measure) -> str:
    if first:
        beaten = "majority class" if measure is ACCURACY else "bare base"
        return f"It is the first model and beats the {beaten}, so it becomes the champion."
    parts = "class or test set" if measure is ACCURACY else "test set"
    return f"The gain is shown and large enough, and no {parts} lost too much."


def _veto_sentences(
    per_class: list[dict], per_test_set: list[dict], limits: dict, measure: Measure
) -> list[str]:
    moved = "rose" if measure.lower_is_better else "fell"
    return [
        f"Veto by class '{p['label']}': its recall fell by {_points(-p['difference'])} "
        f"(at least {_points(-p['upper'])}) on {_count(p['n'])} rows; the limit is "
        f"{_points(limits['max_class_loss'])}."
        for p in per_class
        if p["veto"]
    ] + [
        f"Veto by test set '{p['name']}': its {measure.title} {moved} by "
        f"{measure.gain(-p['difference'], sign=False)} (at least "
        f"{measure.gain(-p['upper'], sign=False)}) on {_count(p['n'])} rows; the limit is "
        f"{measure.gain(limits['max_forgetting'], sign=False)}."
        for p in per_test_set
        if p["veto"]
    ]


def _baseline_sentence(baseline: dict, measure: Measure) -> str:
    if measure is not ACCURACY:
        return (
            f"Baseline '{baseline['name']}' has the {measure.title} "
            f"{measure.value(baseline['champion'])}, better than the challenger's "
            f"{measure.value(baseline['challenger'])} on the same rows."
        )
    return (
        f"Baseline '{baseline['name']}' is right on {_share(baseline['champion'])}, more than the "
        f"challenger's {_share(baseline['challenger'])} on the same rows."
    )


def _points(share: float, sign: bool = False, unit: bool = True) -> str:
    return ACCURACY.gain(share, sign, unit)


def _share(share: float) -> str:
    return ACCURACY.value(share)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _count(number: int) -> str:
    return f"{number:,}"

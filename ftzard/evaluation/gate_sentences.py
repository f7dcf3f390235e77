"""The sentences in which the gate gives its reasons."""

from collections.abc import Mapping
from typing import Any

from ftzard.config.schema import Gate
from ftzard.evaluation.error_budget import Allowance
from ftzard.evaluation.error_budget import percent as share_of
from ftzard.evaluation.label_noise import LabelNoise
from ftzard.evaluation.metric_info import ACCURACY, Measure


def summary(total: dict[str, Any], against: str, confidence: float, measure: Measure) -> str:
    """Say what both models reach, and by how much they differ."""
    if measure is not ACCURACY:
        difference = total["difference"]
        word = "better" if difference > 0 else "worse"
        how = f"{word} by {measure.gain(difference, sign=False)}" if difference else "no difference"
        return (
            f"On {count(total['n'])} test rows the challenger's {measure.title} is "
            f"{measure.value(total['challenger'])}, the {against}'s "
            f"{measure.value(total['champion'], unit=measure.scale == 100)}: {how} "
            f"({_percent(confidence)} interval of the gain "
            f"{measure.gain(total['lower'], unit=False)} to {measure.gain(total['upper'])})."
        )
    return (
        f"On {count(total['n'])} test rows the challenger is right on "
        f"{_share(total['challenger'])}, the {against} on {_share(total['champion'])}: a "
        f"difference of {_points(total['difference'], sign=True)} ({_percent(confidence)} interval "
        f"{_points(total['lower'], sign=True, unit=False)} to "
        f"{_points(total['upper'], sign=True)})."
    )


def alike(against: str) -> str:
    """Say that no row tells the two apart."""
    keeps = "and a tie keeps the champion" if against == "champion" else "so it is not accepted"
    return f"The two do equally well on every row: more of such rows would show no gain, {keeps}."


def not_shown(total: dict[str, Any], against: str, confidence: float) -> str:
    """Say why no gain is shown."""
    if total["upper"] < 0:
        return f"The challenger is worse than the {against}; the interval lies below zero."
    keeps = "and a tie keeps the champion" if against == "champion" else "so it is not accepted"
    if total["lower"] > 0:
        return (
            f"Only {total['discordant']} rows differ, and the exact test finds no difference "
            f"(p = {total['p']:.2f}), {keeps}."
        )
    return f"The interval includes zero: no difference is shown at {_percent(confidence)}, {keeps}."


def too_few(rows: int, needed: int) -> str:
    """Say that there are too few test rows for a decision."""
    return (f"The test sets hold {count(rows)} rows, fewer than the {count(needed)} that a "
            "decision needs.")


def new_label(entry: dict[str, Any], confidence: float) -> str:
    """Say how well a label is found that the champion does not know, and who was not asked."""
    unasked = (f" {count(entry['not_asked'])} test rows were not asked about it and count among "
               "the labels they were asked about." if entry["not_asked"] else "")
    if not entry["n"]:
        return f"New label '{entry['label']}': no test row has it.{unasked}"
    shown = "" if entry["found"] else ", which does not show that it is found at all"
    return (
        f"New label '{entry['label']}', which the champion does not know and whose rows are "
        f"counted apart: found in {_share(entry['recall'])} of its {count(entry['n'])} test rows "
        f"({_percent(confidence)} interval {ACCURACY.value(entry['lower'], unit=False)} to "
        f"{_share(entry['upper'])}){shown}.{unasked}")


def unknown_rows(verdict: Mapping[str, Any]) -> str:
    """Say how versions are scored that do not know a new label, '' where there is none.

    verdict: as a record has it.
    """
    names = " and ".join(f"'{entry['label']}'" for entry in verdict.get("new_labels") or ())
    if not names:
        return ""
    return (f"The rows of {names} are among these: a version that does not know the label is wrong "
            "on them.")


def shared_labels(total: dict[str, Any], limit: float) -> str:
    """Say whether a model with a new label may be worse on the rows of the other ones."""
    lower = f"the interval begins at {_points(total['lower'], sign=True)}"
    bound = f"{_points(-limit, sign=True)} (gate.max_class_loss)"
    if total["lower"] > -limit:
        return f"On the rows of the labels that both know it is not surely worse: {lower}, above " \
               f"{bound}."
    return f"On the rows of the labels that both know it may have lost too much: {lower}, not " \
           f"above {bound}."


def of_budget(allowance: Allowance) -> str:
    """Say at which level of the error budget a decision is made."""
    if not allowance.level:
        return (f"The error budget is used up: {allowance.round - 1} decisions were counted, "
                f"gate.rounds is {allowance.rounds}, and {share_of(allowance.left)} of "
                f"{share_of(allowance.budget)} are left. Another promotion could not be told from "
                "chance; a new line of models begins with new test rows, or raise gate.rounds.")
    return (f"It is decision {allowance.round} of {allowance.rounds} of one error budget of "
            f"{share_of(allowance.budget)}: {share_of(allowance.left)} are left, of which it may "
            f"spend {share_of(allowance.level)}, one-sided.")


def of_label_noise(noise: LabelNoise) -> str:
    """Say whether the gain would outlast another person's labels."""
    (won, won_apart), (lost, lost_apart) = noise.won, noise.lost
    first = (f"Of {count(noise.rows)} test rows that two people labelled blind they differ on "
             f"{count(noise.differed)} ({won_apart} of {won} that only the challenger has right, "
             f"{lost_apart} of {lost} that only the champion has): with another person's labels "
             f"the gain would be {_points(noise.gain, sign=True)}, and above zero with a chance of "
             f"{_chance(noise.chance)}")
    if noise.holds:
        return f"{first}."
    return (f"{first}; {_percent(noise.confidence)} are needed. The gain is smaller than what "
            "people disagree on, so it cannot be told from one person's view. Agree on guidelines, "
            "or let more test rows be answered by two people (sampling.overlap).")


def promoted(against: str, measure: Measure) -> str:
    """Say why the challenger is promoted."""
    if against != "champion":
        beaten = "bare base" if against == "base" else against
        return f"It is the first model and beats the {beaten}, so it becomes the champion."
    parts = "class or test set" if measure.of_labels else "test set"
    return f"The gain is shown and large enough, and no {parts} lost too much."


def vetoes(
    per_class: list[dict[str, Any]], per_test_set: list[dict[str, Any]], limits: Gate,
    measure: Measure
) -> list[str]:
    """Say which classes and test sets lost too much."""
    moved = "rose" if measure.lower_is_better else "fell"
    return [
        f"Veto by class '{p['label']}': its recall fell by {_points(-p['difference'])} "
        f"(at least {_points(-p['upper'])}) on {count(p['n'])} rows; the limit is "
        f"{_points(limits.max_class_loss)}."
        for p in per_class
        if p["veto"]
    ] + [
        f"Veto by test set '{p['name']}': its {measure.title} {moved} by "
        f"{measure.gain(-p['difference'], sign=False)} (at least "
        f"{measure.gain(-p['upper'], sign=False)}) on {count(p['n'])} rows; the limit is "
        f"{measure.gain(limits.max_forgetting, sign=False)}."
        for p in per_test_set
        if p["veto"]
    ]


def better_baseline(baseline: dict[str, Any], measure: Measure) -> str:
    """Say that a baseline is better than the challenger."""
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


def below_baseline(baselines: list[dict[str, Any]], margin: float, confidence: float) -> list[str]:
    """Return a sentence if a model is surely worse than the most accurate of its baselines."""
    best = max(baselines, key=lambda b: b["champion"], default=None)
    if best is None or best["upper"] >= -margin:
        return []
    return [
        f"Baseline '{best['name']}' is surely better: {_share(best['champion'])} against "
        f"{_share(best['challenger'])}, a difference of {_points(best['difference'], sign=True)} "
        f"({_percent(confidence)} interval {_points(best['lower'], sign=True, unit=False)} to "
        f"{_points(best['upper'], sign=True)}), all of it below "
        f"{_points(-margin, sign=True)} (gate.first_baseline_margin)."]


def badly_calibrated(error: float | None, limit: float, chance: float) -> list[str]:
    """Return a sentence if the confidence of a model cannot be believed.

    chance: the error that a calibrated model may show on as many rows.
    """
    if error is None or error <= max(limit, chance):
        return []
    return [
        f"Its confidence is off by {_points(error)} (expected calibration error on the test rows, "
        f"after temperature scaling); the limit for a first champion is {_points(limit)} "
        "(gate.first_calibration_error)."]


def _points(share: float, sign: bool = False, unit: bool = True) -> str:
    return ACCURACY.gain(share, sign, unit)


def _share(share: float) -> str:
    return ACCURACY.value(share)


def _chance(share: float) -> str:
    return "more than 99.9 %" if share > 0.999 else f"{100 * share:.1f} %"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def count(number: int) -> str:
    """Return a number of rows as it stands in a sentence."""
    return f"{number:,}"

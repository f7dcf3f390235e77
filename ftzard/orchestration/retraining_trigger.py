"""The trigger of a retraining after labels are submitted: their number, a drift alarm, or either.
"""

#: With an alarm standing, this many new labels are enough: too few to hold both classes for sure
#: would only fail the cleaning step.
FEW = 10


def labels_needed(trigger: str, least: int, alarm: bool) -> int | None:
    """Return the number of new labels that start a retraining now, None if no number does.

    trigger: `retraining.trigger`; least: `sampling.min_labelled`; alarm: whether one stands.
    """
    under_alarm = min(FEW, least) if alarm else None
    if trigger == "drift":
        return under_alarm
    if trigger == "both" and alarm:
        return under_alarm
    return least

"""What starts a retraining after labels are handed in: their number, an alarm, or low accuracy."""

#: With a reason to retrain, this many new labels are enough: too few to hold both classes for sure
#: would only fail the cleaning step.
FEW = 10


def labels_needed(trigger: str, least: int, *, alarm: bool, low: bool = False) -> int | None:
    """Return the number of new labels that start a retraining now, None if no number does.

    Args:
        trigger: `retraining.trigger`.
        least: `sampling.min_labelled`.
        alarm: Whether a drift alarm stands.
        low: Whether the latest batch's estimated accuracy is surely below the limit.
    """
    few = min(FEW, least)
    if trigger == "accuracy":
        return few if low else None
    if trigger == "drift":
        return few if alarm else None
    return few if trigger == "both" and alarm else least


def too_low(entry: dict | None, limit: float | None) -> bool:
    """Return whether an estimate's upper end lies below a limit.

    Args:
        entry: The latest of the log of estimates, None without any; one that could not be
            estimated is not too low.
    """
    return bool(entry and limit is not None and entry["upper"] is not None
                and entry["upper"] < limit)

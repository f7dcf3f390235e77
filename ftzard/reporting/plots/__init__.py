"""Plots of a round: each function takes plain values and returns a matplotlib Figure.

One style for all: little ink, direct labels instead of legends, colors that color-blind readers
can tell apart, and never color alone. Figures are sized for half a page; `svg` and `png` convert
them for a page or a tracking server. pyplot is not used, so there is no global state.
"""

from ftzard.reporting.plots.data import (
    class_balance,
    rejected_rows,
    token_lengths,
    uncertainty_histogram,
)
from ftzard.reporting.plots.evaluation import (
    abstention,
    agreement,
    comparison,
    confusion_matrix,
    reliability_diagram,
    score_differences,
)
from ftzard.reporting.plots.history import forgetting, learning_curve, rounds
from ftzard.reporting.plots.monitoring import drift, drift_over_time, estimates
from ftzard.reporting.plots.style import png, svg
from ftzard.reporting.plots.training import learning_curves, trials

__all__ = [
    "abstention", "agreement", "class_balance", "comparison", "confusion_matrix", "drift",
    "drift_over_time", "estimates", "forgetting", "learning_curve", "learning_curves", "png",
    "rejected_rows", "reliability_diagram", "rounds", "score_differences", "svg",
    "token_lengths", "trials", "uncertainty_histogram",
]

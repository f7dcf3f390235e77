"""Figures of multi-label classifiers: scores of each label, and labels that come together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.reporting.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Labels that a figure has room for; those with the fewest rows are left out.
MOST = 20


@style.styled
def per_label(scores: Mapping[str, Mapping[str, float]]) -> "Figure":
    """Draw precision, recall and F1 of each label, and the threshold from which it is given.

    Args:
        scores: {label: {precision, recall, f1, support, threshold}}.
    """
    style.require_values("per_label", scores)
    shown = sorted(scores, key=lambda name: -scores[name]["support"])[:MOST]
    place = np.arange(len(shown))
    figure, axes = style.new_figure(min(6.5, 1.1 + 0.42 * len(shown)))
    for shift, key, color, title in ((-0.22, "precision", style.SPLITS[1], "precision"),
                                     (0.0, "recall", style.BLUE, "recall"),
                                     (0.22, "f1", style.GREEN, "F1")):
        axes.barh(place + shift, [scores[name][key] for name in shown], 0.2, color=color,
                  label=title)
    axes.scatter([scores[name]["threshold"] for name in shown], place, marker="|", s=220,
                 color=style.ORANGE, label="threshold", zorder=3)
    axes.set_yticks(place, [f"{style.shorten(name, 18)} ({scores[name]['support']:,})"
                            for name in shown])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    return figure


@style.styled
def co_occurrence(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> "Figure":
    """Draw how many test rows have both labels; color is the share of the rows of the label."""
    table = np.asarray(counts, dtype=float)
    style.require_values("co_occurrence", table)
    order = np.argsort(-np.diag(table), kind="stable")[:MOST]
    table, names = table[np.ix_(order, order)], [style.shorten(classes[i], 18) for i in order]
    own = np.diag(table)[:, None]
    share = np.divide(table, own, out=np.zeros_like(table), where=own > 0)
    k = len(names)
    figure, axes = style.new_figure(min(6.0, 1.5 + 0.5 * k))
    edges = np.arange(k + 1) - 0.5
    axes.pcolormesh(edges, edges, share, cmap=style.blues(), vmin=0, vmax=1, ec="white", lw=1)
    axes.invert_yaxis()
    for i, j in np.ndindex(k, k):
        axes.text(j, i, f"{table[i, j]:,.0f}", ha="center", va="center",
                  fontsize=9 if k <= 5 else max(5.0, 8.5 - 0.2 * k),
                  color="white" if share[i, j] > 0.55 else style.ON_LIGHT,
                  weight="bold" if i == j else "normal")
    axes.set_xticks(range(k), names, rotation=35 if k > 4 else 0, ha="right" if k > 4 else "center")
    axes.set_yticks(range(k), names)
    axes.set_xlabel("also has")
    axes.set_ylabel("a row with")
    axes.tick_params(length=0, labelcolor=style.INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure

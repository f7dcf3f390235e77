"""Plots of drift: one batch, and all batches over time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.reporting import batch_names
from ftzard.reporting.plots.style import (
    BLUE,
    INK,
    ORANGE,
    PALE,
    SOFT,
    WIDTH,
    category_axis,
    new_figure,
    require_values,
    shorten,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def drift(entry: Mapping) -> "Figure":
    """Draw how far each of a batch's statistics is from what is usual, in units of its limit.

    The longest bar is the batch's score over its threshold, which `drift_over_time` draws.

    Args:
        entry: As `drift.Drift.to_dict` gives it. 0 is what batches of the same distribution
            usually have, 1 the upper threshold, the mark on each bar the lower one.
    """
    statistics = entry["statistics"]
    require_values("drift", statistics)
    figure, axes = new_figure(0.95 + 0.36 * len(statistics))
    ratios = [_relative_to_limit(s, s["value"]) for s in statistics]
    low = min(0.0, max(min(ratios) * 1.05, -1.0))
    edge = max(1.6, min(max(ratios) * 1.05, 4.0))
    for y, (s, ratio) in enumerate(zip(statistics, ratios, strict=True)):
        color = ORANGE if s["beyond"] else BLUE
        axes.barh(y, max(min(ratio, edge), low), height=0.56, color=color, alpha=0.85)
        axes.plot([_relative_to_limit(s, s["lower"])] * 2, [y - 0.36, y + 0.36], color=INK, lw=1.1)
        axes.text(
            1.012, y,
            f"{ratio:.2f} ×" + (" ▸" if ratio > edge else ""),
            transform=axes.get_yaxis_transform(), va="center", size=7.5,
            color=ORANGE if s["beyond"] else INK, weight="bold" if s["beyond"] else "normal",
        )
    axes.axvline(1, color=INK, lw=0.9)
    axes.set_xlim(low, edge)
    category_axis(axes, np.arange(len(statistics)), [s["name"] for s in statistics])
    axes.set_xlabel("0: usual, 1: upper threshold, mark: lower threshold")
    axes.grid(axis="x")
    return figure


@styled
def drift_over_time(
    entries: Sequence[Mapping], delivered_as: Mapping[str, str] | None = None
) -> "Figure":
    """Draw each batch's largest statistic as a multiple of its upper threshold, oldest first.

    Args:
        entries: Dicts of batch, alarm, score, upper, lower, raised_by (and champion), as the
            workspace's log of drift holds them; a batch too small to tell is left out.
        delivered_as: {batch: file name}.
    """
    scored = [e for e in entries if e.get("score") is not None]
    require_values("drift_over_time", scored)
    figure, axes = new_figure(2.5, width=2 * WIDTH)
    place = np.arange(len(scored))
    exact = np.array([e["score"] / e["upper"] for e in scored])
    ratios = np.maximum(exact, 0.05)
    for x, entry in zip(place, scored, strict=True):
        lower = max(entry["lower"] / entry["upper"], 0.05)
        axes.plot([x - 0.4, x + 0.4], [lower] * 2, color=SOFT, lw=1, ls=(0, (2, 2)))
        if entry["alarm"]:
            axes.axvspan(x - 0.5, x + 0.5, color=ORANGE, alpha=0.09, lw=0)
    axes.axhline(1, color=INK, lw=0.9)
    axes.plot(place, ratios, color=PALE, lw=1.2, zorder=1)
    for x, ratio, number, entry in zip(place, ratios, exact, scored, strict=True):
        color = ORANGE if entry["alarm"] else BLUE
        axes.plot(x, ratio, "o", ms=7, color=color, mfc=color if entry["alarm"] else "white",
                  mew=1.6)
        if len(scored) <= 12:
            words = shorten(entry["raised_by"][0], 22) if entry["raised_by"] else (
                "alarm stays" if entry["alarm"] else "no alarm")
            axes.annotate(
                f"{number:.2f} × {words}", (x, ratio), xytext=(9, 0),
                textcoords="offset points", va="center", color=color, size=8,
                bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.85},
            )
    axes.set_yscale("log")
    low, high = min(0.25, ratios.min() * 0.7), max(2.5, ratios.max() * 1.6)
    axes.set_ylim(low, high)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= t <= high]
    axes.set_yticks(ticks, [f"{t:g} ×" for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(-0.5, len(scored) - 0.2)
    under = batch_names.ticks([e["batch"] for e in scored], delivered_as,
                              14 if len(scored) <= 8 else 8)
    names = [f"{name}\nv{e['champion']}" if e.get("champion") is not None else name
             for name, e in zip(under, scored, strict=True)]
    axes.set_xticks(place, names if len(scored) <= 16 else place + 1)
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.set_ylabel("score over its upper threshold")
    axes.grid(axis="y")
    return figure


@styled
def estimates(
    entries: Sequence[Mapping], delivered_as: Mapping[str, str] | None = None
) -> "Figure":
    """Draw each batch's estimated accuracy with its interval, and what its audit rows measured.

    Args:
        entries: Of the workspace's log of estimates, oldest first; a batch whose accuracy could
            not be estimated is left out.
        delivered_as: {batch: file name}.
    """
    estimated = [e for e in entries if e["estimate"] is not None]
    require_values("estimates", estimated)
    figure, axes = new_figure(2.5, width=2 * WIDTH)
    for x, entry in enumerate(estimated):
        axes.plot([x, x], [100 * entry["lower"], 100 * entry["upper"]], color=BLUE, lw=2.4,
                  solid_capstyle="butt")
        axes.plot(x, 100 * entry["estimate"], "o", ms=6, color=BLUE, mfc="white", mew=1.6)
        audit = entry.get("audit")
        if audit is not None:
            color, beside = INK if audit["covered"] else ORANGE, x + 0.12
            axes.plot([beside] * 2, [100 * audit["lower"], 100 * audit["upper"]], color=SOFT, lw=1)
            axes.plot(beside, 100 * audit["measured"], "D", ms=5, color=color)
        if len(estimated) <= 12:
            axes.annotate(f"{100 * entry['estimate']:.1f} %", (x, 100 * entry["estimate"]),
                          xytext=(-9, 0), textcoords="offset points", va="center", ha="right",
                          size=8, color=BLUE)
    axes.set_xlim(-0.6, len(estimated) - 0.4)
    under = batch_names.ticks([e["batch"] for e in estimated], delivered_as,
                              14 if len(estimated) <= 8 else 8)
    names = [f"{name}\nv{e['champion']}" for name, e in zip(under, estimated, strict=True)]
    axes.set_xticks(range(len(estimated)), names if len(estimated) <= 16 else
                    [str(x + 1) for x in range(len(estimated))])
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.set_ylabel("accuracy, %")
    axes.grid(axis="y")
    return figure


def _relative_to_limit(statistic: Mapping, value: float) -> float:
    """Return a value's distance from what is usual over that of the upper threshold.

    The unit of `drift.Drift.score` over its `upper`: both count standard deviations of the draws.
    """
    return (value - statistic["usual"]) / max(statistic["upper"] - statistic["usual"], 1e-12)

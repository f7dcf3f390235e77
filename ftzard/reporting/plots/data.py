"""Plots of the rows: classes, lengths, rejected rows, uncertainty."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.reporting.plots.style import (
    BLUE,
    ORANGE,
    PALE,
    SOFT,
    category_axis,
    count_axis,
    new_figure,
    plural,
    require_values,
    shorten,
    split_colors,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Below this median the uncertainty axis is logarithmic; it starts at LEAST_UNCERTAINTY.
SURE, LEAST_UNCERTAINTY = 0.02, 1e-5


@styled
def class_balance(counts: Mapping[str, Mapping[str, int]]) -> "Figure":
    """Draw rows per class, stacked by split. counts: {label: {split: rows}}."""
    require_values("class_balance", counts)
    splits = list(dict.fromkeys(split for by_split in counts.values() for split in by_split))
    labels = list(counts)
    figure, axes = new_figure(max(1.7, 0.75 + 0.42 * len(labels)))
    place = np.arange(len(labels))
    left = np.zeros(len(labels))
    for split, color in zip(splits, split_colors(len(splits)), strict=True):
        width = np.array([counts[label].get(split, 0) for label in labels], dtype=float)
        axes.barh(place, width, left=left, height=0.62, color=color, ec="white", label=split)
        left += width
    for y, total in zip(place, left, strict=True):
        share = total / left.sum() if left.sum() else 0
        axes.annotate(
            f"{total:,.0f}  ({100 * share:.0f} %)",
            (total, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlim(0, left.max() * 1.24 or 1)
    category_axis(axes, place, labels)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    figure.legend(
        loc="outside upper left",
        ncols=min(4, len(splits)),
        frameon=False,
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.4,
    )
    return figure


@styled
def token_lengths(lengths: Sequence[int], max_length: int, what: str = "text") -> "Figure":
    """Draw tokens per text before cutting, with the cut at `max_length` marked.

    Args:
        what: What a length is of, 'text' or 'row'.
    """
    require_values("token_lengths", lengths)
    values = np.asarray(lengths)
    figure, axes = new_figure(2.6)
    top = int(values.max())
    step = max(1, int(np.ceil((top + 1) / 48)))
    edges = np.arange(0, top + 2 * step, step)
    within, _, _ = axes.hist(values[values <= max_length], edges, color=BLUE, rwidth=0.9)
    lost, _, _ = axes.hist(values[values > max_length], edges, color=ORANGE, rwidth=0.9)
    ceiling = max(within.max(), lost.max()) * 1.18
    axes.set_ylim(0, ceiling)
    cut = int((values > max_length).sum())
    if cut:
        axes.axvline(max_length + 0.5, color=ORANGE, lw=1.2)
        middle = max_length > edges[-1] / 2
        axes.annotate(
            f"cut at {max_length:,} tokens\n{cut:,} {plural(cut, what, f'{what}s')} shortened",
            (max_length + 0.5, ceiling * 0.98),
            xytext=(-6 if middle else 6, 0),
            textcoords="offset points",
            ha="right" if middle else "left",
            va="top",
            color=ORANGE,
        )
    else:
        axes.set_title(
            f"longest {top:,} tokens, cut at {max_length:,}: nothing is lost", color=SOFT
        )
    count_axis(axes, f"{what}s")
    axes.set_xlabel(f"tokens per {what}, before cutting")
    axes.set_xlim(0, edges[-1])
    return figure


@styled
def rejected_rows(rejected: Mapping[str, int]) -> "Figure":
    """Draw how many rows were rejected for each reason, the most frequent first."""
    require_values("rejected_rows", rejected)
    pairs = sorted(rejected.items(), key=lambda pair: (-pair[1], pair[0]))
    figure, axes = new_figure(0.5 + 0.36 * len(pairs))
    place = np.arange(len(pairs))
    numbers = [n for _, n in pairs]
    axes.barh(place, numbers, height=0.6, color=BLUE)
    for y, number in zip(place, numbers, strict=True):
        axes.annotate(
            f"{number:,}", (number, y), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_xlim(0, max(max(numbers), 1) * 1.15)
    category_axis(axes, place, [shorten(reason, 44) for reason, _ in pairs])
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


@styled
def uncertainty_histogram(values: Sequence[float], threshold: float | None) -> "Figure":
    """Draw the uncertainty of the unlabelled rows; those at or above the threshold in color.

    Of a model that is sure of most rows the axis is logarithmic; what is below its beginning
    stands there.
    """
    require_values("uncertainty_histogram", values)
    numbers = np.asarray(values, dtype=float)
    figure, axes = new_figure(2.9)
    low, high = float(min(numbers.min(), 0)), float(max(numbers.max(), 1e-9))
    sure = np.median(numbers) < SURE and high > LEAST_UNCERTAINTY
    if sure:
        low = max(LEAST_UNCERTAINTY, float(numbers[numbers > 0].min()))
        edges = np.geomspace(low, max(high, 10 * low), 41)
        place, drawn = max(threshold or 0, low), np.maximum(numbers, low)
        axes.set_xscale("log")
    else:
        edges, place, drawn = np.linspace(low, high, 41), threshold, numbers
    if threshold is None:
        heights, _, _ = axes.hist(drawn, edges, color=BLUE, rwidth=0.9)
        ceiling = heights.max() * 1.1
    else:
        under, _, _ = axes.hist(drawn[numbers < threshold], edges, color=PALE, rwidth=0.9)
        over, _, _ = axes.hist(
            drawn[numbers >= threshold], edges, color=BLUE, rwidth=0.9, bottom=under
        )
        ceiling = (under + over).max() * 1.3
        picked = int((numbers >= threshold).sum())
        axes.axvline(place, color=BLUE, lw=1.2)
        right = place > edges[20]
        axes.annotate(
            f"threshold {threshold:.3g}\n{picked:,} of {len(numbers):,} rows at or above",
            (place, ceiling * 0.98),
            xytext=(-6 if right else 6, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
            color=BLUE,
        )
    axes.set_ylim(0, ceiling)
    axes.set_xlim(edges[0], edges[-1])
    count_axis(axes, "rows")
    axes.set_xlabel("uncertainty of the model" + (", logarithmic" if sure else ""))
    if sure:
        axes.minorticks_off()
        decades = 10.0 ** np.arange(np.ceil(np.log10(edges[0])), np.log10(edges[-1]) + 1e-9)
        axes.set_xticks(decades, [f"{tick:.7f}".rstrip("0").rstrip(".") for tick in decades])
    return figure

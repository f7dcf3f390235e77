"""Plots of training: learning curves and the trials of a search."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.reporting.plots.style import (
    BLUE,
    INK,
    PALE,
    SOFT,
    WIDTH,
    margin_note,
    new_figure,
    require_values,
    share_axis,
    shorten,
    styled,
)
from ftzard.reporting.report_data import measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Line styles: on training rows, on validation rows, and on those with the fitted temperature.
LINES = {"train": (0, (2, 2)), "validation": "solid", "calibrated": (0, (6, 2))}


@styled
def learning_curves(
    trials: Sequence[Mapping], measures: Sequence[str] = ("loss", "accuracy")
) -> "Figure":
    """Draw loss, accuracy or what else is asked per epoch of every trial, the best one in color.

    A side that a history lacks is not drawn; a measure that all lack is refused. A ring marks the
    epoch that was kept.

    Args:
        trials: [{name, best, history, best_epoch}], with histories as in `facts.Trial`.
    """
    trials = [t for t in trials if t["history"]]
    for measure in measures:
        require_values("learning_curves", _entries_with(trials, measure))
    last = max(h["epoch"] for t in trials for h in t["history"])
    figure, panels = new_figure(3.0, width=len(measures) * WIDTH, columns=len(measures))
    for axes, measure in zip(np.atleast_1d(panels), measures, strict=True):
        ends = []
        for trial in sorted(trials, key=lambda t: bool(t.get("best"))):
            best = bool(trial.get("best"))
            color = BLUE if best else SOFT
            for side, dashes in LINES.items():
                points = [
                    (h["epoch"], measured(h, side, measure))
                    for h in trial["history"]
                    if measured(h, side, measure) is not None
                ]
                if not points:
                    continue
                x, y = zip(*points, strict=True)
                training = side != "validation"
                axes.plot(
                    x,
                    y,
                    color=color,
                    ls=dashes,
                    lw=1.9 if best and not training else 1.1,
                    marker="o",
                    ms=4 if best and not training else 2.6,
                    mfc="white" if training else color,
                    alpha=1 if best else 0.4 if training else 0.75,
                    zorder=3 if best else 2,
                )
                chosen = [p for p in points if p[0] == trial.get("best_epoch")]
                if side == "validation" and chosen and best:
                    axes.plot(*chosen[0], "o", ms=11, mfc="none", mec=color, mew=1.2, zorder=4)
                if not training and (best or len(trials) <= 6):
                    ends.append((x[-1], y[-1], trial["name"], color, best))
        if len(measures) > 1:
            axes.set_title(measure.replace("_", " "))
        axes.grid(axis="y")
        _epoch_axis(axes, last)
        axes.margins(x=0.05, y=0.1)
        if measure.endswith(("accuracy", "f1")):
            share_axis(axes, *axes.get_ylim())
        else:
            axes.set_ylim(axes.get_ylim())
        _end_labels(axes, ends, last)
    sides = [side for side in LINES if any(_entries_with(trials, m, [side]) for m in measures)]
    _line_legend(figure, sides, len(trials) > 1, any(t.get("best_epoch") for t in trials))
    return figure


@styled
def trials(tried: Sequence[Mapping], metric: str) -> "Figure":
    """Draw what each trial of a search reached, against each value that differs among them.

    A pruned trial is hollow: it was not trained to its end.

    Args:
        tried: [{name, params, value, best, pruned}] with the value of `metric` on validation; of a
            single trial, the learning rate is drawn.
    """
    require_values("trials", tried)
    order = sorted({key for t in tried for key in t["params"]} - {"alpha"},
                   key=lambda key: (key != "learning_rate", key != "rank", key))
    names = [key for key in order if len({t["params"].get(key) for t in tried}) > 1]
    names = names[:3] or order[:1]
    figure, panels = new_figure(2.8, width=max(WIDTH, 3.4 * len(names)), columns=len(names))
    for axes, name in zip(np.atleast_1d(panels), names, strict=True):
        choices = name in ("rank", "batch_size")
        values = sorted({t["params"][name] for t in tried if name in t["params"]})
        for trial in (t for t in tried if name in t["params"]):
            x = trial["params"][name]
            best = bool(trial.get("best")) and len(tried) > 1
            color = BLUE if best else SOFT
            place = values.index(x) if choices else x
            axes.plot([place], [trial["value"]], ls="", marker="o", ms=6, color=color,
                      mfc="white" if trial.get("pruned") else color, zorder=3 if best else 2)
            axes.annotate(
                shorten(trial["name"], 14), (place, trial["value"]), xytext=(6, 4),
                textcoords="offset points", size=7.5, color=color,
                weight="bold" if best else "normal")
        if choices:
            axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
            axes.set_xlim(-0.6, len(values) - 0.4 + 0.3)
        elif name == "learning_rate" and values[0] > 0:
            axes.set_xscale("log")
            shown = values[:: -(-len(values) // 6)]  # six labels have room
            axes.set_xticks(shown, [f"{value:.2g}" for value in shown], rotation=30)
            axes.minorticks_off()
            axes.margins(x=0.25)
        else:
            axes.margins(x=0.25)
        axes.set_xlabel(name.replace("_", " "))
        axes.margins(y=0.2)
        axes.grid(axis="y")
        if metric in ("validation_loss", "calibrated_loss", "perplexity"):
            axes.set_ylim(axes.get_ylim())
        else:
            share_axis(axes, *axes.get_ylim())
    first = np.atleast_1d(panels)[0]
    first.set_ylabel(metric.replace("_", " ").removeprefix("validation ") + " on validation")
    if any(t.get("pruned") for t in tried):
        margin_note(first, (0.99, 0.99), "hollow: stopped early", va="top", ha="right")
    return figure


def _epoch_axis(axes: "Axes", last: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(min(8, max(1, int(last))), integer=True))
    if last <= 1:
        axes.set_xlim(0.5, 1.5)
        axes.set_xticks([1])


def _end_labels(axes: "Axes", ends: list[tuple], last: float) -> None:
    """Name each line to the right of the last epoch; names that would touch are moved apart."""
    low, high = axes.get_ylim()
    gap = 0.075 * (high - low)
    ends = sorted(ends, key=lambda end: end[1])
    heights = [end[1] for end in ends]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    ceiling = high
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], ceiling)
        ceiling = heights[i] - gap
    side = last + 0.04 * max(1.0, last - 1)
    for height, (x, y, name, color, best) in zip(heights, ends, strict=True):
        axes.plot([x, side], [y, height], color=PALE, lw=0.7, zorder=1, clip_on=False)
        axes.annotate(
            shorten(str(name), 18),
            (side, height),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=color,
            weight="bold" if best else "normal",
            size=8,
            annotation_clip=False,
        )
    left, right = axes.get_xlim()
    axes.set_xlim(left, max(right, side) if last > 1 else right)


def _entries_with(
    trials: Sequence[Mapping], measure: str, sides: Sequence[str] = tuple(LINES)
) -> list[Mapping]:
    """Return the epochs' entries that hold the measure on one of the sides."""
    return [
        entry
        for trial in trials
        for entry in trial["history"]
        if any(measured(entry, side, measure) is not None for side in sides)
    ]


def _line_legend(figure: "Figure", sides: Sequence[str], has_choice: bool, has_best: bool) -> None:
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=INK, lw=1.5, marker="o", ms=3, label="validation")]
    for side, words in (("train", "training"), ("calibrated", "validation, temperature scaled")):
        if side in sides:
            keys.append(
                Line2D(
                    [], [], color=INK, lw=1.2, ls=LINES[side], marker="o", ms=3, mfc="white",
                    label=words,
                )
            )
    if has_best:
        keys.append(Line2D([], [], color=INK, ls="", marker="o", ms=9, mfc="none",
                           label="epoch kept"))
    if has_choice:
        keys.append(Line2D([], [], color=BLUE, lw=3, label="chosen trial"))
    figure.legend(
        handles=keys, loc="outside upper left", ncols=3, frameon=False, handlelength=2.2,
        columnspacing=1.4, fontsize=8,
    )

"""Plots of one evaluation: confusion, calibration, abstention and paired comparisons."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.evaluation import metric_info
from ftzard.evaluation.intervals import wilson_interval
from ftzard.evaluation.metric_info import ACCURACY, Measure
from ftzard.reporting import batch_names
from ftzard.reporting.plots.style import (
    BLUE,
    GREEN,
    INK,
    ON_LIGHT,
    ORANGE,
    PALE,
    SOFT,
    blues,
    count_axis,
    margin_note,
    new_figure,
    percent_axis,
    plural,
    require_values,
    share_axis,
    shorten,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> "Figure":
    """Draw counts of true class (rows) against predicted class; color is the share of the row."""
    counts = np.asarray(confusion, dtype=float)
    require_values("confusion_matrix", counts)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    k = len(classes)
    figure, axes = new_figure(min(4.6, 1.5 + 0.62 * k))
    edges = np.arange(k + 1) - 0.5
    axes.pcolormesh(edges, edges, share, cmap=blues(), vmin=0, vmax=1, ec="white", lw=2)
    axes.invert_yaxis()
    size = 9 if k <= 5 else max(5.0, 8.5 - 0.2 * k)
    for i in range(k):
        for j in range(k):
            ink = "white" if share[i, j] > 0.55 else ON_LIGHT
            text = f"{counts[i, j]:,.0f}"
            if k <= 5:
                text += f"\n{100 * share[i, j]:.0f} %"
            weight = "bold" if i == j else "normal"
            axes.text(
                j, i, text, ha="center", va="center", color=ink, fontsize=size, weight=weight
            )
    names = [shorten(str(c), 18) for c in classes]
    long = k > 4 and max(len(name) for name in names) * k > 55
    axes.set_xticks(range(k), names, rotation=35 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(k), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@styled
def reliability_diagram(bins: Sequence[Mapping], scaled: Sequence[Mapping] = ()) -> "Figure":
    """Draw accuracy against confidence with intervals, and below it how many rows each bin holds.

    Args:
        bins: As `metrics.reliability` gives them.
        scaled: The same after temperature scaling, drawn as a second line.
    """
    require_values("reliability_diagram", bins)
    figure, (axes, below) = new_figure(3.6, rows=2, heights=(4, 1))
    start = min(b["lower"] for b in (*bins, *scaled))
    axes.plot([start, 1], [start, 1], color=PALE, lw=1.2, ls=(0, (4, 3)))
    spots = [(b, wilson_interval(round(b["accuracy"] * b["n"]), b["n"])) for b in bins]
    for b, (lower, upper) in spots:
        axes.plot([b["confidence"]] * 2, [lower, upper], color=BLUE, lw=1.1, alpha=0.55)
    x, y = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
    axes.plot(x, y, color=BLUE, lw=1.4, marker="o", ms=4, label="as it answers")
    if scaled:
        axes.plot(
            [b["confidence"] for b in scaled], [b["accuracy"] for b in scaled], color=ORANGE,
            lw=1.4, marker="s", ms=4, mfc="white", label="after temperature scaling",
        )
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False,
            handlelength=1.8, columnspacing=1.4, fontsize=8,
        )
    least = min([*(lower for _, (lower, _) in spots), *(b["accuracy"] for b in scaled)])
    share_axis(axes, min(start, least) - 0.03, 1.0)
    axes.set_ylabel("share that is right")
    axes.grid(axis="y")
    margin_note(axes, (0.03, 0.95), "above the dashed line:\nbetter than it claims", "top")
    margin_note(axes, (0.985, 0.06), "below: surer than\nit should be", "bottom", "right")
    below.bar(
        [(b["lower"] + b["upper"]) / 2 for b in bins],
        [b["n"] for b in bins],
        width=0.9 * (bins[0]["upper"] - bins[0]["lower"]),
        color=PALE,
    )
    count_axis(below, "rows", ticks=2)
    below.set_xlabel("confidence of the prediction")
    percent_axis(below.xaxis)
    below.set_xticks([tick for tick in below.get_xticks() if start - 0.01 <= tick <= 1 + 1e-9])
    for each in (axes, below):
        each.set_xlim(start - 0.01, 1.01)
    axes.tick_params(labelbottom=False)
    return figure


@styled
def abstention(curve: Sequence[Mapping]) -> "Figure":
    """Draw accuracy against coverage, the surest rows first, with its 95 % interval.

    Args:
        curve: As `calibration.abstention` gives it.
    """
    require_values("abstention", curve)
    figure, axes = new_figure(3.0)
    x = [p["coverage"] for p in curve]
    axes.fill_between(
        x, [p["lower"] for p in curve], [p["upper"] for p in curve], color=BLUE, alpha=0.13, lw=0
    )
    axes.plot(x, [p["accuracy"] for p in curve], color=BLUE, lw=1.6, marker="o", ms=3)
    half = min(curve, key=lambda p: abs(p["coverage"] - 0.5))
    shown = [half, curve[-1]] if half is not curve[-1] else [half]
    for point in shown:
        everything = point is curve[-1]
        axes.annotate(
            f"{100 * point['accuracy']:.1f} % on "
            + ("all rows" if everything else f"the surest {100 * point['coverage']:.0f} %"),
            (point["coverage"], point["accuracy"]),
            xytext=(-4 if everything else 0, -26 if everything else -40),
            textcoords="offset points",
            ha="right" if everything else "center",
            va="top",
            arrowprops={"arrowstyle": "-", "color": SOFT, "lw": 0.7},
        )
    low, high = min(p["lower"] for p in curve), max(p["upper"] for p in curve)
    share_axis(axes, low - 0.45 * (high - low) - 0.02, high + 0.02)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("share of rows that are answered, the surest first")
    axes.set_ylabel("share of these that is right")
    percent_axis(axes.xaxis)
    axes.grid(axis="y")
    return figure


@styled
def comparison(verdict: Mapping, delivered_as: Mapping[str, str] | None = None) -> "Figure":
    """Draw challenger minus the other model with intervals: all rows, each test set, each class.

    Args:
        verdict: As `gate.Verdict.to_dict` gives it.
        delivered_as: {test set's batch: file name}.
    """
    measure, limits = metric_info.measure_of(verdict), verdict.get("limits", {})
    first = verdict.get("against") != "champion"
    groups = [(measure.short, [("all test rows", verdict)], None)]
    if len(verdict["per_test_set"]) > 1:
        parts = verdict["per_test_set"]
        sets = [(name.replace("\n", " "), part) for name, part in zip(
            _test_set_names([p["name"] for p in parts], delivered_as), parts, strict=True)]
        groups.append((f"{measure.short} per test set", sets, limits.get("max_forgetting")))
    if verdict["per_class"]:
        classes = [(p["label"], p) for p in verdict["per_class"]]
        groups.append(("recall per class", classes, limits.get("max_class_loss")))
    lines = sum(len(rows) + 1 for _, rows, _ in groups)
    figure, axes = new_figure(0.95 + 0.26 * lines)
    parts = [part for _, rows, _ in groups for _, part in rows]
    low = min(0.0, *(p["lower"] for p in parts))
    high = max(0.0, *(p["upper"] for p in parts))
    shown = [-limit for _, _, limit in groups if limit and not first and -limit > low * 1.6 - 0.02]
    low = min([low, *shown])
    pad = 0.06 * (high - low) or 0.01
    edge = axes.get_yaxis_transform()
    y, ticks, names = 0.0, [], []
    for title, rows, limit in groups:
        axes.text(-0.012, y, title, transform=edge, ha="right", va="center", color=SOFT, size=8)
        if limit and not first and -limit in shown:
            axes.plot([-limit] * 2, [y + 0.5, y + len(rows) + 0.5], color=ORANGE, lw=1, ls=":")
        for name, part in rows:
            y += 1
            color = ORANGE if part["upper"] < 0 else GREEN if part["lower"] > 0 else SOFT
            axes.plot([part["lower"], part["upper"]], [y, y], color=color, lw=2.2)
            axes.plot(part["difference"], y, "o", color=color, ms=6.5 if part is verdict else 5)
            ticks.append(y)
            names.append(shorten(str(name), 24))
            axes.text(
                1.012,
                y,
                f"{_signed(part['difference'], measure)} ({_signed(part['lower'], measure)} to "
                f"{_signed(part['upper'], measure)})" + (" veto" if part.get("veto") else ""),
                transform=edge,
                va="center",
                color=color if color != SOFT else INK,
                weight="bold" if part is verdict else "normal",
                size=7.5,
            )
        y += 1
    axes.axvline(0, color=INK, lw=0.9)
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(y - 0.3, -1.2)
    axes.set_yticks(ticks, names)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(lambda value, _: measure.tick(value, sign=True))
    other = verdict.get("against", "champion")
    sides = ((f"← {other} better", -6, "right"), ("challenger better →", 6, "left"))
    for words, shift, ha in sides:
        axes.annotate(
            words,
            (0, -0.75),
            xytext=(shift, 0),
            textcoords="offset points",
            ha=ha,
            va="center",
            color=SOFT,
            size=8,
            annotation_clip=False,
        )
    unit = measure.step.strip() or measure.title
    axes.set_xlabel(("difference in " if measure is ACCURACY else "gain in ") + unit
                    + ("; dotted: veto beyond" if shown else ""))
    return figure


@styled
def score_differences(
    differences: Sequence[float], measure: str, other: str = "champion"
) -> "Figure":
    """Draw by how much the challenger is better than the other model, row by row.

    The furthest row of a hundred stands at the edge; rows alike are counted but have no bar.

    Args:
        differences: In the measure's unit, below zero where the challenger is worse.
    """
    require_values("score_differences", differences)
    info = metric_info.of(measure)
    values = np.asarray(differences, dtype=float)
    edge = float(np.quantile(abs(values), 0.99)) or float(abs(values).max()) or 1.0
    edges = np.linspace(-edge, edge, 41)
    figure, axes = new_figure(2.9)
    shown = np.clip(values, -edge, edge)
    worse, _, _ = axes.hist(shown[values < 0], edges, color=ORANGE, rwidth=0.9)
    better, _, _ = axes.hist(shown[values > 0], edges, color=GREEN, rwidth=0.9)
    ceiling = max(worse.max(), better.max(), 1) * 1.45
    axes.axvline(0, color=INK, lw=0.9)
    sides = ((values > 0, "challenger better", 0.985, "right", GREEN),
             (values < 0, f"{other} better", 0.015, "left", ORANGE))
    for rows, words, x, ha, color in sides:
        n = int(rows.sum())
        axes.text(x, 0.97, f"{words}\non {n:,} of {len(values):,} rows", ha=ha, va="top",
                  color=color, transform=axes.transAxes)
    axes.set_ylim(0, ceiling)
    axes.set_xlim(-edge, edge)
    axes.xaxis.set_major_formatter(lambda value, _: info.tick(value, sign=True))
    count_axis(axes, "rows")
    alike = int((values == 0).sum())
    unit = info.step.strip() or info.title
    axes.set_xlabel(f"gain of a row in {unit}" + (
        f"; {alike:,} {plural(alike, 'row is', 'rows are')} alike" if alike else ""))
    return figure


def _test_set_names(names: Sequence[str], delivered_as: Mapping[str, str] | None) -> list[str]:
    """Return the test sets' names, of batches by their files; others keep theirs."""
    known = [name for name in names if name in (delivered_as or {})]
    ticks = dict(zip(known, batch_names.ticks(known, delivered_as, 16), strict=True))
    return [ticks.get(name, str(name)) for name in names]


def _signed(value: float, measure: Measure) -> str:
    return measure.gain(value, unit=False)

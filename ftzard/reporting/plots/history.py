"""Plots over all rounds: scores, verdicts and forgetting."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.evaluation import metric_info
from ftzard.evaluation.gate import NO_CHAMPION
from ftzard.evaluation.metric_info import ACCURACY, Measure
from ftzard.reporting import batch_names
from ftzard.reporting.plots.style import (
    GREEN,
    INK,
    ON_LIGHT,
    ORANGE,
    PALE,
    SOFT,
    WIDTH,
    blues,
    count_axis,
    new_figure,
    require_values,
    share_axis,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle


@styled
def rounds(story: Sequence[Mapping]) -> "Figure":
    """Draw accuracy over rounds with the verdict of each, and the champion's as a line.

    Of another measure: measure and score instead of accuracy; rounds of another one than the last
    are left out. A round that promoted is a filled dot, any other one is hollow. Bars below say
    how many labelled rows were new, where a round says so.

    Args:
        story: [{name, accuracy, verdict, lower, upper, date, data_version, labels, champion}],
            oldest first, all measured on the same rows; the last six may be missing. champion:
            name of the round whose version was champion after this one, by default the last that
            promoted; one that is not in the story leaves a gap in the line.
    """
    story = [r for r in story if metric_info.score(r) is not None]
    require_values("rounds", story)
    measure = metric_info.measure_of(story[-1])
    story = [r for r in story if metric_info.measure_of(r) is measure]
    spent = [r.get("labels") or 0 for r in story]
    if any(spent):
        figure, (axes, below) = new_figure(3.5, width=2 * WIDTH, rows=2, heights=(3, 1))
    else:
        figure, axes = new_figure(2.7, width=2 * WIDTH)
        below = None
    place = np.arange(len(story))
    values = np.array([metric_info.score(r) for r in story], dtype=float)
    champion = _champion_scores(story)
    axes.step(
        np.append(place, place[-1] + 0.5), [*champion, champion[-1]], where="post", color=PALE,
        lw=1.6,
    )
    sparse = len(story) <= 12
    for x, item in zip(place, story, strict=True):
        promoted = item.get("verdict") == "promote"
        refused = item.get("verdict") in ("refuse", NO_CHAMPION)
        color = GREEN if promoted else ORANGE if refused else SOFT
        if item.get("lower") is not None and item.get("upper") is not None:
            axes.plot([x, x], [item["lower"], item["upper"]], color=color, lw=1.4, alpha=0.6)
        face = color if promoted else "white"
        axes.plot(x, metric_info.score(item), "o", ms=7, color=color, mfc=face, mew=1.6)
        if sparse:
            words = {"promote": "promoted", "refuse": "refused"}
            word = words.get(item.get("verdict"), item.get("verdict") or "")
            axes.annotate(
                f"{measure.value(metric_info.score(item), unit=measure.scale == 100)}\n{word}",
                (x, metric_info.score(item)),
                xytext=(9, 0),
                textcoords="offset points",
                va="center",
                color=color,
                bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.85},
            )
    spread = [v for r in story for v in (r.get("lower"), r.get("upper")) if v is not None]
    low, high = min([*values, *spread]), max([*values, *spread])
    pad = max(0.01, 0.12 * (high - low))
    if measure.lower_is_better:
        axes.set_ylim(max(0, low - pad), high + pad)
    else:
        share_axis(axes, low - pad, high + pad)
    axes.set_ylabel(f"{measure.short} on all test sets"
                    + ("\nlower is better" if measure.lower_is_better else ""))
    axes.yaxis.set_major_formatter(lambda value, _: measure.tick(value))
    axes.grid(axis="y")
    if below is not None:
        axes.tick_params(labelbottom=False)
        below.bar(place, spent, width=0.28, color=PALE)
        for x, labels in zip(place, spent, strict=True):
            if sparse:
                below.annotate(
                    f"{labels:,}", (x, labels), xytext=(0, 1), textcoords="offset points",
                    ha="center", va="bottom", size=7.5,
                )
        below.set_ylim(0, max(spent) * 1.35)
        count_axis(below, "new rows", ticks=2)
    for each in (axes, below):
        if each is not None:
            each.set_xlim(-0.4, len(story) - 0.35)
            each.set_xticks(place)
            each.tick_params(axis="x", length=0, labelcolor=INK)
    lowest = axes if below is None else below
    lowest.set_xticks(place, [_round_name(r) for r in story] if sparse else place + 1)
    return figure


@styled
def forgetting(matrix: Mapping, delivered_as: Mapping[str, str] | None = None) -> "Figure":
    """Draw the score of each model version on each batch's test set as a heat map, dark is good.

    Args:
        matrix: As `forgetting.Matrix.to_dict` gives it.
        delivered_as: {batch: file name}. A frame marks the batches that a version was trained on;
            a dot after its name that it was promoted; a cell without a number was not measured.
    """
    versions, tested = matrix["versions"], matrix["batches"]
    require_values("forgetting", versions)
    measure = metric_info.measure_of(matrix)
    values = np.array([[np.nan if a is None else a for a in row]
                       for row in matrix["accuracy" if measure is ACCURACY else "scores"]])
    figure, axes = new_figure(
        1.2 + 0.42 * len(versions), width=min(2 * WIDTH, max(WIDTH, 1.6 + 0.95 * len(tested)))
    )
    rows, columns = np.arange(len(versions) + 1) - 0.5, np.arange(len(tested) + 1) - 0.5
    known = values[~np.isnan(values)]
    low, high = float(known.min()), float(known.max())
    if high - low < 0.05:
        low, high = low - 0.025, high + 0.025
    axes.pcolormesh(
        columns, rows, np.ma.masked_invalid(values),
        cmap=blues().reversed() if measure.lower_is_better else blues(), vmin=low, vmax=high,
        ec="white", lw=2,
    )
    axes.invert_yaxis()
    small = len(tested) > 8
    for i, j in np.ndindex(values.shape):
        if np.isnan(values[i, j]):
            axes.text(j, i, "·", ha="center", va="center", color=PALE)
            continue
        place = (values[i, j] - low) / (high - low)
        dark = (1 - place if measure.lower_is_better else place) > 0.55
        axes.text(
            j, i, measure.value(values[i, j], unit=False)
            + ("" if small else f"\nn {matrix['n'][i][j]:,}"),
            ha="center", va="center", color="white" if dark else ON_LIGHT, size=7 if small else 7.5,
        )
        if matrix["trained"][i][j]:
            axes.add_patch(_cell_frame(j, i))
    names = [
        f"v{v}{' ●' if promoted else ''}"
        for v, promoted in zip(versions, matrix["promoted"], strict=True)
    ]
    axes.set_yticks(range(len(versions)), names)
    under = batch_names.ticks(tested, delivered_as, 8 if small else 14)
    axes.set_xticks(range(len(tested)), [f"{i + 1}\n{name}" for i, name in enumerate(under)])
    axes.set_xlabel(f"test set of batch; {_in_unit(measure)}")
    axes.set_ylabel("model version")
    axes.tick_params(length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _cell_frame(x: float, y: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, ec=ORANGE, lw=1.3)


def _in_unit(measure: Measure) -> str:
    if measure.lower_is_better:
        return f"{measure.short} in{measure.unit}, lower is better"
    return f"{measure.short} in %" if measure.scale == 100 else measure.short


def _champion_scores(story: Sequence[Mapping]) -> list[float]:
    """Return, round by round, the score of who was champion after it; NaN where none is known."""
    by_name = {item["name"]: metric_info.score(item) for item in story}
    scores, standing = [], None
    for item in story:
        standing = item["name"] if item.get("verdict") == "promote" else standing
        standing = item.get("champion") or standing
        scores.append(by_name.get(standing, np.nan))
    return scores


def _round_name(item: Mapping) -> str:
    lines = [str(item["name"])]
    if item.get("date"):
        lines.append(str(item["date"])[:10])
    if item.get("data_version"):
        lines.append("data " + str(item["data_version"])[:8])
    return "\n".join(lines)

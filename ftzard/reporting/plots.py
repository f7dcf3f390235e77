"""The pictures of a round: each takes plain facts and returns a matplotlib Figure.

One style for all: little ink, words beside what they name instead of legends, colours that colour
blind readers can tell apart, and never colour alone. Sized for half a page; `svg` and `png` turn a
figure into what a page or a tracking server keeps. No pyplot, hence no global state.
"""

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.core.escaping import visible
from ftzard.errors import DataError
from ftzard.evaluation import metric_info
from ftzard.evaluation.gate import NO_CHAMPION
from ftzard.evaluation.intervals import wilson_interval
from ftzard.evaluation.metric_info import ACCURACY, Measure
from ftzard.reporting import batch_names
from ftzard.reporting.report_data import measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

BLUE, ORANGE, GREEN = "#0064a4", "#c2410c", "#0b7a5b"
INK, SOFT, PALE, GRID = "#1f2933", "#66727f", "#b8c2cc", "#e6eaee"
SPLITS = (BLUE, "#56b4e9", "#d98e04", GREEN, "#b0629a")
FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
WIDTH = 5.2
#: Lines of learning curves: on training rows, on validation rows, and on these after the
#: temperature has been fitted.
LINES = {"train": (0, (2, 2)), "validation": "solid", "calibrated": (0, (6, 2))}
#: Fewest points that an axis of shares shows: on less, chance looks like a trend.
LEAST_RANGE = 0.05
#: A model whose median uncertainty is below this is drawn on a logarithmic axis, from here on.
SURE, LEAST_UNCERTAINTY = 0.02, 1e-5
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a label may hold dollars
    "axes.edgecolor": PALE,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "ftzard",
}


def svg(figure: "Figure") -> str:
    """Return the figure as one <svg> element to stand inside a page, the same bytes each time."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    return visible(text.replace("'DejaVu Sans'", FONTS).strip())


def png(figure: "Figure", dpi: int = 160) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def _styled(draw: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """Draw in this module's style, whatever the style of the notebook around it."""

    @functools.wraps(draw)
    def in_style(*args: object, **kwargs: object) -> "Figure":
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


@_styled
def class_balance(counts: Mapping[str, Mapping[str, int]]) -> "Figure":
    """Draw rows per class, stacked by split. counts: {label: {split: rows}}."""
    _refuse_empty("class_balance", counts)
    splits = list(dict.fromkeys(split for by_split in counts.values() for split in by_split))
    labels = list(counts)
    figure, axes = _figure(max(1.7, 0.75 + 0.42 * len(labels)))
    place = np.arange(len(labels))
    left = np.zeros(len(labels))
    for split, colour in zip(splits, _colours(len(splits)), strict=True):
        width = np.array([counts[label].get(split, 0) for label in labels], dtype=float)
        axes.barh(place, width, left=left, height=0.62, color=colour, ec="white", label=split)
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
    _rows(axes, place, labels)
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


@_styled
def token_lengths(lengths: Sequence[int], max_length: int, what: str = "text") -> "Figure":
    """Draw tokens per text before cutting, with the cut at `max_length` marked.

    what: what a length is of, 'text' or 'row'.
    """
    _refuse_empty("token_lengths", lengths)
    values = np.asarray(lengths)
    figure, axes = _figure(2.6)
    top = int(values.max())
    step = max(1, int(np.ceil((top + 1) / 48)))
    edges = np.arange(0, top + 2 * step, step)
    kept, _, _ = axes.hist(values[values <= max_length], edges, color=BLUE, rwidth=0.9)
    lost, _, _ = axes.hist(values[values > max_length], edges, color=ORANGE, rwidth=0.9)
    ceiling = max(kept.max(), lost.max()) * 1.18
    axes.set_ylim(0, ceiling)
    cut = int((values > max_length).sum())
    if cut:
        axes.axvline(max_length + 0.5, color=ORANGE, lw=1.2)
        middle = max_length > edges[-1] / 2
        axes.annotate(
            f"cut at {max_length:,} tokens\n{cut:,} {_plural(cut, what, f'{what}s')} shortened",
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
    _count_axis(axes, f"{what}s")
    axes.set_xlabel(f"tokens per {what}, before cutting")
    axes.set_xlim(0, edges[-1])
    return figure


@_styled
def rejected_rows(rejected: Mapping[str, int]) -> "Figure":
    """Draw how many rows were rejected for each reason, the most frequent first."""
    _refuse_empty("rejected_rows", rejected)
    pairs = sorted(rejected.items(), key=lambda pair: (-pair[1], pair[0]))
    figure, axes = _figure(0.5 + 0.36 * len(pairs))
    place = np.arange(len(pairs))
    numbers = [n for _, n in pairs]
    axes.barh(place, numbers, height=0.6, color=BLUE)
    for y, number in zip(place, numbers, strict=True):
        axes.annotate(
            f"{number:,}", (number, y), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_xlim(0, max(max(numbers), 1) * 1.15)
    _rows(axes, place, [_short(reason, 44) for reason, _ in pairs])
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


@_styled
def learning_curves(
    trials: Sequence[Mapping], measures: Sequence[str] = ("loss", "accuracy")
) -> "Figure":
    """Draw loss, accuracy or what else is asked per epoch of every trial, the best one in colour.

    trials: [{name, best, history, best_epoch}], with histories as in `facts.Trial`. A side that a
    history lacks is not drawn; a measure that all lack is refused. A ring marks the epoch that was
    kept.
    """
    trials = [t for t in trials if t["history"]]
    for measure in measures:
        _refuse_empty("learning_curves", _entries(trials, measure))
    last = max(h["epoch"] for t in trials for h in t["history"])
    figure, panels = _figure(3.0, width=len(measures) * WIDTH, columns=len(measures))
    for axes, measure in zip(np.atleast_1d(panels), measures, strict=True):
        ends = []
        for trial in sorted(trials, key=lambda t: bool(t.get("best"))):
            best = bool(trial.get("best"))
            colour = BLUE if best else SOFT
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
                    color=colour,
                    ls=dashes,
                    lw=1.9 if best and not training else 1.1,
                    marker="o",
                    ms=4 if best and not training else 2.6,
                    mfc="white" if training else colour,
                    alpha=1 if best else 0.4 if training else 0.75,
                    zorder=3 if best else 2,
                )
                kept = [p for p in points if p[0] == trial.get("best_epoch")]
                if side == "validation" and kept and best:
                    axes.plot(*kept[0], "o", ms=11, mfc="none", mec=colour, mew=1.2, zorder=4)
                if not training and (best or len(trials) <= 6):
                    ends.append((x[-1], y[-1], trial["name"], colour, best))
        if len(measures) > 1:
            axes.set_title(measure.replace("_", " "))
        axes.grid(axis="y")
        _epochs(axes, last)
        axes.margins(x=0.05, y=0.1)
        if measure.endswith("accuracy"):
            _share_axis(axes, *axes.get_ylim())
        else:
            axes.set_ylim(axes.get_ylim())
        _end_labels(axes, ends, last)
    sides = [side for side in LINES if any(_entries(trials, m, [side]) for m in measures)]
    _line_key(figure, sides, len(trials) > 1, any(t.get("best_epoch") for t in trials))
    return figure


@_styled
def trials(tried: Sequence[Mapping], metric: str) -> "Figure":
    """Draw what each trial of a search reached, against each value that differs among them.

    tried: [{name, params, value, best, pruned}] with the value of `metric` on validation; of a
    single trial, the learning rate is drawn. A pruned trial is hollow: it was not trained to its
    end.
    """
    _refuse_empty("trials", tried)
    order = sorted({key for t in tried for key in t["params"]} - {"alpha"},
                   key=lambda key: (key != "learning_rate", key != "rank", key))
    names = [key for key in order if len({t["params"].get(key) for t in tried}) > 1]
    names = names[:3] or order[:1]
    figure, panels = _figure(2.8, width=max(WIDTH, 3.4 * len(names)), columns=len(names))
    for axes, name in zip(np.atleast_1d(panels), names, strict=True):
        choices = name in ("rank", "batch_size")
        values = sorted({t["params"][name] for t in tried if name in t["params"]})
        for trial in (t for t in tried if name in t["params"]):
            x = trial["params"][name]
            best = bool(trial.get("best")) and len(tried) > 1
            colour = BLUE if best else SOFT
            place = values.index(x) if choices else x
            axes.plot([place], [trial["value"]], ls="", marker="o", ms=6, color=colour,
                      mfc="white" if trial.get("pruned") else colour, zorder=3 if best else 2)
            axes.annotate(
                _short(trial["name"], 14), (place, trial["value"]), xytext=(6, 4),
                textcoords="offset points", size=7.5, color=colour,
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
            _share_axis(axes, *axes.get_ylim())
    first = np.atleast_1d(panels)[0]
    first.set_ylabel(metric.replace("_", " ").removeprefix("validation ") + " on validation")
    if any(t.get("pruned") for t in tried):
        _aside(first, (0.99, 0.99), "hollow: stopped early", va="top", ha="right")
    return figure


@_styled
def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> "Figure":
    """Draw counts of true class (rows) against predicted class; colour is the share of the row."""
    counts = np.asarray(confusion, dtype=float)
    _refuse_empty("confusion_matrix", counts)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    k = len(classes)
    figure, axes = _figure(min(4.6, 1.5 + 0.62 * k))
    edges = np.arange(k + 1) - 0.5
    axes.pcolormesh(edges, edges, share, cmap=_blues(), vmin=0, vmax=1, ec="white", lw=2)
    axes.invert_yaxis()
    size = 9 if k <= 5 else max(5.0, 8.5 - 0.2 * k)
    for i in range(k):
        for j in range(k):
            ink = "white" if share[i, j] > 0.55 else INK
            text = f"{counts[i, j]:,.0f}"
            if k <= 5:
                text += f"\n{100 * share[i, j]:.0f} %"
            weight = "bold" if i == j else "normal"
            axes.text(
                j, i, text, ha="center", va="center", color=ink, fontsize=size, weight=weight
            )
    names = [_short(str(c), 18) for c in classes]
    long = k > 4 and max(len(name) for name in names) * k > 55
    axes.set_xticks(range(k), names, rotation=35 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(k), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@_styled
def reliability_diagram(bins: Sequence[Mapping], scaled: Sequence[Mapping] = ()) -> "Figure":
    """Draw accuracy against confidence with intervals, and below it how many rows each bin holds.

    bins: as `metrics.reliability` gives them; scaled: the same after temperature scaling, drawn as
    a second line.
    """
    _refuse_empty("reliability_diagram", bins)
    figure, (axes, below) = _figure(3.6, rows=2, heights=(4, 1))
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
    _share_axis(axes, min(start, least) - 0.03, 1.0)
    axes.set_ylabel("share that is right")
    axes.grid(axis="y")
    _aside(axes, (0.03, 0.95), "above the dashed line:\nbetter than it claims", "top")
    _aside(axes, (0.985, 0.06), "below: surer than\nit should be", "bottom", "right")
    below.bar(
        [(b["lower"] + b["upper"]) / 2 for b in bins],
        [b["n"] for b in bins],
        width=0.9 * (bins[0]["upper"] - bins[0]["lower"]),
        color=PALE,
    )
    _count_axis(below, "rows", ticks=2)
    below.set_xlabel("confidence of the prediction")
    _percent_axis(below.xaxis)
    below.set_xticks([tick for tick in below.get_xticks() if start - 0.01 <= tick <= 1 + 1e-9])
    for each in (axes, below):
        each.set_xlim(start - 0.01, 1.01)
    axes.tick_params(labelbottom=False)
    return figure


@_styled
def uncertainty_histogram(values: Sequence[float], threshold: float | None) -> "Figure":
    """Draw the uncertainty of the unlabelled rows; those at or above the threshold in colour.

    Of a model that is sure of most rows the axis is logarithmic; what is below its beginning
    stands there.
    """
    _refuse_empty("uncertainty_histogram", values)
    numbers = np.asarray(values, dtype=float)
    figure, axes = _figure(2.9)
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
    _count_axis(axes, "rows")
    axes.set_xlabel("uncertainty of the model" + (", logarithmic" if sure else ""))
    if sure:
        axes.minorticks_off()
        decades = 10.0 ** np.arange(np.ceil(np.log10(edges[0])), np.log10(edges[-1]) + 1e-9)
        axes.set_xticks(decades, [f"{tick:.7f}".rstrip("0").rstrip(".") for tick in decades])
    return figure


@_styled
def abstention(curve: Sequence[Mapping]) -> "Figure":
    """Draw accuracy against coverage, the surest rows first, with its 95 % interval.

    curve: as `calibration.abstention` gives it.
    """
    _refuse_empty("abstention", curve)
    figure, axes = _figure(3.0)
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
    _share_axis(axes, low - 0.45 * (high - low) - 0.02, high + 0.02)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("share of rows that are answered, the surest first")
    axes.set_ylabel("share of these that is right")
    _percent_axis(axes.xaxis)
    axes.grid(axis="y")
    return figure


@_styled
def forgetting(matrix: Mapping, delivered_as: Mapping[str, str] | None = None) -> "Figure":
    """Draw the score of each model version on each batch's test set as a heat map, dark is good.

    matrix: as `forgetting.Matrix.to_dict` gives it; delivered_as: {batch: file name}. A frame
    marks the batches that a version was trained on; a dot after its name that it was promoted; a
    cell without a number was not measured.
    """
    versions, tested = matrix["versions"], matrix["batches"]
    _refuse_empty("forgetting", versions)
    measure = metric_info.told_in(matrix)
    values = np.array([[np.nan if a is None else a for a in row]
                       for row in matrix["accuracy" if measure is ACCURACY else "scores"]])
    figure, axes = _figure(
        1.2 + 0.42 * len(versions), width=min(2 * WIDTH, max(WIDTH, 1.6 + 0.95 * len(tested)))
    )
    rows, columns = np.arange(len(versions) + 1) - 0.5, np.arange(len(tested) + 1) - 0.5
    known = values[~np.isnan(values)]
    low, high = float(known.min()), float(known.max())
    if high - low < 0.05:
        low, high = low - 0.025, high + 0.025
    axes.pcolormesh(
        columns, rows, np.ma.masked_invalid(values),
        cmap=_blues().reversed() if measure.lower_is_better else _blues(), vmin=low, vmax=high,
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
            ha="center", va="center", color="white" if dark else INK, size=7 if small else 7.5,
        )
        if matrix["trained"][i][j]:
            axes.add_patch(_frame(j, i))
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


@_styled
def drift(entry: Mapping) -> "Figure":
    """Draw how far each of a batch's statistics is from what is usual, in units of its limit.

    entry: as `drift.Drift.to_dict` gives it. 0 is what batches of the same distribution usually
    have, 1 the upper threshold, the mark on each bar the lower one. The longest bar is the batch's
    score over its threshold, which `drift_over_time` draws.
    """
    statistics = entry["statistics"]
    _refuse_empty("drift", statistics)
    figure, axes = _figure(0.95 + 0.36 * len(statistics))
    ratios = [_over_limit(s, s["value"]) for s in statistics]
    low = min(0.0, max(min(ratios) * 1.05, -1.0))
    edge = max(1.6, min(max(ratios) * 1.05, 4.0))
    for y, (s, ratio) in enumerate(zip(statistics, ratios, strict=True)):
        colour = ORANGE if s["beyond"] else BLUE
        axes.barh(y, max(min(ratio, edge), low), height=0.56, color=colour, alpha=0.85)
        axes.plot([_over_limit(s, s["lower"])] * 2, [y - 0.36, y + 0.36], color=INK, lw=1.1)
        axes.text(
            1.012, y,
            f"{ratio:.2f} ×" + (" ▸" if ratio > edge else ""),
            transform=axes.get_yaxis_transform(), va="center", size=7.5,
            color=ORANGE if s["beyond"] else INK, weight="bold" if s["beyond"] else "normal",
        )
    axes.axvline(1, color=INK, lw=0.9)
    axes.set_xlim(low, edge)
    _rows(axes, np.arange(len(statistics)), [s["name"] for s in statistics])
    axes.set_xlabel("0: usual, 1: upper threshold, mark: lower threshold")
    axes.grid(axis="x")
    return figure


def _over_limit(statistic: Mapping, value: float) -> float:
    """Return a value's distance from what is usual over that of the upper threshold.

    The unit of `drift.Drift.score` over its `upper`: both count standard deviations of the draws.
    """
    return (value - statistic["usual"]) / max(statistic["upper"] - statistic["usual"], 1e-12)


@_styled
def drift_over_time(
    entries: Sequence[Mapping], delivered_as: Mapping[str, str] | None = None
) -> "Figure":
    """Draw each batch's largest statistic as a multiple of its upper threshold, oldest first.

    entries: dicts of batch, alarm, score, upper, lower, raised_by (and champion), as the
    workspace's log of drift holds them; a batch too small to tell is left out. delivered_as:
    {batch: file name}.
    """
    told = [e for e in entries if e.get("score") is not None]
    _refuse_empty("drift_over_time", told)
    figure, axes = _figure(2.5, width=2 * WIDTH)
    place = np.arange(len(told))
    exact = np.array([e["score"] / e["upper"] for e in told])
    ratios = np.maximum(exact, 0.05)
    for x, entry in zip(place, told, strict=True):
        lower = max(entry["lower"] / entry["upper"], 0.05)
        axes.plot([x - 0.4, x + 0.4], [lower] * 2, color=SOFT, lw=1, ls=(0, (2, 2)))
        if entry["alarm"]:
            axes.axvspan(x - 0.5, x + 0.5, color=ORANGE, alpha=0.09, lw=0)
    axes.axhline(1, color=INK, lw=0.9)
    axes.plot(place, ratios, color=PALE, lw=1.2, zorder=1)
    for x, ratio, number, entry in zip(place, ratios, exact, told, strict=True):
        colour = ORANGE if entry["alarm"] else BLUE
        axes.plot(x, ratio, "o", ms=7, color=colour, mfc=colour if entry["alarm"] else "white",
                  mew=1.6)
        if len(told) <= 12:
            words = _short(entry["raised_by"][0], 22) if entry["raised_by"] else (
                "alarm stays" if entry["alarm"] else "no alarm")
            axes.annotate(
                f"{number:.2f} × {words}", (x, ratio), xytext=(9, 0),
                textcoords="offset points", va="center", color=colour, size=8,
                bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.85},
            )
    axes.set_yscale("log")
    low, high = min(0.25, ratios.min() * 0.7), max(2.5, ratios.max() * 1.6)
    axes.set_ylim(low, high)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= t <= high]
    axes.set_yticks(ticks, [f"{t:g} ×" for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(-0.5, len(told) - 0.2)
    under = batch_names.ticks([e["batch"] for e in told], delivered_as, 14 if len(told) <= 8 else 8)
    names = [f"{name}\nv{e['champion']}" if e.get("champion") is not None else name
             for name, e in zip(under, told, strict=True)]
    axes.set_xticks(place, names if len(told) <= 16 else place + 1)
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.set_ylabel("score over its upper threshold")
    axes.grid(axis="y")
    return figure


@_styled
def comparison(verdict: Mapping, delivered_as: Mapping[str, str] | None = None) -> "Figure":
    """Draw challenger minus the other model with intervals: all rows, each test set, each class.

    verdict: as `gate.Verdict.to_dict` gives it; delivered_as: {test set's batch: file name}.
    """
    measure, limits = metric_info.told_in(verdict), verdict.get("limits", {})
    first = verdict.get("against") != "champion"
    groups = [(measure.short, [("all test rows", verdict)], None)]
    if len(verdict["per_test_set"]) > 1:
        parts = verdict["per_test_set"]
        sets = [(name.replace("\n", " "), part) for name, part in zip(
            _sets([p["name"] for p in parts], delivered_as), parts, strict=True)]
        groups.append((f"{measure.short} per test set", sets, limits.get("max_forgetting")))
    if verdict["per_class"]:
        classes = [(p["label"], p) for p in verdict["per_class"]]
        groups.append(("recall per class", classes, limits.get("max_class_loss")))
    lines = sum(len(rows) + 1 for _, rows, _ in groups)
    figure, axes = _figure(0.95 + 0.26 * lines)
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
            colour = ORANGE if part["upper"] < 0 else GREEN if part["lower"] > 0 else SOFT
            axes.plot([part["lower"], part["upper"]], [y, y], color=colour, lw=2.2)
            axes.plot(part["difference"], y, "o", color=colour, ms=6.5 if part is verdict else 5)
            ticks.append(y)
            names.append(_short(str(name), 24))
            axes.text(
                1.012,
                y,
                f"{_signed(part['difference'], measure)} ({_signed(part['lower'], measure)} to "
                f"{_signed(part['upper'], measure)})" + (" veto" if part.get("veto") else ""),
                transform=edge,
                va="center",
                color=colour if colour != SOFT else INK,
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


@_styled
def score_differences(
    differences: Sequence[float], measure: str, other: str = "champion"
) -> "Figure":
    """Draw by how much the challenger is better than the other model, row by row.

    differences: in the measure's unit, below zero where the challenger is worse. The furthest row
    of a hundred stands at the edge; rows alike are counted but have no bar.
    """
    _refuse_empty("score_differences", differences)
    told = metric_info.of(measure)
    values = np.asarray(differences, dtype=float)
    edge = float(np.quantile(abs(values), 0.99)) or float(abs(values).max()) or 1.0
    edges = np.linspace(-edge, edge, 41)
    figure, axes = _figure(2.9)
    shown = np.clip(values, -edge, edge)
    worse, _, _ = axes.hist(shown[values < 0], edges, color=ORANGE, rwidth=0.9)
    better, _, _ = axes.hist(shown[values > 0], edges, color=GREEN, rwidth=0.9)
    ceiling = max(worse.max(), better.max(), 1) * 1.45
    axes.axvline(0, color=INK, lw=0.9)
    sides = ((values > 0, "challenger better", 0.985, "right", GREEN),
             (values < 0, f"{other} better", 0.015, "left", ORANGE))
    for rows, words, x, ha, colour in sides:
        n = int(rows.sum())
        axes.text(x, 0.97, f"{words}\non {n:,} of {len(values):,} rows", ha=ha, va="top",
                  color=colour, transform=axes.transAxes)
    axes.set_ylim(0, ceiling)
    axes.set_xlim(-edge, edge)
    axes.xaxis.set_major_formatter(lambda value, _: told.tick(value, sign=True))
    _count_axis(axes, "rows")
    alike = int((values == 0).sum())
    unit = told.step.strip() or told.title
    axes.set_xlabel(f"gain of a row in {unit}" + (
        f"; {alike:,} {_plural(alike, 'row is', 'rows are')} alike" if alike else ""))
    return figure


@_styled
def rounds(story: Sequence[Mapping]) -> "Figure":
    """Draw accuracy over rounds with the verdict of each, and the champion's as a line.

    story: [{name, accuracy, verdict, lower, upper, date, data_version, labels, champion}], oldest
    first, all measured on the same rows; the last six may be missing. champion: name of the round
    whose version was champion after this one, by default the last that promoted; one that is not in
    the story leaves a gap in the line. Of another measure: measure and score instead of accuracy;
    rounds of another one than the last are left out. A round that promoted is a filled dot, any
    other one is hollow. Bars below say how many labelled rows were new, where a round says so.
    """
    story = [r for r in story if metric_info.score(r) is not None]
    _refuse_empty("rounds", story)
    measure = metric_info.told_in(story[-1])
    story = [r for r in story if metric_info.told_in(r) is measure]
    spent = [r.get("labels") or 0 for r in story]
    if any(spent):
        figure, (axes, below) = _figure(3.5, width=2 * WIDTH, rows=2, heights=(3, 1))
    else:
        figure, axes = _figure(2.7, width=2 * WIDTH)
        below = None
    place = np.arange(len(story))
    values = np.array([metric_info.score(r) for r in story], dtype=float)
    champion = _of_champion(story)
    axes.step(
        np.append(place, place[-1] + 0.5), [*champion, champion[-1]], where="post", color=PALE,
        lw=1.6,
    )
    sparse = len(story) <= 12
    for x, item in zip(place, story, strict=True):
        promoted = item.get("verdict") == "promote"
        refused = item.get("verdict") in ("refuse", NO_CHAMPION)
        colour = GREEN if promoted else ORANGE if refused else SOFT
        if item.get("lower") is not None and item.get("upper") is not None:
            axes.plot([x, x], [item["lower"], item["upper"]], color=colour, lw=1.4, alpha=0.6)
        face = colour if promoted else "white"
        axes.plot(x, metric_info.score(item), "o", ms=7, color=colour, mfc=face, mew=1.6)
        if sparse:
            words = {"promote": "promoted", "refuse": "refused"}
            word = words.get(item.get("verdict"), item.get("verdict") or "")
            axes.annotate(
                f"{measure.value(metric_info.score(item), unit=measure.scale == 100)}\n{word}",
                (x, metric_info.score(item)),
                xytext=(9, 0),
                textcoords="offset points",
                va="center",
                color=colour,
                bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.85},
            )
    spread = [v for r in story for v in (r.get("lower"), r.get("upper")) if v is not None]
    low, high = min([*values, *spread]), max([*values, *spread])
    pad = max(0.01, 0.12 * (high - low))
    if measure.lower_is_better:
        axes.set_ylim(max(0, low - pad), high + pad)
    else:
        _share_axis(axes, low - pad, high + pad)
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
        _count_axis(below, "new rows", ticks=2)
    for each in (axes, below):
        if each is not None:
            each.set_xlim(-0.4, len(story) - 0.35)
            each.set_xticks(place)
            each.tick_params(axis="x", length=0, labelcolor=INK)
    lowest = axes if below is None else below
    lowest.set_xticks(place, [_round_name(r) for r in story] if sparse else place + 1)
    return figure


def _of_champion(story: Sequence[Mapping]) -> list[float]:
    """Return, round by round, the score of who was champion after it; NaN where none is known."""
    by_name = {item["name"]: metric_info.score(item) for item in story}
    found, standing = [], None
    for item in story:
        standing = item["name"] if item.get("verdict") == "promote" else standing
        standing = item.get("champion") or standing
        found.append(by_name.get(standing, np.nan))
    return found


def _figure(
    height: float,
    *,
    width: float = WIDTH,
    columns: int = 1,
    rows: int = 1,
    heights: Sequence[float] | None = None,
) -> tuple["Figure", "Axes"]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, height_ratios=heights)


def _refuse_empty(name: str, values: Sequence | Mapping) -> None:
    if len(values) == 0:
        raise DataError(f"plots.{name} got nothing to draw; leave the picture out instead.")


def _colours(n: int) -> list[str]:
    return [SPLITS[i % len(SPLITS)] for i in range(n)]


def _blues() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ftzard", ["#f4f7fa", "#9fc4de", BLUE, "#00406b"])


def _frame(x: float, y: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, ec=ORANGE, lw=1.3)


def _rows(axes: "Axes", place: np.ndarray, names: Sequence[str]) -> None:
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)


def _count_axis(axes: "Axes", label: str, ticks: int = 4) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylabel(label)
    axes.grid(axis="y")


def _percent_axis(axis: "Axis") -> None:
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def _share_axis(axes: "Axes", low: float, high: float) -> None:
    """Let the y axis show shares from low to high: five points at least, no tick beyond 100 %."""
    low, high = max(0.0, low), min(1.0, high)
    if high - low < LEAST_RANGE:
        high = min(1.0, (low + high + LEAST_RANGE) / 2)
        low = max(0.0, high - LEAST_RANGE)
    _percent_axis(axes.yaxis)
    axes.set_ylim(low, high)
    ticks = [tick for tick in axes.get_yticks() if low - 1e-9 <= tick <= high + 1e-9]
    axes.set_yticks(ticks)
    axes.set_ylim(low, high + (0.03 * (high - low) if high == 1 else 0))  # a dot at 100 % is whole


def _epochs(axes: "Axes", last: float) -> None:
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
    for height, (x, y, name, colour, best) in zip(heights, ends, strict=True):
        axes.plot([x, side], [y, height], color=PALE, lw=0.7, zorder=1, clip_on=False)
        axes.annotate(
            _short(str(name), 18),
            (side, height),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            weight="bold" if best else "normal",
            size=8,
            annotation_clip=False,
        )
    left, right = axes.get_xlim()
    axes.set_xlim(left, max(right, side) if last > 1 else right)


def _entries(
    trials: Sequence[Mapping], measure: str, sides: Sequence[str] = tuple(LINES)
) -> list[Mapping]:
    """Return the epochs' entries that hold the measure on one of the sides."""
    return [
        entry
        for trial in trials
        for entry in trial["history"]
        if any(measured(entry, side, measure) is not None for side in sides)
    ]


def _line_key(figure: "Figure", sides: Sequence[str], has_choice: bool, has_kept: bool) -> None:
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
    if has_kept:
        keys.append(Line2D([], [], color=INK, ls="", marker="o", ms=9, mfc="none",
                           label="epoch kept"))
    if has_choice:
        keys.append(Line2D([], [], color=BLUE, lw=3, label="chosen trial"))
    figure.legend(
        handles=keys, loc="outside upper left", ncols=3, frameon=False, handlelength=2.2,
        columnspacing=1.4, fontsize=8,
    )


def _aside(axes: "Axes", at: tuple, text: str, va: str, ha: str = "left") -> None:
    axes.text(
        *at,
        text,
        transform=axes.transAxes,
        color=SOFT,
        size=7.5,
        va=va,
        ha=ha,
        bbox={"fc": "white", "ec": "none"},
    )


def _in_unit(measure: Measure) -> str:
    if measure.lower_is_better:
        return f"{measure.short} in{measure.unit}, lower is better"
    return f"{measure.short} in %" if measure.scale == 100 else measure.short


def _sets(names: Sequence[str], delivered_as: Mapping[str, str] | None) -> list[str]:
    """Return the test sets' names, of batches by their files; others keep theirs."""
    known = [name for name in names if name in (delivered_as or {})]
    ticks = dict(zip(known, batch_names.ticks(known, delivered_as, 16), strict=True))
    return [ticks.get(name, str(name)) for name in names]


def _signed(value: float, measure: Measure) -> str:
    return measure.gain(value, unit=False)


def _short(name: object, longest: int) -> str:
    words = " ".join(str(name).split())
    return words if len(words) <= longest else words[: longest - 1].rstrip() + "…"


def _plural(n: int, one: str, many: str) -> str:
    return one if n == 1 else many


def _round_name(item: Mapping) -> str:
    lines = [str(item["name"])]
    if item.get("date"):
        lines.append(str(item["date"])[:10])
    if item.get("data_version"):
        lines.append("data " + str(item["data_version"])[:8])
    return "\n".join(lines)

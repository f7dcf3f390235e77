"""The style that all plots share: colors, axes and the conversion to SVG and PNG."""

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftzard.core.escaping import visible
from ftzard.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0064a4", "#c2410c", "#0b7a5b"
INK, SOFT, PALE, GRID = "#1f2933", "#66727f", "#b8c2cc", "#e6eaee"
#: Text on the light cells of a heat map, whose colors do not change with the page's.
ON_LIGHT = "#1e2832"
VARIABLES = {BLUE: "blue", ORANGE: "orange", GREEN: "green", INK: "ink", SOFT: "soft", PALE: "pale",
             GRID: "grid", "#ffffff": "paper"}
SPLITS = ("#0065a5", "#56b4e9", "#d98e04", GREEN, "#b0629a")
FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
WIDTH = 5.2
#: Least range of an axis of shares; on a smaller one, noise looks like a trend.
LEAST_RANGE = 0.05
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
    """Convert a figure to one <svg> element for use inside a page.

    The output is deterministic. The palette's colors become CSS variables with the color itself as
    fallback, so that a page can recolor the plot, for instance in dark mode.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<(?:path|g|use|rect|text)\b[^>]*>", _with_variables, text)
    return visible(text.replace("'DejaVu Sans'", FONTS).strip())


def _with_variables(element: re.Match) -> str:
    """Replace the palette's colors in one element; white text stands on color and stays white."""
    def variable(match: re.Match) -> str:
        color = match[0]
        if color == "#ffffff" and element[0].startswith("<text"):
            return color
        return f"var(--plot-{VARIABLES[color]}, {color})" if color in VARIABLES else color

    return re.sub(r"#[0-9a-f]{6}\b", variable, element[0])


def png(figure: "Figure", dpi: int = 160) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def styled(draw: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """Draw in this module's style, whatever the style of the notebook around it."""

    @functools.wraps(draw)
    def in_style(*args: object, **kwargs: object) -> "Figure":
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def new_figure(
    height: float,
    *,
    width: float = WIDTH,
    columns: int = 1,
    rows: int = 1,
    heights: Sequence[float] | None = None,
) -> tuple["Figure", "Axes"]:
    """Return a figure and its axes (an array of them where there are several)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, height_ratios=heights)


def require_values(name: str, values: Sequence | Mapping) -> None:
    """Raise DataError if a plot has no values."""
    if len(values) == 0:
        raise DataError(f"plots.{name} got nothing to draw; leave the picture out instead.")


def split_colors(n: int) -> list[str]:
    """Return n colors for the splits, repeated if there are more than colors."""
    return [SPLITS[i % len(SPLITS)] for i in range(n)]


def blues() -> "Colormap":
    """Return the color map of the heat maps."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ftzard", ["#f4f7fa", "#9fc4de", BLUE, "#00406b"])


def category_axis(axes: "Axes", place: np.ndarray, names: Sequence[str]) -> None:
    """Name the bars of a horizontal bar chart, the first on top."""
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)


def count_axis(axes: "Axes", label: str, ticks: int = 4) -> None:
    """Show whole numbers on the y axis."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylabel(label)
    axes.grid(axis="y")


def percent_axis(axis: "Axis") -> None:
    """Show shares as percentages."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def share_axis(axes: "Axes", low: float, high: float) -> None:
    """Show shares from low to high on the y axis: at least 5 points, no tick above 100 %."""
    low, high = max(0.0, low), min(1.0, high)
    if high - low < LEAST_RANGE:
        high = min(1.0, (low + high + LEAST_RANGE) / 2)
        low = max(0.0, high - LEAST_RANGE)
    percent_axis(axes.yaxis)
    axes.set_ylim(low, high)
    ticks = [tick for tick in axes.get_yticks() if low - 1e-9 <= tick <= high + 1e-9]
    axes.set_yticks(ticks)
    axes.set_ylim(low, high + (0.03 * (high - low) if high == 1 else 0))  # a dot at 100 % is whole


def margin_note(axes: "Axes", at: tuple, text: str, va: str, ha: str = "left") -> None:
    """Write a small note inside the axes; at: (x, y) from 0 to 1."""
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


def shorten(name: object, longest: int) -> str:
    """Return a name on one line, cut after `longest` characters."""
    words = " ".join(str(name).split())
    return words if len(words) <= longest else words[: longest - 1].rstrip() + "…"


def plural(n: int, one: str, many: str) -> str:
    """Return the word for n things."""
    return one if n == 1 else many

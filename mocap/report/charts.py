"""Charts as SVG that is the same for the same numbers; told apart by line style and marker, too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# Okabe & Ito: told apart by people who see no red or green; yellow left out for its contrast on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#7A5195", "#8C6D1F")
_DASHES = ("-", "--", "-.", ":")
_HATCHES = ("", "//", "..", "xx")
_RC: Any = {
    "svg.hashsalt": "mocap", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd",
    "text.parse_math": False,
}  # fmt: skip


def lines(x: NDArray[np.generic], values: Array, names: Sequence[str], label: str, x_label: str = "frame") -> str:
    """One line per name: values [N, T] over x [T], NaN as gaps."""
    figure, axes = _axes(len(names))
    for i, (name, row) in enumerate(zip(names, values, strict=True)):
        axes.plot(x, row, _DASHES[i % 4], color=_COLOURS[i % 8], linewidth=1.6, label=_plain(name))
    _legend(axes, len(names))
    axes.set_xlabel(x_label)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    return _svg(figure)


def bars(names: Sequence[str], values: Array, parts: Sequence[str], label: str) -> str:
    """A stacked bar per name: values [N, parts]."""
    figure, axes = _axes(1, 1.4 + 0.17 * len(names))
    left = np.zeros(len(names))
    for i, part in enumerate(parts):
        width = np.nan_to_num(values[:, i])
        axes.barh(np.arange(len(names)), width, left=left, color=_COLOURS[i % 8], hatch=_HATCHES[i % 4],
                  edgecolor="white", linewidth=0, label=_plain(part))  # fmt: skip
        left = left + width
    axes.set_yticks(np.arange(len(names)), [_plain(n) for n in names])
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel(label)
    _legend(axes, len(parts))
    return _svg(figure)


def strips(frames: NDArray[np.int64], values: Array, names: Sequence[str], label: str) -> str:
    """Shares 0..1 as shades: values [N, T], a row per name, dark where 1."""
    figure, axes = _axes(1, 0.9 + 0.3 * len(names))
    axes.grid(visible=False)
    edges = np.append(frames, 2 * frames[-1] - frames[-2] if len(frames) > 1 else frames[-1] + 1)
    shades = axes.pcolormesh(edges, np.arange(len(names) + 1), values, cmap="Blues", vmin=0, vmax=1)
    shades.set_edgecolor("face")  # no seams between the cells
    axes.set_yticks(np.arange(len(names)) + 0.5, [_plain(n) for n in names])
    axes.invert_yaxis()
    axes.set_xlabel("frame")
    axes.figure.colorbar(shades, ax=axes, label=label, fraction=0.05, pad=0.02)
    return _svg(figure)


def _axes(series: int, height: float = 2.6) -> tuple[Figure, Axes]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_RC):
        figure = Figure(figsize=(8.4, height + 0.22 * (series // 6)), layout="constrained")
        return figure, figure.add_subplot()


def _legend(axes: Axes, n: int) -> None:
    if n > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(6, n), frameon=False)


def _plain(name: str) -> str:
    """A label that is drawn as it is: matplotlib hides those that begin with an underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    with rc_context(_RC):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    return text.getvalue()

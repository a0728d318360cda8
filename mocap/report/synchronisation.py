"""What a report says of the cameras' times: offset, drift, certainty, evidence, and the curves behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.report import charts, page
from mocap.report.sections import number
from mocap.storage.alignment_record import AlignmentRecord

_HEAD = ("camera", "frames/s, share", "offset used ms", "measured ms", "± ms", "drift ppm", "± ppm", "frames lost",
         "evidence")  # fmt: skip


def section(alignment: AlignmentRecord | None) -> str:
    """The times of all cameras; empty where there are none."""
    a = alignment
    if a is None:
        return ""
    rows = []
    for v, name in enumerate(a.cameras):
        lost = ", ".join(
            f"{n} before {f}" for c, f, n in zip(a.gap_camera, a.gap_frame, a.gap_missing, strict=True) if c == v
        )
        rows.append((
            name, number(a.rate[v], 3), number(a.offset_s[v], 2, 1000), number(a.measured_s[v], 2, 1000),
            number(a.measured_std_s[v], 2, 1000), number(a.drift[v], 1, 1e6), number(a.drift_std[v], 1, 1e6),
            lost or "–", a.statements[v].removeprefix(f"{name}: "),
        ))  # fmt: skip
    parts = [
        page.paragraph(f"Camera times: {a.method}." if a.method else "Camera times as given."),
        page.table(_HEAD, rows, text_columns=(7, 8)),
    ]
    svg = curves(a)
    if svg:
        best = ", ".join(f"{a.cameras[v]} at {1000 * lowest(a, v):.0f} ms" for v in _shown(a))
        alt = f"Misfit of each camera over how late it is assumed to be; smallest: {best}"
        caption = "Misfit over the assumed time offset: the fine estimate begins at the lowest point; flat: undecided"
        parts.append(page.chart(svg, alt, caption))
    return page.section("times", "Camera times", parts)


def curves(alignment: AlignmentRecord) -> str:
    """Misfit of each camera over its assumed offset, as SVG; empty where nothing was tried."""
    a, shown = alignment, _shown(alignment)
    if not shown:
        return ""
    grid = np.unique(a.curve_s[shown][np.isfinite(a.curve_s[shown])])
    rows = np.full((len(shown), len(grid)), np.nan)
    for i, v in enumerate(shown):
        s, c = _curve(a, v)
        rows[i] = np.interp(grid, s, c, left=np.nan, right=np.nan)
    return charts.lines(1000 * grid, rows, [a.cameras[v] for v in shown], "misfit", "how late the camera is, ms")


def lowest(alignment: AlignmentRecord, view: int) -> float:
    """Where a camera's curve is lowest, s."""
    s, c = _curve(alignment, view)
    return float(s[int(np.argmin(c))])


def _shown(a: AlignmentRecord) -> list[int]:
    return [v for v in range(len(a.cameras)) if np.isfinite(a.curve_cost[v]).any()]


def _curve(a: AlignmentRecord, view: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    there = np.isfinite(a.curve_s[view]) & np.isfinite(a.curve_cost[view])
    return a.curve_s[view, there], a.curve_cost[view, there]

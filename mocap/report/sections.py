"""The sections of a report, as HTML made of the blocks of `mocap.report.page`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mocap.report import charts, page
from mocap.report.measures import Measures, binned
from mocap.skeleton import LIMBS_12

Array = NDArray[np.float64]


def number(value: float, digits: int = 1, scale: float = 1.0) -> str:
    """A number as text; a dash where it is not known."""
    return f"{scale * value:.{digits}f}" if np.isfinite(value) else "–"


def percent(value: float) -> str:
    """A share 0..1 as text."""
    return f"{number(value, 1, 100)} %" if np.isfinite(value) else "–"


def cameras(m: Measures) -> str:
    """Detection share and reprojection per camera, in the whole and over time."""
    names, frames = m.take.matches.cameras, m.take.matches.frames
    rows = [
        (name, percent(float(m.take.detected[v].mean())), percent(float(m.taken[v].mean())),
         number(m.camera_error[v]), number(m.camera_error_m[v], 0, 1000), percent(float(m.used[v])))
        for v, name in enumerate(names)
    ]  # fmt: skip
    seen, error = binned(m.taken, frames), binned(m.view_error, frames)
    least = names[int(np.argmin(m.taken.mean(1)))]
    known = np.isfinite(m.camera_error).any()
    worst = names[int(np.nanargmax(m.camera_error))] if known else "none"
    return page.section("cameras", "Cameras", [
        page.table(("camera", "somebody detected", "used for a person", "median reprojection px", "mm at the person",
                    "points that agree"), rows),
        page.chart(charts.strips(seen.frame, seen.value, names, "share of frames"),
                   f"Share of frames in which each camera sees a person, over time; least: {least}",
                   "In which frames each camera sees a person (dark: in all)"),
        page.chart(charts.lines(error.frame, error.value, names, "px"),
                   f"Reprojection error of each camera over time; largest: {worst}",
                   "Reprojection error of each camera: median over its joints"),
    ])  # fmt: skip


def calibration(m: Measures) -> str:
    """Calibration quality, turned cameras."""
    parts = []
    if m.take.calibration:
        quality = json.loads(m.take.calibration)["quality"]
        parts.append(page.paragraph(
            f"Calibrated from footage: {_known(quality['rms_px'], 2)} px RMS; expected 3D error from calibration "
            f"alone {_known(quality['expected_error_mm'], 2)} mm; scale error "
            f"{_known(quality['scale']['mean_error_mm'], 2)} mm per square."
        ))  # fmt: skip
        rows = [(c["name"], _known(c["rms_px"], 2), str(c["observations"]), str(c["rejected"]),
                 f"{100 * c['coverage']:.0f} %") for c in quality["cameras"]]  # fmt: skip
        parts.append(page.table(("camera", "RMS px", "corners", "rejected", "image covered"), rows))
    else:
        parts.append(page.paragraph("The calibration was read from a file; nothing is said about its quality."))
    a = m.take.alignment
    if a is not None:
        turns = [
            (name, number(float(np.degrees(np.linalg.norm(a.rotation[v]))), 2), number(a.offset_before[v]),
             number(a.offset_after[v]))
            for v, name in enumerate(a.cameras)
        ]  # fmt: skip
        parts.append(page.table(("camera", "turned since °", "px off before", "px off after"), turns))
    return page.section("calibration", "Calibration", parts)


def _known(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def joints(m: Measures) -> str:
    """Errors, sources and certainty of every joint."""
    names = m.take.matches.joint_names
    rows = [
        (name, number(m.joint_error[j]), number(m.joint_std[j], 1, 1000), number(m.joint_consistency[j], 1, 1000),
         *(percent(float(m.shares[j, s])) for s in (1, 2, 3, 0)))
        for j, name in enumerate(names)
    ]  # fmt: skip
    worst = names[int(np.argmax(m.shares[:, 0] + m.shares[:, 2]))]
    head = ("joint", "reprojection px", "standard deviation mm", "consistency mm", "triangulated", "lifted",
            "interpolated", "missing")  # fmt: skip
    share = charts.bars(names, 100 * m.shares[:, [1, 2, 3, 0]], ("triangulated", "lifted", "interpolated", "missing"),
                        "% of the frames with the person")  # fmt: skip
    return page.section("joints", "Joints", [
        page.paragraph("Medians over the take. Consistency: how far the points of single camera pairs lie apart.",
                       "note"),
        page.table(head, rows),
        page.chart(share, f"Source of each joint's samples; least triangulated: {worst}", "Where each joint is from"),
    ])  # fmt: skip


def people(m: Measures) -> str:
    """Identity over time, repairs, limb lengths, feet, jitter."""
    t = m.take
    ids = [str(p) for p in t.filtered.person_ids]
    present = binned(np.asarray((t.filtered.source > 0).any(-1)).T, t.matches.frames)
    flipped, moved = (binned(r.sum(1).astype(np.float64), t.matches.frames) for r in m.repaired)
    rows = []
    for p, name in enumerate(ids):
        slide = t.motion.slide_after if t.motion is not None else None
        before = t.motion.slide_before if t.motion is not None else None
        contacts = t.motion.contacts if t.motion is not None else None
        limbs = m.limbs[p][np.isfinite(m.limbs[p])]
        rows.append((
            name, percent(float((t.filtered.source[:, p] > 0).any(-1).mean())),
            str(int(m.repaired[0][:, p].sum())), str(int(m.repaired[1][:, p].sum())),
            percent(float(np.median(limbs))) if limbs.size else "–",
            number(m.jitter[0, p], 2, 1000), number(m.jitter[1, p], 2, 1000),
            "–" if contacts is None else percent(float(contacts[:, p].any((1, 2)).mean())),
            _pair(before, p), _pair(slide, p),
        ))  # fmt: skip
    head = ("person", "present", "sides repaired", "limbs taken back", "limb spread", "jitter before mm",
            "jitter after mm", "foot down", "foot slide before mm (l, r)", "after mm (l, r)")  # fmt: skip
    limb_rows = [
        (f"{a} – {b}", *(percent(float(m.limbs[p, i])) for p in range(len(ids)))) for i, (a, b) in enumerate(LIMBS_12)
    ] if m.limbs.size else []  # fmt: skip
    total = int(m.repaired[0].sum()), int(m.repaired[1].sum())
    return page.section("people", "People", [
        page.table(head, rows),
        page.chart(charts.strips(present.frame, present.value, [f"person {i}" for i in ids], "share of frames"),
                   f"In which frames each of {len(ids)} persons is present", "Who is there when"),
        page.chart(charts.lines(flipped.frame, np.stack([flipped.value, moved.value]),
                                ("sides exchanged back", "taken from another detection"), "2D joints per frame"),
                   f"Repairs of identity over time: {total[0]} joints with sides exchanged back, {total[1]} taken "
                   "from another detection", "Repaired flips and swaps, over all cameras"),
        page.table(("limb length spread", *(f"person {i}" for i in ids)), limb_rows),
    ])  # fmt: skip


def _pair(slide: NDArray[np.float32] | None, person: int) -> str:
    return "–" if slide is None else ", ".join(number(float(s), 1, 1000) for s in slide[person])


def stages(m: Measures) -> str:
    """Speed and size of every stage, and what it was told."""
    frames = len(m.take.matches.frames)
    pictures = {"detect": frames * len(m.take.matches.cameras)}
    rows = []
    for s in m.take.stages:
        rate = pictures.get(s.stage, frames) / s.seconds if s.seconds else np.nan
        size = number(s.megabytes, 2)
        rows.append((s.stage, s.state, str(s.parts), number(s.seconds, 2), number(rate), size, s.made_at))
    head = ("stage", "state", "parts", "seconds of work", "frames/s", "MB", "made at")
    settings = [(s.stage, "; ".join(f"{k} = {v}" for k, v in s.settings)) for s in m.take.stages if s.settings]
    note = "Seconds of all parts together; detect counts the frames of every camera."
    return page.section("stages", "Stages, settings and provenance", [
        page.table(head, rows, text_columns=(1, 6)),
        page.paragraph(note, "note"),
        *(page.paragraph(f"Said by the last run: {w}") for w in m.take.warnings),
        page.table(("stage", "settings"), settings, text_columns=(1,)),
    ])  # fmt: skip


def scores(rows: Sequence[Sequence[Sequence[str]]]) -> str:
    """Metrics against ground truth: tables of text, the first row of each a header."""
    return page.section("truth", "Against ground truth", [page.table(r[0], r[1:]) for r in rows])

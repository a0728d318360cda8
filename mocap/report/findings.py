"""What a person should look at in a take: computed from its numbers, said in plain words."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mocap.matching.summary import summarise
from mocap.report.measures import Measures, quiet_median, runs_of

Array = NDArray[np.float64]

# A camera that shows nobody for this long while two others do: seconds, and share of the take.
_SILENT_S, _SILENT_SHARE = 1.0, 0.05
# A camera whose detections fit no person, or whose samples are outliers, in more than this share.
_UNFIT, _OUTLIERS = 0.5, 0.5
# Error of a camera against the median of the others; px only count above this share of the image's diagonal.
_WORSE, _WORTH = 2.5, 0.002
# A swap in one view: the other detection fits at least so many times better, for so long, seconds.
_FITS_BETTER, _SWAP_S = 2.0, 0.15
# Nobody moves faster between two frames than this (m/s), nor further than the slack (m) by noise.
_FASTEST, _SLACK = 4.0, 0.1
_GAP_S = 0.5
_LIMB, _MISSING, _LIFTED, _SLIDE_M = 0.05, 0.1, 0.2, 0.02
_NOTED, _FLIPPED, _DOUBT = 0.05, 0.2, 0.2
# A frame stands out at so many times the usual error; more than this share of such frames needs a look.
_SPIKE, _SPIKES = 4.0, 0.01
_MANY = 4


class Severity(enum.IntEnum):
    """How much it matters: FAULT spoils the result, LOOK may, NOTE is good to know."""

    NOTE = 0
    LOOK = 1
    FAULT = 2


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes
    ----------
    severity : Severity
    text : str
        What was found, where.
    advice : str
        What to do about it.
    camera : str
        Empty when it concerns no single camera.
    person : int or None
    frames : (int, int) or None
        First and last frame concerned.
    weight : float
        Orders findings of one severity: share of the take concerned, 0..1.
    spreads : bool
        Whether it makes other findings on its camera appear.
    follows : bool
        Whether it appears of itself where its camera has a fault that spreads.
    """

    severity: Severity
    text: str
    advice: str = ""
    camera: str = ""
    person: int | None = None
    frames: tuple[int, int] | None = None
    weight: float = 0.0
    spreads: bool = False
    follows: bool = False


def find(measures: Measures) -> tuple[Finding, ...]:
    """All findings of a take, the most important first."""
    take = measures.take
    if not len(take.matches.person_ids):
        nobody = Finding(Severity.FAULT, "no person was found", "check that the videos show people, upright and large")
        return (nobody,)
    found = [
        *_stages(measures), *_silent(measures), *_unfit(measures), *_worse(measures), *_turned(measures),
        *_times(measures), *_swapped_in_view(measures), *_exchanged(measures), *_joints(measures), *_people(measures),
        *_flips(measures), *_spikes(measures), *_calibration(take.calibration),
    ]  # fmt: skip
    return tuple(sorted(_unexplained(found), key=lambda f: (-f.severity, -f.weight)))


def _unexplained(found: list[Finding]) -> list[Finding]:
    """What is left when each camera that does not fit speaks once.

    Such a camera's reprojection errors, exchanged sides and doubtful people follow from its one fault, and more
    lines on it would hide that there is nothing else.
    """
    faulty = {f.camera: f for f in reversed(found) if f.camera and f.severity is Severity.FAULT and f.spreads}
    return [f for f in found if not f.follows or faulty.get(f.camera, f) is f]


def summary_sentence(findings: tuple[Finding, ...]) -> str:
    """One sentence: whether the take is good, and if not, what is wrong first."""
    faults = [f for f in findings if f.severity is Severity.FAULT]
    looks = [f for f in findings if f.severity is Severity.LOOK]
    if not faults and not looks:
        return "Good: nothing in this take needs a look."
    first = (faults or looks)[0].text
    others = len(faults) + len(looks) - 1
    more = f" ({others} more below)" if others else ""
    return f"{'Fault' if faults else 'Look here'}: {first}{more}."


def _stages(m: Measures) -> list[Finding]:
    late = [s for s in m.take.stages if s.state != "up to date"]
    if not late:
        return []
    failed = [s for s in late if s.state.startswith("failed")]
    text = f"stage {failed[0].stage} {failed[0].state}" if failed else (
        f"this shows an earlier result: {', '.join(s.stage for s in late)} would have to run again"
    )  # fmt: skip
    return [Finding(Severity.FAULT if failed else Severity.LOOK, text, "bring it up to date with `mocap run`")]


def _span(m: Measures, a: int, b: int) -> tuple[int, int]:
    frames = m.take.matches.frames
    return int(frames[a]), int(frames[b - 1])


def _silent(m: Measures) -> list[Finding]:
    """Cameras in which nobody is detected though two others take somebody."""
    out = []
    T = len(m.take.matches.frames)
    limit = max(_SILENT_S * m.take.matches.fps, _SILENT_SHARE * T)
    for v, camera in enumerate(m.take.matches.cameras):
        others = np.delete(m.taken, v, 0).sum(0) >= 2
        silent = ~m.detected_near[v] & others
        for poor, fine in runs_of(~m.detected_near[v]):
            lost = int(silent[poor:fine].sum())
            if lost < limit:
                continue
            found = np.flatnonzero(m.take.detected[v])  # the silence itself, not where half a second is poor
            a, b = int(found[found < poor].max(initial=-1)) + 1, int(found[found >= fine].min(initial=T))
            first, last = _span(m, a, b)
            when = (
                "in the whole take" if b - a == T else f"from frame {first} to " + ("the end" if b == T else str(last))
            )
            text = f"camera {camera} shows nobody {when} ({100 * (b - a) / T:.0f} % of the take), while others do"
            advice = "look at its video there: did it stop, was it covered, or is the person out of its sight?"
            severity = Severity.FAULT if a == 0 or b == T else Severity.LOOK
            out.append(Finding(severity, text, advice, camera, None, (first, last), lost / T))
    return out


def _unfit(m: Measures) -> list[Finding]:
    """Cameras that see people who fit nobody, or whose samples are mostly outliers."""
    out = []
    for v, camera in enumerate(m.take.matches.cameras):
        others = np.delete(m.taken, v, 0).sum(0) >= 2
        chances = m.take.detected[v] & others
        ignored = float((chances & ~m.taken[v]).sum() / max(1, chances.sum()))
        outliers = 1.0 - m.used[v] if np.isfinite(m.used[v]) else 0.0
        if ignored > _UNFIT:
            text = f"camera {camera} sees people, but in {100 * ignored:.0f} % of the frames they do not fit the others"
        elif outliers > _OUTLIERS:
            text = f"camera {camera} contradicts the others: {100 * outliers:.0f} % of its points were left out"
        else:
            out += _unfit_spans(m, v, chances & ~m.taken[v])
            continue
        advice = "its calibration is wrong, or its video belongs to another camera or time: calibrate it anew"
        out.append(Finding(Severity.FAULT, text, advice, camera, None, None, max(ignored, outliers), True))
    return out


def _unfit_spans(m: Measures, v: int, ignored: NDArray[np.bool_]) -> list[Finding]:
    """Stretches in which a camera sees people who fit nobody: a picture that stands still, a bystander."""
    out = []
    T, camera = len(ignored), m.take.matches.cameras[v]
    limit = max(_SILENT_S * m.take.matches.fps, _SILENT_SHARE * T)
    for a, b in runs_of(ignored):
        if b - a >= limit:
            first, last = _span(m, a, b)
            text = f"camera {camera} sees people who fit nobody in the others, frames {first} to {last}"
            advice = "does its video stand still there, was it pushed, or is there a bystander?"
            out.append(Finding(Severity.LOOK, text, advice, camera, None, (first, last), (b - a) / T))
    return out


def _worse(m: Measures) -> list[Finding]:
    """Cameras that reproject much worse than the others, for how near they stand."""
    out = []
    for v, camera in enumerate(m.take.matches.cameras):
        error, others = m.camera_error_m[v], np.delete(m.camera_error_m, v)
        if not np.isfinite(error) or not np.isfinite(others).any():
            continue
        usual = float(quiet_median(others, 0))
        floor = _WORTH * float(np.hypot(*m.take.rig.cameras[v].size))
        if error > _WORSE * usual and m.camera_error[v] > floor:
            text = (
                f"camera {camera} is {m.camera_error[v]:.1f} px off, {1000 * error:.0f} mm at the person, the others "
                f"{1000 * usual:.0f} mm: a bad calibration, or its pictures are early or late"
            )
            advice = "calibrate it anew; if it was moved during the take, leave it out; see its time below"
            weight = 1 - usual / error
            out.append(Finding(Severity.FAULT, text, advice, camera, None, None, weight, True, True))
    return out


def _turned(m: Measures) -> list[Finding]:
    """Cameras that stood otherwise than calibrated and were turned back."""
    out: list[Finding] = []
    alignment = m.take.alignment
    if alignment is None:
        return out
    for v, camera in enumerate(alignment.cameras):
        angle = float(np.degrees(np.linalg.norm(alignment.rotation[v])))
        if angle == 0:
            continue
        before, after = alignment.offset_before[v], alignment.offset_after[v]
        size = m.take.rig.select([camera]).cameras[0].size
        worth = _WORTH * float(np.hypot(*size))
        if before < worth:  # turned along with the one that was moved
            continue
        large = before > 2 * worth
        text = (
            f"calibration of camera {camera} did not fit the take: {before:.1f} px off; turned by {angle:.2f} degrees, "
            f"{after:.1f} px remain"
        )
        severity = Severity.LOOK if large else Severity.NOTE
        out.append(
            Finding(severity, text, "corrected; calibrate it anew when you can", camera, weight=before / max(size))
        )
    return out


def _times(m: Measures) -> list[Finding]:
    """Cameras that run at another time than assumed."""
    out: list[Finding] = []
    a = m.take.alignment
    if a is None:
        return out
    # Only differences between cameras are known: one that is late would make all others look early.
    late = a.measured_s - a.offset_s
    late = late - quiet_median(late, 0)
    for v, camera in enumerate(a.cameras):
        off, std = abs(late[v]), a.measured_std_s[v]
        if np.isfinite(off) and np.isfinite(std) and off > max(5 * std, 0.5 / m.take.matches.fps):
            text = f"camera {camera} seems {1000 * off:.0f} ms off in time: {a.statements[v]}"
            advice = 'set synchronise.method = "motion" in session.toml if the cameras are not genlocked'
            out.append(Finding(Severity.LOOK, text, advice, camera, weight=0.5))
    return out


def _swapped_in_view(m: Measures) -> list[Finding]:
    """A camera in which two people have each other's detections: both alternatives fit far better."""
    out = []
    matches = m.take.matches
    with np.errstate(invalid="ignore"):
        better = matches.runner_up * _FITS_BETTER < matches.score
    limit = max(2, round(_SWAP_S * matches.fps))
    for v, camera in enumerate(matches.cameras):
        for p, q in combinations(range(len(matches.person_ids)), 2):
            for a, b in runs_of(better[v, :, p] & better[v, :, q]):
                if b - a < limit:
                    continue
                first, last = _span(m, a, b)
                one, two = matches.person_ids[p], matches.person_ids[q]
                text = f"persons {one} and {two} are swapped in camera {camera}, frames {first} to {last}"
                advice = "remove or correct the override of the match stage there"
                share = (b - a) / len(matches.frames)
                out.append(Finding(Severity.FAULT, text, advice, camera, int(one), (first, last), share))
    return out


def _exchanged(m: Measures) -> list[Finding]:
    """Two people who change places from one frame to the next in 3D: their identities are swapped."""
    raw = m.take.raw
    centre = quiet_median(raw.positions.astype(np.float64), 2)  # [T, P, 3]
    out = []
    for p, q in combinations(range(len(raw.person_ids)), 2):
        rows = np.flatnonzero(np.isfinite(centre[:, [p, q]]).all((1, 2)))
        x, y = centre[rows, p], centre[rows, q]
        dt = np.diff(raw.frames[rows]) / raw.fps
        stay = _length(np.diff(x, axis=0)) + _length(np.diff(y, axis=0))
        cross = _length(x[1:] - y[:-1]) + _length(y[1:] - x[:-1])
        swaps = (dt <= _GAP_S) & (stay > 2 * (_SLACK + _FASTEST * dt)) & (cross < stay / 2)
        at = [int(raw.frames[rows[i + 1]]) for i in np.flatnonzero(swaps)]
        if at:
            one, two = int(raw.person_ids[p]), int(raw.person_ids[q])
            where = ", ".join(map(str, at[:_MANY])) + (" and more" if len(at) > _MANY else "")
            text = f"persons {one} and {two} are swapped at frame {where}: they change places between two frames"
            advice = "correct who is who with an override of the match stage"
            out.append(Finding(Severity.FAULT, text, advice, "", one, (at[0], at[-1]), 1.0))
    return out


def _length(vectors: Array) -> Array:
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def _joints(m: Measures) -> list[Finding]:
    out = []
    for column, limit, word in ((0, _MISSING, "missing"), (2, _LIFTED, "guessed from one view")):
        share = m.shares[:, column]
        many = np.flatnonzero(share > limit)
        if len(many):
            worst = many[np.argsort(-share[many], kind="stable")]
            names = ", ".join(f"{m.take.matches.joint_names[j]} {100 * share[j]:.0f} %" for j in worst[:_MANY])
            more = f" and {len(worst) - _MANY} more" if len(worst) > _MANY else ""
            text = f"joints often {word}: {names}{more}"
            advice = "too few cameras see them; add a camera on that side"
            out.append(Finding(Severity.LOOK, text, advice, weight=float(share[worst[0]])))
    return out


def _people(m: Measures) -> list[Finding]:
    out = []
    for p, person in enumerate(m.take.filtered.person_ids):
        spread = m.limbs[p]
        if spread.size and np.isfinite(spread).any() and (typical := float(quiet_median(spread, 0))) > _LIMB:
            text = f"the limbs of person {person} change their length by {100 * typical:.0f} %"
            advice = "identity or calibration is in doubt: look at the overlays below"
            out.append(Finding(Severity.LOOK, text, advice, "", int(person), weight=typical))
    motion = m.take.motion
    if motion is not None and motion.slide_after is not None:
        for p, person in enumerate(motion.person_ids):
            slide = motion.slide_after[p]
            if np.isfinite(slide).any() and (most := float(np.nanmax(slide))) > _SLIDE_M:
                text = f"a standing foot of person {person} slides {1000 * most:.0f} mm"
                out.append(Finding(Severity.LOOK, text, "look at the contacts in the viewer", "", int(person)))
    return out


def _flips(m: Measures) -> list[Finding]:
    """Detections with left and right exchanged, and ones for which another fits nearly as well."""
    out = []
    for row in summarise(m.take.matches).views:
        who = f"of person {row.person} in camera {row.camera}"
        if row.flipped > _NOTED:
            text = f"left and right {who} were exchanged back in {100 * row.flipped:.0f} % of the points"
            severity = Severity.LOOK if row.flipped > _FLIPPED else Severity.NOTE
            advice = "repaired; see the identity timeline"
            out.append(Finding(severity, text, advice, row.camera, row.person, weight=row.flipped, follows=True))
        if row.doubtful > _DOUBT:
            text = f"another detection fits nearly as well as that {who} in {100 * row.doubtful:.0f} % of the frames"
            advice = "somebody was found twice, or two people overlap: look at who is who"
            out.append(Finding(Severity.LOOK, text, advice, row.camera, row.person, weight=row.doubtful, follows=True))
    return out


def _spikes(m: Measures) -> list[Finding]:
    """Frames in which a camera is far worse than it usually is."""
    out = []
    for v, camera in enumerate(m.take.matches.cameras):
        floor = _WORTH * float(np.hypot(*m.take.rig.cameras[v].size))
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(m.view_error[v] > _SPIKE * max(m.camera_error[v], floor))
        if len(rows):
            worst = int(rows[np.argmax(m.view_error[v, rows])])
            share, frame = len(rows) / len(m.take.matches.frames), int(m.take.matches.frames[worst])
            text = (
                f"camera {camera} is far off for {len(rows)} frame(s), worst in frame {frame} by "
                f"{m.view_error[v, worst]:.0f} px"
            )
            severity = Severity.LOOK if share > _SPIKES else Severity.NOTE
            advice = "see the worst frames below"
            out.append(Finding(severity, text, advice, camera, None, (frame, frame), share, follows=True))
    return out


def _calibration(quality: str) -> list[Finding]:
    """The advice of a calibration from footage (`calibration.report.CalibrationReport.to_json`)."""
    if not quality:
        return []
    levels = {"problem": Severity.FAULT, "warning": Severity.LOOK}
    return [
        Finding(levels.get(a["severity"], Severity.NOTE), f"calibration: {a['text']}", camera=a["camera"], weight=0.5)
        for a in json.loads(quality)["advice"]
    ]
